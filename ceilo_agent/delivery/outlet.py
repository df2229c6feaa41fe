# SPDX-License-Identifier: Apache-2.0
"""A publisher on a thread of its own, behind a queue.

A slow or dead publisher holds up neither polling nor another publisher.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from ceilo_agent.delivery.attempt import Backoff, Outcome, Parts, push, reason_of
from ceilo_agent.delivery.queues import Counters, Queue, Refused, Taken
from ceilo_agent.delivery.telling import Telling
from ceilo_agent.errors import ConfigError, DeliveryError, Retryable
from ceilo_agent.plugins import Publisher

LOG = logging.getLogger(__name__)

SWAP_WITHIN: Final = 2.0
"""Seconds that the push at hand is given before another publisher takes over."""

LOOK_EVERY: Final = 0.05
"""Seconds between two looks whether there is no time for that any more."""

LAST_TRIES: Final = 20
"""How often it is tried, at most, in the time that is left for an outlet which is to end."""


AWAY: Final = (Retryable, ConfigError, OSError, MemoryError)
"""After these the same samples are tried again."""


def never() -> bool:
    """Say that there is time."""
    return False


class Outlet:
    """Delivers to one publisher, in order, retrying while it is away.

    What it refuses is set aside or dropped, as its queue does. A refused batch is sent in ever
    smaller parts until the bad samples are found. An exception that no publisher should raise is a
    refusal as well: it is mostly the samples that a mistake in its code depends on. Only an
    OSError or a lack of memory is what it says, and the batch is tried again.

    Args:
        name: the publisher's identity.
        publisher: opened by `open`.
        queue: what waits for it; given to `start` at the latest.
    """

    def __init__(self, name: str, publisher: Publisher, queue: Queue | None = None) -> None:
        self._queue = queue
        self._telling = Telling(name)
        self._publisher = publisher
        self._opened: Publisher | None = None
        self._parts = Parts()
        self._backoff = Backoff()
        self._changed = threading.Condition()
        self._using = threading.Lock()
        self._more = False
        self._news = 0
        self._seen = 0
        self._closing: float | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, name=f"publish-{name}", daemon=True)

    @property
    def name(self) -> str:
        """The publisher's identity."""
        return self._telling.name

    @name.setter
    def name(self, name: str) -> None:
        self._telling.name = name

    @property
    def queue(self) -> Queue:
        """What waits for it."""
        assert self._queue is not None, "it was not started"
        return self._queue

    @property
    def counters(self) -> Counters:
        """What became of the samples."""
        return self.queue.counters

    @property
    def waiting(self) -> int:
        """Samples that were offered and are not done."""
        return self.queue.waiting

    @property
    def fault(self) -> str | None:
        """Why the publisher cannot deliver now, None while it can."""
        return self._telling.fault

    @property
    def publisher(self) -> Publisher:
        """What it delivers through."""
        return self._publisher

    @property
    def ended(self) -> bool:
        """Whether it was told to end and did: it delivers no more."""
        return self._ended

    def open(self) -> None:
        """Open the publisher.

        Raises:
            ConfigError: it can never work as configured.
        """
        self._first_open(self._publisher)

    def start(self, queue: Queue | None = None) -> None:
        """Begin to deliver what waits in the queue."""
        self._queue = queue or self._queue
        self.queue.tell(self.fault)
        self.queue.listen(self._on_added)
        self._thread.start()

    @contextlib.contextmanager
    def paused(self, hurry: Callable[[], bool] = never) -> Iterator[None]:
        """Close the publisher and let no push begin in the block: `put` another, or it goes on.

        If the push at hand does not end within SWAP_WITHIN seconds, or before `hurry` says so, the
        publisher is closed when it does.
        """
        with self._idle(hurry) as idle:
            if idle and self._opened is self._publisher:
                self._close(self._publisher)
                self._opened = None
            yield
        self._tell_thread()

    def put(self, publisher: Publisher) -> Publisher:
        """Deliver through another publisher, what waits included; return the one before.

        Only while it is `paused`.

        Raises:
            ConfigError: the other can never work as configured; the one before goes on.
        """
        self._first_open(publisher)
        before, self._publisher = self._publisher, publisher
        return before

    def swap(self, publisher: Publisher, hurry: Callable[[], bool] = never) -> Publisher:
        """Do as `paused` and `put` say."""
        with self.paused(hurry):
            return self.put(publisher)

    def put_back(self, publisher: Publisher, hurry: Callable[[], bool] = never) -> None:
        """Undo a swap: the publisher is opened before the next push, as often as it needs."""
        with self.paused(hurry):
            self._publisher, self._opened = publisher, None

    def leave(self, deadline: float) -> None:
        """Deliver what waits until `deadline` (CLOCK_MONOTONIC; infinite: for ever), then end."""
        self._tell_thread(deadline)

    def stay(self) -> bool:
        """Go on after `leave`; return whether it was not too late."""
        with self._changed:
            if not self._ended:
                self._closing = None
            return not self._ended

    def close(self, deadline: float) -> None:
        """Do as `leave` says, and wait for it until the deadline.

        What only memory holds is dropped and counted then; what is on disk stays there.
        """
        self.leave(deadline)
        if self._thread.is_alive():
            self._thread.join(max(0.0, deadline - time.monotonic()))
        elif not self._ended:  # it never started
            self._ended = True
            self._close(self._publisher)
        self._drop()

    def _drop(self) -> None:
        if self._queue is not None and (lost := self._queue.close()):
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
            self._fails(str(error))
        except BaseException:
            self._close(publisher)
            raise

    def _fails(self, fault: str) -> None:
        """Tell why it cannot deliver: the agent's log, and who looks at the queue."""
        if self._telling.fails(fault) and self._queue is not None:
            self._queue.tell(fault)

    def _close(self, publisher: Publisher) -> None:
        """Close a publisher; what goes wrong in that costs nobody else anything."""
        try:
            publisher.close()
        except Exception:
            LOG.exception("publisher %s: it did not close", self.name)

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ended:
            try:
                if (taken := self._next()) is not None:
                    self._deliver(taken)
            except Exception as error:
                # A ConfigError here: it was open before, and what it needs went away since.
                if not isinstance(error, AWAY):
                    self._telling.crashes(error)
                self._fails(reason_of(error))
                self._wait(self._backoff.pause(getattr(error, "retry_after", None)))
        self._drop()
        with self._using:
            self._close(self._publisher)

    def _deliver(self, taken: Taken) -> None:
        """Try to deliver samples, and settle what became of them.

        Raises:
            Exception: one of AWAY.
        """
        count = len(taken.samples)
        try:
            refused, lost, message = self._push(taken)
        except AWAY:
            raise
        except Exception as error:
            if not isinstance(error, DeliveryError):
                self._telling.crashes(error)
            if count > 1:
                self._parts.halve(count)
                return
            refused, lost, message = [Refused(taken.samples[0], reason_of(error))], 0, ""
        waited = self.waiting
        self.queue.done(taken, count - len(refused) - lost, refused)
        self._parts.passed(count)
        self._backoff.reset()
        self._telling.works(waited)
        self.queue.tell(None)
        self._telling.refuses(refused, more=self._parts.splitting)
        if lost:
            self._telling.loses(lost, message)
        if taken.again:
            self._telling.replays(count - len(refused) - lost, len(refused) + lost)

    def _push(self, taken: Taken) -> Outcome:
        with self._using:
            publisher = self._publisher
            try:
                self._open_again(publisher)
                return push(publisher, taken)
            finally:
                if publisher is not self._publisher:
                    self._close(publisher)

    def _open_again(self, publisher: Publisher) -> None:
        """Open a publisher before a push: whatever is wrong then, it is not with the samples."""
        try:
            self._open(publisher)
        except AWAY:
            raise
        except Exception as error:
            self._telling.crashes(error)
            raise Retryable(f"it cannot be opened: {reason_of(error)}") from error

    def _next(self) -> Taken | None:
        """Return the oldest samples, left in the queue until they are done; None to end."""
        while True:
            with self._changed:
                if self._closing is not None and time.monotonic() >= self._closing:
                    self._ended = True
                    return None
                self._more = False
                self._seen = self._news
            publisher = self._publisher
            whole = getattr(publisher.options, "batch_size", None) or publisher.batch_size
            # Not under the lock: a queue may call `_on_added` under one of its own.
            taken = self.queue.take(self._parts.size(whole))
            if taken is None or not taken.again:
                self._telling.ends_replay()
            if taken is not None:
                return taken
            with self._changed:
                if self._closing is not None and not self._more:
                    self._ended = True
                    return None
                self._changed.wait_for(lambda: self._more or self._closing is not None)

    def _wait(self, seconds: float) -> None:
        """Wait before the next try; one that is to end tries more often."""
        with self._changed:
            if self._closing is not None:
                left = self._closing - time.monotonic()
                seconds = min(seconds, max(0.1, left / LAST_TRIES))
            self._changed.wait_for(lambda: self._news != self._seen, seconds)

    def _on_added(self) -> None:
        with self._changed:
            self._more = True
            self._changed.notify_all()

    def _tell_thread(self, closing: float | None = None) -> None:
        """End a pause, since something changed."""
        with self._changed:
            self._news += 1
            if closing is not None:
                self._closing = closing
            self._changed.notify_all()
