# SPDX-License-Identifier: Apache-2.0
"""The durable log of one process: what publishers were offered, until they are done with it.

One SQLite file (`delivery/schema.py`). Each batch is a transaction, whose commit is its
acknowledgement. Memory leads and the file follows: cursors, counters and the newest rows are in
memory (`delivery/shelf.py`), and what cannot be written is held there until it can.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ceilo_agent.delivery import bounds, leftovers
from ceilo_agent.delivery.access import Access
from ceilo_agent.delivery.bounds import Bound, Limits
from ceilo_agent.delivery.cursor import Cursor
from ceilo_agent.delivery.entries import compress
from ceilo_agent.delivery.intake import Intake
from ceilo_agent.delivery.logqueue import LogQueue, Parcel, Piece, gather
from ceilo_agent.delivery.queues import Counters, Taken
from ceilo_agent.delivery.rows import Rows
from ceilo_agent.delivery.shelf import Shelf
from ceilo_agent.delivery.storing import Part, Storing
from ceilo_agent.delivery.upkeep import Upkeep
from ceilo_agent.sample import Sample

__all__ = ["Limits", "Log", "LogQueue", "Offer", "Part"]

LOG = logging.getLogger(__name__)

ROW_SAMPLES: Final = 5000
"""Samples of one row at most: what is read at once."""

NOTE_SECONDS: Final = 0.25
"""A publisher that has more to take is noted after so long; one that has not, at once."""

LOOK_SECONDS: Final = 5.0
"""Between two looks for samples that are too old."""

TELL_SECONDS: Final = 60.0
"""Between two messages about samples that were dropped."""


class Offer(NamedTuple):
    """Samples, and the names of the durable publishers that they are for."""

    publishers: Sequence[str]
    samples: Sequence[Sample]


class Log:
    """The durable log. Any thread may call it.

    Args:
        directory: of this process alone, ``<spool_dir>/<agent>/<worker>``.
        limits: may be replaced while it is at work.
        fsync: each offer is on the disk's platter before `offer` returns.
        clock: gives UTC seconds.
        monotonic: gives seconds.
    """

    def __init__(
        self,
        directory: Path,
        limits: Limits = Limits(),  # noqa: B008 - immutable
        *,
        fsync: bool = False,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory = directory
        self.limits = limits
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._shelf = Shelf()
        self._access = Access(directory, self._shelf, fsync=fsync, clock=clock, monotonic=monotonic)
        self._storing = Storing(self._shelf, self._access.file)
        self._upkeep = Upkeep(self._shelf, self._access, self._storing, clock)
        self._access.opened = self._upkeep.opened
        self._begun = False
        self._wake: set[Cursor] = set()
        self._blocked: set[Cursor] = set()
        self._noted_at = self._looked_at = self._told_at = float("-inf")

    @property
    def counters(self) -> Mapping[str, Counters]:
        """What became of the samples of every publisher that the log knows, by name."""
        return {name: cursor.counters for name, cursor in self._shelf.cursors.copy().items()}

    @property
    def exists(self) -> bool:
        """Whether there is a file, or may be one: something was kept."""
        return self._access.file.exists()

    @property
    def file(self) -> int:
        """Counts the files: it rises when one is begun in the place of another."""
        return self._access.number

    @property
    def damaged(self) -> int:
        """Files, and parts of them, that were of no use."""
        return self._access.damaged

    @property
    def stored(self) -> bool:
        """Whether the file has all that was offered."""
        with self._lock:
            return not self._shelf.unstored

    def open(self, workers: int = 1) -> None:
        """Take the directory, and up what waits in it. Neither damage nor a full disk stops it.

        Nothing but the lock is made before there is something to keep.

        Args:
            workers: how many directories beside this one are in use, 0 to workers - 1; what is in
                others is taken over.

        Raises:
            ConfigError: another process holds the directory, or it cannot be used.
        """
        with self._locked():
            self._access.begin()
            self._begun = True
        leftovers.take_over(self, workers)

    def enroll(self, names: Collection[str], renamed: Mapping[str, str] | None = None) -> None:
        """Say which durable publishers there are now; what waits for others stays, as orphans.

        Args:
            names: of all of them.
            renamed: names that some of them had, and those that they have now.
        """
        with self._locked():
            cursors = self._shelf.cursors
            for before, after in (renamed or {}).items():
                if before in cursors:
                    self._rename(cursors[before], after)
            now = self._clock()
            for cursor in cursors.values():
                cursor.enrolled = cursor.name in names
            for name in names:
                cursor = self._shelf.cursor(name)
                cursor.enrolled, cursor.seen = True, now
                cursor.turn += 1
            if renamed and self._begun:
                # Now: after a restart nothing tells that it was renamed.
                self._store()

    def _rename(self, cursor: Cursor, name: str) -> None:
        """Give a publisher another name; an orphan that has it gets one that is free."""
        cursors = self._shelf.cursors
        other = cursors.pop(name, None)
        if other is not None:
            other.name = _free(f"{name} (before)", cursors)
            other.enrolled = False
            other.turn += 1
            cursors[other.name] = other
        del cursors[cursor.name]
        cursor.name = name
        cursor.turn += 1
        cursors[name] = cursor

    def queue(self, name: str) -> LogQueue:
        """Return the queue of a publisher that is enrolled.

        Raises:
            KeyError: it is not.
        """
        cursor = self._shelf.cursors[name]
        if not cursor.enrolled:
            raise KeyError(name)
        return LogQueue(self, cursor)

    # -- in --------------------------------------------------------------------------------------

    def offer(self, offers: Sequence[Offer], part: Part | None = None) -> None:
        """Write samples for their publishers, in one transaction with what else is pending.

        It returns when that is committed, or held in memory since it cannot be written.

        Raises:
            KeyError: the log does not know a publisher.
        """
        known = self._shelf.cursors
        prepared = []
        for names, samples in offers:
            cursors = tuple(known[name] for name in dict.fromkeys(names))
            for start in range(0, len(samples), ROW_SAMPLES):
                chunk = samples[start : start + ROW_SAMPLES]
                data, unfit = compress(chunk)
                if unfit:
                    odd = set(map(id, unfit))
                    chunk = [sample for sample in chunk if id(sample) not in odd]
                prepared.append((cursors, chunk, data, len(unfit)))
        with self._locked():
            now = self._clock()
            for cursors, chunk, data, left_out in prepared:
                if left_out:
                    self._leave_out(cursors, left_out)
                if chunk and cursors:
                    self._shelf.add(cursors, now, len(chunk), chunk, data)
                    self._wake.update(cursors)
            if prepared or (part is not None and part.pending):
                self._store(part, accepts=True)

    def read(self, work: Callable[[sqlite3.Connection, int], None]) -> bool:
        """Do something in a transaction of its own, with what `Part.write` gets.

        Returns:
            Whether it was done: False without a file, or if that cannot be used now.
        """

        def inside(_: Rows) -> None:
            with self._access.file.transaction() as db:
                work(db, self._access.number)

        with self._locked():
            try:
                return self._access.write(inside)
            except (TypeError, ValueError, LookupError, OverflowError) as error:
                told = "%s: what the pipeline's steps remembered cannot be read: %s: %s"
                LOG.warning(told, self.directory, type(error).__name__, error)
                return False

    def keep_aside(self, data: bytes) -> Path:
        """Write a damaged part to a file of its own, if that is possible; return its path."""
        self._access.damaged += 1
        place = self._access.file.free_name(self._clock())
        with contextlib.suppress(OSError):
            place.write_bytes(data)
        return place

    def _leave_out(self, cursors: Sequence[Cursor], count: int) -> None:
        for cursor in cursors:
            cursor.counters.offered += count
            cursor.counters.dropped += count
            cursor.turn += 1
        LOG.error("%d samples dropped: what a transformer made of them is no sample", count)

    # -- out: what queues call -------------------------------------------------------------------

    def pieces(self, cursor: Cursor, most: int) -> list[Piece]:
        """Return the oldest rows of a publisher, until they have so many samples."""
        with self._locked():
            cursor.flight, cursor.missed = (0, 0), 0
            if not self._begun:
                return []
            found = self._gather(cursor, most)
            if not found and cursor.waiting and self._access.reading.works:
                # What is counted is not there: that is counted as lost, and not looked for again.
                self._access.doubt()
                found = self._gather(cursor, most)
            if found:
                cursor.flight = found[-1].end
            elif cursor.waiting:
                self._blocked.add(cursor)
        return found

    def _gather(self, cursor: Cursor, most: int) -> list[Piece]:
        found: list[Piece] = []

        def read(rows: Rows) -> None:
            found[:] = gather(self._shelf, rows, cursor, most)

        if not self._access.is_ready:
            self._access.read(_nothing)
        if not self._access.loaded or not cursor.waiting:
            return []
        if not cursor.far:
            return gather(self._shelf, None, cursor, most)
        self._access.read(read)
        return found

    def lose(self, cursor: Cursor, piece: Piece, before: tuple[int, int]) -> None:
        """Drop a row that is damaged; what is taken ends before it."""
        with self._locked():
            cursor.flight = before
            place = self.keep_aside(bytes(piece.data))
            self._shelf.gone.add(piece.seq)
            for each in self._shelf.members.get(piece.audience, (cursor,)):
                if count := each.lose(piece.seq, piece.length):
                    told = "%s: %d samples for publisher %s are damaged and lost (%s)"
                    LOG.error(told, self.directory, count, each.name, place.name)
            self._store()

    def settle(
        self, cursor: Cursor, taken: Taken, delivered: int, parcels: Sequence[Parcel]
    ) -> None:
        """Go on behind what was taken."""
        refused = sum(parcel.length for parcel in parcels)
        with self._locked():
            counters = cursor.counters
            if any(parcel.length for parcel in parcels):
                cursor.pin()
            counters.delivered += delivered
            # Some may have been dropped meanwhile.
            counters.dropped += len(taken.samples) - delivered - refused - cursor.missed
            cursor.flight, cursor.missed = (0, 0), 0
            now = self._clock()
            for reason, length, data, _ in parcels:
                if length:
                    self._shelf.set_aside(cursor, now, reason, length, data)
            cursor.move(*taken.place)
            moment = self._monotonic()
            if not cursor.waiting or parcels or moment - self._noted_at >= NOTE_SECONDS:
                self._noted_at = moment
                self._store()

    def tell(self, cursor: Cursor, fault: str | None) -> None:
        """Note why a publisher cannot deliver: the next write or tick puts it on disk."""
        with self._locked():
            cursor.fault = fault
            cursor.turn += 1

    # -- what time brings ------------------------------------------------------------------------

    def tick(self) -> None:
        """Do what time brings, about every second.

        Drop what is too old, do what operators marked, write what could not be written.
        """
        with self._locked():
            if not self._begun:
                return
            self._access.look()
            moment = self._monotonic()
            if moment - self._looked_at >= LOOK_SECONDS:
                self._looked_at = moment
                self._upkeep.bound(self.limits)
                self._upkeep.expire()
                self._access.file.shrink()
            if self._storing.is_due():
                self._store()
            self._wake.update(self._upkeep.marked())

    def use(self, work: Callable[[Rows], None]) -> bool:
        """Read something from the file; return whether that was done."""
        with self._locked():
            return self._access.read(work)

    def receive(self, work: Callable[[Intake], None]) -> bool:
        """Put rows of another log into the file; return whether that was done.

        Args:
            work: puts them, in one transaction.
        """
        with self._locked():
            self._store()
            more = self._upkeep.receive(work)
            self._wake.update(more or ())
            self._access.write_ledger()
            return more is not None

    def cursor(self, name: str) -> Cursor:
        """Return the cursor of a publisher, whether it is enrolled or not; it has its number."""
        found = self._shelf.cursor(name)
        self._shelf.give_ids()
        return found

    @property
    def cursors(self) -> Collection[Cursor]:
        """Those of all publishers that the log knows."""
        return self._shelf.cursors.copy().values()

    @property
    def taken_over(self) -> Mapping[str, int] | None:
        """How far logs of other workers were taken over, by directory; None: not known now."""
        with self._locked():
            self._access.read(_nothing)
            return self._shelf.taken_over if self._access.loaded else None

    def members(self, audience: int) -> Collection[Cursor]:
        """Return the cursors of the publishers that rows of an audience are for."""
        return self._shelf.members.get(audience, ())

    def close(self) -> int:
        """Write what is not written yet, and let go of the directory.

        Returns:
            Samples that could not be written and are dropped.
        """
        with self._locked():
            if not self._begun:
                return 0
            self._access.writing.hurry()
            self._access.look()
            self._store()
            lost = self._shelf.overflow(everything=True)
            self._access.write_ledger()
            self._access.end()
            self._begun = False
            self._tell_dropped(now=True)
        return sum(lost.values())

    # -- inside ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock in the block; tell afterwards those who have more to take."""
        with self._lock:
            yield
            if self._access.reading.works and self._access.loaded:
                self._wake |= self._blocked
                self._blocked.clear()
            added = [cursor.added for cursor in self._wake]
            self._wake.clear()
            self._tell_dropped()
        for tell in added:
            if tell is not None:
                tell()

    def _store(self, part: Part | None = None, *, accepts: bool = False) -> None:
        """Write what the file has not; what cannot be written is held in memory."""
        shelf, access = self._shelf, self._access
        use = None
        if part is not None and (part.pending or (accepts and shelf.unstored and part.rides)):
            use = part
        if use is None and not self._storing.is_due():
            return

        def write(_: Rows) -> None:
            self._storing.write(self.limits, use, access.number, self._clock(), accepts=accepts)

        create = bool(shelf.unstored or shelf.asides or use)
        done = self._begun and access.write(write, create=create)
        if not done:
            if use is not None:
                use.failed()
            lost = shelf.overflow(everything=not self._begun)
            self._storing.count(lost, Bound.MEMORY)
        shelf.trim()
        access.write_ledger()

    def _tell_dropped(self, *, now: bool = False) -> None:
        """Tell of samples that were dropped for a bound, not too often."""
        lost = self._storing.lost
        moment = self._monotonic()
        if lost and (now or moment - self._told_at >= TELL_SECONDS):
            self._told_at = moment
            for (cursor, bound), count in lost.items():
                why = bounds.told(bound, self.limits, self._storing.bytes, cursor.waiting)
                told = "publisher %s: a bound is reached, %d of its oldest samples dropped: %s"
                LOG.warning(told, cursor.name, count, why)
            lost.clear()


def _free(name: str, names: Collection[str]) -> str:
    """Return a name that is not among some, as near as can be."""
    number, found = 2, name
    while found in names:
        found, number = f"{name} {number}", number + 1
    return found


def _nothing(_: Rows) -> None:
    """Look at the file, and no more."""
