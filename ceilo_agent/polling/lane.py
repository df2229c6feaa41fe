# SPDX-License-Identifier: Apache-2.0
"""One inspector and the sources that it serves, polled on a thread of their own.

A lane that waits for a slow hypervisor holds up no other. Within a lane, sources that fall due
together share one snapshot, and a cycle ends before the next begins.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from ceilo_agent.errors import Unavailable
from ceilo_agent.plugins import (
    Discovery,
    Inspector,
    Listing,
    Missing,
    Observation,
    Snapshot,
    Target,
)
from ceilo_agent.polling.saved import SavedReadings
from ceilo_agent.polling.schedule import ClockWatch, Ticks, host_offset
from ceilo_agent.polling.tracker import Tracker
from ceilo_agent.sample import Batch

LOG = logging.getLogger(__name__)

TOGETHER: Final = 0.05
"""Seconds within which sources are due together."""

MIN_CYCLE: Final = 1.0
MAX_CYCLE: Final = 10.0
"""Seconds that a cycle may take at least and at most; in between, half its interval."""


class Due(msgspec.Struct, eq=False):
    """A source as far as a lane polls it.

    Attributes:
        name: of the source.
        interval: seconds between two polls.
        wanted: names of the meters.
        tracker: has its last readings.
        resources: those that the file gives it.
    """

    name: str
    interval: float
    wanted: frozenset[str]
    tracker: Tracker
    resources: tuple[str, ...] = ()


class Counters(msgspec.Struct):
    """What a lane did since it began."""

    cycles: int = 0
    samples: int = 0
    missed: int = 0
    failed: int = 0
    missing: int = 0
    clock_steps: int = 0


class Lane:
    """Polls the sources of one inspector.

    Args:
        name: of the lane: the namespace, or what is told apart in it.
        host: this host's name; its ticks are shifted by it.
        discovery: says what exists.
        inspector: reads it.
        sources: what is polled.
        deliver: takes the batches; called on the lane's thread.
        saved: where last readings are kept, None to keep none.

    Attributes:
        cycle: held while a cycle runs; who holds it keeps the next from beginning.
    """

    def __init__(
        self,
        name: str,
        host: str,
        discovery: Discovery,
        inspector: Inspector,
        sources: Sequence[Due],
        deliver: Callable[[Batch], None],
        saved: SavedReadings | None = None,
    ) -> None:
        self.name = name
        self.inspector = inspector
        self.cycle = threading.Lock()
        self.counters = Counters()
        self.fault: str | None = None
        self.missing: Mapping[str, Missing] = {}
        self._complete = False
        self._discovery = discovery
        self._sources = sources
        self._deliver = deliver
        self._saved = saved
        self._trackers = {source.name: source.tracker for source in sources}
        self._wanted: dict[tuple[str, ...], frozenset[str]] = {}
        self._next: deque[Sequence[Due]] = deque()
        self._wake = threading.Event()
        # It stays, whatever the sources: one that stays the same keeps its moments.
        self._offset = self._shift(host, min(source.interval for source in sources))
        self._ticks = {source.name: Ticks(source.interval, self._offset) for source in sources}
        self._ask()
        if saved is not None:
            saved.load(self._trackers)

    def start(self, stop: threading.Event) -> threading.Thread:
        """Poll on a daemon thread until `stop` is set."""
        thread = threading.Thread(
            target=self._run, args=(stop,), name=f"poll-{self.name}", daemon=True
        )
        thread.start()
        return thread

    def wake(self) -> None:
        """Let the lane look at once whether it is to stop."""
        self._wake.set()

    def replace(self, sources: Sequence[Due]) -> None:
        """Poll these sources, at least one, once the cycle that may be running has ended.

        A source that is the same goes on as it is. One of the same name keeps its last readings.
        """
        self._next.append(sources)
        self._wake.set()

    def close(self) -> None:
        """Let go of what discovery and inspector hold."""
        self.inspector.close()
        self._discovery.close()

    @property
    def namespace(self) -> str:
        """The name of the inspector."""
        return self.name.partition(":")[0]

    @property
    def whole(self) -> bool:
        """Whether the last cycle read all that there is."""
        return self.fault is None and self._complete and not self.missing

    def poll_all(self) -> None:
        """Poll every source once, now."""
        self.poll(self._sources)

    def poll(self, due: Sequence[Due]) -> None:
        """Read once for all these sources and deliver their samples."""
        began = time.monotonic()
        deadline = began + self._time_for(min(source.interval for source in due))
        try:
            self._cycle(due, self._discovery.discover(deadline), deadline)
        except Unavailable as error:
            self.counters.failed += 1
            self._tell_fault(str(error))
            return
        if self._saved is not None:
            self._saved.save(self._trackers)
        LOG.debug("%s: polled in %.3f s", self.name, time.monotonic() - began)

    def _cycle(self, due: Sequence[Due], listing: Listing, deadline: float) -> None:
        """Read once what was found, and deliver the samples.

        Raises:
            Unavailable: nothing can be read now.
        """
        snapshot = self.inspector.inspect(listing.targets, self._union(due), deadline)
        self._seen(listing, snapshot)
        for source in due:
            self._hand_on(source, snapshot.observations)
        self._keep(listing, listing.targets)

    def _seen(self, listing: Listing, snapshot: Snapshot) -> None:
        """Count a cycle, and tell what could not be read."""
        self._complete = listing.complete
        self._tell_fault(None)
        self._tell_missing(snapshot.missing, listing)
        self.counters.cycles += 1

    def _hand_on(self, source: Due, observations: Iterable[Observation]) -> None:
        """Deliver the samples of a source."""
        samples = source.tracker.samples(observations)
        self.counters.samples += len(samples)
        self._deliver(Batch(source.name, samples))

    def _keep(self, listing: Listing, targets: Iterable[Target]) -> None:
        """Forget the readings of all but these targets, if it is known that there are no others."""
        owners = [target.id for target in targets] if listing.complete else None
        for source in self._sources:
            source.tracker.keep(owners, _boottime())

    def _shift(self, host: str, interval: float) -> float:
        """Return the seconds by which ticks are shifted."""
        return host_offset(host, interval)

    def _time_for(self, interval: float) -> float:
        """Return the seconds that a cycle may take."""
        return max(MIN_CYCLE, min(interval / 2, MAX_CYCLE))

    def _ask(self) -> None:
        """Let the discovery know what is wanted."""
        wanted = frozenset().union(*(source.wanted for source in self._sources))
        resources = {text: None for source in self._sources for text in source.resources}
        self._discovery.want(wanted, tuple(resources))

    def _waits(self, wall: float) -> dict[str, float]:
        """Return the seconds until each source is due."""
        return {source.name: self._ticks[source.name].wait(wall) for source in self._sources}

    def _run(self, stop: threading.Event) -> None:
        watch = ClockWatch(time.time(), _boottime())
        while not stop.is_set():
            self._adopt()
            if stop.is_set():  # its waking call may have been cleared with the others
                return
            wall = time.time()
            self._clock_was_set(watch, wall)  # in the last cycle, else it is too long a wait
            waits = self._waits(wall)
            pause = min(waits.values())
            self._wake.wait(pause)
            if stop.is_set():
                return
            with self.cycle:
                if not self._next and not stop.is_set():
                    self._poll_due(watch, waits, pause)

    def _poll_due(self, watch: ClockWatch, waits: Mapping[str, float], pause: float) -> None:
        """Poll what is due.

        Args:
            watch: knows whether the clock was set.
            waits: how long each source had to wait.
            pause: how long was waited.
        """
        wall = time.time()
        if not self._clock_was_set(watch, wall):
            waits = self._waits(wall)
            pause = 0.0
        # After the clock was set it says nothing of who is due; how long was waited does.
        due = [s for s in self._sources if waits[s.name] - pause <= TOGETHER]
        if not due:
            return
        for source in due:
            self._count_missed(source, self._ticks[source.name].begin(wall + TOGETHER))
        try:
            self.poll(due)
        except Exception:
            # A fault of ours in one cycle must not end the agent; it is counted and told.
            self.counters.failed += 1
            LOG.exception("%s: the cycle failed", self.name)

    def _adopt(self) -> None:
        """Take up the sources that came last."""
        self._wake.clear()
        while self._next:
            now = {source.name: source for source in self._sources}
            self._sources = [_succeed(now.get(each.name), each) for each in self._next.popleft()]
            self._trackers = {source.name: source.tracker for source in self._sources}
            self._wanted.clear()
            self._ticks = {each.name: self._ticks_of(each) for each in self._sources}
            self._ask()

    def _ticks_of(self, source: Due) -> Ticks:
        before = self._ticks.get(source.name)
        if before is not None and before.interval == source.interval:
            return before
        ticks = Ticks(source.interval, self._offset)
        if before is not None:
            # It was polled a moment ago, and is again when its new interval says so.
            ticks.begin(time.time())
        return ticks

    def _clock_was_set(self, watch: ClockWatch, wall: float) -> bool:
        shortest = min(source.interval for source in self._sources)
        step = watch.step(wall, _boottime(), shortest)
        if step:
            self.counters.clock_steps += 1
            LOG.warning("%s: the clock was set by %+.1f s; polling goes on", self.name, step)
            for ticks in self._ticks.values():
                ticks.step(wall)
        return bool(step)

    def _count_missed(self, source: Due, missed: int) -> None:
        if missed:
            self.counters.missed += missed
            LOG.warning(
                "source %s: %d polls of every %g s were missed (a slow cycle, or the host slept)",
                source.name,
                missed,
                source.interval,
            )

    def _union(self, due: Sequence[Due]) -> frozenset[str]:
        names = tuple(source.name for source in due)
        wanted = self._wanted.get(names)
        if wanted is None:
            wanted = self._wanted[names] = frozenset().union(*(s.wanted for s in due))
        return wanted

    def _tell_fault(self, fault: str | None) -> None:
        """Log a fault of the whole lane when it comes and when it goes, not in every cycle."""
        if fault is not None and fault != self.fault:
            LOG.warning("%s: no samples: %s", self.name, fault)
        elif fault is None and self.fault is not None:
            LOG.info("%s: samples again", self.name)
        self.fault = fault

    def _tell_missing(self, missing: Sequence[Missing], listing: Listing) -> None:
        """Log who began or ceased to lack samples, or lacks them for another reason."""
        now = {lack.target: lack for lack in missing}
        self.counters.missing += len(now)
        new: dict[tuple[bool, str], list[str]] = {}
        for target, lack in now.items():
            before = self.missing.get(target)
            if before is None or (before.partial, before.reason) != (lack.partial, lack.reason):
                new.setdefault((lack.partial, lack.reason), []).append(lack.name)
        for (partial, reason), names in new.items():
            what = "only some samples" if partial else "no samples"
            LOG.warning("%s: %s of %s: %s", self.name, what, _some(names), reason)
        if over := self.missing.keys() - now.keys():
            # Those that are gone do not come back.
            back = [self.missing[t.id].name for t in listing.targets if t.id in over]
            if back:
                LOG.info("%s: all samples of %s again", self.name, _some(back))
        self.missing = now


def _succeed(before: Due | None, after: Due) -> Due:
    """Return what a source becomes: the same where nothing changed, else with what was read."""
    if before is None:
        return after
    if _asks(before) == _asks(after):
        return before
    after.tracker.load(before.tracker.dump())
    return after


def _asks(source: Due) -> tuple[object, ...]:
    return source.interval, source.wanted, source.resources


def _some(names: list[str]) -> str:
    """Name at most three, and count the others."""
    names = sorted(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
