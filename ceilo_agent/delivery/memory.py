# SPDX-License-Identifier: Apache-2.0
"""A bounded queue in memory, for publishers that are best effort or stores themselves."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from ceilo_agent.delivery.queues import Counters, Refused, Taken
from ceilo_agent.sample import Sample

LOG = logging.getLogger(__name__)

MAX_SAMPLES: Final = 100_000
"""Samples that may wait for one publisher: some 20 MB."""


class MemoryQueue:
    """Samples that wait for one publisher; what is refused is dropped.

    When it is full the oldest samples go first, counted and told. What was offered last always
    fits, however much it is.

    Args:
        name: of the publisher, in messages.
        counters: go on from these.
        max_samples: that may wait.
    """

    def __init__(
        self, name: str, counters: Counters | None = None, max_samples: int = MAX_SAMPLES
    ) -> None:
        self.name = name
        self.counters = counters or Counters()
        self._max_samples = max_samples
        self._chunks: deque[Sequence[Sample]] = deque()
        self._skip = 0
        # Samples are numbered in the order in which they were offered.
        self._first = 0
        self._end = 0
        self._settled = 0
        self._closed = False
        self._lock = threading.Lock()
        self._added: Callable[[], None] | None = None

    @property
    def waiting(self) -> int:
        """Samples that were offered and are not done."""
        return self._end - self._first

    def offer(self, samples: Sequence[Sample]) -> int:
        """Add samples; never blocks. Returns what `settled` takes."""
        with self._lock:
            self.counters.offered += len(samples)
            self._end += len(samples)
            if samples:
                self._chunks.append(samples)
            keep = 0 if self._closed else max(self._max_samples, len(samples))
            lost = max(0, self.waiting - keep)
            self.counters.dropped += lost
            self._go_on(self._end - min(self.waiting, keep))
            if not self._closed:
                self._settled = self._first
            mark, added, closed = self._end, self._added, self._closed
        if lost and not closed:
            told = "publisher %s: the queue in memory is full (%d samples), %d oldest dropped"
            LOG.warning(told, self.name, keep, lost)
        if added is not None:
            added()
        return mark

    def settled(self, mark: int) -> bool:
        """Return whether the publisher is done with all that was offered up to a mark.

        What was dropped because the queue was closed is not settled: it was never tried.
        """
        return self._settled >= mark

    def take(self, most: int) -> Taken | None:
        """Return the oldest samples, at most so many; None when nothing waits."""
        with self._lock:
            found: list[Sample] = []
            skip = self._skip
            for chunk in self._chunks:
                found.extend(chunk[skip : skip + most - len(found)])
                skip = 0
                if len(found) == most:
                    break
            return Taken(found, self._first + len(found)) if found else None

    def done(self, taken: Taken, delivered: int, refused: Sequence[Refused]) -> None:
        """Go on behind what was taken last; what was not delivered is dropped."""
        del refused  # nothing keeps them
        with self._lock:
            count = len(taken.samples)
            meanwhile = max(0, min(self._first - (taken.place - count), count))
            self.counters.delivered += delivered
            self.counters.dropped += count - delivered - meanwhile
            self._go_on(taken.place)
            self._settled = max(self._settled, taken.place)

    def listen(self, added: Callable[[], None] | None) -> None:
        """Have a function called, on any thread, when there is more to take."""
        self._added = added

    def tell(self, fault: str | None) -> None:
        """Do nothing: nobody else sees what waits here."""

    def close(self) -> int:
        """Drop and count what waits, and all that is offered later; return how many waited."""
        with self._lock:
            self._closed = True
            lost = self.waiting
            self.counters.dropped += lost
            self._go_on(self._end)
        return lost

    def _go_on(self, number: int) -> None:
        """Forget all samples before this one."""
        step = number - self._first
        if step <= 0:
            return
        self._first = number
        self._skip += step
        while self._chunks and self._skip >= len(self._chunks[0]):
            self._skip -= len(self._chunks.popleft())
