# SPDX-License-Identifier: Apache-2.0
"""Our own cycle: ``python -m bench.our_cycle LIBVIRTD_PID OPTIONS_FILE store|none``.

With ``none`` it is discovery, inspection, tracking and the saving of last readings; with ``store``
the whole agent, its pipeline and the embedded store, until the store has the samples.
"""

from __future__ import annotations

import sys
import time

from bench.measure import serve
from ceilo_agent import options
from ceilo_agent.cli.daemon import Daemon
from ceilo_agent.delivery.outlet import Outlet
from ceilo_agent.plugins import Context
from ceilo_agent.polling.lane import Lane
from ceilo_agent.polling.making import Making, Selected
from ceilo_agent.sample import Batch

INTERVAL = 60


class Ours:
    """A lane whose cycles are run by hand.

    Args:
        lane: of the namespace compute.
        outlets: where its samples go.
    """

    def __init__(self, lane: Lane, outlets: list[Outlet]) -> None:
        self._lane = lane
        self._outlets = outlets

    def cycle(self, _: list[str]) -> int:
        """Return the number of samples made; all of them are stored by then."""
        before = self._lane.counters.samples
        self._lane.poll_all()
        for outlet in self._outlets:
            while outlet.waiting:
                time.sleep(0.0005)
        if self._lane.fault or self._lane.missing:
            lack = self._lane.fault or f"{len(self._lane.missing)} guests gave none"
            raise RuntimeError(f"no samples: {lack}")
        for outlet in self._outlets:
            if outlet.counters.delivered != outlet.counters.offered:
                raise RuntimeError(f"{outlet.name}: {outlet.counters}")
        return self._lane.counters.samples - before


def without_store(path: str) -> Ours:
    """Return a lane whose samples go nowhere."""
    conf = options.parse([path])
    context = Context(options.host(conf), options.values(conf))
    source = Selected("bench", INTERVAL, lambda _: True)
    made = Making(context, _drop, options.state_path(conf)).plan(["compute"], [source]).fresh
    return Ours(made[0], [])


def with_store(path: str) -> Ours:
    """Return the lane of a whole agent."""
    daemon = Daemon(options.parse([path]))
    daemon.pipeline.open()
    return Ours(daemon.agent.lanes[0], list(daemon.pipeline.outlets.values()))


def _drop(_: Batch) -> None:
    pass


def main() -> None:
    """Serve until standard input ends."""
    make = with_store if sys.argv[3] == "store" else without_store
    serve(int(sys.argv[1]), lambda: make(sys.argv[2]).cycle)


if __name__ == "__main__":
    main()
