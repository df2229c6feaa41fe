# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent spool``: what waits on disk for publishers, also while agents run."""

from __future__ import annotations

from typing import Final

import click

from ceilo_agent.cli.lazy import LazyGroup

COMMANDS: Final = {
    "check": "ceilo_agent.cli.spool.check",
    "discard": "ceilo_agent.cli.spool.discard",
    "list": "ceilo_agent.cli.spool.list",
    "replay": "ceilo_agent.cli.spool.replay",
    "show": "ceilo_agent.cli.spool.show",
}


@click.group("spool", cls=LazyGroup, modules=COMMANDS)
def command() -> None:
    """Look at what waits on disk for publishers, or was refused by them; send or drop it."""
