# SPDX-License-Identifier: Apache-2.0
"""The option ``--role`` of the commands that read a pipeline file."""

from __future__ import annotations

import click

from ceilo_agent.definition.roles import Role

role_option = click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.LOCAL.value,
    show_default=True,
    help="The agent that is to read it: local does it all.",
)
