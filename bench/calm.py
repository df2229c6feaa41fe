# SPDX-License-Identifier: Apache-2.0
"""Waits until new guests have come to rest: their firmware, emulated, loads the host."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bench.measure import cpu_seconds

WINDOW = 2.0
"""Seconds over which the load is taken."""

REST = 0.6
"""Processors that a hundred resting guests may use together."""


def load(pids: Sequence[int]) -> float:
    """Return how many processors the processes use together."""
    before = sum(map(cpu_seconds, pids))
    began = time.monotonic()
    time.sleep(WINDOW)
    return (sum(map(cpu_seconds, pids)) - before) / (time.monotonic() - began)


def wait(pids: Sequence[int], seconds: float) -> float:
    """Wait for rest, for at most that long, and return the last load."""
    end = time.monotonic() + seconds
    found = load(pids)
    while found > REST * max(1.0, len(pids) / 100) and time.monotonic() < end:
        found = load(pids)
    return found
