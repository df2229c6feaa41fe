# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent spool list``: what waits, for whom and since when."""

from __future__ import annotations

import json
from typing import Any, Final

import click

from ceilo_agent.cli.spool.chosen import (
    Spool,
    is_left_over,
    is_orphan,
    readers,
    served_by,
    spool,
    spool_option,
)
from ceilo_agent.cli.tables import show
from ceilo_agent.delivery.spool import Place, Standing
from ceilo_agent.publishers.rendering import printable
from ceilo_agent.sample import isotime

UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


@click.command("list")
@click.option(
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print it.",
)
@spool_option
@click.pass_obj
def command(config_files: tuple[str, ...], output: str, spool_dir: str | None) -> None:
    """List what waits on disk: for whom, since when, who delivers it and why it does not go.

    Counters are of the time since the publisher was first seen: offered = delivered + waiting +
    set aside + dropped.
    """
    found = spool(config_files, spool_dir)
    with readers(found) as opened:
        rows = [(reader.place, standing) for reader in opened for standing in reader.standings()]
    if output == "json":
        click.echo(json.dumps([_document(*row, found) for row in rows], indent=2))
        return
    if not rows:
        click.echo(found.nothing)
        return
    show(
        (
            "log", "publisher", ">waiting", ">size", "since", ">set aside", ">offered",
            ">delivered", ">dropped", "served by", "fault",
        ),
        [_cells(*row, found) for row in rows],
    )  # fmt: skip
    if found.durable is None:
        told = "the pipeline file has faults: which publishers are gone from it is not known"
        click.echo(f"ceilo-agent: {told} (`ceilo-agent config check`)", err=True)


def _cells(place: Place, standing: Standing, found: Spool) -> tuple[str, ...]:
    aside = str(standing.set_aside)
    if standing.marked:
        aside += f" ({standing.marked} to be sent again)"
    return (
        place.name,
        printable(standing.publisher),
        str(standing.waiting),
        size(standing.size),
        "-" if standing.since is None else isotime(standing.since)[:19],
        aside,
        str(standing.offered),
        str(standing.delivered),
        str(standing.dropped),
        served_by(place, standing.publisher, found),
        "-" if standing.fault is None else printable(standing.fault),
    )


def _document(place: Place, standing: Standing, found: Spool) -> dict[str, Any]:
    return {
        "log": place.name,
        "directory": str(place.directory),
        "publisher": standing.publisher,
        "waiting": standing.waiting,
        "bytes": standing.size,
        "since": None if standing.since is None else isotime(standing.since),
        "set_aside": standing.set_aside,
        "to_be_sent_again": standing.marked,
        "offered": standing.offered,
        "delivered": standing.delivered,
        "dropped": standing.dropped,
        "fault": standing.fault,
        "process": place.holder(),
        "orphan": is_orphan(standing.publisher, found),
        "worker_gone": is_left_over(place),
    }


def size(count: float) -> str:
    """Return bytes for people: three figures and a binary unit."""
    unit = 0
    while count >= 1000 and unit < len(UNITS) - 1:
        count, unit = count / 1024, unit + 1
    return (
        f"{count:.{2 if count < 10 else 1 if count < 100 else 0}f} {UNITS[unit]}"
        if unit
        else (f"{count:.0f} B")
    )
