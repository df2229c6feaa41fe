# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent letters``: messages that the notification agent could not take."""

from __future__ import annotations

from typing import Final

import click

from ceilo_agent.cli.lazy import LazyGroup

COMMANDS: Final = {
    "discard": "ceilo_agent.cli.letters.discard",
    "list": "ceilo_agent.cli.letters.list",
    "replay": "ceilo_agent.cli.letters.replay",
    "show": "ceilo_agent.cli.letters.show",
}


@click.group("letters", cls=LazyGroup, modules=COMMANDS)
def command() -> None:
    """Look at messages from the bus that could not be taken; try them again or drop them."""
