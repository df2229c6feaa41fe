# SPDX-License-Identifier: Apache-2.0
"""Rows of samples that publishers refused, as a command chooses them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import click

from ceilo_agent.delivery.spool import Place, Reader
from ceilo_agent.errors import CeiloAgentError
from ceilo_agent.publishers.rendering import printable

number_option = click.option(
    "--number",
    "numbers",
    multiple=True,
    metavar="N",
    help="Only these, as `spool show --aside` numbers them; with several logs LOG:N, polling/0:7.",
)


class Row(NamedTuple):
    """Samples that were set aside together; `mark`: see `delivery/schema.py`, 0: none."""

    place: Place
    publisher: str
    number: int
    samples: int
    mark: int

    @property
    def name(self) -> str:
        """The number, with the log that it is one of."""
        return f"{self.place.name}:{self.number}"


def rows_of(opened: Sequence[Reader], names: Sequence[str]) -> Iterator[Row]:
    """Yield the rows that some publishers refused."""
    for reader in opened:
        for name in names:
            for number, (count, mark) in reader.counts(name).items():
                yield Row(reader.place, name, number, count, mark)


def numbered(rows: Sequence[Row], numbers: Sequence[str]) -> list[Row]:
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


def together(rows: Sequence[Row]) -> Mapping[tuple[Place, str], list[Row]]:
    """Return the rows by log and publisher."""
    found: dict[tuple[Place, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.place, row.publisher), []).append(row)
    return found
