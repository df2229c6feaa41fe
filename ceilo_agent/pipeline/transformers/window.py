# SPDX-License-Identifier: Apache-2.0
"""Windows that gather samples until a timer, or what they hold, closes them.

Time comes with the ticks alone: what arrives between two of them arrives at the first. So the state
after a tick is the same whether or not there were others since the last sample.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterator
from typing import Final, Generic, TypeVar

import msgspec

from ceilo_agent.messaging.packing import pack, unpack
from ceilo_agent.sample import UNTRACKED, Sample, Volume

MAX_HELD: Final = 1_000_000
"""Samples that the open windows of one transformer may hold."""
IDLE: Final = 86400.0
"""Seconds without a sample after which a window is closed that no timer closes for so long."""

K = TypeVar("K", bound=Hashable)
Slot = tuple[str, float]
"""Resource and time: what a sample of a window is known by."""


class Window:
    """The samples of one group in one stretch of time.

    Attributes:
        start: the time it begins.
        end: the time it ends, None when no timer closes it.
        volumes: by resource id and time.
        first: the sample with the lowest time (then the lowest resource id).
        last: the one with the highest.
        arrived: the tick before its last new sample; before the first tick its start.
        serial: orders windows by when they were opened.
        behind: seconds that all of its samples came after their time, at least; the clock of their
            host is behind ours, or the way is long.
        waits: when its timer is set for.
    """

    __slots__ = (
        "arrived", "behind", "end", "first", "last", "serial", "start", "volumes", "waits",
    )  # fmt: skip

    def __init__(self, start: float, end: float | None, serial: int, sample: Sample) -> None:
        self.start = start
        self.end = end
        self.serial = serial
        self.volumes: dict[Slot, Volume] = {}
        self.first = sample
        self.last = sample
        self.arrived = start
        self.behind = 0.0
        self.waits = 0.0

    def due(self, grace: float) -> float:
        """Return when its timer closes it."""
        if self.end is None:
            return self.arrived + IDLE
        # A clock that is ahead does not hold it open until that time comes, nor one far behind.
        latest = self.arrived + (self.end - self.start) + IDLE
        end = self.end + max(self.behind, 0.0)
        return max(min(end, latest), self.arrived) + grace


class _Row(msgspec.Struct, array_like=True):
    start: float
    end: float | None
    arrived: float
    volumes: list[tuple[str, float, int | float]]
    behind: float = 0.0


class WindowsState(msgspec.Struct, array_like=True):
    """All of the open windows, as `dump` returns it.

    Attributes:
        now: the last tick.
        rows: one per window, in the order of opening.
        edges: the first and the last sample of each, packed, without their volumes.
    """

    now: float | None
    rows: list[_Row]
    edges: bytes


class Windows(Generic[K]):
    """The open windows of one transformer, by key.

    Args:
        grace: seconds that a window waits for late samples.

    Attributes:
        held: samples in all of them.
    """

    def __init__(self, grace: float) -> None:
        self.held = 0
        self._grace = grace
        self._open: dict[K, Window] = {}
        self._timer: list[tuple[float, int, K]] = []  # a heap; may be early, never late
        self._serial = 0
        self._now: float | None = None

    @property
    def now(self) -> float | None:
        """The last tick."""
        return self._now

    def get(self, key: K) -> Window | None:
        """Return the open window of a key."""
        return self._open.get(key)

    def open(self, key: K, start: float, end: float | None, sample: Sample) -> Window:
        """Open a window for a key that has none; the sample is still to be added."""
        self._serial += 1
        window = self._open[key] = Window(start, end, self._serial, sample)
        if self._now is not None:
            window.behind = self._now - sample.time
        self._arrive(window, sample)
        self._wait(key, window)
        return window

    def _arrive(self, window: Window, sample: Sample) -> None:
        if self._now is not None:
            window.arrived = self._now
            window.behind = min(window.behind, self._now - sample.time)

    def _wait(self, key: K, window: Window) -> None:
        window.waits = window.due(self._grace)
        heapq.heappush(self._timer, (window.waits, window.serial, key))

    def add(self, key: K, window: Window, sample: Sample, volume: Volume) -> bool:
        """Put a sample into an open window; False when it was there before."""
        slot = (sample.resource.id, sample.time)
        if slot in window.volumes:
            return False
        window.volumes[slot] = volume
        self.held += 1
        if _place(sample) < _place(window.first):
            window.first = sample
        if _place(sample) > _place(window.last):
            window.last = sample
        self._arrive(window, sample)
        if window.due(self._grace) < window.waits:  # it is less far behind than it seemed
            self._wait(key, window)
        return True

    def close(self, key: K) -> Window:
        """Take an open window out."""
        window = self._open.pop(key)
        self.held -= len(window.volumes)
        return window

    def excess(self) -> Iterator[tuple[K, Window]]:
        """Take out the windows that were opened first until few enough samples are held."""
        while self.held > MAX_HELD:
            key = next(iter(self._open))
            yield key, self.close(key)

    def tick(self, now: float) -> list[tuple[K, Window]]:
        """Move time to `now` and take out the windows that are due, from the earliest start on."""
        if self._now is not None and now < self._now:
            # The clock was set back: nothing can have arrived later than now.
            for window in self._open.values():
                window.arrived = min(window.arrived, now)
                window.behind -= self._now - now
            self._wind()
        self._now = now
        due = [(key, self.close(key)) for key in self._ripe(now)]
        due.sort(key=lambda each: (each[1].start, each[1].serial))
        if len(self._timer) > 2 * len(self._open) + 1000:
            self._wind()
        return due

    def resume(self, now: float) -> None:
        """Take what came since the last tick as come at `now`."""
        for window in self._open.values():
            if self._now is None or window.arrived >= self._now:
                window.arrived = now
                window.behind = now - window.last.time
        self._wind()

    def _ripe(self, now: float) -> Iterator[K]:
        while self._timer and self._timer[0][0] <= now:
            _, serial, key = heapq.heappop(self._timer)
            window = self._open.get(key)
            if window is None or window.serial != serial:
                continue
            if window.due(self._grace) <= now:
                yield key
            else:
                self._wait(key, window)

    def _wind(self) -> None:
        self._timer = []
        for key, window in self._open.items():
            window.waits = window.due(self._grace)
            self._timer.append((window.waits, window.serial, key))
        heapq.heapify(self._timer)

    def dump(self) -> WindowsState:
        """Return all of it but the keys, which follow from the samples."""
        rows = []
        edges: list[Sample] = []
        for window in self._open.values():
            volumes = [(*slot, volume) for slot, volume in window.volumes.items()]
            rows.append(_Row(window.start, window.end, window.arrived, volumes, window.behind))
            edges += (_bare(window.first), _bare(window.last))
        return WindowsState(self._now, rows, pack(edges))

    def load(self, state: WindowsState, key: Callable[[Sample], K]) -> None:
        """Take up what `dump` returned.

        Args:
            state: what it returned.
            key: returns the key of the window of a sample.

        Raises:
            ValueError: the state does not hold together.
        """
        edges = unpack(state.edges)
        if len(edges) != 2 * len(state.rows):
            raise ValueError("windows without their first and last samples")
        self._now, self._serial, self.held = state.now, 0, 0
        self._open, self._timer = {}, []
        for number, row in enumerate(state.rows):
            first, last = edges[2 * number : 2 * number + 2]
            place = key(first)
            if place in self._open or not row.volumes:
                raise ValueError("a window that is there twice, or empty")
            window = self.open(place, row.start, row.end, first)
            window.last = last
            window.arrived, window.behind = row.arrived, row.behind
            window.volumes = {(resource, time): volume for resource, time, volume in row.volumes}
            self.held += len(window.volumes)
        self._wind()


def _place(sample: Sample) -> tuple[float, str]:
    return sample.time, sample.resource.id


def _bare(sample: Sample) -> Sample:
    """Return what a window needs of its first and last sample."""
    return msgspec.structs.replace(sample, volume=0, previous=UNTRACKED)
