# SPDX-License-Identifier: Apache-2.0
"""What the writer remembers of the store's small tables: which series a sample belongs to.

An index is of one connection. After a transaction that failed it must be loaded anew: it may know
rows that were rolled back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from ceilo_agent.sample import Meter, Resource, SampleType
from ceilo_agent.store.encoding import clean, encode_json

Row = tuple[int, int, int | float | str]
"""Of the table `sample`: time in microseconds, series, volume."""

MARK_ROWS: Final = 100_000
"""Samples after which the horizon moves: what a reader scans at most for the last times."""
FORGET_ROWS: Final = 2_000
"""Series without samples that are forgotten at once."""

_BEFORE_ALL: Final = -(2**63)
_time = itemgetter(0)


class Known:
    """A resource of the store.

    Attributes:
        row: its id in the table.
        newest: the time of its newest sample, microseconds.
        resource: what the table says of it; None until it was compared once.
        series: the ids of its series by meter.
    """

    __slots__ = ("newest", "resource", "row", "series")

    def __init__(self, row: int, newest: int, resource: Resource | None) -> None:
        self.row = row
        self.newest = newest
        self.resource = resource
        self.series: dict[Meter, int] = {}


class Index:
    """The series of a store, by resource and meter, each with the time of its newest sample."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._load()

    def _load(self) -> None:
        db = self._db
        meters = {
            row: Meter(name, unit, SampleType(kind))
            for row, name, unit, kind in db.execute("SELECT id, name, unit, type FROM meter")
        }
        self._meters = {meter: row for row, meter in meters.items()}
        by_row: dict[int, Known] = {}
        self._resources: dict[str, Known] = {}
        for row, name in db.execute("SELECT id, name FROM resource"):
            self._resources[name] = by_row[row] = Known(row, _BEFORE_ALL, None)
        self._owner: dict[int, Known] = {}
        self._last: dict[int, int] = {}
        for series, meter, resource, seen in db.execute(
            "SELECT id, meter, resource, seen FROM series"
        ):
            self._owner[series] = known = by_row[resource]
            known.series[meters[meter]] = series
            self._last[series] = seen
        (self._horizon,) = db.execute("SELECT value FROM state WHERE name = 'horizon'").fetchone()
        self._unmarked = 0
        for series, last, count in db.execute(
            "SELECT series, max(time), count(*) FROM sample WHERE time > ? GROUP BY series",
            (self._horizon,),
        ):
            self._last[series] = last
            self._unmarked += count
        for series, known in self._owner.items():
            known.newest = max(known.newest, self._last[series])
        self._newest = max(self._last.values(), default=_BEFORE_ALL)

    def settle(self, resource: Resource, micros: int) -> Known:
        """Return what is known of a resource, after noting what a sample of that time says of it.

        The newest sample's word counts; the table is written only when that word is another.
        """
        known = self._resources.get(resource.id)
        if known is None:
            return self._admit(resource, micros)
        if known.resource is not resource and micros >= known.newest:
            self._renew(known, resource)
        known.newest = max(known.newest, micros)
        return known

    def _admit(self, resource: Resource, micros: int) -> Known:
        name = clean(resource.id)
        known = self._resources.get(name)
        if known is None:
            self._db.execute(
                "INSERT OR IGNORE INTO resource(name, project, owner, type, metadata) "
                "VALUES(?, ?, ?, ?, ?)",
                (name, *_facts(resource)),
            )
            (row,) = self._db.execute("SELECT id FROM resource WHERE name = ?", (name,)).fetchone()
            known = self._resources[name] = Known(row, micros, None)
        self._resources[resource.id] = known
        self._renew(known, resource)
        return known

    def _renew(self, known: Known, resource: Resource) -> None:
        if known.resource is not None:
            changed = not _same(known.resource, resource)
        else:
            stored = self._db.execute(
                "SELECT project, owner, type, metadata FROM resource WHERE id = ?", (known.row,)
            ).fetchone()
            changed = stored != _facts(resource)
        if changed:
            self._db.execute(
                "UPDATE resource SET project = ?, owner = ?, type = ?, metadata = ? WHERE id = ?",
                (*_facts(resource), known.row),
            )
        known.resource = resource

    def add(self, known: Known, meter: Meter, micros: int) -> int:
        """Return the id of a new series, whose first sample has that time."""
        meter_row = self._meters.get(meter)
        if meter_row is None:
            words = (clean(meter.name), clean(meter.unit), meter.type.value)
            self._db.execute("INSERT OR IGNORE INTO meter(name, unit, type) VALUES(?, ?, ?)", words)
            (meter_row,) = self._db.execute(
                "SELECT id FROM meter WHERE name = ? AND unit = ? AND type = ?", words
            ).fetchone()
            self._meters[meter] = meter_row
        self._db.execute(
            "INSERT OR IGNORE INTO series(meter, resource, seen) VALUES(?, ?, ?)",
            (meter_row, known.row, micros),
        )
        (series,) = self._db.execute(
            "SELECT id FROM series WHERE meter = ? AND resource = ?", (meter_row, known.row)
        ).fetchone()
        known.series[meter] = series
        self._owner[series] = known
        self._last.setdefault(series, micros)
        return int(series)

    def note(self, rows: Sequence[Row]) -> None:
        """Take note of samples that were written, in order of time."""
        if not rows:
            return
        self._unmarked += len(rows)
        last = self._last
        if rows[0][0] >= self._newest and rows[0][0] > self._horizon:
            last.update((series, time) for time, series, _ in rows)
        else:
            late = {}
            for time, series, _ in rows:
                if time > last[series]:
                    last[series] = time
                    if time <= self._horizon:
                        late[series] = time
            self._write_seen(late)
        self._newest = max(self._newest, rows[-1][0])

    def mark(self, now: int, *, force: bool = False) -> None:
        """Move the horizon up to the newest sample, but not beyond `now`, if enough was written."""
        if self._unmarked < MARK_ROWS and not (force and self._unmarked):
            return
        # A clock that ran ahead must not make everything after it a late sample.
        horizon = min(self._newest, now)
        if horizon > self._horizon:
            old = self._horizon
            self._horizon = horizon
            self._write_seen(
                {series: time for series, time in self._last.items() if old < time <= horizon}
            )
            self._db.execute("UPDATE state SET value = ? WHERE name = 'horizon'", (horizon,))
        self._unmarked = 0
        self._forget()

    def _write_seen(self, times: dict[int, int]) -> None:
        self._db.executemany(
            "UPDATE series SET seen = ? WHERE id = ?",
            [(time, series) for series, time in times.items()],
        )

    def _forget(self) -> None:
        """Delete series all of whose samples are gone, and resources that have no other."""
        (oldest,) = self._db.execute("SELECT min(time) FROM sample").fetchone()
        if oldest is None:
            return
        gone = [series for series, time in self._last.items() if time < oldest][:FORGET_ROWS]
        for series in gone:
            self._db.execute("DELETE FROM series WHERE id = ?", (series,))
            del self._last[series]
            known = self._owner.pop(series)
            known.series = {meter: row for meter, row in known.series.items() if row != series}
            if not known.series:
                self._db.execute("DELETE FROM resource WHERE id = ?", (known.row,))
        if gone:
            self._resources = {
                name: known for name, known in self._resources.items() if known.series
            }


def _same(one: Resource, other: Resource) -> bool:
    return (
        (one.metadata is other.metadata or one.metadata == other.metadata)
        and one.project_id == other.project_id
        and one.user_id == other.user_id
        and one.type == other.type
    )


def _facts(resource: Resource) -> tuple[str | None, str | None, str, str]:
    """Return the columns of the table that may change."""
    return (
        None if resource.project_id is None else clean(resource.project_id),
        None if resource.user_id is None else clean(resource.user_id),
        clean(resource.type),
        encode_json(resource.metadata).decode("utf-8"),
    )
