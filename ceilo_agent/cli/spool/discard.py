# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent spool discard``: has samples dropped that nobody is to get any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import click

from ceilo_agent.cli.arguments import spool_option
from ceilo_agent.cli.spool.chosen import (
    Spool,
    check_name,
    is_left_over,
    is_orphan,
    known,
    readers,
    spool,
    without_log,
)
from ceilo_agent.cli.spool.refused import Row, number_option, numbered, rows_of, together
from ceilo_agent.delivery import marks
from ceilo_agent.delivery.amounts import samples
from ceilo_agent.delivery.schema import DISCARD
from ceilo_agent.delivery.spool import Place, Reader
from ceilo_agent.errors import CeiloAgentError
from ceilo_agent.publishers.rendering import printable


class _Load(NamedTuple):
    """What one log has to discard: samples that wait, and rows that were set aside."""

    place: Place
    waiting: int
    aside: Sequence[Row]

    @property
    def refused(self) -> int:
        """Samples that were set aside."""
        return sum(row.samples for row in self.aside)

    def __str__(self) -> str:
        parts = [f"{samples(self.waiting)} waiting"] if self.waiting else []
        parts += [f"{samples(self.refused)} set aside"] if self.refused else []
        return " and ".join(parts)


@click.command("discard")
@click.argument("publisher")
@click.option("--aside", is_flag=True, help="Only what the publisher refused; not what waits.")
@number_option
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@spool_option
@click.pass_obj
def command(
    config_files: tuple[str, ...],
    publisher: str,
    aside: bool,
    numbers: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    spool_dir: str | None,
) -> None:
    """Drop the samples of PUBLISHER for good, and count them as dropped.

    Without --aside or --number it takes a publisher that is not in the pipeline file (any more).
    An agent that runs does it within a second or two, else the next start does.
    """
    found = spool(config_files, spool_dir)
    with readers(found) as opened:
        if not check_name(publisher, known(found, opened), found):
            click.echo(without_log(publisher))
            return
        whole = not (aside or numbers)
        if whole:
            _check_orphan(publisher, found)
        loads = _loads(opened, publisher, numbers, whole=whole)
    if not loads:
        what = "is kept" if whole else "is set aside"
        click.echo(f"nothing {what} for '{printable(publisher)}' that is not discarded already")
        return
    for load in loads:
        _check_place(load.place, found)
        if dry_run:
            click.echo(f"{load.place.name}: {load} of '{printable(publisher)}' would be discarded")
        else:
            click.echo(f"{load.place.name}: {load} of '{printable(publisher)}'", err=True)
    if dry_run:
        return
    if not yes:
        _ask()
    for load in loads:
        if load.waiting:
            marks.discard_waiting(load.place, publisher)
        marks.discard(load.place, [row.number for row in load.aside])
        holder = load.place.holder()
        who = "when the agent starts" if holder is None else f"by process {holder}"
        click.echo(f"{load.place.name}: {load} will be discarded {who}")


def _check_orphan(publisher: str, found: Spool) -> None:
    """Refuse to drop what waits for a publisher that may get it.

    Raises:
        CeiloAgentError: the pipeline file has it, or cannot be read.
    """
    name = printable(publisher)
    orphan = is_orphan(publisher, found)
    if orphan is None:
        raise CeiloAgentError(
            f"whether '{name}' is gone is not known: the pipeline file has faults "
            "(`ceilo-agent config check`; --aside discards what it refused)"
        )
    if not orphan:
        raise CeiloAgentError(
            f"'{name}' is in the pipeline file: what waits is delivered to it (take it out first; "
            "--aside discards what it refused)"
        )


def _check_place(place: Place, found: Spool) -> None:
    """Refuse a log that no agent goes on with.

    Raises:
        CeiloAgentError: another worker takes it over.
    """
    if is_left_over(place, found):
        raise CeiloAgentError(
            f"{place.name}: its worker is gone (start the agent, which takes it over, and discard "
            "then)"
        )


def _loads(
    opened: Sequence[Reader], publisher: str, numbers: Sequence[str], *, whole: bool
) -> list[_Load]:
    rows = [row for row in rows_of(opened, [publisher]) if row.mark != DISCARD]
    if numbers:
        rows = numbered(rows, numbers)
    by_place = {place: those for (place, _), those in together(rows).items()}
    found = []
    for reader in opened:
        waiting = 0
        if whole:
            for standing in reader.standings():
                if standing.publisher == publisher:
                    waiting = standing.waiting - standing.discarded_waiting
        load = _Load(reader.place, waiting, by_place.get(reader.place, ()))
        if load.waiting or load.aside:
            found.append(load)
    return found


def _ask() -> None:
    """Ask for confirmation.

    Raises:
        CeiloAgentError: the answer is no, or nobody answers.
    """
    try:
        sure = click.confirm("They cannot be had back. Discard them?", err=True)
    except click.Abort:
        raise CeiloAgentError("nothing is discarded: nobody answered (--yes)") from None
    if not sure:
        raise CeiloAgentError("nothing is discarded")
