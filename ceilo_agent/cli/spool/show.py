# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent spool show``: the samples that wait or were refused, and why."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import click

from ceilo_agent.cli.arguments import output_option, spool_option
from ceilo_agent.cli.spool.chosen import (
    check_name,
    known,
    readers,
    spool,
    without_log,
)
from ceilo_agent.cli.tables import show
from ceilo_agent.delivery.spool import Kept, Reader, Unreadable
from ceilo_agent.publishers.rendering import json_lines, printable
from ceilo_agent.sample import Sample, isotime


class _Shown(NamedTuple):
    log: str
    publisher: str
    kept: Kept
    sample: Sample


@click.command("show")
@click.argument("publisher", required=False)
@click.option(
    "--aside", is_flag=True, help="What the publisher refused, and why, not what waits for it."
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    metavar="N",
    help="Samples of each publisher and log, the oldest; 0: all.",
)
@output_option(
    "table", "json", about="json: the samples under Ceilometer's names, a line each, whole."
)
@spool_option
@click.pass_obj
def command(
    config_files: tuple[str, ...],
    publisher: str | None,
    aside: bool,
    limit: int,
    output: str,
    spool_dir: str | None,
) -> None:
    """Show the samples that wait for PUBLISHER, without one for all, the oldest first."""
    found = spool(config_files, spool_dir)
    with readers(found) as opened:
        valid = known(found, opened)
        if publisher is not None and not check_name(publisher, valid, found):
            click.echo(without_log(publisher), err=output == "json")
        wanted = [publisher] if publisher is not None else valid
        shown = _samples(opened, wanted, aside, limit)
        if output == "json":
            _print_json(shown)
            return
        rows = list(shown)
        if not rows:
            if publisher is None or publisher in valid:
                click.echo(_nothing(publisher, aside))
            return
        _table(rows, aside)
        left = _total(opened, wanted, aside) - len(rows)
        if left > 0:
            click.echo(f"and {left} more (--limit 0 shows all)", err=True)


def _nothing(publisher: str | None, aside: bool) -> str:
    what = "was refused by" if aside else "waits for"
    whom = "any publisher" if publisher is None else f"'{printable(publisher)}'"
    return f"nothing {what} {whom}"


def _total(opened: list[Reader], wanted: list[str], aside: bool) -> int:
    return sum(
        standing.set_aside if aside else standing.waiting
        for reader in opened
        for standing in reader.standings()
        if standing.publisher in wanted
    )


def _samples(opened: list[Reader], wanted: list[str], aside: bool, limit: int) -> Iterator[_Shown]:
    """Yield samples, log by log and publisher by publisher."""
    for reader in opened:
        for publisher in wanted:
            rows = reader.aside(publisher) if aside else reader.waiting(publisher)
            yield from islice(_each(reader, publisher, rows), limit or None)


def _each(reader: Reader, publisher: str, rows: Iterator[Kept]) -> Iterator[_Shown]:
    try:
        for kept in rows:
            for sample in kept.samples:
                yield _Shown(reader.place.name, publisher, kept, sample)
    except ValueError as error:
        told = f"{reader.place.file} is damaged: {error} (`ceilo-agent spool check` says more)"
        raise Unreadable(told) from error


def _table(rows: list[_Shown], aside: bool) -> None:
    several = len({(row.log, row.publisher) for row in rows}) > 1
    header = (
        *(("log", "publisher") if several else ()),
        *((">number", "set aside") if aside else ("waits since",)),
        "time (UTC)", "resource", "meter", ">volume", "unit",
        *(("reason",) if aside else ()),
    )  # fmt: skip
    show(header, [_cells(row, aside, several) for row in rows])


def _cells(row: _Shown, aside: bool, several: bool) -> tuple[str, ...]:
    kept, sample = row.kept, row.sample
    again = " (to be sent again)" if kept.marked else ""
    again = " (to be discarded)" if kept.discarded else again
    return (
        *((row.log, printable(row.publisher)) if several else ()),
        *((str(kept.number),) if aside else ()),
        isotime(kept.at)[:19],
        isotime(sample.time)[:19],
        printable(sample.resource.id),
        printable(sample.meter.name),
        str(sample.volume),
        printable(sample.meter.unit),
        *((printable(kept.reason) + again,) if aside else ()),
    )


def _print_json(shown: Iterator[_Shown]) -> None:
    """Print the list as it comes: a sample's document, and before it what the log knows of it."""
    before = "[\n"
    for row in shown:
        about: dict[str, object] = {"log": row.log, "publisher": row.publisher}
        if row.kept.number:
            about |= {
                "number": row.kept.number,
                "set_aside": isotime(row.kept.at),
                "reason": row.kept.reason,
                "to_be_sent_again": row.kept.marked,
                "to_be_discarded": row.kept.discarded,
            }
        else:
            about |= {"waits_since": isotime(row.kept.at)}
        (line,) = json_lines([row.sample])
        head = json.dumps(about)[:-1]
        sys.stdout.write(f"{before}{head}, {line.decode().rstrip()[1:]}")
        before = ",\n"
    sys.stdout.write("\n]\n" if before != "[\n" else "[]\n")
