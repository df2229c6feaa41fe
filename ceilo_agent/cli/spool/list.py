# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent spool list``: what waits, for whom and since when."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import click

from ceilo_agent.cli.arguments import output_option, spool_option
from ceilo_agent.cli.spool.chosen import (
    Spool,
    is_left_over,
    is_orphan,
    readers,
    served_by,
    spool,
)
from ceilo_agent.cli.tables import show
from ceilo_agent.delivery.amounts import size, span
from ceilo_agent.delivery.spool import Place, Standing
from ceilo_agent.publishers.rendering import printable
from ceilo_agent.sample import isotime


class _Row(NamedTuple):
    """A publisher in a log, and the bytes that the whole log has."""

    place: Place
    standing: Standing
    used: int

    @property
    def age(self) -> float | None:
        """Seconds since the oldest that waits was offered, None when nothing does."""
        since = self.standing.since
        return None if since is None else max(0.0, time.time() - since)


@click.command("list")
@output_option("table", "json", about="How to print it.")
@spool_option
@click.pass_obj
def command(config_files: tuple[str, ...], output: str, spool_dir: str | None) -> None:
    """List what waits on disk: for whom, since when, who delivers it and why it does not go.

    Counters are of the time since the publisher was first seen: offered = delivered + waiting +
    set aside + dropped.
    """
    found = spool(config_files, spool_dir)
    with readers(found) as opened:
        rows = [
            _Row(reader.place, standing, used)
            for reader in opened
            for used in (reader.bytes(),)
            for standing in reader.standings()
        ]
    if output == "json":
        click.echo(json.dumps([_document(row, found) for row in rows], indent=2))
        return
    if not rows:
        click.echo(found.nothing)
        return
    show(
        (
            "log", "publisher", ">waiting", ">size", "since", ">set aside", ">offered",
            ">delivered", ">dropped", "served by", "fault",
        ),
        [_cells(row, found) for row in rows],
    )  # fmt: skip
    for line in _bounds(rows, found):
        click.echo(line)
    if found.durable is None:
        told = "the pipeline file has faults: which publishers are gone from it is not known"
        click.echo(f"ceilo-agent: {told} (`ceilo-agent config check`)", err=True)


def _bounds(rows: Sequence[_Row], found: Spool) -> Iterator[str]:
    """Say of each log how much of its bounds is used."""
    if found.limits is None:
        return
    for place, those in itertools.groupby(rows, lambda row: row.place):
        logged = list(those)
        said = [f"{size(logged[0].used)} of {size(found.limits.max_bytes)} (max_bytes)"]
        ages = [row.age for row in logged if row.age is not None]
        if ages:
            said.append(
                f"the oldest waits for {span(max(ages))} of {span(found.limits.max_age)} (max_age)"
            )
        yield f"{place.name}: {', '.join(said)}"


def _cells(row: _Row, found: Spool) -> tuple[str, ...]:
    place, standing, _ = row
    aside, waiting = str(standing.set_aside), str(standing.waiting)
    if found.limits is not None and found.limits.max_samples:
        waiting += f" of {found.limits.max_samples}"
    if standing.discarded_waiting:
        waiting += f" ({standing.discarded_waiting} to be discarded)"
    if standing.marked:
        aside += f" ({standing.marked} to be sent again)"
    if standing.discarded:
        aside += f" ({standing.discarded} to be discarded)"
    return (
        place.name,
        printable(standing.publisher),
        waiting,
        size(standing.size),
        "-" if standing.since is None else isotime(standing.since)[:19],
        aside,
        str(standing.offered),
        str(standing.delivered),
        str(standing.dropped),
        served_by(place, standing.publisher, found),
        "-" if standing.fault is None else printable(standing.fault),
    )


def _document(row: _Row, found: Spool) -> dict[str, Any]:
    place, standing, used = row
    limits = found.limits
    return {
        "log": place.name,
        "directory": str(place.directory),
        "publisher": standing.publisher,
        "waiting": standing.waiting,
        "bytes": standing.size,
        "since": None if standing.since is None else isotime(standing.since),
        "set_aside": standing.set_aside,
        "to_be_sent_again": standing.marked,
        "to_be_discarded": standing.discarded + standing.discarded_waiting,
        "offered": standing.offered,
        "delivered": standing.delivered,
        "dropped": standing.dropped,
        "fault": standing.fault,
        "process": place.holder(),
        "orphan": is_orphan(standing.publisher, found),
        "worker_gone": is_left_over(place, found),
        "age": row.age,
        "log_bytes": used,
        "max_bytes": limits and limits.max_bytes,
        "max_samples": (limits and limits.max_samples) or None,
        "max_age": limits and limits.max_age,
    }
