# SPDX-License-Identifier: Apache-2.0
"""Knows whether this process was stopped, or the machine slept.

A thread that does nothing else takes the time; when it was kept from that for longer than a limit,
others may have been given what was this process's.
"""

from __future__ import annotations

import threading
import time


class Pulse:
    """Takes the time (CLOCK_BOOTTIME) on a thread of its own.

    Args:
        limit: seconds.
        every: seconds between two looks at the clock.
    """

    def __init__(self, limit: float, every: float) -> None:
        self._limit = limit
        self._every = every
        self._last = now()
        self._resumed = float("-inf")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._last = now()
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; what was true before stays so."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(1.0)
            self._thread = None

    def steady_since(self, moment: float) -> bool:
        """Return whether this process has run all the time from a moment (CLOCK_BOOTTIME) on."""
        if self._thread is not None and now() - self._last > self._limit:
            return False  # the thread has not woken yet
        return self._resumed < moment

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            moment = now()
            if moment - self._last > self._limit:
                self._resumed = moment
            self._last = moment


def now() -> float:
    """Return CLOCK_BOOTTIME, seconds; it goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
