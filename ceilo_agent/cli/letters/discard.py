# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent letters discard``: drops messages."""

from __future__ import annotations

import click

from ceilo_agent.cli.arguments import spool_option
from ceilo_agent.cli.letters.chosen import change, counted, letter_argument, named
from ceilo_agent.notification.letters import Shelf


@click.command("discard")
@letter_argument
@spool_option
@click.pass_obj
def command(
    config_files: tuple[str, ...], letter: str | None, everything: bool, spool_dir: str | None
) -> None:
    """Drop messages that could not be taken, for good."""
    done = change(config_files, spool_dir, named(letter, everything=everything), Shelf.discard)
    click.echo(f"{counted(done)} discarded")
