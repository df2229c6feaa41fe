# SPDX-License-Identifier: Apache-2.0
"""How fast replies of libvirt become samples: `python -m bench.sample_build`.

Replays the bulk reply of 100 to 5,000 guests (the reply of one booted guest of libvirt 9.0, with
other numbers in each cycle) through inspection and polling, without libvirtd. Prints the
microseconds of CPU per guest and the samples per second of one core; the cost per guest must stay
flat.
"""

from __future__ import annotations

import gc
import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

from ceilo_agent.discovery.libvirt.guest import Guest, describe
from ceilo_agent.inspection.libvirt.inspector import LibvirtInspector
from ceilo_agent.inspection.libvirt.rows import Row
from ceilo_agent.plugins import Context
from ceilo_agent.polling.tracker import Tracker

REPLY = json.loads(Path(__file__).with_name("reply.json").read_text())
XML = Path(__file__).with_name("domain.xml").read_text()
CONTEXT = Context("bench", {})


def fleet(size: int) -> list[tuple[Guest, dict[str, Any]]]:
    """Return guests of different names, each with a reply of its own."""
    description = describe(XML)
    return [
        (Guest(f"00000000-0000-4000-8000-{n:012d}", None, n + 1, description, None), dict(REPLY))
        for n in range(size)
    ]


def advance(replies: list[tuple[Guest, dict[str, Any]]]) -> None:
    """Let every counter rise by a random amount."""
    for _, reply in replies:
        for field, value in reply.items():
            if type(value) is int and field.endswith(("time", "bytes", "reqs", "times", "pkts")):
                reply[field] = value + random.randrange(1 << 20)


def measure(size: int, cycles: int = 7) -> tuple[float, float, int]:
    """Return seconds of inspection and of polling per cycle (medians), and samples per cycle."""
    inspector = LibvirtInspector(CONTEXT)
    wanted = frozenset(meter.name for meter in inspector.meters())
    tracker = Tracker("bench", wanted.__contains__, 60)
    replies = fleet(size)
    reading, tracking, count = [], [], 0
    for cycle in range(cycles):
        advance(replies)
        rows = [Row(guest, reply, 100.0 + 60 * cycle) for guest, reply in replies]
        gc.collect()
        began = time.process_time()
        observations = list(inspector.observe(rows, wanted))
        read = time.process_time()
        samples = tracker.samples(observations)
        ended = time.process_time()
        if cycle > 1:  # the first cycles fill caches and have no previous readings
            reading.append(read - began)
            tracking.append(ended - read)
        count = len(samples)
    return statistics.median(reading), statistics.median(tracking), count


def main() -> None:
    """Print a line per size of fleet."""
    print("guests  samples  reading us/guest  sampling us/guest  samples/s (both)  samples/s")
    for size in (100, 1000, 5000):
        reading, tracking, count = measure(size)
        print(
            f"{size:6d}  {count:7d}  {reading / size * 1e6:16.1f}  {tracking / size * 1e6:17.1f}"
            f"  {count / (reading + tracking):16,.0f}  {count / tracking:9,.0f}"
        )


if __name__ == "__main__":
    main()
