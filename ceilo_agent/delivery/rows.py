# SPDX-License-Identifier: Apache-2.0
"""What is read from the log's tables and written to them (`delivery/schema.py`)."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

from ceilo_agent.delivery.cursor import Head
from ceilo_agent.delivery.entries import seal_aside, seal_row
from ceilo_agent.delivery.ledger import Record
from ceilo_agent.delivery.queues import Counters
from ceilo_agent.delivery.schema import DISCARD, PAGE_BYTES, REPLAY

ROW_BYTES: Final = 128
"""What a row costs beside its samples: its columns, twice, for the index has them too."""

WASTE: Final = 8
"""An eighth of the samples' bytes is added for what the pages of the file leave empty."""

MOST: Final = 1 << 53
"""No number that is written is larger, or below zero; sums of larger ones may fit nowhere."""


class DamagedFile(Exception):
    """The tables hold what was never written there."""


class Row(NamedTuple):
    """A row of `log`; of its samples there is only how many."""

    seq: int
    audience: int
    at: float
    length: int
    again: int


class Aside(NamedTuple):
    """A row of `aside`; of its samples there is only how many."""

    number: int
    publisher: int
    at: float
    reason: str
    length: int


def cost(size: int, rows: int = 1) -> int:
    """Return the bytes on disk of rows with so many bytes of samples."""
    return size + size // WASTE + ROW_BYTES * rows


