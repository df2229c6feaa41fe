# SPDX-License-Identifier: Apache-2.0
"""What stands between the pipeline and a publisher: the contract of the two kinds of queue.

`MemoryQueue` holds samples for publishers that are best effort or stores themselves; `LogQueue` is
a cursor in the durable log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from ceilo_agent.sample import Sample


class Counters(msgspec.Struct):
    """What became of the samples: offered = delivered + waiting + set_aside + dropped."""

    offered: int = 0
    delivered: int = 0
    set_aside: int = 0
    """The publisher will never take them: the log keeps them, to look at and to replay."""
    dropped: int = 0
    """A bound was reached, the log was damaged, or nothing keeps what this publisher refused."""

    @property
    def waiting(self) -> int:
        """What is left of the offered ones."""
        return self.offered - self.delivered - self.set_aside - self.dropped


class Taken(NamedTuple):
    """The oldest samples that wait.

    Attributes:
        samples: at least one, in order.
        place: where they end in the queue; only the queue knows its type.
        again: they were set aside before: they may be older than what was delivered since.
    """

    samples: Sequence[Sample]
    place: Any
    again: bool = False


class Refused(NamedTuple):
    """A sample that a publisher will never take, and why."""

    sample: Sample
    reason: str


class Queue(Protocol):
    """Samples that wait for one publisher. One thread takes; any may add.

    Attributes:
        counters: what became of them.
    """

    counters: Counters

    @property
    def waiting(self) -> int:
        """Samples that were offered and are not done."""

    def take(self, most: int) -> Taken | None:
        """Return the oldest samples, at most so many; None when nothing waits.

        They stay in the queue until they are done.
        """

    def done(self, taken: Taken, delivered: int, refused: Sequence[Refused]) -> None:
        """Go on behind what was taken last: so many were delivered, the others refused.

        What is neither counts as dropped: the publisher refused it without saying which it was.
        What was dropped for its age while it was being delivered counts as delivered.
        """

    def listen(self, added: Callable[[], None] | None) -> None:
        """Have a function called, on any thread, when there is more to take; it never blocks."""

    def tell(self, fault: str | None) -> None:
        """Note why the publisher cannot deliver, None once it can; it never blocks for long."""

    def close(self) -> int:
        """End: drop and count what only memory holds; return how many that were."""
