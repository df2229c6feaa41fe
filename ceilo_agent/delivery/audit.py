# SPDX-License-Identifier: Apache-2.0
"""Is a log whole: the file, every row, the cursors, the counters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from ceilo_agent.delivery import entries
from ceilo_agent.delivery.spool import Reader, Standing

MOST: Final = 20
"""Findings of one kind that are told one by one."""

_TABLES: Final[tuple[tuple[str, str, Callable[..., memoryview]], ...]] = (
    ("log", "seq, audience, at, count, again", entries.open_row),
    ("aside", "number, publisher, at, reason, count", entries.open_aside),
)


class Audit(NamedTuple):
    """What was found: rows and samples that were read, and what is wrong, in words."""

    rows: int
    samples: int
    findings: list[str]


def audit(reader: Reader) -> Audit:
    """Read the whole log; it may take a while, and nothing is changed."""
    said = (said for (said,) in reader.rows(f"PRAGMA integrity_check({MOST})"))
    findings = [f"SQLite: {each}" for each in said if each != "ok"]
    rows = samples = 0
    for table, columns, unseal in _TABLES:
        bad = []
        for data, *row in reader.rows(f"SELECT samples, {columns} FROM {table}"):  # noqa: S608
            rows += 1
            try:
                found = len(entries.decompress(unseal(data, *row)))
            except ValueError as error:
                bad.append(f"{table} row {row[0]}: {error}")
                continue
            samples += found
            count = row[columns.split(", ").index("count")]
            if found != count:
                bad.append(f"{table} row {row[0]}: {found} samples, {count} were written")
        findings += _first(bad)
    findings += _first([fault for each in reader.standings() for fault in _counters(reader, each)])
    return Audit(rows, samples, findings)


def _counters(reader: Reader, standing: Standing) -> Iterator[str]:
    name = standing.publisher
    parts = standing.delivered + standing.waiting + standing.set_aside + standing.dropped
    if parts != standing.offered:
        yield (
            f"publisher '{name}': {standing.offered} offered, but {standing.delivered} delivered "
            f"+ {standing.waiting} waiting + {standing.set_aside} set aside "
            f"+ {standing.dropped} dropped are {parts}"
        )
    kept = sum(count for count, _ in reader.counts(name).values())
    if kept != standing.set_aside:
        yield f"publisher '{name}': {standing.set_aside} samples set aside, {kept} are there"


def _first(found: list[str]) -> list[str]:
    left = len(found) - MOST
    return found[:MOST] + ([f"and {left} more like these"] if left > 0 else [])
