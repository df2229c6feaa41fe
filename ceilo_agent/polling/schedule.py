# SPDX-License-Identifier: Apache-2.0
"""When a source is due: at once, then on aligned ticks.

Ticks are counted on the wall clock, so that all agents agree on them; waits are on the monotonic
one. A slot that was done is not done again when the clock is set back.
"""

from __future__ import annotations

import hashlib
import math


class Ticks:
    """The ticks of one source.

    Args:
        interval: seconds between two.
        offset: seconds by which they are shifted, the same for all sources of this host.
    """

    def __init__(self, interval: float, offset: float) -> None:
        self.interval = interval
        self.offset = offset
        self._done: int | None = None

    @property
    def done(self) -> int | None:
        """The slot that was done last; None before the first."""
        return self._done

    def slot(self, wall: float) -> int:
        """Return the number of the slot that a moment falls into."""
        return math.floor((wall - self.offset) / self.interval)

    def wait(self, wall: float) -> float:
        """Return the seconds until the source is due; 0 if it is."""
        if self._done is None:
            return 0.0
        return max(0.0, (self._done + 1) * self.interval + self.offset - wall)

    def begin(self, wall: float) -> int:
        """Mark the present slot as done and return how many were missed before it."""
        slot = self.slot(wall)
        missed = 0 if self._done is None else max(0, slot - self._done - 1)
        self._done = slot if self._done is None else max(slot, self._done)
        return missed

    def step(self, wall: float) -> None:
        """Count from here after the clock was set: the present slot counts as done."""
        if self._done is not None:
            self._done = self.slot(wall)


class ClockWatch:
    """Notices when the wall clock is set, against CLOCK_BOOTTIME."""

    def __init__(self, wall: float, boottime: float) -> None:
        self._ahead = wall - boottime

    def step(self, wall: float, boottime: float, tolerance: float) -> float:
        """Return by how many seconds the clock was set since the last call, 0 if by less than
        `tolerance`; it never forgets a slow drift into one step.
        """  # noqa: D205
        ahead = wall - boottime
        step = ahead - self._ahead
        self._ahead = ahead
        return step if abs(step) > tolerance else 0.0


def host_offset(host: str, interval: float) -> float:
    """Return this host's share of an interval, in seconds: stable, spread evenly over hosts."""
    digest = hashlib.sha256(host.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 * interval
