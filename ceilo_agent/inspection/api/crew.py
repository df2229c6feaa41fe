# SPDX-License-Identifier: Apache-2.0
"""Does many jobs at a time, so that those of one endpoint never hold up those of another.

Each endpoint has a window of jobs at a time. It begins small, doubles with each job that succeeds
up to the endpoint's limit, and halves with each that fails: a server that hangs keeps few threads
waiting. The endpoints take turns. One whose jobs failed in the last round comes last in the next.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from enum import Enum
from functools import partial
from typing import Final, NamedTuple

from ceilo_agent.plugins import Target

LOG = logging.getLogger(__name__)

MOST_THREADS: Final = 256
FIRST_WINDOW: Final = 2
GIVE_UP_AFTER: Final = 3
"""Jobs in a row that found nobody at an endpoint; the others of it are not tried in this round."""


class Outcome(Enum):
    """What became of a job, as far as its endpoint goes."""

    DONE = "done"
    FAILED = "failed"
    NOBODY = "nobody is there"


class Job(NamedTuple):
    """A piece of work.

    Attributes:
        target: what it reads.
        endpoint: whom it asks.
        limit: jobs of the endpoint at a time.
        do: does it.
        give_up: called in place of `do` when nobody is at the endpoint.
    """

    target: Target
    endpoint: Hashable
    limit: int
    do: Callable[[], Outcome]
    give_up: Callable[[], None]


class _Queue:
    """The jobs of one endpoint."""

    def __init__(self, limit: int, window: int) -> None:
        self.jobs: deque[Job] = deque()
        self.limit = limit
        self.window = min(window, limit)
        self.busy = 0
        self.nobody = 0
        self.waiting = False  # in the line of those that may go on


class Crew:
    """Threads that do jobs; they end with each round. One round at a time.

    Args:
        most: threads at a time.
    """

    def __init__(self, most: int = MOST_THREADS) -> None:
        self._most = most
        self._alive = 0  # with those that hang in a call that cannot be ended, of earlier rounds
        self._lock = threading.Lock()
        self._doubtful: set[Hashable] = set()

    def run(self, jobs: Iterable[Job], deadline: float) -> None:
        """Do the jobs; those that are not done by the deadline are left, one by one, as they are.

        Args:
            jobs: all of them.
            deadline: CLOCK_MONOTONIC seconds.
        """
        queues: dict[Hashable, _Queue] = {}
        for job in jobs:
            queue = queues.get(job.endpoint)
            if queue is None:
                window = 1 if job.endpoint in self._doubtful else FIRST_WINDOW
                queue = queues[job.endpoint] = _Queue(job.limit, window)
            queue.limit = min(queue.limit, job.limit)
            queue.jobs.append(job)
        order = sorted(queues, key=lambda endpoint: endpoint in self._doubtful)
        round_ = _Round(self, {endpoint: queues[endpoint] for endpoint in order})
        round_.run(deadline)
        self._doubtful = round_.failed

    def spread(self, calls: Sequence[Callable[[], None]], width: int, deadline: float) -> None:
        """Make calls, several at a time, this thread among them; none may raise.

        Args:
            calls: all of them; one that is under way at the deadline goes on alone.
            width: at a time.
            deadline: CLOCK_MONOTONIC seconds.
        """
        left = deque(calls)
        ends: list[threading.Event] = []

        def work() -> None:
            while left and time.monotonic() < deadline:
                try:
                    call = left.popleft()
                except IndexError:  # another was quicker
                    return
                call()

        for _ in range(min(width, len(left)) - 1):
            end = threading.Event()
            if not self.hire(partial(_then, work, end)):
                break
            ends.append(end)
        work()
        for end in ends:
            end.wait(max(0.0, deadline - time.monotonic()))

    def hire(self, work: Callable[[], None]) -> bool:
        """Start a thread, if there may be one more; return whether it was."""
        with self._lock:
            if self._alive >= self._most:
                return False
            self._alive += 1

        def live() -> None:
            try:
                work()
            finally:
                with self._lock:
                    self._alive -= 1

        try:
            threading.Thread(target=live, name="api", daemon=True).start()
        except RuntimeError:  # the agent ends, or there is no memory for a stack
            with self._lock:
                self._alive -= 1
            return False
        return True


def _then(work: Callable[[], None], end: threading.Event) -> None:
    try:
        work()
    finally:
        end.set()


class _Round:
    def __init__(self, crew: Crew, queues: dict[Hashable, _Queue]) -> None:
        self._crew = crew
        self._queues = queues
        self._line: deque[_Queue] = deque()
        self._left = sum(len(queue.jobs) for queue in queues.values())
        self._idle = 0
        self._over = False
        self._changed = threading.Condition()
        self.failed: set[Hashable] = set()

    def run(self, deadline: float) -> None:
        with self._changed:
            for queue in self._queues.values():
                self._offer(queue)
            while self._left and (pause := deadline - time.monotonic()) > 0:
                # No thread may be had now, because others hang: look again soon.
                self._hire()
                self._changed.wait(min(pause, 0.5))
            self._over = True
            self._changed.notify_all()

    def _hire(self) -> None:
        """Start threads for what may be done now and nobody does; the lock is held."""
        for _ in range(sum(queue.window - queue.busy for queue in self._line) - self._idle):
            if not self._crew.hire(self._work):
                return

    def _offer(self, queue: _Queue) -> None:
        """Let somebody take a job of a queue, if one may be taken; the lock is held."""
        if queue.jobs and not queue.waiting and queue.busy < queue.window:
            queue.waiting = True
            self._line.append(queue)

    def _work(self) -> None:
        with self._changed:
            while not self._over and self._left:
                if not self._line:
                    self._idle += 1
                    self._changed.wait(5.0)
                    self._idle -= 1
                    continue
                queue = self._line.popleft()
                queue.waiting = False
                job = queue.jobs.popleft()
                queue.busy += 1
                self._offer(queue)
                self._changed.release()
                try:
                    outcome = self._outcome(job, queue)
                finally:
                    self._changed.acquire()
                self._done(job, queue, outcome)

    def _outcome(self, job: Job, queue: _Queue) -> Outcome:
        try:
            if queue.nobody >= GIVE_UP_AFTER:
                job.give_up()
                return Outcome.NOBODY
            return job.do()
        except Exception:
            LOG.exception("a job of %s failed", job.endpoint)
            return Outcome.FAILED

    def _done(self, job: Job, queue: _Queue, outcome: Outcome) -> None:
        """Take note of a job's end; the lock is held."""
        queue.busy -= 1
        self._left -= 1
        if outcome is Outcome.DONE:
            queue.nobody = 0
            queue.window = min(queue.limit, queue.window * 2)
        else:
            self.failed.add(job.endpoint)
            queue.nobody = queue.nobody + 1 if outcome is Outcome.NOBODY else 0
            queue.window = max(1, queue.window // 2)
        self._offer(queue)
        if not self._left:
            self._changed.notify_all()
        elif self._line and self._idle:
            self._changed.notify(min(self._idle, queue.window))
        elif self._line:
            self._crew.hire(self._work)
