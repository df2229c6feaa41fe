# SPDX-License-Identifier: Apache-2.0
"""The outlets of a pipeline file, and of the files that take its place while the agent runs.

A publisher that stands unchanged in the next file keeps its outlet and what waits there. One that
changed under the same name takes over the queue, in its order. So does one of another name in the
place of one with the same URL: what only one may hold could not be opened beside it. One that is
gone delivers what waits for a while, and ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from ceilo_agent import plugins
from ceilo_agent.definition.publishers import PublisherDef
from ceilo_agent.delivery.outlet import Counters, Outlet, never
from ceilo_agent.plugins import Context, Publisher

LEAVE_WITHIN: Final = 30.0
"""Seconds that a publisher which is gone from the file is given for what waits."""

END_WITHIN: Final = 2.0
"""Seconds that are waited for an outlet which has nothing left to do."""


class Placed(msgspec.Struct, frozen=True, eq=False):
    """An outlet and the definition that it follows."""

    definition: PublisherDef
    outlet: Outlet

    def follows(self, definition: PublisherDef) -> bool:
        """Return whether the definition says the same, wherever it stands in the file."""
        mine = self.definition
        return (mine.url, mine.options) == (definition.url, definition.options)


class Outlets:
    """All outlets by name.

    Attributes:
        counters: of every publisher that there was, by name; they go on when it returns.
    """

    def __init__(self) -> None:
        self.counters: dict[str, Counters] = {}
        self.live: dict[str, Placed] = {}
        self.leaving: dict[str, Placed] = {}

    def plan(self, wanted: Iterable[PublisherDef], context: Context) -> Change:
        """Make what these publishers need that there is not.

        Raises:
            PluginError: one cannot be loaded.
        """
        change = Change(self)
        named = {definition.name: definition for definition in wanted}
        free = [placed for name, placed in self.live.items() if name not in named]
        try:
            for definition in named.values():
                self._plan(definition, context, change, free)
        except BaseException:
            change.undo()
            raise
        return change

    def close(self, deadline: float) -> None:
        """Deliver what waits until `deadline` (CLOCK_MONOTONIC), then let go of the publishers."""
        placed = [*self.live.values(), *self.leaving.values()]
        for each in placed:
            each.outlet.leave(deadline)
        for each in placed:
            each.outlet.close(deadline)

    def _plan(
        self, definition: PublisherDef, context: Context, change: Change, free: list[Placed]
    ) -> None:
        known = self.live.get(definition.name) or self._called_back(definition.name, change)
        if known is None and definition.name not in self.counters:
            known = _renamed(definition, free)
        if known is not None and known.follows(definition):
            change.after[definition.name] = known
            return
        made = plugins.load(plugins.PUBLISHER, definition.scheme)(
            definition.url, definition.options, context
        )
        change.add(definition, made, None if known is None else known.outlet)

    def _called_back(self, name: str, change: Change) -> Placed | None:
        """Return an outlet that was to end and has not yet; None without one."""
        placed = self.leaving.get(name)
        if placed is None:
            return None
        if placed.outlet.stay():
            change.stayed.append(placed.outlet)
            return placed
        # What it held open can be opened again only after it let go of it.
        placed.outlet.close(time.monotonic() + END_WITHIN)
        return None


def _renamed(definition: PublisherDef, free: list[Placed]) -> Placed | None:
    """Take the outlet that goes to the same URL under a name which is gone; None without one."""
    for number, placed in enumerate(free):
        if placed.definition.url == definition.url:
            return free.pop(number)
    return None


class Change:
    """The way from one set of outlets to the next: `open`, then `commit` or `undo`.

    Attributes:
        after: the next set by name.
        stayed: outlets that were to end, and are wanted again.
        renamed: names that outlets had before `commit`, and those that they have since.
    """

    def __init__(self, outlets: Outlets) -> None:
        self.after: dict[str, Placed] = {}
        self.stayed: list[Outlet] = []
        self.renamed: dict[str, str] = {}
        self._outlets = outlets
        self._fresh: list[Outlet] = []
        self._swaps: dict[str, Publisher] = {}
        self._opened: list[Outlet] = []
        self._swapped: list[tuple[Outlet, Publisher]] = []
        self._hurry: Callable[[], bool] = never

    @property
    def outlets(self) -> Mapping[str, Outlet]:
        """The outlets of the next set."""
        return {name: placed.outlet for name, placed in self.after.items()}

    def add(self, definition: PublisherDef, publisher: Publisher, outlet: Outlet | None) -> None:
        """Note a publisher that is new, or takes the place of the one behind an outlet."""
        name = definition.name
        if outlet is None:
            counters = self._outlets.counters.setdefault(name, Counters())
            outlet = Outlet(name, publisher, counters=counters)
            self._fresh.append(outlet)
        else:
            self._swaps[name] = publisher
        self.after[name] = Placed(definition, outlet)

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
        """Let the next set take the place of the one before."""
        outlets = self._outlets
        before, outlets.live = outlets.live, self.after
        staying = set()
        for name, placed in self.after.items():
            outlet = placed.outlet
            staying.add(outlet)
            if outlet.name != name:
                self.renamed[outlet.name] = name
                outlets.counters[name] = outlets.counters.pop(outlet.name)
                outlet.name = name
        for name, placed in before.items():
            if placed.outlet not in staying:
                placed.outlet.leave(time.monotonic() + LEAVE_WITHIN)
                outlets.leaving[name] = placed
        outlets.leaving = {
            name: placed
            for name, placed in outlets.leaving.items()
            if name not in self.after and not placed.outlet.ended
        }

    def undo(self) -> None:
        """Close what was opened, and put back what it took the place of."""
        for outlet, publisher in reversed(self._swapped):
            outlet.put_back(publisher, self._hurry)
        for outlet in self._opened:
            outlet.close(time.monotonic() + END_WITHIN)
        for outlet in self.stayed:
            outlet.leave(time.monotonic() + LEAVE_WITHIN)

    def _open(self) -> None:
        for outlet in self._fresh:
            outlet.open()
            self._opened.append(outlet)
        # Last: only these touch what is at work.
        for name, publisher in self._swaps.items():
            outlet = self.after[name].outlet
            self._swapped.append((outlet, outlet.swap(publisher, self._hurry)))
