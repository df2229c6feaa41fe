# SPDX-License-Identifier: Apache-2.0
"""The tables of a journal, in the file of the durable log."""

from __future__ import annotations

import json
import math
import sqlite3
import struct
from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from ceilo_agent.delivery.entries import DamagedRow, seal, unseal

_MOMENT: Final = struct.Struct(">d")

_SCHEMA: Final = """
-- The last moment that a step was told. It is written with every call.
CREATE TABLE IF NOT EXISTS state (
    step TEXT PRIMARY KEY, name TEXT NOT NULL, now BLOB, seen REAL NOT NULL
) WITHOUT ROWID;
-- What a step knew after the calls up to upto: the moment that it was told before, and its own
-- bytes. In a table of its own: SQLite writes a row as a whole.
CREATE TABLE IF NOT EXISTS dump (step TEXT PRIMARY KEY, upto INTEGER NOT NULL, data BLOB);
-- What steps were given since, in the order of the calls, and the moment they were told before.
CREATE TABLE IF NOT EXISTS journal (
    seq INTEGER PRIMARY KEY, step TEXT NOT NULL, now REAL, samples BLOB NOT NULL
);
-- What came out for publishers whose queue is in memory, and none has confirmed yet.
CREATE TABLE IF NOT EXISTS outbox (
    number INTEGER PRIMARY KEY, outlet TEXT NOT NULL, made REAL NOT NULL, samples BLOB NOT NULL
)
"""


class State(NamedTuple):
    """What a step knew.

    Attributes:
        upto: the last call that the dump has in it.
        now: the last moment that it was told.
        dump: what it knew, None before its first dump.
        dumped: the last moment that it was told before the dump.
        sound: whether the dump is what was written. If it is not, nothing tells which calls it has
            in it: then all.
    """

    upto: int
    now: float | None
    dump: bytes | None = None
    dumped: float | None = None
    sound: bool = True


class Row(NamedTuple):
    """What a step was given; `samples` is None where the bytes are damaged."""

    seq: int
    step: str
    now: float | None
    samples: bytes | None


class Output(NamedTuple):
    """What waits for a publisher; `samples` is None where the bytes are damaged."""

    number: int
    outlet: str
    samples: bytes | None


