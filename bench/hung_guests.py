# SPDX-License-Identifier: Apache-2.0
"""What hung guests cost the others: `python -m bench.hung_guests`, as root.

Polls bare guests with all meters, stops the QEMU of some of them (SIGSTOP), polls on, and lets them
go on. Prints each cycle: its wall time, the guests that gave all and those that gave a part, and
the ratio of its wall time to the median of the healthy cycles.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Sequence

import libvirt

from bench import calm
from ceilo_agent import options
from ceilo_agent.discovery.libvirt.domains import LibvirtDomains
from ceilo_agent.inspection.libvirt.inspector import LibvirtInspector
from ceilo_agent.meters.catalogue import catalogue
from ceilo_agent.plugins import Context
from tests.guests import daemon
from tests.guests.errors import GuestsUnavailable
from tests.guests.fleet import Guest, fleet

PREFIX = "ceilo-bench-hung-"
DEADLINE = 5.0
"""Seconds that a cycle may take: half of an interval of 10 s."""

PAUSE = 0.5
CALM_WITHIN = 120.0


class Agent:
    """Discovery and inspector of an agent, asked by hand."""

    def __init__(self) -> None:
        conf = options.parse([], {"libvirt.uri": daemon.URI})
        context = Context("bench", options.values(conf))
        self._discovery = LibvirtDomains(context)
        self._inspector = LibvirtInspector(context)
        self._wanted = frozenset(entry.name for entry in catalogue("compute").meters)

    def cycle(self, name: str, mine: Iterable[str], healthy: Sequence[float]) -> float:
        """Run one, print it and return the seconds that it took."""
        began = time.monotonic()
        deadline = began + DEADLINE
        own = set(mine)
        targets = [t for t in self._discovery.discover(deadline).targets if t.id in own]
        snapshot = self._inspector.inspect(targets, self._wanted, deadline)
        took = time.monotonic() - began
        partial = {lack.target for lack in snapshot.missing if lack.partial}
        lacking = {lack.target for lack in snapshot.missing}
        whole = len({seen.owner for seen in snapshot.observations} - lacking)
        ratio = f"{took / statistics.median(healthy):.2f}" if healthy else "-"
        nothing = len(lacking) - len(partial)
        print(
            f"{name:24} {took:7.2f} {whole:9} {len(partial):8} {nothing:8} {ratio:>7}", flush=True
        )
        return took

    def close(self) -> None:
        """Let go of the connections."""
        self._inspector.close()
        self._discovery.close()


@contextlib.contextmanager
def _hung(guests: Sequence[Guest]) -> Iterator[None]:
    for guest in guests:
        guest.stop_process()
    try:
        yield
    finally:
        for guest in guests:
            guest.cont_process()


def _compare(guests: Sequence[Guest], counts: Sequence[int], cycles: int) -> None:
    mine = [guest.uuid for guest in guests]
    agent = Agent()
    healthy: list[float] = []
    print(f"{'cycle':24} {'wall s':>7} {'complete':>9} {'partial':>8} {'nothing':>8} {'ratio':>7}")
    try:
        for number in range(cycles + 1):
            took = agent.cycle(f"healthy {number}", mine, healthy)
            if number:  # the first one opens connections and reads the XML
                healthy.append(took)
            time.sleep(PAUSE)
        for count in counts:
            with _hung(guests[:: max(1, len(guests) // count)][:count]):
                for number in range(cycles):
                    agent.cycle(f"{count} hung, cycle {number + 1}", mine, healthy)
                    time.sleep(PAUSE)
            for number in range(2):
                agent.cycle(f"{count} back, cycle {number + 1}", mine, healthy)
                time.sleep(PAUSE)
    finally:
        agent.close()


def main() -> int:
    """Run it; 0 done, 1 could not (one line says why)."""
    parser = argparse.ArgumentParser(prog="python -m bench.hung_guests", description=__doc__)
    parser.add_argument("--guests", type=int, default=100, help="bare guests (default 100)")
    parser.add_argument(
        "--hung", type=int, nargs="+", default=[1, 10], help="how many hang (default 1 and 10)"
    )
    parser.add_argument("--cycles", type=int, default=5, help="cycles of each (default 5)")
    asked = parser.parse_args()
    try:
        print(f"starting {asked.guests} guests ...", flush=True)
        with fleet(bare=asked.guests, prefix=PREFIX) as guests:
            calm.wait([guest.pid for guest in guests], CALM_WITHIN)
            with daemon.connection() as handle:
                handle.getAllDomainStats(0, 0)  # a new libvirtd probes QEMU for its first answer
            _compare(guests, asked.hung, asked.cycles)
    except (GuestsUnavailable, OSError, libvirt.libvirtError) as error:
        print(f"bench.hung_guests: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
