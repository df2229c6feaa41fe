# SPDX-License-Identifier: Apache-2.0
"""Over how many threads and connections the bulk call is fastest: `python -m bench.fan_out`.

The guests are those that run (`python -m tests.guests up --bare 100`). All ways take turns within a
round; the ratios are to one thread on one connection in the same round.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from bench.contender import Contender
from bench.contestants import all_groups
from tests.guests import daemon

WAYS = ("1 1", "2 1", "3 1", "4 1", "5 1", "6 1", "2 2", "4 2", "6 2")
"""Threads and connections."""


def main() -> int:
    """Print a line per way; 1 if no libvirtd runs."""
    parser = argparse.ArgumentParser(prog="python -m bench.fan_out", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="calls of each (default 15)")
    rounds = parser.parse_args().rounds
    pid = daemon.pid()
    if pid is None:
        print("bench.fan_out: no libvirtd runs", file=sys.stderr)
        return 1
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    used: dict[str, list[float]] = {way: [] for way in WAYS}
    guests = 0
    with tempfile.TemporaryDirectory(prefix="ceilo_agent-bench-") as directory:
        command = [sys.executable, "bench.bare_call", str(pid), str(all_groups())]
        contender = Contender(command, Path(directory) / "log")
        for number in range(rounds + 1):
            for way in random.sample(WAYS, len(WAYS)):
                time.sleep(0.1)
                cost = contender.cycle(way)
                guests = cost.samples
                if number:
                    taken[way].append(cost.wall)
                    used[way].append(cost.daemon)
        contender.close()
    print(f"{guests} guests, {rounds} rounds: median (quartiles)")
    print("threads connections      wall s                ratio to one thread   libvirtd CPU s")
    for way, walls in taken.items():
        ratios = [wall / one for wall, one in zip(walls, taken[WAYS[0]], strict=True)]
        threads, connections = way.split()
        print(f"{threads:>7} {connections:>11}   {_quartiles(walls)}   {_quartiles(ratios)}"
              f"   {statistics.median(used[way]):.2f}")  # fmt: skip
    return 0


def _quartiles(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} ({low:.3f}..{high:.3f})"


if __name__ == "__main__":
    sys.exit(main())
