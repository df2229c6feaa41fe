# SPDX-License-Identifier: Apache-2.0
"""Puts rows into the file without offering them anew: replays, and the logs of other workers.

What they change in memory is applied when they are committed, and not at all otherwise.
"""

from __future__ import annotations

from collections.abc import Collection

from ceilo_agent.delivery.cursor import Cursor
from ceilo_agent.delivery.ledger import Record
from ceilo_agent.delivery.queues import Counters
from ceilo_agent.delivery.rows import Aside, Row, Rows
from ceilo_agent.delivery.shelf import Shelf


class Intake:
    """The rows of one transaction. Everything that memory has must be in the file before.

    Args:
        shelf: what is in memory.
        rows: of the file.

    Attributes:
        rows: of the file, to read what is put elsewhere.
        bytes: what the rows cost, less what was deleted.
    """

    def __init__(self, shelf: Shelf, rows: Rows) -> None:
        assert not shelf.unstored
        assert not shelf.asides
        self.bytes = 0
        self._shelf = shelf
        self.rows = rows
        self._seq = shelf.seq
        self._number = shelf.number
        self._last: dict[Cursor, int] = {}
        self._changes: dict[Cursor, Counters] = {}
        self._taken_over = shelf.taken_over.copy()

    def put(
        self, cursors: Collection[Cursor], at: float, length: int, again: int, data: bytes
    ) -> None:
        """Add a row behind all others."""
        self._seq += 1
        row = Row(self._seq, self._shelf.audience(cursors), at, length, again)
        self.bytes += self.rows.append(row, data)
        for cursor in cursors:
            self._last[cursor] = self._seq

    def put_aside(self, cursor: Cursor, at: float, reason: str, length: int, data: bytes) -> None:
        """Add samples that were set aside."""
        self._number += 1
        self.bytes += self.rows.set_aside(Aside(self._number, cursor.id, at, reason, length), data)

    def take_back(self, number: int) -> None:
        """Delete what was set aside."""
        self.bytes -= self.rows.delete_aside(number)

    def take_over(self, directory: str, upto: int | None) -> None:
        """Write how far the log of another worker was taken over; None: it is gone."""
        self.rows.take_over(directory, upto)
        if upto is None:
            self._taken_over.pop(directory, None)
        else:
            self._taken_over[directory] = upto

    def change(self, cursor: Cursor) -> Counters:
        """Return what is added to the counters of a publisher."""
        return self._changes.setdefault(cursor, Counters())

    def finish(self) -> None:
        """Write what else belongs to it, at the end of the transaction."""
        shelf = self._shelf
        for audience in shelf.fresh:
            self.rows.add_audience(audience, [cursor.id for cursor in shelf.members[audience]])
        for cursor in self._changes.keys() | self._last.keys():
            before = cursor.record()
            counters = _sum(before.counters, self._changes.get(cursor, Counters()))
            self.rows.note(
                Record(
                    before.id, before.name, before.seq, before.done, counters, before.seen,
                    before.turn + 1,
                ),
                fault=cursor.fault,
            )  # fmt: skip

    def apply(self) -> Collection[Cursor]:
        """Let memory follow; return the cursors that have more to take."""
        shelf = self._shelf
        shelf.seq, shelf.number = self._seq, self._number
        shelf.taken_over = self._taken_over
        shelf.fresh.clear()
        for cursor in self._changes.keys() | self._last.keys():
            total = _sum(cursor.counters, self._changes.get(cursor, Counters()))
            cursor.counters.offered, cursor.counters.delivered = total.offered, total.delivered
            cursor.counters.set_aside, cursor.counters.dropped = total.set_aside, total.dropped
            cursor.turn += 1
            cursor.noted = cursor.turn
        for cursor, seq in self._last.items():
            cursor.fall_behind()
            cursor.far = seq
        return self._last.keys()


def _sum(one: Counters, other: Counters) -> Counters:
    return Counters(
        one.offered + other.offered,
        one.delivered + other.delivered,
        one.set_aside + other.set_aside,
        one.dropped + other.dropped,
    )
