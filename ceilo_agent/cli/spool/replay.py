# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent spool replay``: has samples sent again that were set aside."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ceilo_agent.cli.arguments import spool_option
from ceilo_agent.cli.spool.chosen import (
    Spool,
    check_name,
    is_orphan,
    known,
    readers,
    spool,
    without_log,
)
from ceilo_agent.cli.spool.refused import Row, number_option, numbered, rows_of, together
from ceilo_agent.delivery import marks
from ceilo_agent.delivery.amounts import samples
from ceilo_agent.delivery.schema import REPLAY
from ceilo_agent.delivery.spool import Place
from ceilo_agent.publishers.rendering import printable


@click.command("replay")
@click.argument("publisher", required=False)
@click.option("--all", "everything", is_flag=True, help="Those of every publisher.")
@number_option
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@spool_option
@click.pass_obj
def command(
    config_files: tuple[str, ...],
    publisher: str | None,
    everything: bool,
    numbers: tuple[str, ...],
    dry_run: bool,
    spool_dir: str | None,
) -> None:
    """Have the samples sent again that PUBLISHER refused and that were set aside.

    They go behind what waits. What is too old for the other side by then is set aside again, with
    that reason.
    """
    if everything and publisher is not None:
        raise click.UsageError("only one of PUBLISHER and --all may be given")
    if not everything and publisher is None:
        raise click.UsageError("a PUBLISHER is needed, or --all")
    if everything and numbers:
        raise click.UsageError("--number goes with a PUBLISHER")
    found = spool(config_files, spool_dir)
    with readers(found) as opened:
        valid = known(found, opened)
        if publisher is not None and not check_name(publisher, valid, found):
            click.echo(without_log(publisher))
            return
        rows = list(rows_of(opened, valid if publisher is None else [publisher]))
    if numbers:
        rows = numbered(rows, numbers)
    if not rows:
        whom = "any publisher" if publisher is None else f"'{printable(publisher)}'"
        click.echo(f"nothing is set aside for {whom}")
        return
    for (place, name), those in together(rows).items():
        fresh = [row for row in those if not row.mark]
        if fresh and not dry_run:
            marks.replay(place, [row.number for row in fresh])
        click.echo(_told(place, name, those, found, dry_run=dry_run))


def _told(place: Place, publisher: str, rows: Sequence[Row], found: Spool, *, dry_run: bool) -> str:
    fresh = sum(row.samples for row in rows if not row.mark)
    before = sum(row.samples for row in rows if row.mark == REPLAY)
    said = [f"{place.name}: {samples(fresh)} of '{printable(publisher)}'"]
    said.append("would be sent again" if dry_run else "will be sent again")
    holder = place.holder()
    if is_orphan(publisher, found):
        said.append("when the pipeline file has a publisher of this name")
    elif holder is None:
        said.append("when the agent starts")
    else:
        said.append(f"by process {holder}")
    return " ".join(said) + (f"; {samples(before)} had been asked for before" if before else "")
