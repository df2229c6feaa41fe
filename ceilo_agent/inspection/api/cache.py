# SPDX-License-Identifier: Apache-2.0
"""Answers that are good for a while, bounded in number and bytes."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, NamedTuple

from ceilo_agent.inspection.api.answer import Unanswered

MAX_ENTRIES: Final = 10_000
MAX_BYTES: Final = 64 << 20

FAILED_FOR: Final = 60.0
"""Seconds at most for which a request that failed is not sent again."""


class _Kept(NamedTuple):
    document: Any
    fault: Unanswered | None
    size: int
    until: float


class Cache:
    """Keeps documents by key; what was used longest ago goes first. Any thread may ask.

    Args:
        max_entries: documents that are kept.
        max_bytes: of the answers that they were read from.
        clock: tells the time, seconds.
    """

    def __init__(
        self,
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._clock = clock
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._asked: dict[Hashable, threading.Event] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def get(
        self,
        key: Hashable,
        seconds: float,
        make: Callable[[], tuple[Any, int]],
        deadline: float,
    ) -> Any:
        """Return a document; of several that ask for the same at a time one makes it.

        Args:
            key: of the document.
            seconds: for which it is good, 0: for nobody else.
            make: returns the document and its size in bytes.
            deadline: CLOCK_MONOTONIC seconds, for waiting.

        Raises:
            Unanswered: it cannot be had.
        """
        if seconds <= 0:
            return make()[0]
        while True:
            with self._lock:
                found = self._fresh(key)
                if found is not None:
                    if found.fault is not None:
                        raise found.fault
                    return found.document
                event = self._asked.get(key)
                if event is None:
                    event = self._asked[key] = threading.Event()
                    break
            if not event.wait(max(0.0, deadline - time.monotonic())):
                raise Unanswered("no time was left: another waits for the same answer")
        try:
            document, size = make()
            self._keep(key, _Kept(document, None, size, self._clock() + seconds))
        except Unanswered as error:
            self._keep(key, _Kept(None, error, 0, self._clock() + min(seconds, FAILED_FOR)))
            raise
        finally:
            with self._lock:
                del self._asked[key]
            event.set()
        return document

    @property
    def size(self) -> tuple[int, int]:
        """How many documents there are, and of how many bytes."""
        return len(self._kept), self._bytes

    def _fresh(self, key: Hashable) -> _Kept | None:
        found = self._kept.get(key)
        if found is None:
            return None
        if found.until <= self._clock():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return found

    def _keep(self, key: Hashable, kept: _Kept) -> None:
        with self._lock:
            self._drop(key)
            if kept.size > self._max_bytes:
                return
            self._kept[key] = kept
            self._bytes += kept.size
            while len(self._kept) > self._max_entries or self._bytes > self._max_bytes:
                self._drop(next(iter(self._kept)))

    def _drop(self, key: Hashable) -> None:
        gone = self._kept.pop(key, None)
        if gone is not None:
            self._bytes -= gone.size
