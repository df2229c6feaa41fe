# SPDX-License-Identifier: Apache-2.0
"""A publisher on a thread of its own, behind a bounded queue.

A slow or dead publisher holds up neither polling nor another publisher. When its queue is full the
oldest batch goes first, counted and told.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from ceilo_agent.errors import ConfigError, DeliveryError, Retryable
from ceilo_agent.plugins import Publisher
from ceilo_agent.sample import Sample

LOG = logging.getLogger(__name__)

MAX_WAITING: Final = 100_000
"""Samples that may wait for one publisher: some 20 MB."""

RETRY_AFTER: Final = 1.0
"""Seconds before a batch is tried again, doubled up to RETRY_AT_MOST."""

RETRY_AT_MOST: Final = 30.0

SWAP_WITHIN: Final = 2.0
"""Seconds that the push at hand is given before another publisher takes over."""

LOOK_EVERY: Final = 0.05
"""Seconds between two looks whether there is no time for that any more."""


def never() -> bool:
    """Say that there is time."""
    return False


class Counters(msgspec.Struct):
    """What became of the samples: offered = delivered + waiting + refused + dropped."""

    offered: int = 0
    delivered: int = 0
    refused: int = 0
    """The publisher said that it will never take them."""
    dropped: int = 0
    """The queue was full, or the agent stopped before they could be delivered."""


class Outlet:
    """Delivers to one publisher, in order, retrying while it is away.

    Args:
        name: the publisher's identity.
        publisher: opened by `open`.
        max_waiting: samples that may wait.
        counters: go on from these.
    """

    def __init__(
        self,
        name: str,
        publisher: Publisher,
        max_waiting: int = MAX_WAITING,
        counters: Counters | None = None,
    ) -> None:
        self.name = name
        self.counters = counters or Counters()
        self._publisher = publisher
        self._max_waiting = max_waiting
        self._queue: deque[Sequence[Sample]] = deque()
        self._waiting = 0
        self._taken = 0
        self._gone = 0
        self._changed = threading.Condition()
        self._using = threading.Lock()
        self._closing: float | None = None
        self._ended = False
        self._fault: str | None = None
        self._opened: Publisher | None = None
        self._thread = threading.Thread(target=self._run, name=f"publish-{name}", daemon=True)

    @property
    def waiting(self) -> int:
        """Samples not yet delivered."""
        return self._waiting

    @property
    def ended(self) -> bool:
        """Whether it was told to end and did: it delivers no more."""
        return self._ended

    def open(self) -> None:
        """Open the publisher and begin to deliver.

        Raises:
            ConfigError: it can never work as configured.
        """
        self._first_open(self._publisher)
        self._thread.start()

    def offer(self, samples: Sequence[Sample]) -> int:
        """Queue samples for delivery; never blocks. Returns what `settled` takes."""
        with self._changed:
            self.counters.offered += len(samples)
            self._taken += len(samples)
            mark = self._taken
            self._queue.append(samples)
            self._waiting += len(samples)
            lost = 0
            while self._waiting > self._max_waiting and len(self._queue) > 1:
                lost += len(self._queue[0])
                self._waiting -= len(self._queue.popleft())
            self.counters.dropped += lost
            self._gone += lost
            self._changed.notify()
        if lost:
            LOG.warning("publisher %s: the queue is full, %d samples dropped", self.name, lost)
        return mark

    def settled(self, mark: int) -> bool:
        """Return whether the publisher is done with all that was offered up to a mark.

        What was dropped because the agent ended is not settled: it was never tried.
        """
        return self._gone >= mark

    def swap(self, publisher: Publisher, hurry: Callable[[], bool] = never) -> Publisher:
        """Deliver through another publisher, what waits included; return the one before, closed.

        The one before is closed first, since both may need what only one may hold. If its push does
        not end within SWAP_WITHIN seconds, or before `hurry` says so, it is closed when it does.

        Raises:
            ConfigError: the other can never work as configured; the one before goes on.
        """
        with self._idle(hurry) as idle:
            before = self._publisher
            if idle and self._opened is before:
                self._close(before)
                self._opened = None
            self._first_open(publisher)
            self._publisher = publisher
            return before

    def put_back(self, publisher: Publisher, hurry: Callable[[], bool] = never) -> None:
        """Undo a swap: the publisher is opened before the next push, as often as it needs."""
        with self._idle(hurry) as idle:
            if idle and self._opened is self._publisher:
                self._close(self._publisher)
            self._publisher, self._opened = publisher, None

    def leave(self, deadline: float) -> None:
        """Deliver what waits until `deadline` (CLOCK_MONOTONIC), then drop and count the rest."""
        with self._changed:
            self._closing = deadline
            self._changed.notify()

    def stay(self) -> bool:
        """Go on after `leave`; return whether it was not too late."""
        with self._changed:
            if not self._ended:
                self._closing = None
            return not self._ended

    def close(self, deadline: float) -> None:
        """Do as `leave` says, and wait for it until the deadline."""
        self.leave(deadline)
        if self._thread.is_alive():
            self._thread.join(max(0.0, deadline - time.monotonic()))
        self._drop()

    def _drop(self) -> None:
        """Drop and count what waits."""
        with self._changed:
            lost, self._waiting = self._waiting, 0
            self._queue.clear()
            self.counters.dropped += lost
        if lost:
            LOG.warning("publisher %s: %d samples dropped at the end", self.name, lost)

    @contextlib.contextmanager
    def _idle(self, hurry: Callable[[], bool]) -> Iterator[bool]:
        """Let no push begin in the block; say whether the one at hand ended in time."""
        end = time.monotonic() + SWAP_WITHIN
        while not (idle := self._using.acquire(timeout=LOOK_EVERY)):
            if time.monotonic() >= end or hurry():
                break
        try:
            yield idle
        finally:
            if idle:
                self._using.release()

    def _open(self, publisher: Publisher) -> None:
        if self._opened is not publisher:
            publisher.open()
            self._opened = publisher

    def _first_open(self, publisher: Publisher) -> None:
        """Open a publisher, now or before the next push; one that cannot be is left closed."""
        try:
            self._open(publisher)
        except Retryable as error:
            self._tell(str(error))
        except BaseException:
            self._close(publisher)
            raise

    def _close(self, publisher: Publisher) -> None:
        """Close a publisher; what goes wrong in that costs nobody else anything."""
        try:
            publisher.close()
        except Exception:
            LOG.exception("publisher %s: it did not close", self.name)

    def _run(self) -> None:
        pause = RETRY_AFTER
        while (samples := self._next()) is not None:
            try:
                self._push(samples)
            except (Retryable, ConfigError) as error:
                # A ConfigError here: it was open before, and what it needs went away since.
                self._tell(str(error))
                self._wait(getattr(error, "retry_after", None) or pause)
                pause = min(2 * pause, RETRY_AT_MOST)
                continue
            except DeliveryError as error:
                self._tell(f"{len(samples)} samples refused: {error}")
                self._done(samples, delivered=False)
                continue
            except Exception as error:
                LOG.exception("publisher %s: %d samples lost", self.name, len(samples))
                self._tell(f"{type(error).__name__}: {error}")
                self._done(samples, delivered=False)
                continue
            self._done(samples, delivered=True)
            self._tell(None)
            pause = RETRY_AFTER
        with self._using:
            self._close(self._publisher)
        self._drop()

    def _push(self, samples: Sequence[Sample]) -> None:
        with self._using:
            publisher = self._publisher
            try:
                self._open(publisher)
                publisher.push(samples)
            finally:
                if publisher is not self._publisher:
                    self._close(publisher)

    def _next(self) -> Sequence[Sample] | None:
        """Return the oldest batch, left in the queue until it is done; None to stop."""
        with self._changed:
            while not self._queue:
                if self._closing is not None:
                    self._ended = True
                    return None
                self._changed.wait()
            if self._closing is not None and time.monotonic() >= self._closing:
                self._ended = True
                return None
            return self._queue[0]

    def _done(self, samples: Sequence[Sample], *, delivered: bool) -> None:
        with self._changed:
            if self._queue and self._queue[0] is samples:
                self._queue.popleft()
                self._waiting -= len(samples)
                self._gone += len(samples)
            elif delivered:
                # It was dropped for its age while it was being delivered.
                self.counters.dropped -= len(samples)
            else:
                return
            if delivered:
                self.counters.delivered += len(samples)
            else:
                self.counters.refused += len(samples)

    def _wait(self, seconds: float) -> None:
        """Wait before the next try; one that is to end tries some twenty times until then."""
        with self._changed:
            if self._closing is None:
                self._changed.wait_for(lambda: self._closing is not None, seconds)
            else:
                left = self._closing - time.monotonic()
                self._changed.wait(min(seconds, max(0.1, left / 20)))

    def _tell(self, fault: str | None) -> None:
        """Log a fault when it comes and when it goes."""
        if fault is not None and fault != self._fault:
            LOG.warning("publisher %s: %s", self.name, fault)
        elif fault is None and self._fault is not None:
            LOG.info("publisher %s: delivers again", self.name)
        self._fault = fault
