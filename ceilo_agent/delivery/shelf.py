# SPDX-License-Identifier: Apache-2.0
"""What the log has in memory: cursors, audiences, the newest rows, and what no file has yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import msgspec

from ceilo_agent.delivery.cursor import Cursor, Entry
from ceilo_agent.delivery.ledger import State
from ceilo_agent.sample import Sample

TAIL_SAMPLES: Final = 20_000
"""Samples of rows that memory keeps as objects, for publishers that keep up: some 4 MB."""

HELD_BYTES: Final = 16 << 20
"""Compressed bytes that memory keeps while they cannot be written: a million samples or more."""


class Aside(msgspec.Struct, eq=False):
    """Samples that were set aside and are not in the file yet; `data` is compressed."""

    number: int
    cursor: Cursor
    at: float
    reason: str
    count: int
    data: bytes


class Shelf:
    """The memory of a log; whoever uses it holds the log's lock.

    Attributes:
        seq: the highest that was given to a row.
        number: the highest that was given to what is set aside.
        cursors: of all publishers by name.
        members: of each audience.
        fresh: audiences that the file does not know.
        unstored: rows that no file has, in their order.
        asides: those set aside that no file has.
        gone: rows to be deleted although not everybody is past them.
        cleared: by audience, the seq below which the file has no rows.
        taken_over: how far logs of other workers were taken over, by directory.
    """

    def __init__(self) -> None:
        self.seq = 0
        self.number = 0
        self.cursors: dict[str, Cursor] = {}
        self.members: dict[int, tuple[Cursor, ...]] = {}
        self.fresh: set[int] = set()
        self.unstored: deque[Entry] = deque()
        self.asides: list[Aside] = []
        self.gone: set[int] = set()
        self.cleared: dict[int, int] = {}
        self.taken_over: dict[str, int] = {}
        self._tail: deque[Entry] = deque()
        self._numbers: dict[frozenset[Cursor], int] = {}

    # -- publishers ------------------------------------------------------------------------------

    def cursor(self, name: str) -> Cursor:
        """Return the cursor of a publisher, a new one at the end if need be."""
        found = self.cursors.get(name)
        if found is None:
            found = self.cursors[name] = Cursor(name, self.seq + 1)
        return found

    def audience(self, cursors: Collection[Cursor]) -> int:
        """Return the number of an audience."""
        key = frozenset(cursors)
        number = self._numbers.get(key)
        if number is None:
            number = max(self.members, default=0) + 1
            self._join(number, tuple(cursors))
            self.fresh.add(number)
        return number

    def _join(self, number: int, cursors: tuple[Cursor, ...]) -> None:
        self.members[number] = cursors
        self._numbers.setdefault(frozenset(cursors), number)
        for cursor in cursors:
            cursor.audiences.add(number)

    def remove(self, cursor: Cursor) -> None:
        """Forget a publisher for which nothing waits."""
        del self.cursors[cursor.name]
        for number in cursor.audiences:
            left = tuple(each for each in self.members[number] if each is not cursor)
            self.members[number] = left
        self._numbers.clear()
        for number, members in self.members.items():
            self._numbers.setdefault(frozenset(members), number)

    def give_ids(self) -> None:
        """Give every publisher its number in the file."""
        last = max((cursor.id for cursor in self.cursors.values()), default=0)
        for cursor in self.cursors.values():
            if not cursor.id:
                last += 1
                cursor.id = last

    # -- rows ------------------------------------------------------------------------------------

    def add(
        self, cursors: tuple[Cursor, ...], at: float, count: int,
        samples: Sequence[Sample] | None, data: bytes,
    ) -> Entry:  # fmt: skip
        """Add a row that no file has yet."""
        self.seq += 1
        entry = Entry(self.seq, cursors, at, count, samples, data)
        for cursor in cursors:
            cursor.add(entry)
        self.unstored.append(entry)
        self._tail.append(entry)
        return entry

    def set_aside(self, cursor: Cursor, at: float, reason: str, count: int, data: bytes) -> None:
        """Add samples that a publisher refused; its cursor was pinned before it went on."""
        self.number += 1
        self.asides.append(Aside(self.number, cursor, at, reason, count, data))
        cursor.counters.set_aside += count
        cursor.turn += 1

    def stored_asides(self) -> None:
        """Note that the file has all that was set aside."""
        for aside in self.asides:
            aside.cursor.pinned = None
        self.asides.clear()

    def stored(self, entries: Iterable[Entry]) -> None:
        """Note that the file has these rows."""
        behind: set[Cursor] = set()
        for entry in entries:
            entry.stored, entry.data = True, None
            # The file alone has what memory was short of space for.
            gone = entry.samples is None
            behind.update(c for c in entry.cursors if c.far or (gone and c.seq <= entry.seq))
        while self.unstored and self.unstored[0].stored:
            self.unstored.popleft()
        for cursor in behind:
            cursor.fall_behind()

    def unstore(self) -> list[Entry]:
        """Note that no file has any of the rows in memory; return those without their bytes."""
        self.unstored = deque(entry for entry in self._tail if entry.users)
        for entry in self.unstored:
            entry.stored = False
        return [entry for entry in self.unstored if entry.data is None]

    def trim(self) -> None:
        """Keep no more samples as objects than the tail may have."""
        tail = self._tail
        count = 0
        for entry in tail:
            if not entry.users:
                entry.samples = None
            if entry.samples is not None:
                count += entry.count
        for entry in tail:
            if count <= TAIL_SAMPLES:
                break
            if entry.samples is None:
                continue
            count -= entry.count
            if entry.stored:
                for cursor in entry.cursors:
                    if cursor.near and cursor.near[0].seq <= entry.seq:
                        cursor.fall_behind()
            entry.samples = None
        while tail and not tail[0].users:
            tail.popleft()

    def overflow(self, *, everything: bool = False) -> dict[Cursor, int]:
        """Drop the oldest of what no file has, if it is too much; return how many samples."""
        most = 0 if everything else HELD_BYTES
        held = sum(len(entry.data or b"") for entry in self.unstored if entry.users)
        lost: dict[Cursor, int] = {}
        while held > most and (len(self.unstored) > 1 or not most):
            entry = self.unstored.popleft()
            held -= len(entry.data or b"") if entry.users else 0
            for cursor in entry.cursors:
                lost[cursor] = lost.get(cursor, 0) + cursor.lose(entry.seq, entry.count)
        size = sum(len(aside.data) for aside in self.asides)
        while size > HELD_BYTES:  # at the end none is dropped: a later process gets them again
            aside = self.asides.pop(0)
            size -= len(aside.data)
            aside.cursor.drop_aside(aside.count)
            lost[aside.cursor] = lost.get(aside.cursor, 0) + aside.count
            if not self.held_aside(aside.cursor):
                aside.cursor.pinned = None
        return lost

    def held_aside(self, cursor: Cursor) -> int:
        """Return how many samples of a publisher were set aside and are in no file."""
        return sum(aside.count for aside in self.asides if aside.cursor is cursor)

    # -- over a restart --------------------------------------------------------------------------

    def state(self) -> State:
        """Return what a later process must know."""
        audiences = {
            number: [cursor.id for cursor in members] for number, members in self.members.items()
        }
        records = [c.sure() for c in self.cursors.values() if c.id]
        return State(self.seq, records, audiences, self.taken_over)

    def load(self, state: State) -> None:
        """Take up what an earlier process knew; what was added since goes behind it."""
        assert not self.members, "nothing is written before all is known"
        for entry in self.unstored:
            entry.seq += state.seq
        for cursor in self.cursors.values():
            cursor.seq += state.seq
        self.seq += state.seq
        self.taken_over = state.taken_over
        by_id: dict[int, Cursor] = {}
        for record in state.publishers:
            cursor = by_id[record.id] = self.cursor(record.name)
            cursor.take_up(record)
        for number, ids in state.audiences.items():
            self._join(number, tuple(by_id[each] for each in ids if each in by_id))
        self.give_ids()

    def renew(self) -> None:
        """Note that the file is a new one and knows nothing."""
        self.fresh = set(self.members)
        self.cleared.clear()
        for cursor in self.cursors.values():
            cursor.noted = 0
