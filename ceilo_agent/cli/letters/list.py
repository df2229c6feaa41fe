# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent letters list``: what could not be taken, and why."""

from __future__ import annotations

import json
from typing import Any

import click

from ceilo_agent.cli.arguments import output_option, spool_option
from ceilo_agent.cli.letters.chosen import opened
from ceilo_agent.cli.tables import show
from ceilo_agent.delivery.amounts import size
from ceilo_agent.notification.letterfile import DROPPED, Kept
from ceilo_agent.publishers.rendering import printable
from ceilo_agent.sample import isotime


@click.command("list")
@click.option(
    "--last", type=click.IntRange(1), default=20, show_default=True, help="Of each worker, at most."
)
@output_option("table", "json", about="How to print it.")
@spool_option
@click.pass_obj
def command(config_files: tuple[str, ...], last: int, output: str, spool_dir: str | None) -> None:
    """List the newest messages that could not be taken, and how many there were of each kind."""
    with opened(config_files, spool_dir) as found:
        rows = [(each.worker, kept) for each in found for kept in each.shelf.letters(last)]
        totals = [(each.worker, each.shelf.kept(), each.shelf.totals()) for each in found]
    if output == "json":
        click.echo(json.dumps([_document(*row) for row in rows], indent=2))
        return
    if rows:
        show(
            ("letter", "came", "reason", "sent by", "topic", ">size", "what is wrong"),
            [
                (
                    f"{worker}/{kept.number}",
                    isotime(kept.at)[:19],
                    kept.reason,
                    printable(kept.message.publisher_id) or "-",
                    printable(kept.message.topic) or "-",
                    size(kept.size),
                    printable(kept.words),
                )
                for worker, kept in rows
            ],
        )
    else:
        click.echo("no message was set aside")
    for worker, kept_now, ever in totals:
        if not ever:  # another worker has them now
            continue
        said = [f"{count} {reason}" for reason, count in ever.items() if reason != DROPPED]
        if dropped := ever.get(DROPPED):
            said.append(f"{dropped} dropped for want of room")
        click.echo(f"worker {worker}: {sum(kept_now.values())} kept; ever: {', '.join(said)}")


def _document(worker: str, kept: Kept) -> dict[str, Any]:
    message = kept.message
    return {
        "letter": f"{worker}/{kept.number}",
        "timestamp": isotime(kept.at),
        "reason": kept.reason,
        "words": kept.words,
        "topic": message.topic,
        "publisher_id": message.publisher_id,
        "event_type": message.event_type,
        "message_id": message.id,
        "bytes": kept.size,
    }