class Rows:
    """The tables of one file.

    Args:
        db: the open file.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    # -- publishers and audiences ----------------------------------------------------------------

    def publishers(self) -> list[Record]:
        """Return all publishers."""
        return [
            Record(
                _int(id_),
                _text(name),
                _int(seq),
                _int(done),
                _counters(found),
                _float(seen),
                _int(n),
            )
            for id_, name, seq, done, *found, seen, n in self.db.execute(
                "SELECT id, name, seq, done, offered, delivered, set_aside, dropped, seen, turn"
                " FROM publisher"
            )
        ]

    def audiences(self) -> dict[int, list[int]]:
        """Return the publishers of each audience."""
        found: dict[int, list[int]] = {}
        for audience, publisher in self.db.execute("SELECT audience, publisher FROM member"):
            found.setdefault(_int(audience), []).append(_int(publisher))
        return found

    def note(self, record: Record, held: int = 0, fault: str | None = None) -> None:
        """Write where a publisher stands.

        Args:
            record: of the publisher.
            held: samples of those that wait which are not in the file.
            fault: why it cannot deliver, None while it can.
        """
        counters = record.counters
        self.db.execute(
            "INSERT OR REPLACE INTO publisher VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record.id, record.name, record.seq, record.done, counters.offered - held,
                counters.delivered, counters.set_aside, counters.dropped, record.seen, record.turn,
                fault,
            ),
        )  # fmt: skip

    def forget(self, publisher: int) -> None:
        """Delete a publisher for which nothing waits."""
        self.db.execute("DELETE FROM publisher WHERE id = ?", (publisher,))
        self.db.execute("DELETE FROM member WHERE publisher = ?", (publisher,))

    def add_audience(self, audience: int, publishers: Iterable[int]) -> None:
        """Write who the members of an audience are."""
        self.db.executemany(
            "INSERT OR IGNORE INTO member VALUES (?, ?)",
            [(audience, publisher) for publisher in publishers],
        )

    # -- what waits ------------------------------------------------------------------------------

    def last(self) -> int:
        """Return the highest seq, 0 without any."""
        return self._one("SELECT coalesce(max(seq), 0) FROM log")

    def heads(self, audiences: Collection[int], seq: int, upto: int, most: int) -> list[Head]:
        """Return the first rows of some audiences from `seq` to `upto`, at most so many."""
        found: list[Head] = []
        for audience in audiences:
            # One by one: rows of other audiences between them cost nothing.
            found += (
                Head(_int(seq), _float(at), _int(count))
                for seq, at, count in self.db.execute(
                    "SELECT seq, at, count FROM log WHERE audience = ? AND seq BETWEEN ? AND ?"
                    " ORDER BY seq LIMIT ?",
                    (audience, seq, upto, most),
                )
            )
        found.sort()
        return found[:most]

    def row(self, seq: int) -> tuple[Row, object]:
        """Return a row and its sealed samples.

        Raises:
            DamagedFile: there is none, though the index says so.
        """
        found = self.db.execute(
            "SELECT seq, audience, at, count, again, samples FROM log WHERE seq = ?", (seq,)
        ).fetchone()
        if found is None:
            raise DamagedFile(f"row {seq} is missing")
        *row, samples = found
        return _row(row), samples

    def has(self, seq: int) -> bool:
        """Return whether there is a row."""
        return self.db.execute("SELECT 1 FROM log WHERE seq = ?", (seq,)).fetchone() is not None

    def oldest(self) -> Row | None:
        """Return the first row of all, None without any."""
        found = self.db.execute(
            "SELECT seq, audience, at, count, again FROM log ORDER BY seq LIMIT 1"
        ).fetchone()
        return None if found is None else _row(found)

    def page(self, after: int, most: int) -> list[tuple[Row, object]]:
        """Return rows above a seq, and their sealed samples."""
        found = self.db.execute(
            "SELECT seq, audience, at, count, again, samples FROM log WHERE seq > ?"
            " ORDER BY seq LIMIT ?",
            (after, most),
        ).fetchall()
        return [(_row(row), samples) for *row, samples in found]

    def waiting(self, audiences: Iterable[int], seq: int, done: int) -> int:
        """Return how many samples of some audiences there are from a place on."""
        found = 0
        for audience in audiences:
            found += self._one(
                "SELECT coalesce(sum(count), 0) FROM log WHERE audience = ? AND seq >= ?",
                audience, seq,
            )  # fmt: skip
            if done:
                found -= done * self._one(
                    "SELECT count(*) FROM log WHERE audience = ? AND seq = ?", audience, seq
                )
        return found

    def append(self, row: Row, data: bytes) -> int:
        """Add a row, or the same once more; return what it costs."""
        samples = seal_row(data, *row)
        self.db.execute(
            "INSERT OR REPLACE INTO log VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*row, len(samples), samples),
        )
        return cost(len(samples))

    def put_back(self, row: Row, samples: bytes) -> None:
        """Add a row that was saved from a damaged file, unless it is there."""
        self.db.execute(
            "INSERT OR IGNORE INTO log VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*row, len(samples), samples),
        )

    def clear(self, audience: int, below: int) -> int:
        """Delete the rows of an audience below a seq; return what they cost."""
        place = (audience, below)
        size, rows = self.db.execute(
            "SELECT coalesce(sum(size), 0), count(*) FROM log WHERE audience = ? AND seq < ?", place
        ).fetchone()
        if rows:
            self.db.execute("DELETE FROM log WHERE audience = ? AND seq < ?", place)
        return cost(size, rows)

    def delete(self, seq: int) -> int:
        """Delete a row; return what it cost."""
        found = self.db.execute("SELECT size FROM log WHERE seq = ?", (seq,)).fetchone()
        if found is None:
            return 0
        self.db.execute("DELETE FROM log WHERE seq = ?", (seq,))
        return cost(found[0])

    # -- what was set aside ----------------------------------------------------------------------

    def last_aside(self) -> int:
        """Return the highest number, 0 without any."""
        return self._one("SELECT coalesce(max(number), 0) FROM aside")

    def set_aside(self, aside: Aside, data: bytes, replay: int = 0) -> int:
        """Add a row; return what it costs."""
        samples = seal_aside(data, *aside)
        self.db.execute(
            "INSERT OR REPLACE INTO aside VALUES (?, ?, ?, ?, ?, ?, ?)", (*aside, samples, replay)
        )
        return cost(len(samples))

    def put_aside(self, aside: Aside, samples: bytes, replay: int) -> None:
        """Add a row that was saved from a damaged file, unless it is there."""
        self.db.execute(
            "INSERT OR IGNORE INTO aside VALUES (?, ?, ?, ?, ?, ?, ?)", (*aside, samples, replay)
        )

    def asides(self) -> dict[int, int]:
        """Return how many samples of each publisher are set aside."""
        found: dict[int, int] = {}
        for publisher, count in self.db.execute("SELECT publisher, count FROM aside"):
            found[_int(publisher)] = found.get(_int(publisher), 0) + _int(count)
        return found

    def marked(self, most: int) -> list[tuple[Aside, object]]:
        """Return rows that are to be replayed, and their sealed samples."""
        return self._asides("WHERE replay = ? ORDER BY number LIMIT ?", REPLAY, most)

    def discarded(self, most: int) -> list[Aside]:
        """Return rows that an operator has dropped."""
        found = self.db.execute(
            "SELECT number, publisher, at, reason, count FROM aside WHERE replay = ?"
            " ORDER BY number LIMIT ?",
            (DISCARD, most),
        )
        return [_aside(row) for row in found]

    def aside_page(self, after: int, most: int) -> list[tuple[Aside, object]]:
        """Return rows above a number, and their sealed samples."""
        return self._asides("WHERE number > ? ORDER BY number LIMIT ?", after, most)

    def oldest_aside(self) -> Aside | None:
        """Return the first row, None without any."""
        found = self.aside_page(0, 1)
        return found[0][0] if found else None

    def delete_aside(self, number: int) -> int:
        """Delete a row; return what it cost."""
        found = self.db.execute(
            "SELECT length(samples) FROM aside WHERE number = ?", (number,)
        ).fetchone()
        if found is None:
            return 0
        self.db.execute("DELETE FROM aside WHERE number = ?", (number,))
        return cost(found[0])

    def _asides(self, where: str, *values: object) -> list[tuple[Aside, object]]:
        statement = f"SELECT number, publisher, at, reason, count, samples FROM aside {where}"  # noqa: S608
        found = self.db.execute(statement, values).fetchall()
        return [(_aside(row), samples) for *row, samples in found]

    # -- what was taken over ---------------------------------------------------------------------

    def taken_over(self) -> dict[str, int]:
        """Return how far the log of each other worker was taken over."""
        found = dict(self.db.execute("SELECT directory, seq FROM taken_over"))
        if any(type(name) is not str or type(seq) is not int for name, seq in found.items()):
            raise DamagedFile("there is something else where a directory was written")
        return found

    def take_over(self, directory: str, seq: int | None) -> None:
        """Write how far the log of another worker was taken over; None: all of it, it is gone."""
        if seq is None:
            self.db.execute("DELETE FROM taken_over WHERE directory = ?", (directory,))
        else:
            self.db.execute("INSERT OR REPLACE INTO taken_over VALUES (?, ?)", (directory, seq))

    # -- as a whole ------------------------------------------------------------------------------

    def bytes(self) -> int:
        """Return what all rows cost.

        Raises:
            DamagedFile: that is more than there is in the file.
        """
        found = 0
        there = PAGE_BYTES * self._one("PRAGMA page_count")
        for table, size in (("log", "size"), ("aside", "length(samples)")):
            sizes, count = self.db.execute(
                f"SELECT coalesce(sum({size}), 0), count(*) FROM {table}"  # noqa: S608
            ).fetchone()
            if _int(sizes) > there:
                raise DamagedFile("its rows are larger than it is")
            found += cost(sizes, count)
        return found

    def _one(self, statement: str, *values: object) -> int:
        (found,) = self.db.execute(statement, values).fetchone()
        return _int(found)


def _int(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MOST:
        raise DamagedFile("there is something else where a number was written")
    return value


def _float(value: Any) -> float:
    if type(value) is not float:
        raise DamagedFile("there is something else where a time was written")
    return value


def _row(values: Sequence[Any]) -> Row:
    seq, audience, at, length, again = values
    return Row(_int(seq), _int(audience), _float(at), _int(length), _int(again))


def _aside(values: Sequence[Any]) -> Aside:
    number, publisher, at, reason, length = values
    return Aside(_int(number), _int(publisher), _float(at), _text(reason), _int(length))


def _text(value: Any) -> str:
    if type(value) is not str:
        raise DamagedFile("there is something else where a name was written")
    return value


def _counters(values: Sequence[Any]) -> Counters:
    return Counters(*map(_int, values))
