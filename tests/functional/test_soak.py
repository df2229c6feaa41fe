# SPDX-License-Identifier: Apache-2.0
"""Cycles at full speed while real guests come and go: nothing of the agent grows."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.functional.cycles import Cycles
from tests.guests import Guest, daemon, fleet

CYCLES = int(os.environ.get("CEILO_SOAK_CYCLES", "2000"))
WARM = 200
"""Cycles after which the agent has what it needs."""

EVERY = 20
"""Cycles between two changes."""

RSS_MIB = 4.0
"""What may come after the warm cycles: the allocator's scatter, not a growth per cycle."""

FEW = 4
"""Threads and descriptors of a line or two that is just being opened or closed."""


class Held(NamedTuple):
    """What this process has."""

    mib: float
    threads: int
    descriptors: int


def held() -> Held:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    mib = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return Held(mib, threading.active_count(), len(list(Path("/proc/self/fd").iterdir())))


@pytest.fixture
def guests() -> Iterator[list[Guest]]:
    with fleet(bare=6, prefix="ceilo-soak-") as made:
        yield made


class Turnover(threading.Thread):
    """Destroys and starts guests by turns, one change whenever it is asked."""

    def __init__(self, guests: list[Guest]) -> None:
        super().__init__(daemon=True)
        self._guests = guests
        self._asked = threading.Semaphore(0)
        self.ended = False
        self.changes = 0

    def ask(self) -> None:
        self._asked.release()

    def run(self) -> None:
        while True:
            self._asked.acquire()
            if self.ended:
                return
            guest = self._guests[self.changes // 2 % len(self._guests)]
            # In a process of its own: this one is to have nothing but what is the agent's.
            command = ["virsh", "-c", daemon.URI, "start" if self.changes % 2 else "destroy"]
            subprocess.run([*command, guest.name], capture_output=True, check=False)
            self.changes += 1

    def end(self) -> None:
        self.ended = True
        self.ask()
        self.join(30)


@pytest.mark.long
def test_nothing_grows_over_many_cycles_while_guests_come_and_go(
    guests: list[Guest], capsys: pytest.CaptureFixture[str]
) -> None:
    cycles = Cycles(guests)
    turnover = Turnover(guests)
    turnover.start()
    began = time.monotonic()
    try:
        for cycle in range(CYCLES):
            if cycle == WARM:
                warm = held()
            if cycle % EVERY == 0:
                turnover.ask()
            seen = cycles.poll()
            assert len(seen) >= len(guests) - 2
            assert cycles.lane.fault is None
        turnover.end()
        cycles.poll()
        after = held()
    finally:
        turnover.end()
        cycles.close()
    took = time.monotonic() - began
    counters = cycles.lane.counters
    with capsys.disabled():
        print(
            f"\n{counters.cycles} cycles in {took:.0f} s, {turnover.changes} changes, "
            f"{counters.samples} samples: {warm} after {WARM}, {after} at the end"
        )
    assert counters.failed == 0
    assert turnover.changes >= CYCLES // EVERY // 2
    assert after.mib <= warm.mib + RSS_MIB
    assert after.threads <= warm.threads + FEW
    assert after.descriptors <= warm.descriptors + FEW
