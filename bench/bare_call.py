# SPDX-License-Identifier: Apache-2.0
"""The bare bulk call: libvirt-python alone, over a few threads.

``python -m bench.bare_call LIBVIRTD_PID GROUPS``; then on standard input, a line per cycle:
``THREADS [CONNECTIONS]``, or ``describe N`` to read the XML of N guests one by one.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import libvirt

from bench.measure import serve

MOST_CONNECTIONS = 2


class Bare:
    """The guests as they were listed at the start: handles cost the timed cycle nothing."""

    def __init__(self, groups: int) -> None:
        self._groups = groups
        handles = [libvirt.openReadOnly("qemu:///system") for _ in range(MOST_CONNECTIONS)]
        active = libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE
        self._guests = [(handle, handle.listAllDomains(active)) for handle in handles]
        # All threads exist before the first cycle that is timed.
        self._pool = ThreadPoolExecutor(16)
        list(self._pool.map(lambda _: None, range(16)))

    def cycle(self, words: list[str]) -> int:
        """Return the number of replies."""
        if words[0] == "describe":
            guests = self._guests[0][1][: int(words[1])]
            return len([guest.XMLDesc() for guest in guests])
        threads = int(words[0])
        connections = int(words[1]) if len(words) > 1 else 1
        return sum(self._pool.map(self._read, range(threads), [threads] * threads,
                                  [connections] * threads))  # fmt: skip

    def _read(self, number: int, threads: int, connections: int) -> int:
        handle, guests = self._guests[number % connections]
        size = -(-len(guests) // threads)
        part = guests[number * size : (number + 1) * size]
        nowait = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        rows: list[Any] = handle.domainListGetStats(part, self._groups, nowait) if part else []
        return len(rows)


def main() -> None:
    """Serve until standard input ends."""
    serve(int(sys.argv[1]), lambda: Bare(int(sys.argv[2])).cycle)


if __name__ == "__main__":
    main()
