# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent config``: is the configuration right, and what does it say; a file per command."""

from __future__ import annotations

from typing import Final

import click

from ceilo_agent.cli.lazy import LazyGroup

COMMANDS: Final = {
    "check": "ceilo_agent.cli.config.check",
    "graph": "ceilo_agent.cli.config.graph",
    "migrate": "ceilo_agent.cli.config.migrate",
    "schema": "ceilo_agent.cli.config.schema",
    "show": "ceilo_agent.cli.config.show",
    "test": "ceilo_agent.cli.config.test",
}


@click.group("config", cls=LazyGroup, modules=COMMANDS)
def command() -> None:
    """Check, test, draw and migrate the pipeline file; show what is in force."""
