# SPDX-License-Identifier: Apache-2.0
"""The option ``--role``, and which files a command with it reads."""

from __future__ import annotations

from pathlib import Path

import click

from ceilo_agent import options
from ceilo_agent.definition.in_force import files
from ceilo_agent.definition.roles import Role

role_option = click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.LOCAL.value,
    show_default=True,
    help="The agent that is to read it: local does it all.",
)


def chosen(config_files: tuple[str, ...], file: Path | None, role: str) -> list[tuple[Path, Role]]:
    """Return a file, or without one those in force, each with what it is read for.

    Raises:
        ConfigError: the options have faults, or there is no file.
    """
    wanted = Role(role)
    return [(file, wanted)] if file else files(options.parse(config_files), wanted)