class Tables:
    """The tables of one file.

    Args:
        db: in a transaction, for as long as this is used.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def there(self) -> bool:
        """Return whether a journal was kept in the file."""
        found = self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'journal'").fetchone()
        return found is not None

    def make(self) -> None:
        """Make those that there are not."""
        for statement in _SCHEMA.split(";"):
            self._db.execute(statement)

    # -- reading ---------------------------------------------------------------------------------

    def state(self, step: str) -> State | None:
        """Return what a step knew, None if it was never seen."""
        row = self._db.execute(
            "SELECT coalesce(upto, 0), now, data FROM state LEFT JOIN dump USING (step)"
            " WHERE step = ?",
            (step,),
        ).fetchone()
        if row is None:
            return None
        upto, now, dump = row
        told = None if now is None else _opened(now, step)
        moment = None if told is None else _moment(told)
        if dump is None:
            return State(upto, moment)
        found = _opened(dump, step, upto)
        if found is None:
            return State(self.last(), moment, dump, sound=False)
        return State(upto, moment, found[_MOMENT.size :], _moment(found))

    def last(self) -> int:
        """Return the highest number that was given to a call or an output."""
        (number,) = self._db.execute(
            "SELECT max(coalesce((SELECT max(seq) FROM journal), 0),"
            " coalesce((SELECT max(upto) FROM dump), 0),"
            " coalesce((SELECT max(number) FROM outbox), 0))"
        ).fetchone()
        return int(number)

    def rows(self, steps: Iterable[str]) -> Iterator[Row]:
        """Yield every call of these steps, in order."""
        for seq, step, now, samples in self._db.execute(
            "SELECT seq, step, now, samples FROM journal"
            " WHERE step IN (SELECT value FROM json_each(?)) ORDER BY seq",
            (json.dumps(list(steps)),),
        ):
            yield Row(seq, step, now, _opened(samples, seq, step, now))

    def outputs(self) -> list[Output]:
        """Return what waits for publishers, in order."""
        return [
            Output(number, outlet, _opened(samples, number, outlet))
            for number, outlet, samples in self._db.execute(
                "SELECT number, outlet, samples FROM outbox ORDER BY number"
            )
        ]

    # -- writing, in a transaction ---------------------------------------------------------------

    def append(self, row: Row) -> None:
        """Add a call."""
        assert row.samples is not None
        # As it will be read: SQLite makes a float of a whole number in this column.
        place = (row.seq, row.step, None if row.now is None else float(row.now))
        self._db.execute(
            "INSERT INTO journal VALUES (?, ?, ?, ?)", (*place, seal(row.samples, *place))
        )

    def tell(self, steps: Iterable[tuple[str, str, float | None]], wall: float) -> None:
        """Note steps (identity, name, last moment told) that are in use at `wall` (UTC seconds)."""
        self._db.executemany(
            "INSERT INTO state VALUES (?, ?, ?, ?) ON CONFLICT (step)"
            " DO UPDATE SET now = excluded.now, seen = excluded.seen",
            [(step, name, seal(_packed(now), step), wall) for step, name, now in steps],
        )

    def keep(self, step: str, upto: int, now: float | None, dump: bytes) -> None:
        """Put a new dump in the place of the one before."""
        self._db.execute(
            "INSERT OR REPLACE INTO dump VALUES (?, ?, ?)",
            (step, upto, seal(_packed(now) + dump, step, upto)),
        )

    def forget_dump(self, step: str) -> None:
        """Take a dump away that cannot be loaded."""
        self._db.execute("UPDATE dump SET data = NULL WHERE step = ?", (step,))

    def forget_rows(self, upto: int) -> None:
        """Delete calls up to a number, except those of steps that no dump has in it."""
        self._db.execute(
            "DELETE FROM journal WHERE seq <= ? AND seq <="
            " (SELECT upto FROM dump WHERE dump.step = journal.step)",
            (upto,),
        )

    def expire(self, steps: Collection[str], outlets: Collection[str], before: float) -> list[str]:
        """Delete what belongs to none of these and was not in use since `before` (UTC seconds).

        Returns:
            The names of the steps that are gone.
        """
        gone = [
            (step, name)
            for step, name in self._db.execute(
                "SELECT step, name FROM state WHERE seen < ?", (before,)
            ).fetchall()
            if step not in steps
        ]
        for step, _ in gone:
            self._db.execute("DELETE FROM state WHERE step = ?", (step,))
            self._db.execute("DELETE FROM dump WHERE step = ?", (step,))
            self._db.execute("DELETE FROM journal WHERE step = ?", (step,))
        self._db.executemany(
            "DELETE FROM outbox WHERE number = ?",
            [
                (number,)
                for number, outlet in self._db.execute(
                    "SELECT number, outlet FROM outbox WHERE made < ?", (before,)
                ).fetchall()
                if outlet not in outlets
            ],
        )
        return [name for _, name in gone]

    def put_out(self, number: int, outlet: str, made: float, samples: bytes) -> None:
        """Add what waits for a publisher."""
        self._db.execute(
            "INSERT INTO outbox VALUES (?, ?, ?, ?)",
            (number, outlet, made, seal(samples, number, outlet)),
        )

    def readdress(self, before: str, after: str) -> None:
        """Let what waits for one publisher wait for another."""
        for number, outlet, samples in self.outputs():
            if outlet == before and samples is not None:
                self._db.execute(
                    "UPDATE outbox SET outlet = ?, samples = ? WHERE number = ?",
                    (after, seal(samples, number, after), number),
                )

    def take_out(self, numbers: Iterable[int]) -> None:
        """Delete what a publisher is done with."""
        self._db.executemany(
            "DELETE FROM outbox WHERE number = ?", [(number,) for number in numbers]
        )


def _packed(moment: float | None) -> bytes:
    return _MOMENT.pack(math.nan if moment is None else moment)


def _moment(data: bytes) -> float | None:
    (moment,) = _MOMENT.unpack_from(data)
    return None if math.isnan(moment) else moment


def _opened(sealed: object, *place: object) -> bytes | None:
    """Return the bytes after the checksum, None if they are not what was sealed in this place."""
    try:
        return bytes(unseal(sealed, *place))
    except DamagedRow:
        return None
