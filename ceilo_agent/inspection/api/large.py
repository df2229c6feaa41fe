# SPDX-License-Identifier: Apache-2.0
"""Few answers are large at a time: the memory of an agent stays bounded."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from ceilo_agent.inspection.api.answer import Unanswered

FREE: Final = 1 << 20
"""Bytes up to which an answer is not large."""

AT_A_TIME: Final = 4
"""Targets that may hold a large answer, and as many further requests for their entries."""


class Large:
    """Counts who holds large answers. A thread works on one target at a time."""

    def __init__(self) -> None:
        self._targets = threading.BoundedSemaphore(AT_A_TIME)
        self._further = threading.BoundedSemaphore(AT_A_TIME)
        self._thread: Any = threading.local()

    @contextlib.contextmanager
    def held(self, *, further: bool = False) -> Iterator[None]:
        """Hold what is read in this block until its end.

        Args:
            further: it is for entries of a target, which may hold a large answer itself and waits.
        """
        around = getattr(self._thread, "state", None)
        state = self._thread.state = [self._further if further else self._targets, False]
        try:
            yield
        finally:
            self._thread.state = around
            if state[1]:
                state[0].release()

    def reached(self, size: int, deadline: float) -> None:
        """Wait until an answer of so many bytes may be read on.

        Raises:
            Unanswered: not before the deadline (CLOCK_MONOTONIC seconds).
        """
        state = getattr(self._thread, "state", None)
        if size <= FREE or state is None or state[1]:
            return
        if not state[0].acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise Unanswered("no time was left: other large answers were read", late=True)
        state[1] = True
