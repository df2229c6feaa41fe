# SPDX-License-Identifier: Apache-2.0
"""Calls that may never return, each with a deadline.

A call of libvirt blocks in C for as long as the guest behind it does. It runs on a daemon thread;
who waits gives up at the deadline, the thread stays with the call until that returns, and its late
answer is dropped. So a stuck call costs one thread of a small crew, never the caller, and never the
exit of the process.
"""

from __future__ import annotations

import collections
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from ceilo_agent.errors import Unavailable

MAX_IN_FLIGHT: Final = 3
"""Calls at a time on one connection. libvirtd serves 5 of a client at once (`max_client_requests`);
stuck ones that use them up would starve the keepalive as well."""


class DeadlinePassed(Unavailable):
    """The call did not return in time; it goes on without anybody waiting for it."""


class Call:
    """One call under way."""

    __slots__ = (
        "_args", "_done", "_error", "_function", "_listeners", "_result", "began", "ended",
        "given_up",
    )  # fmt: skip

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._function = function
        self._args = args
        self._done = threading.Event()
        self._result: Any = None
        self._error: BaseException | None = None
        self._listeners: collections.deque[tuple[queue.SimpleQueue[Any], Any]] = collections.deque()
        self.began = 0.0
        self.ended = 0.0
        self.given_up = False

    def run(self) -> None:
        """Make the call, on a thread of the crew. `began` and `ended` are CLOCK_BOOTTIME."""
        self.began = time.clock_gettime(time.CLOCK_BOOTTIME)
        try:
            self._result = self._function(*self._args)
        except BaseException as error:  # it is raised where the result is awaited
            self._error = error
        self.ended = time.clock_gettime(time.CLOCK_BOOTTIME)
        self._function = self._args = None  # type: ignore[assignment] # let go of what they hold
        self._done.set()
        self._tell()
        # The error's traceback has this frame: without this they would hold each other, and with
        # them the connection, until Python next looks for cycles.
        del self

    @property
    def done(self) -> bool:
        """Whether it has returned or raised."""
        return self._done.is_set()

    def tell(self, ended: queue.SimpleQueue[Any], what: Any) -> None:
        """Put `what` into the queue when the call ends, or now if it has ended."""
        self._listeners.append((ended, what))
        if self._done.is_set():
            self._tell()

    def _tell(self) -> None:
        # Both threads may come here at once: each listener is taken by one of them.
        while True:
            try:
                ended, what = self._listeners.popleft()
            except IndexError:
                return
            ended.put(what)

    def result(self, deadline: float, *, give_up: bool = True) -> Any:
        """Wait until `deadline` (CLOCK_MONOTONIC) and return what the call returned.

        Args:
            deadline: when to stop waiting.
            give_up: whether nobody will ask again, so that a call that has not begun never does.

        Raises:
            DeadlinePassed: it has not returned.
            Exception: whatever the call raised.
        """
        if not self._done.wait(max(0.0, deadline - time.monotonic())):
            self.given_up = give_up
            raise DeadlinePassed("no answer in time")
        if (error := self._error) is not None:
            # The same for the frames of whoever asks: it is raised once.
            self._error = RuntimeError("the call failed; who asked first was told why")
            try:
                raise error
            finally:
                del error
        return self._result


class Crew:
    """A few daemon threads that make calls; started as they are needed."""

    def __init__(self, name: str, size: int = MAX_IN_FLIGHT) -> None:
        self._name = name
        self._size = size
        self._waiting: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._busy = 0

    @property
    def busy(self) -> int:
        """How many calls are waiting or under way."""
        return self._busy

    def start(self, function: Callable[..., Any], *args: Any) -> Call:
        """Begin a call as soon as a thread is free and return it at once."""
        call = Call(function, args)
        with self._lock:
            self._busy += 1
            if self._busy > self._threads and self._threads < self._size:
                self._threads += 1
                name = f"{self._name}-{self._threads}"
                threading.Thread(target=self._serve, name=name, daemon=True).start()
        self._waiting.put(call)
        return call

    def close(self) -> None:
        """Let idle threads end; stuck ones end when their call returns."""
        for _ in range(self._threads):
            self._waiting.put(None)

    def _serve(self) -> None:
        while (call := self._waiting.get()) is not None:
            if not call.given_up:
                call.run()
            with self._lock:
                self._busy -= 1
            del call  # an idle thread must not keep the last answer alive
