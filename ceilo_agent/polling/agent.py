# SPDX-License-Identifier: Apache-2.0
"""The polling agent: a lane per namespace, over the sources of a pipeline file."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ceilo_agent import plugins
from ceilo_agent.errors import Fault
from ceilo_agent.plugins import Context, Inspector
from ceilo_agent.polling.lane import Due, Lane
from ceilo_agent.polling.saved import SavedReadings
from ceilo_agent.polling.tracker import Tracker
from ceilo_agent.sample import Batch

LOG = logging.getLogger(__name__)

STOP_WITHIN: Final = 2.0
"""Seconds that a lane is given to end its cycle; a stuck call goes on without us."""

HOLD_EVERY: Final = 0.01
"""Seconds between two looks whether all lanes are between cycles."""


class Selected(NamedTuple):
    """A source as far as polling knows it.

    Attributes:
        name: goes with its samples.
        interval: seconds between two polls.
        takes: whether it wants a meter, by the meter's name.
        discovery: the discoveries it is limited to, empty for any.
    """

    name: str
    interval: float
    takes: Callable[[str], bool]
    discovery: Sequence[str] = ()


def lanes(
    namespaces: Sequence[str],
    sources: Sequence[Selected],
    context: Context,
    deliver: Callable[[Batch], None],
    state: Path | None = None,
) -> list[Lane]:
    """Make the lanes of some namespaces; one that no source asks for is left out.

    Args:
        namespaces: names of inspectors.
        sources: what is polled.
        context: where this agent runs.
        deliver: takes the batches.
        state: the directory for last readings, None to keep none.

    Raises:
        PluginError: an inspector or a discovery is not there or cannot be loaded.
    """
    made: list[Lane] = []
    with contextlib.ExitStack() as failing:
        for namespace in dict.fromkeys(namespaces):
            inspector = plugins.load(plugins.INSPECTOR, namespace)(context)
            if not (due := _asked(inspector, sources)):
                LOG.info("%s: no source asks for its meters", namespace)
                inspector.close()
                continue
            failing.callback(inspector.close)
            discovery = plugins.load(plugins.DISCOVERY, inspector.discovery)(context)
            failing.callback(discovery.close)
            saved = SavedReadings(state / f"readings-{namespace}.msgpack") if state else None
            made.append(Lane(namespace, context.host, discovery, inspector, due, deliver, saved))
        failing.pop_all()
    return made


def _asked(inspector: Inspector, sources: Sequence[Selected]) -> list[Due]:
    """Return the sources that ask for meters of an inspector."""
    known = [meter.name for meter in inspector.meters()]
    due = []
    for name, interval, takes, limits in sources:
        wanted = frozenset(filter(takes, known))
        if wanted and (not limits or inspector.discovery in limits):
            due.append(Due(name, interval, wanted, Tracker(name, takes, interval)))
    return due


class Plan(NamedTuple):
    """What is polled next.

    Attributes:
        kept: lanes that go on, and with which sources.
        fresh: lanes that are new.
    """

    kept: Sequence[tuple[Lane, Sequence[Due]]]
    fresh: Sequence[Lane]


class PollingAgent:
    """Runs lanes until it is told to stop.

    Attributes:
        lanes: those at work.
        left: those that nothing asks for any more, by name.
        unknown: patterns in the file that match no meter.
    """

    def __init__(self, lanes: Sequence[Lane], unknown: Sequence[Fault] = ()) -> None:
        self.lanes = list(lanes)
        self.left: dict[str, Lane] = {}
        self.unknown = 0
        self._running: dict[Lane, tuple[threading.Thread, threading.Event]] = {}
        self.tell_unknown(unknown)

    def tell_unknown(self, unknown: Sequence[Fault]) -> None:
        """Warn of patterns that match no meter."""
        self.unknown = len(unknown)
        for fault in unknown:
            LOG.warning("%s", fault)

    def start(self) -> None:
        """Begin to poll, on threads of the lanes."""
        for lane in self.lanes:
            self._start(lane)

    def plan(
        self,
        namespaces: Sequence[str],
        sources: Sequence[Selected],
        context: Context,
        deliver: Callable[[Batch], None],
        state: Path | None = None,
    ) -> Plan:
        """Make the lanes that these sources need and there are not yet; see `lanes`.

        Raises:
            PluginError: an inspector or a discovery is not there or cannot be loaded.
        """
        running = {lane.name: lane for lane in self.lanes}
        asked = {
            lane: _asked(lane.inspector, sources)
            for name, lane in running.items()
            if name in namespaces
        }
        missing = [name for name in namespaces if name not in running]
        fresh = lanes(missing, sources, context, deliver, state)
        return Plan([(lane, due) for lane, due in asked.items() if due], fresh)

    @contextlib.contextmanager
    def between_cycles(self, seconds: float, give_up: Callable[[], bool]) -> Iterator[bool]:
        """Keep every lane from beginning a cycle in the block, once the running ones have ended.

        Says whether all have, or the seconds went by or `give_up` came true before. While one of
        them runs no other is held up.
        """
        end = time.monotonic() + seconds
        while (held := self._hold()) is None and time.monotonic() < end and not give_up():
            time.sleep(HOLD_EVERY)
        try:
            yield held is not None
        finally:
            for lane in held or ():
                lane.cycle.release()

    def _hold(self) -> list[Lane] | None:
        """Take every lane's lock, or none."""
        held: list[Lane] = []
        for lane in self.lanes:
            if not lane.cycle.acquire(blocking=False):
                for other in held:
                    other.cycle.release()
                return None
            held.append(lane)
        return held

    def replace(self, plan: Plan) -> None:
        """Poll as planned from the next cycles on; what stays the same keeps its moments."""
        kept = dict(plan.kept)
        for lane in self.lanes:
            if lane in kept:
                lane.replace(kept[lane])
            else:
                self.left[lane.name] = lane
                ending = (lane, self._stop(lane))
                threading.Thread(target=_end, args=ending, daemon=True).start()
        self.lanes = [*kept, *plan.fresh]
        self._running = {
            lane: running
            for lane, running in self._running.items()
            if lane in kept or running[0].is_alive()
        }
        for lane in plan.fresh:
            if lane.name in self.left:
                lane.counters = self.left.pop(lane.name).counters
            self._start(lane)

    def discard(self, plan: Plan) -> None:
        """Let go of what was made for a plan."""
        for lane in plan.fresh:
            lane.close()

    def stop(self) -> bool:
        """Stop polling and return whether every lane ended in time."""
        for lane in self._running:
            self._stop(lane)
        deadline = time.monotonic() + STOP_WITHIN
        for thread, _ in self._running.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        for lane in self.lanes:
            lane.close()
        return not any(thread.is_alive() for thread, _ in self._running.values())

    def _start(self, lane: Lane) -> None:
        stop = threading.Event()
        self._running[lane] = (lane.start(stop), stop)

    def _stop(self, lane: Lane) -> threading.Thread:
        thread, stop = self._running[lane]
        stop.set()
        lane.wake()
        return thread


def _end(lane: Lane, thread: threading.Thread) -> None:
    """End a lane that is asked for no more; a stuck call goes on without us."""
    thread.join(STOP_WITHIN)
    lane.close()
