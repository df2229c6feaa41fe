# SPDX-License-Identifier: Apache-2.0
"""The time that windows are closed by: it never runs ahead of what waits at the brokers.

After a stop, or while a worker is slower than what comes, samples wait that were sent long ago.
Were windows closed by the wall clock, these would come too late for theirs. So time goes to the
moment of a look at the queues once all that waited at that look was taken: what was sent before it
is in. As long as nothing of that kind is known, as while a broker is away, time stands still.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple

LOG = logging.getLogger(__name__)

STILL: Final = 5.0
"""Seconds without a step after which time counts as standing still."""

TELL_AFTER: Final = 60.0
"""Seconds that time stands still before it is told."""

SETTLE: Final = 60.0
"""Seconds after an outage of a broker within which hosts send again what they kept."""

OUTAGE: Final = 5.0
"""Seconds without an answer that are an outage."""

UNASKED: Final = 60.0
"""Seconds that time stands still at first where no broker can be asked, at most."""

QUIET: Final = 10.0
"""Likewise: nothing waits if nothing came for so long."""

LOOKS: Final = 100
"""Looks that are remembered while what they saw is not taken yet."""


class _Look(NamedTuple):
    """What waited at one moment.

    Attributes:
        when: UTC seconds.
        moment: the same, CLOCK_MONOTONIC seconds.
        empty: whether nothing did.
        target: how many messages are taken in all when those that were there are.
    """

    when: float
    moment: float
    empty: bool
    target: int


class _Queue:
    """What is known of one queue.

    Attributes:
        taken: messages, since it was gained.
        settled: all that was sent before this moment is taken, UTC seconds.
        silent: since when its broker has not answered, CLOCK_MONOTONIC seconds; None: it does.
        trusted: when its broker counts as back, likewise.
    """

    def __init__(self, moment: float) -> None:
        self.gained = moment
        self.taken = 0
        self.settled: float | None = None
        self.looks: deque[_Look] = deque()
        self.silent: float | None = None
        self.trusted = moment


class Clock:
    """Says what time it is for windows. Any thread may call it.

    Args:
        asks: whether looks come at all.
        in_hand: messages of one queue that the brokers may have handed out, at most.
        batch_size: messages that are taken at a time; 0: more than one thread takes them.
        batch_timeout: seconds that fewer are waited with.
        wall: gives UTC seconds.
        monotonic: gives seconds.
    """

    def __init__(
        self,
        *,
        asks: bool,
        in_hand: int,
        batch_size: int,
        batch_timeout: float,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._asks = asks
        self._in_hand = in_hand
        self._batch_size = batch_size
        self._idle = batch_timeout + 0.3
        self._wall = wall
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._queues: dict[str, _Queue] = {}
        self._taking = 0
        self._began = self._ended = self._drained = monotonic()
        self._time: float | None = None
        self._moved = self._began
        self._told = False

    # -- what it is told -------------------------------------------------------------------------

    def gained(self, queues: Iterable[str]) -> None:
        """Reckon with queues from now on: before the first message of them is asked for."""
        with self._lock:
            for name in queues:
                self._queues[name] = _Queue(self._monotonic())

    def lost(self, queues: Iterable[str]) -> None:
        """Reckon with queues no more."""
        with self._lock:
            for name in queues:
                self._queues.pop(name, None)

    @property
    def queues(self) -> Collection[str]:
        """Those that it reckons with."""
        with self._lock:
            return list(self._queues)

    def taking(self) -> None:
        """Messages are at hand: before they are accepted."""
        with self._lock:
            self._taking += 1
            self._began = self._monotonic()

    def taken(self, queues: Collection[str], *, done: bool = True) -> None:
        """They are accepted.

        Args:
            queues: that each message came from.
            done: False: they go back to the broker.
        """
        with self._lock:
            self._taking -= 1
            # Fewer than there might be, and no others before them: nothing else was at hand.
            paused = self._began - self._ended > 0.05
            self._ended = self._monotonic()
            if not done:
                return
            if paused and not self._taking and len(queues) < self._batch_size:
                self._drained = self._began
            for name in queues:
                if name in self._queues:
                    self._queues[name].taken += 1

    def looked(self, when: float, waiting: Mapping[str, int | None]) -> None:
        """Take what a look found.

        Args:
            when: it began, UTC seconds.
            waiting: messages by queue; None: that cannot be known now.
        """
        moment = self._monotonic() - max(0.0, self._wall() - when)
        with self._lock:
            for name, count in waiting.items():
                queue = self._queues.get(name)
                if queue is None or moment < queue.gained:
                    continue
                if count is None:
                    queue.silent = moment if queue.silent is None else queue.silent
                    continue
                if queue.silent is not None and moment - queue.silent > OUTAGE:
                    queue.trusted = moment + SETTLE
                queue.silent = None
                if moment >= queue.trusted and len(queue.looks) < LOOKS:
                    target = queue.taken + count + self._in_hand
                    queue.looks.append(_Look(when, moment, not count, target))

    # -- what it says ----------------------------------------------------------------------------

    def now(self) -> float | None:
        """Return the time, UTC seconds; None while it stands still."""
        with self._lock:
            found = self._settled()
            moment = self._monotonic()
            if found is not None and found != self._time:
                self._time, self._moved = found, moment
            stands = moment - self._moved
            if found is not None and stands <= STILL:
                self._tell_going()
                return found
            if stands > TELL_AFTER and not self._told:
                self._told = True
                LOG.warning("windows wait: %s", self._reason())
            return None

    def _settled(self) -> float | None:
        if not self._queues:
            return self._wall()
        moment = self._monotonic()
        for queue in self._queues.values():
            if self._asks:
                self._settle(queue, moment)
            elif moment - queue.gained > UNASKED or self._at_rest(queue.gained, moment, QUIET):
                queue.settled = self._wall()
        known = [queue.settled for queue in self._queues.values()]
        return None if None in known else min(each for each in known if each is not None)

    def _settle(self, queue: _Queue, moment: float) -> None:
        """Go to the last look whose messages are all taken."""
        for number in range(len(queue.looks) - 1, -1, -1):
            look = queue.looks[number]
            if queue.taken >= look.target or (
                look.empty
                and (self._drained > look.moment or self._at_rest(look.moment, moment, self._idle))
            ):
                queue.settled = look.when
                for _ in range(number + 1):
                    queue.looks.popleft()
                return

    def _at_rest(self, since: float, moment: float, seconds: float) -> bool:
        """Return whether nothing was taken for so long since a moment."""
        return not self._taking and moment - max(since, self._ended) >= seconds

    def _reason(self) -> str:
        silent = sorted(name for name, q in self._queues.items() if q.silent is not None)
        if silent:
            return (
                f"what waits at the broker is not known, for {', '.join(silent[:3])}"
                + (f" and {len(silent) - 3} more" if len(silent) > 3 else "")
                + "; they close when it can be asked again and what it has was taken"
            )
        return "older samples wait at the broker; they close when those were taken"

    def _tell_going(self) -> None:
        if self._told:
            LOG.info("windows close again")
        self._told = False
