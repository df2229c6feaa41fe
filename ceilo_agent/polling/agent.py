# SPDX-License-Identifier: Apache-2.0
"""The polling agent: a lane per namespace, over the sources of a pipeline file."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ceilo_agent.errors import Fault
from ceilo_agent.polling.lane import Lane
from ceilo_agent.polling.making import Plan
from ceilo_agent.polling.sharing import Sharing

LOG = logging.getLogger(__name__)

STOP_WITHIN: Final = 2.0
"""Seconds that a lane is given to end its cycle; a stuck call goes on without us."""

HOLD_EVERY: Final = 0.01
"""Seconds between two looks whether all lanes are between cycles."""


class PollingAgent:
    """Runs lanes until it is told to stop.

    Args:
        lanes: those to begin with.
        unknown: patterns in the file that match no meter.
        sharing: has the shares of the lanes that share their work.

    Attributes:
        lanes: those at work.
        left: those that nothing asks for any more, by name.
        unknown: patterns in the file that match no meter.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        unknown: Sequence[Fault] = (),
        sharing: Sharing | None = None,
    ) -> None:
        self.lanes = list(lanes)
        self._sharing = sharing
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
        self._share()

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
        self._share()

    def discard(self, plan: Plan) -> None:
        """Let go of what was made for a plan."""
        for lane in plan.fresh:
            lane.close()

    def stop(self) -> bool:
        """Stop polling and return whether nothing is stuck, neither a lane nor a back end."""
        left = self._sharing is None or self._sharing.leave()
        for lane in self._running:
            self._stop(lane)
        deadline = time.monotonic() + STOP_WITHIN
        for thread, _ in self._running.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        for lane in self.lanes:
            lane.close()
        return left and not any(thread.is_alive() for thread, _ in self._running.values())

    def _share(self) -> None:
        if self._sharing is not None:
            self._sharing.serve(self.lanes)

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
