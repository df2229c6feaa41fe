# SPDX-License-Identifier: Apache-2.0
"""Where a publisher stands in the log, and the rows that memory still has.

Rows of a cursor that keeps up are `near`: it reads them from memory. One that does not keep up is
behind: its rows up to `far` are read from the file, and memory keeps none for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import msgspec

from ceilo_agent.delivery.ledger import Record
from ceilo_agent.delivery.queues import Counters
from ceilo_agent.sample import Sample


class Entry(msgspec.Struct, eq=False):
    """A row of the log in memory.

    Attributes:
        seq: of the row.
        cursors: of the publishers that it is for.
        at: when it was accepted, UTC seconds.
        count: of samples.
        samples: None when memory was short of space.
        data: the same compressed, as long as it is not in the file.
        stored: whether it is in the file.
        users: cursors for which it is near.
        again: 1 if it was set aside before.
    """

    seq: int
    cursors: tuple[Cursor, ...]
    at: float
    count: int
    samples: Sequence[Sample] | None
    data: bytes | None
    stored: bool = False
    users: int = 0
    again: int = 0

    def left(self, cursor: Cursor) -> int:
        """Return how many of its samples a publisher is not done with."""
        return cursor.left_of(self.seq, self.count)

    @property
    def is_needed(self) -> bool:
        """Whether a publisher is not past it."""
        return any(cursor.seq <= self.seq for cursor in self.cursors)


class Head(NamedTuple):
    """A row that waits, and what memory has of it; None: the file alone has it."""

    seq: int
    at: float
    length: int
    entry: Entry | None = None


class Cursor:
    """The place of one publisher; whoever uses it holds the log's lock.

    Attributes:
        id: its number in the file; 0 as long as there is none.
        name: of the publisher.
        counters: what became of its samples.
        seq: all rows below it are done.
        done: of row `seq` the first so many samples are done.
        seen: when it was last enrolled, UTC seconds.
        turn: counts its changes; `noted`: how many of them the file has.
        enrolled: whether there is such a publisher now.
        fault: why it cannot deliver now, None while it can.
        audiences: those that it is a member of.
        near: rows in memory, above `far`.
        far: up to here its rows are read from the file; 0: none are.
        flight: where what was taken last ends; what of that was dropped since is `missed`.
        added: told when there is more to take.
        open_row: the row of the file that was read last, and its samples.
        pinned: the place before the first samples that were set aside and are in no file yet.
    """

    def __init__(self, name: str, seq: int) -> None:
        self.id = 0
        self.name = name
        self.counters = Counters()
        self.seq = seq
        self.done = 0
        self.seen = 0.0
        self.turn = 1
        self.noted = 0
        self.enrolled = False
        self.fault: str | None = None
        self.audiences: set[int] = set()
        self.near: deque[Entry] = deque()
        self.far = 0
        self.flight = (0, 0)
        self.missed = 0
        self.added: Callable[[], None] | None = None
        self.open_row: tuple[int, Sequence[Sample]] | None = None
        self.pinned: Record | None = None

    def take_up(self, record: Record) -> None:
        """Go on where the publisher stood; what was added since is behind that."""
        self.id, self.seq, self.done = record.id, record.seq, record.done
        self.seen = max(self.seen, record.seen)
        self.turn += record.turn
        mine, before = self.counters, record.counters
        mine.offered += before.offered
        mine.delivered += before.delivered
        mine.set_aside += before.set_aside
        mine.dropped += before.dropped

    def record(self) -> Record:
        """Return what a later process must know."""
        return Record(self.id, self.name, self.seq, self.done, self.counters, self.seen, self.turn)

    def pin(self) -> None:
        """Keep the place as it is for a later process, before samples are set aside in memory."""
        if self.pinned is None:
            counters = msgspec.structs.replace(self.counters)
            self.pinned = msgspec.structs.replace(self.record(), counters=counters)

    def sure(self) -> Record:
        """Return what a later process must know if nothing more is written.

        What was set aside in memory waits again for it, with all that came behind.
        """
        if self.pinned is None:
            return self.record()
        counters = msgspec.structs.replace(self.pinned.counters, offered=self.counters.offered)
        return msgspec.structs.replace(
            self.record(), seq=self.pinned.seq, done=self.pinned.done, counters=counters
        )

    @property
    def waiting(self) -> int:
        """Samples that were offered and are not done."""
        return self.counters.waiting

    def left_of(self, seq: int, count: int) -> int:
        """Return how many samples of a row are not done."""
        if self.seq < seq:
            return count
        return count - self.done if self.seq == seq else 0

    def held(self, without: Collection[int] = ()) -> int:
        """Return how many samples wait in memory only, some rows not counted."""
        held = 0
        for entry in reversed(self.near):
            if entry.stored:
                break
            if entry.seq not in without:
                held += entry.left(self)
        return held

    def add(self, entry: Entry) -> None:
        """Put a row behind all others."""
        self.near.append(entry)
        entry.users += 1
        self.counters.offered += entry.count
        self.turn += 1

    def move(self, seq: int, done: int = 0) -> None:
        """Go on to a place; never back."""
        self.turn += 1
        if (seq, done) <= (self.seq, self.done):
            return
        self.seq, self.done = seq, done
        if seq > self.far:
            self.far = 0
        while self.near and self.near[0].seq < seq:
            self.near.popleft().users -= 1
        if self.open_row is not None and self.open_row[0] < seq:
            self.open_row = None

    def drop(self, seq: int, count: int, upto: int | None = None) -> int:
        """Drop a row at the head, or the first samples of it; return how many."""
        end = count if upto is None else upto
        lost = self._lose(seq, end)
        if lost:
            self.move(*((seq + 1, 0) if end == count else (seq, end)))
        return lost

    def drop_aside(self, count: int) -> None:
        """Count samples that were set aside as dropped; below zero: take that back."""
        self.counters.set_aside -= count
        self.counters.dropped += count
        self.turn += 1

    def lose(self, seq: int, count: int) -> int:
        """Drop a row wherever it stands; return how many samples. No file has it any more."""
        lost = self._lose(seq, count)
        self.turn += 1
        if lost and self.seq == seq:
            self.move(seq + 1)
        for entry in self.near:
            if entry.seq == seq:
                self.near.remove(entry)
                entry.users -= 1
                break
        return lost

    def _lose(self, seq: int, upto: int) -> int:
        """Count the samples of a row up to `upto` as dropped, if they are not done."""
        if seq < self.seq:
            return 0
        start = self.done if seq == self.seq else 0
        lost = max(0, upto - start)
        self.counters.dropped += lost
        last, within = self.flight
        taken = upto if seq < last else min(upto, within) if seq == last else 0
        self.missed += max(0, taken - start)
        return lost

    def fall_behind(self) -> None:
        """Read from the file from now on, except what is not there."""
        while self.near and self.near[0].stored:
            entry = self.near.popleft()
            entry.users -= 1
            self.far = entry.seq
