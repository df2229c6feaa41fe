# SPDX-License-Identifier: Apache-2.0
"""The outlets of a pipeline file, and of the files that take its place while the agent runs.

A publisher that stands unchanged in the next file keeps its outlet and what waits there. One that
changed under the same name takes over the queue, in its order. So does one of another name in the
place of one with the same URL: what only one may hold could not be opened beside it. One that is
gone delivers what waits and ends: from memory within a while, from the log however long it takes.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

import msgspec

from ceilo_agent import plugins
from ceilo_agent.definition.publishers import PublisherDef
from ceilo_agent.delivery.log import Log
from ceilo_agent.delivery.memory import MemoryQueue
from ceilo_agent.delivery.outlet import Outlet, never
from ceilo_agent.delivery.queues import Counters
from ceilo_agent.errors import ConfigError
from ceilo_agent.plugins import Context, Promise, Publisher

LOG = logging.getLogger(__name__)

LEAVE_WITHIN: Final = 30.0
"""Seconds that a publisher which is gone from the file is given for what waits in memory."""

END_WITHIN: Final = 2.0
"""Seconds that are waited for an outlet which has nothing left to do."""


class Placed(msgspec.Struct, frozen=True, eq=False):
    """An outlet, the definition that it follows, and whether the log holds what waits for it."""

    definition: PublisherDef
    outlet: Outlet
    durable: bool

    def follows(self, definition: PublisherDef) -> bool:
        """Return whether the definition says the same, wherever it stands in the file."""
        mine = self.definition
        same = (mine.url, mine.options) == (definition.url, definition.options)
        return same and mine.digest == definition.digest

    def leave(self) -> None:
        """Deliver what waits, and end."""
        within = math.inf if self.durable else LEAVE_WITHIN
        if is_page(self.outlet.publisher):
            within = 0.0  # nobody can read it any more
        self.outlet.leave(time.monotonic() + within)


class Outlets:
    """All outlets by name.

    Args:
        log: holds what waits for durable publishers; None: memory does.
    """

    def __init__(self, log: Log | None = None) -> None:
        self.log = log
        self.memory: dict[str, Counters] = {}
        self.live: dict[str, Placed] = {}
        self.leaving: list[Placed] = []

    @property
    def counters(self) -> Mapping[str, Counters]:
        """What became of the samples of every publisher that there was, by name.

        They go on when it returns; those of the log also over restarts.
        """
        found = dict(self.log.counters) if self.log is not None else {}
        for name, counters in self.memory.items():
            found[name] = _sum(counters, found[name]) if name in found else counters
        return found

    @property
    def orphans(self) -> Mapping[str, Counters]:
        """Counters of those of which the log keeps samples, and that have no outlet."""
        if self.log is None:
            return {}
        names = {placed.outlet.name for placed in (*self.live.values(), *self.leaving)}
        return {
            name: counters
            for name, counters in self.log.counters.items()
            if name not in names and (counters.waiting or counters.set_aside)
        }

    def plan(self, wanted: Iterable[PublisherDef], context: Context) -> Change:
        """Make what these publishers need that there is not.

        Raises:
            PluginError: one cannot be loaded.
        """
        change = Change(self)
        named = {definition.name: definition for definition in wanted}
        free = [placed for name, placed in self.live.items() if name not in named]
        known = frozenset(self.counters)
        try:
            for definition in named.values():
                self._plan(definition, context, change, free, known)
        except BaseException:
            change.undo()
            raise
        return change

    def close(self, deadline: float) -> None:
        """Deliver what waits until `deadline` (CLOCK_MONOTONIC), then let go of the publishers.

        What the log holds for one that cannot be reached now stays there, untried.
        """
        placed = [*self.live.values(), *self.leaving]
        ends = {
            each.outlet: deadline if not (each.durable and each.outlet.fault) else time.monotonic()
            for each in placed
        }
        for outlet, end in ends.items():
            outlet.leave(end)
        for outlet, end in ends.items():
            outlet.close(end)
        for each in placed:
            if each.durable and each.outlet.waiting:
                told = "publisher %s: %d samples wait on disk"
                LOG.info(told, each.outlet.name, each.outlet.waiting)

    def _plan(
        self,
        definition: PublisherDef,
        context: Context,
        change: Change,
        free: list[Placed],
        known: Collection[str],
    ) -> None:
        made = plugins.load(plugins.PUBLISHER, definition.scheme)
        durable = self.log is not None and is_durable(made)
        name = definition.name
        placed = self.live.get(name)
        if placed is None or placed.durable != durable:
            placed = self._called_back(name, durable, change)
        if placed is None and name not in known:
            placed = _renamed(definition, free)
        if placed is not None and placed.follows(definition):
            change.after[name] = placed
            return
        publisher = made(definition.url, definition.options, context)
        change.add(definition, publisher, None if placed is None else placed.outlet, durable)

    def _called_back(self, name: str, durable: bool, change: Change) -> Placed | None:
        """Return an outlet that was to end and has not yet; None without one."""
        for placed in self.leaving:
            if (placed.outlet.name, placed.durable) == (name, durable):
                if placed.outlet.stay():
                    change.stayed.append(placed)
                    return placed
                # What it held open can be opened again only after it let go of it.
                placed.outlet.close(time.monotonic() + END_WITHIN)
        return None


def is_durable(publisher: object) -> bool:
    """Return whether the agent keeps samples on disk for a class of publishers."""
    return Promise.DURABLE in getattr(publisher, "promises", ())


def is_page(publisher: object) -> bool:
    """Return whether readers come to a publisher: it may hold an address that only one may have."""
    return Promise.PULL in getattr(publisher, "promises", ())


def _renamed(definition: PublisherDef, free: list[Placed]) -> Placed | None:
    """Take the outlet that goes to the same URL under a name which is gone; None without one."""
    for number, placed in enumerate(free):
        if placed.definition.url == definition.url:
            return free.pop(number)
    return None


def _sum(one: Counters, other: Counters) -> Counters:
    pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    return Counters(*map(sum, pairs))


class Change:
    """The way from one set of outlets to the next: `open`, then `commit` or `undo`.

    Attributes:
        after: the next set by name.
        stayed: outlets that were to end, and are wanted again.
        renamed: names that outlets had before `commit`, and those that they have since.
    """

    def __init__(self, outlets: Outlets) -> None:
        self.after: dict[str, Placed] = {}
        self.stayed: list[Placed] = []
        self.renamed: dict[str, str] = {}
        self._outlets = outlets
        self._fresh: list[Outlet] = []
        self._swaps: dict[str, Publisher] = {}
        self._opened: list[Outlet] = []
        self._swapped: list[tuple[Outlet, Publisher]] = []
        self._hurry: Callable[[], bool] = never
        self._closed = contextlib.ExitStack()
        self._pages: list[Outlet] = []

    @property
    def outlets(self) -> Mapping[str, Outlet]:
        """The outlets of the next set."""
        return {name: placed.outlet for name, placed in self.after.items()}

    def add(
        self, definition: PublisherDef, publisher: Publisher, outlet: Outlet | None, durable: bool
    ) -> None:
        """Note a publisher that is new, or takes the place of the one behind an outlet."""
        name = definition.name
        if outlet is not None:
            self._swaps[name] = publisher
        else:
            queue = None
            if not durable:
                queue = MemoryQueue(name, self._outlets.memory.get(name))
            outlet = Outlet(name, publisher, queue)
            self._fresh.append(outlet)
        self.after[name] = Placed(definition, outlet, durable)

    def open(self, hurry: Callable[[], bool] = never) -> None:
        """Open what is new or changed.

        Args:
            hurry: says whether to wait for no push any more.

        Raises:
            ConfigError: one can never work as configured; all is as it was.
        """
        self._hurry = hurry
        try:
            self._open()
        except BaseException:
            self.undo()
            raise

    def commit(self) -> None:
        """Let the next set take the place of the one before, and begin to deliver."""
        outlets, log = self._outlets, self._outlets.log
        before, outlets.live = outlets.live, self.after
        self._rename()
        staying = {placed.outlet for placed in self.after.values()}
        left = [placed for placed in before.values() if placed.outlet not in staying]
        for placed in left:
            placed.leave()
        self._closed.close()
        outlets.leaving = [
            placed
            for placed in (*outlets.leaving, *left)
            if placed.outlet not in staying and not placed.outlet.ended
        ]
        durable = {name for name, placed in self.after.items() if placed.durable}
        if log is not None and (durable or any(placed.durable for placed in left)):
            renamed = {old: new for old, new in self.renamed.items() if new in durable}
            log.enroll(durable, renamed)
        for outlet in self._fresh:
            if outlet.name in durable and log is not None:
                outlet.start(log.queue(outlet.name))
            else:
                outlets.memory[outlet.name] = outlet.counters
                outlet.start()

    def _rename(self) -> None:
        memory = self._outlets.memory
        for name, placed in self.after.items():
            outlet, before = placed.outlet, placed.outlet.name
            if before == name:
                continue
            self.renamed[before] = name
            outlet.name = name
            if isinstance(outlet.queue, MemoryQueue):
                outlet.queue.name = name
                memory[name] = memory.pop(before)

    def undo(self) -> None:
        """Close what was opened, and put back what it took the place of."""
        for outlet, publisher in reversed(self._swapped):
            outlet.put_back(publisher, self._hurry)
        for outlet in self._opened:
            outlet.close(time.monotonic() + END_WITHIN)
        for outlet in self._pages:
            with contextlib.suppress(ConfigError):  # it is opened before the next push
                outlet.put(outlet.publisher)
        self._closed.close()
        for placed in self.stayed:
            placed.leave()

    def _open(self) -> None:
        self._open_fresh(page=False)
        # Last: only these touch what is at work. All are closed before the first is opened, so
        # that two can exchange what only one may hold.
        with contextlib.ExitStack() as paused:
            swaps = [(self.after[name].outlet, made) for name, made in self._swaps.items()]
            for outlet, _ in swaps:
                paused.enter_context(outlet.paused(self._hurry))
            self._close_pages()
            self._open_fresh(page=True)
            for outlet, publisher in swaps:
                self._swapped.append((outlet, outlet.put(publisher)))

    def _open_fresh(self, *, page: bool) -> None:
        for outlet in self._fresh:
            if is_page(outlet.publisher) == page:
                outlet.open()
                self._opened.append(outlet)

    def _close_pages(self) -> None:
        """Close the pages that go, until `commit` or `undo`, if another may want their address."""
        made = [*self._swaps.values(), *(outlet.publisher for outlet in self._fresh)]
        if not any(map(is_page, made)):
            return
        staying = {placed.outlet for placed in self.after.values()}
        for placed in (*self._outlets.live.values(), *self._outlets.leaving):
            if placed.outlet not in staying and is_page(placed.outlet.publisher):
                self._closed.enter_context(placed.outlet.paused(self._hurry))
                self._pages.append(placed.outlet)
