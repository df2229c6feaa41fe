# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent spool replay``: has samples sent again that were set aside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import click

from ceilo_agent.cli.spool.chosen import (
    Spool,
    check_name,
    is_orphan,
    known,
    readers,
    spool,
    spool_option,
    without_log,
)
from ceilo_agent.delivery.spool import Place, Reader, mark
from ceilo_agent.errors import CeiloAgentError
from ceilo_agent.publishers.rendering import printable


class _Row(NamedTuple):
    """Samples that were set aside together; `marked`: they are to be sent again already."""

    place: Place
    publisher: str
    number: int
    samples: int
    marked: bool

    @property
    def name(self) -> str:
        """The number, with the log that it is one of."""
        return f"{self.place.name}:{self.number}"


@click.command("replay")
@click.argument("publisher", required=False)
@click.option("--all", "everything", is_flag=True, help="Those of every publisher.")
@click.option(
    "--number",
    "numbers",
    multiple=True,
    metavar="N",
    help="Only these, as `spool show --aside` numbers them; with several logs LOG:N, polling/0:7.",
)
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
        rows = list(_rows(opened, valid if publisher is None else [publisher]))
    if numbers:
        rows = _numbered(rows, numbers)
    if not rows:
        whom = "any publisher" if publisher is None else f"'{printable(publisher)}'"
        click.echo(f"nothing is set aside for {whom}")
        return
    for (place, name), those in _together(rows).items():
        fresh = [row for row in those if not row.marked]
        if fresh and not dry_run:
            mark(place, [row.number for row in fresh])
        click.echo(_told(place, name, those, found, dry_run=dry_run))


def _rows(opened: Sequence[Reader], names: Sequence[str]) -> Iterator[_Row]:
    for reader in opened:
        for name in names:
            for number, (count, marked) in reader.counts(name).items():
                yield _Row(reader.place, name, number, count, marked)


def _numbered(rows: Sequence[_Row], numbers: Sequence[str]) -> list[_Row]:
    """Return the rows that the numbers name.

    Raises:
        CeiloAgentError: a number names none, or one in each of several logs.
    """
    chosen = []
    for number in numbers:
        hits = [row for row in rows if number in (str(row.number), row.name)]
        if not hits:
            there = ", ".join(str(row.number) for row in rows[:10]) or "none"
            more = ", ..." if len(rows) > 10 else ""
            raise CeiloAgentError(
                f"nothing is set aside under the number '{printable(number)}' (there are "
                f"{there}{more})"
            )
        if len(hits) > 1:
            names = " or ".join(row.name for row in hits)
            raise CeiloAgentError(f"the number {number} is in several logs (write {names})")
        chosen += hits
    return list(dict.fromkeys(chosen))


def _together(rows: Sequence[_Row]) -> Mapping[tuple[Place, str], list[_Row]]:
    found: dict[tuple[Place, str], list[_Row]] = {}
    for row in rows:
        found.setdefault((row.place, row.publisher), []).append(row)
    return found


def _told(
    place: Place, publisher: str, rows: Sequence[_Row], found: Spool, *, dry_run: bool
) -> str:
    fresh = sum(row.samples for row in rows if not row.marked)
    before = sum(row.samples for row in rows if row.marked)
    said = [f"{place.name}: {_samples(fresh)} of '{printable(publisher)}'"]
    said.append("would be sent again" if dry_run else "will be sent again")
    holder = place.holder()
    if is_orphan(publisher, found):
        said.append("when the pipeline file has a publisher of this name")
    elif holder is None:
        said.append("when the agent starts")
    else:
        said.append(f"by process {holder}")
    return " ".join(said) + (f"; {_samples(before)} had been asked for before" if before else "")


def _samples(count: int) -> str:
    return f"{count} sample{'' if count == 1 else 's'}"
