# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent letters show``: one message as it came."""

from __future__ import annotations

import json

import click

from ceilo_agent.cli.arguments import spool_option
from ceilo_agent.cli.letters.chosen import named, opened


@click.command("show")
@click.argument("letter", metavar="WORKER/NUMBER")
@spool_option
@click.pass_obj
def command(config_files: tuple[str, ...], letter: str, spool_dir: str | None) -> None:
    """Print the payload of a message that could not be taken, as JSON."""
    one = named(letter, everything=False)
    assert one is not None
    with opened(config_files, spool_dir) as found:
        for each in found:
            for kept in each.shelf.letters(number=one[1]) if each.worker == one[0] else ():
                click.echo(json.dumps(kept.message.payload, indent=2))
                return
    raise click.UsageError(f"there is no letter {letter} (`letters list` has them)")
