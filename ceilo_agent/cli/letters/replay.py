# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent letters replay``: has messages tried again."""

from __future__ import annotations

import click

from ceilo_agent.cli.arguments import spool_option
from ceilo_agent.cli.letters.chosen import change, counted, letter_argument, named
from ceilo_agent.notification.letters import Shelf


@click.command("replay")
@letter_argument
@spool_option
@click.pass_obj
def command(
    config_files: tuple[str, ...], letter: str | None, everything: bool, spool_dir: str | None
) -> None:
    """Have messages tried again, as after a secret was mended; the running agent does it."""
    done = change(config_files, spool_dir, named(letter, everything=everything), Shelf.replay)
    click.echo(f"{counted(done)} will be tried again by their agent")
