# SPDX-License-Identifier: Apache-2.0
"""Which windows were closed, so that a late sample makes no second output for the same time."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from typing import Final, Generic, TypeVar

from ceilo_agent.pipeline.transformers.aging import Aging

REMEMBERED: Final = 500_000
"""Groups kept."""
KEPT_FOR: Final = 86400.0
"""Seconds that a group is kept after its last output."""
RUNS: Final = 32
"""Runs of window numbers kept of a group."""
CLOCK_STEP: Final = 3600.0
"""Seconds. Time that falls back further was set; it does not come from a late sample."""

K = TypeVar("K", bound=Hashable)


class ClosedWindows(Generic[K]):
    """The numbers of the closed windows of each group, as runs of consecutive numbers.

    A group that has samples all the time is one run, however long it lives.
    """

    def __init__(self) -> None:
        self._runs: Aging[K, tuple[int, ...]] = Aging(REMEMBERED)

    def has(self, group: K, number: int) -> bool:
        """Return whether a window was closed."""
        runs = self._runs.get(group)
        if not runs:
            return False
        place = bisect_left(runs, number)
        # An odd place lies within a run, behind its first number.
        return place % 2 == 1 or (place < len(runs) and runs[place] == number)

    def add(self, group: K, number: int, time: float) -> None:
        """Take a window, which ended at `time`, for closed."""
        runs = list(self._runs.get(group) or ())
        place = bisect_left(runs, number)
        if not self.has(group, number):
            runs[place:place] = (number, number)
            # Join it to the runs that end before it and begin behind it.
            if place + 2 < len(runs) and runs[place + 2] == number + 1:
                del runs[place + 1 : place + 3]
            if place and runs[place - 1] == number - 1:
                del runs[place - 1 : place + 1]
            if len(runs) > 2 * RUNS:
                # What lies between the two oldest counts as closed from now on.
                del runs[1:3]
        self._runs.put(group, tuple(runs), time)

    def tick(self, now: float) -> None:
        """Move time to `now`."""
        self._runs.tick(now, KEPT_FOR)

    def rows(self) -> Iterator[tuple[K, Sequence[int], float]]:
        """Yield group, runs and age, for `restore`."""
        return self._runs.rows()

    def restore(self, rows: Iterable[tuple[K, Collection[int], float]], now: float | None) -> None:
        """Take up what `rows` gave at the time `now`.

        Raises:
            ValueError: these are no runs.
        """
        found = [(group, tuple(runs), stamp) for group, runs, stamp in rows]
        for _, runs, _ in found:
            if len(runs) % 2 or list(runs) != sorted(runs):
                raise ValueError("the closed windows of a group are no runs")
        self._runs.restore(found, now)


class Marks(Generic[K]):
    """The time up to which each series was used."""

    def __init__(self) -> None:
        self._marks: Aging[K, float] = Aging(REMEMBERED)

    def passed(self, key: K, time: float) -> bool:
        """Return whether a sample of this time was used, or came behind one that was."""
        mark = self._marks.get(key)
        return mark is not None and mark - CLOCK_STEP < time <= mark

    def put(self, key: K, time: float) -> None:
        """Take all up to a time for used."""
        self._marks.put(key, time, time)

    def tick(self, now: float) -> None:
        """Move time to `now`."""
        self._marks.tick(now, KEPT_FOR)

    def rows(self) -> Iterator[tuple[K, float, float]]:
        """Yield key, time and age, for `restore`."""
        return self._marks.rows()

    def restore(self, rows: Iterable[tuple[K, float, float]], now: float | None) -> None:
        """Take up what `rows` gave at the time `now`."""
        self._marks.restore(rows, now)
