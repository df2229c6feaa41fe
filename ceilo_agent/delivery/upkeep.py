# SPDX-License-Identifier: Apache-2.0
"""What time brings to a log: what is too old goes, what is to be replayed comes once more."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final

from ceilo_agent.delivery import bounds
from ceilo_agent.delivery.access import Access
from ceilo_agent.delivery.amounts import samples
from ceilo_agent.delivery.bounds import Bound, Limits
from ceilo_agent.delivery.cursor import Cursor
from ceilo_agent.delivery.entries import DamagedRow, open_aside
from ceilo_agent.delivery.intake import Intake
from ceilo_agent.delivery.rows import Rows
from ceilo_agent.delivery.schema import DISCARDED
from ceilo_agent.delivery.shelf import Shelf
from ceilo_agent.delivery.storing import Storing

LOG = logging.getLogger(__name__)

AT_ONCE: Final = 64
"""Rows that are put back in one transaction."""

REPLAY_SECONDS: Final = 0.1
"""What is to be replayed is put back for so long at a time: whoever offers waits for it."""

KEPT_SECONDS: Final = 7 * 86400.0
"""A publisher that has nothing here is forgotten so long after it was in a pipeline file."""


class Upkeep:
    """Keeps the file of a log tidy; whoever uses it holds the log's lock.

    Args:
        shelf: what memory has.
        access: to the file.
        storing: counts what the file holds, and what was dropped.
        clock: gives UTC seconds.
    """

    def __init__(
        self, shelf: Shelf, access: Access, storing: Storing, clock: Callable[[], float]
    ) -> None:
        self._shelf = shelf
        self._access = access
        self._storing = storing
        self._clock = clock
        self._seen: int | None = None

    def opened(self, rows: Rows) -> None:
        """Begin anew with a file."""
        self._storing.bytes = rows.bytes()
        self._seen = None

    def bound(self, limits: Limits) -> None:
        """Drop what waits for too long, or is too much for one publisher."""
        moment = self._clock() - limits.max_age
        shelf = self._shelf

        def drop(rows: Rows | None) -> None:
            for cursor in shelf.cursors.values():
                if cursor.waiting:
                    lost = bounds.drop_before(cursor, rows, shelf.gone, moment)
                    self._storing.count({cursor: lost}, Bound.AGE)
                    if limits.max_samples:
                        most = limits.max_samples
                        lost = bounds.drop_beyond(cursor, rows, shelf.gone, most)
                        self._storing.count({cursor: lost}, Bound.SAMPLES)

        if not self._access.read(drop):
            drop(None)

    def expire(self) -> None:
        """Forget publishers that are gone and have nothing here."""
        before = self._clock() - KEPT_SECONDS
        for cursor in list(self._shelf.cursors.values()):
            wanted = cursor.enrolled or cursor.added is not None
            if wanted or cursor.waiting or cursor.counters.set_aside or cursor.seen >= before:
                continue

            def forget(_: Rows, number: int = cursor.id) -> None:
                with self._access.file.transaction() as db:
                    Rows(db).forget(number)

            if self._access.write(forget):
                self._shelf.remove(cursor)

    def marked(self) -> Collection[Cursor]:
        """Do what operators marked in the file; return the publishers that have more to take.

        What is to be replayed is put behind the queues; what is to be discarded is dropped.
        """
        more: set[Cursor] = set()
        if self._access.file.db is None:
            return more
        try:
            changed = self._access.file.changed()
        except sqlite3.Error:
            return more
        if changed == self._seen:
            return more
        by_id = {cursor.id: cursor for cursor in self._shelf.cursors.values()}
        discarded = self._discard_waiting(by_id)
        left, until = True, time.monotonic() + REPLAY_SECONDS
        dropped: list[tuple[Cursor, int]] = []
        while left:
            count = 0

            def work(intake: Intake) -> None:
                nonlocal count
                count = self._again(intake, by_id)
                dropped[:] = self._discard(intake, by_id)

            put = self.receive(work)
            if put is None:
                return more
            for cursor, length in dropped:
                _tell_discarded(cursor, length, "set aside")
            more.update(put)
            count += len(dropped)
            left = count > 0
            if left and time.monotonic() >= until:
                return more
        if discarded:
            self._seen = changed
        return more

    def _discard(self, intake: Intake, by_id: Mapping[int, Cursor]) -> list[tuple[Cursor, int]]:
        """Drop what was set aside and is to be discarded; return how many samples of whom."""
        found: list[tuple[Cursor, int]] = []
        for aside in intake.rows.discarded(AT_ONCE):
            intake.take_back(aside.number)
            if (cursor := by_id.get(aside.publisher)) is not None:
                change = intake.change(cursor)
                change.set_aside -= aside.length
                change.dropped += aside.length
                found.append((cursor, aside.length))
        return found

    def _discard_waiting(self, by_id: Mapping[int, Cursor]) -> bool:
        """Drop what waits and is to be discarded; return whether no mark of it is left.

        Memory leads here, too: the marks go when the file has followed.
        """
        shelf = self._shelf
        done: list[str] = []
        left = 0

        def drop(rows: Rows) -> None:
            nonlocal left
            done.clear()
            left = 0
            for name, seq in rows.taken_over().items():
                if not name.startswith(DISCARDED):
                    continue
                number = name.removeprefix(DISCARDED)
                cursor = by_id.get(int(number)) if number.isdecimal() else None
                if cursor is None:
                    done.append(name)
                elif cursor.enrolled:
                    told = "publisher %s: it is in the pipeline file: what waits is not discarded"
                    LOG.warning(told, cursor.name)
                    done.append(name)
                elif count := bounds.drop_upto(cursor, rows, shelf.gone, seq):
                    left += 1
                    _tell_discarded(cursor, count, "waiting")
                elif cursor.noted == cursor.turn:
                    done.append(name)
                else:
                    left += 1

        def forget(_: Rows) -> None:
            with self._access.file.transaction() as db:
                for name in done:
                    Rows(db).take_over(name, None)

        read = self._access.read(drop)
        forgotten = not done or self._access.write(forget)
        return read and forgotten and not left

    def _again(self, intake: Intake, by_id: dict[int, Cursor]) -> int:
        found = intake.rows.marked(AT_ONCE)
        for aside, sealed in found:
            intake.take_back(aside.number)
            cursor = by_id.get(aside.publisher)
            if cursor is None:
                continue
            change = intake.change(cursor)
            change.set_aside -= aside.length
            try:
                data = bytes(open_aside(sealed, *aside))
            except DamagedRow:
                change.dropped += aside.length
                told = "publisher %s: %d samples that were set aside are damaged and lost"
                LOG.warning(told, cursor.name, aside.length)
            else:
                intake.put([cursor], self._clock(), aside.length, 1, data)
        return len(found)

    def receive(self, work: Callable[[Intake], None]) -> Collection[Cursor] | None:
        """Put rows into the file, in one transaction; None if that cannot be done now.

        Args:
            work: puts them.

        Returns:
            The publishers that have more to take.
        """
        shelf, access = self._shelf, self._access
        more: list[Cursor] = []
        done = False

        def inside(rows: Rows) -> None:
            nonlocal done
            if shelf.unstored or shelf.asides:
                return  # the file was found damaged just now: what it had goes first
            shelf.give_ids()
            intake = Intake(shelf, rows)
            with access.file.transaction(accepts=True):
                work(intake)
                intake.finish()
            more.extend(intake.apply())
            self._storing.bytes += intake.bytes
            done = True

        if shelf.unstored or shelf.asides:
            return None
        return more if access.write(inside, create=True) and done else None


def _tell_discarded(cursor: Cursor, count: int, what: str) -> None:
    told = "publisher %s: %s discarded, as asked for (%s)"
    LOG.info(told, cursor.name, samples(count), what)
