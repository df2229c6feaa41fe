# SPDX-License-Identifier: Apache-2.0
"""Writes what memory has and the file has not: rows, cursors, what was set aside, deletions."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from typing import Final, Protocol

from ceilo_agent.delivery import bounds
from ceilo_agent.delivery.bounds import Bound, Limits
from ceilo_agent.delivery.cursor import Cursor, Entry
from ceilo_agent.delivery.entries import compress
from ceilo_agent.delivery.logfile import LogFile
from ceilo_agent.delivery.rows import Aside, Row, Rows, cost
from ceilo_agent.delivery.shelf import Shelf

LOG = logging.getLogger(__name__)

CHUNK_BYTES: Final = 1 << 20
"""Of what could not be written before, so much is written in one transaction."""


class Part(Protocol):
    """What else is written in a transaction of the log. Its calls come one at a time."""

    @property
    def pending(self) -> bool:
        """Whether there is something to write."""

    @property
    def rides(self) -> bool:
        """Whether it also writes with what is offered, when there is nothing else."""

    def write(self, db: sqlite3.Connection, file: int) -> None:
        """Write it; no commit, no rollback.

        Args:
            db: in a transaction.
            file: counts the files: another number than last time means that nothing of what was
                written is there, the tables included.
        """

    def written(self) -> None:
        """Go on: it is committed."""

    def failed(self) -> None:
        """Go on: nothing of it is written."""


class Storing:
    """Writes a shelf to a file.

    Args:
        shelf: what memory has.
        file: open whenever something is written.

    Attributes:
        bytes: what all rows in the file cost.
        lost: samples that were dropped, by publisher and bound, until somebody tells of them.
    """

    def __init__(self, shelf: Shelf, file: LogFile) -> None:
        self.bytes = 0
        self.lost: dict[tuple[Cursor, Bound], int] = {}
        self._shelf = shelf
        self._file = file

    def is_due(self) -> bool:
        """Return whether the file lacks something."""
        shelf = self._shelf
        lacks = shelf.unstored or shelf.asides or shelf.gone
        return bool(lacks) or any(c.noted != c.turn for c in shelf.cursors.values())

    def write(
        self, limits: Limits, part: Part | None, number: int, now: float, *, accepts: bool
    ) -> None:
        """Write it all: what was offered last, and the part, in one transaction.

        Args:
            limits: bounds of what waits.
            part: what else is written.
            number: of the file.
            now: UTC seconds.
            accepts: something was offered.

        Raises:
            sqlite3.Error: something could not be written; what was committed before is noted.
        """
        shelf = self._shelf
        shelf.give_ids()
        pending = list(shelf.unstored)
        for entry in pending:
            if entry.data is None:  # it was in a file that is gone
                entry.data = compress(entry.samples or ())[0]
        while (early := _first(pending)) < len(pending):
            self._transaction(pending[:early], limits, None, number, now, accepts=False)
            pending = pending[early:]
        self._transaction(pending, limits, part, number, now, accepts=accepts)

    def _transaction(
        self, entries: Sequence[Entry], limits: Limits, part: Part | None, number: int,
        now: float, *, accepts: bool,
    ) -> None:  # fmt: skip
        shelf, done, asides = self._shelf, True, dict[Cursor, int]()
        try:
            with self._file.transaction(accepts=accepts) as db:
                rows = Rows(db)
                if part is not None:
                    done = _write_part(db, part, number)
                if limits.max_samples:
                    self._keep_few(rows, limits.max_samples)
                cleared, freed = self._clear(rows)
                data = [entry for entry in entries if entry.is_needed]
                need = sum(cost(len(e.data or b"")) for e in data)
                need += sum(cost(len(aside.data)) for aside in shelf.asides)
                excess = self.bytes - freed + need - limits.max_bytes
                if excess > 0:
                    more, lost, asides = bounds.make_room(shelf, rows, excess)
                    freed += more
                    self.count(lost, Bound.BYTES)
                    for cursor, count in asides.items():
                        cursor.drop_aside(count)
                added = self._add(rows, data)
                noted = self._note(rows, entries, now)
        except BaseException:
            # The file still has them, and after a kill so has the next process.
            for cursor, count in asides.items():
                cursor.drop_aside(-count)
            raise
        self.count(asides, Bound.BYTES)
        self.bytes += added - freed
        shelf.cleared.update(cleared)
        shelf.fresh.clear()
        shelf.gone.clear()
        shelf.stored_asides()
        for cursor, turn in noted:
            cursor.noted = turn
        shelf.stored(entries)
        if part is not None:
            part.written() if done else part.failed()

    def count(self, lost: dict[Cursor, int], bound: Bound) -> None:
        """Note samples that were dropped for a bound."""
        for cursor, count in lost.items():
            if count:
                self.lost[cursor, bound] = self.lost.get((cursor, bound), 0) + count

    def _keep_few(self, rows: Rows, most: int) -> None:
        shelf = self._shelf
        for cursor in shelf.cursors.values():
            if cursor.waiting > most:
                lost = bounds.drop_beyond(cursor, rows, shelf.gone, most)
                self.count({cursor: lost}, Bound.SAMPLES)

    def _clear(self, rows: Rows) -> tuple[dict[int, int], int]:
        """Delete what everybody is past."""
        shelf, cleared, freed = self._shelf, dict[int, int](), 0
        for audience, members in shelf.members.items():
            below = min((cursor.seq for cursor in members), default=shelf.seq + 1)
            if below > shelf.cleared.get(audience, 0):
                freed += rows.clear(audience, below)
                cleared[audience] = below
        freed += sum(map(rows.delete, shelf.gone))
        return cleared, freed

    def _add(self, rows: Rows, entries: Sequence[Entry]) -> int:
        shelf, added = self._shelf, 0
        for entry in entries:
            assert entry.data is not None
            audience = shelf.audience(entry.cursors)
            row = Row(entry.seq, audience, entry.at, entry.count, entry.again)
            added += rows.append(row, entry.data)
        for each in shelf.asides:
            aside = Aside(each.number, each.cursor.id, each.at, each.reason, each.count)
            added += rows.set_aside(aside, each.data)
        for audience in shelf.fresh:
            rows.add_audience(audience, [cursor.id for cursor in shelf.members[audience]])
        return added

    def _note(self, rows: Rows, entries: Sequence[Entry], now: float) -> list[tuple[Cursor, int]]:
        """Write where publishers stand; return which, and their turns."""
        shelf = self._shelf
        stored = {entry.seq for entry in entries}
        noted = []
        for cursor in shelf.cursors.values():
            if cursor.noted == cursor.turn:
                continue
            held = cursor.held(stored)
            if cursor.enrolled:
                cursor.seen = now
            rows.note(cursor.record(), held, cursor.fault)
            # What is held is written later, and noted then.
            noted.append((cursor, cursor.noted if held else cursor.turn))
        return noted


def _first(entries: Sequence[Entry]) -> int:
    """Return how many of the entries fill a transaction."""
    size = 0
    for number, entry in enumerate(entries):
        size += len(entry.data or b"")
        if size > CHUNK_BYTES and number + 1 < len(entries):
            return number + 1
    return len(entries)


def _write_part(db: sqlite3.Connection, part: Part, number: int) -> bool:
    """Let a part write; what is wrong with the part alone costs nobody else anything."""
    db.execute("SAVEPOINT part")
    try:
        part.write(db, number)
    except Exception as error:
        code: int | None = getattr(error, "sqlite_errorcode", None)
        if code is not None and code != sqlite3.SQLITE_ERROR:
            raise
        LOG.exception("what the pipeline's steps remember cannot be written")
        db.execute("ROLLBACK TO part")
        db.execute("RELEASE part")
        return False
    db.execute("RELEASE part")
    return True
