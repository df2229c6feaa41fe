# SPDX-License-Identifier: Apache-2.0
"""What the durable log costs: ``python -m bench.spool [SAMPLES]``.

A million samples go in and come back out of the file, not out of memory: the log is closed and
opened between the two. One publisher, batches of 1,000, one core. They are samples as the agent
makes them of 100 guests: every meter, float times, the readings before, random counters.

Beside it, in the same run, SQLite alone: rows of the same size written and read as they are, one
transaction each. The ratio is what packing, compressing and counting add.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource as rusage
import sqlite3
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.sample_build import CONTEXT, REPLY, XML, advance
from ceilo_agent.delivery.log import Log, Offer
from ceilo_agent.discovery.libvirt.guest import Guest, describe
from ceilo_agent.inspection.libvirt.inspector import LibvirtInspector
from ceilo_agent.inspection.libvirt.rows import Row
from ceilo_agent.polling.tracker import Tracker
from ceilo_agent.sample import Sample

GUESTS = 100
CYCLES = 10
BATCH = 1000
RISING = ("time", "bytes", "reqs", "times", "pkts")


class Cost(NamedTuple):
    """Samples in a second of wall time and of CPU time."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall:12,.0f}  {self.cpu:12,.0f}"


class Watch:
    """Measures what happens between its making and `cost`."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def cost(self, samples: int) -> Cost:
        """Return the samples in each second since."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return Cost(samples / wall, samples / cpu)


def batches() -> list[list[Sample]]:
    """Return samples of some cycles, in the order in which they are read."""
    chance = random.Random(1)
    random.seed(2)
    inspector = LibvirtInspector(CONTEXT)
    wanted = frozenset(meter.name for meter in inspector.meters())
    tracker = Tracker("bench", wanted.__contains__, 60)
    guests = []
    for number in range(GUESTS):
        reply = dict(REPLY)
        for field, value in reply.items():
            if type(value) is int and field.endswith(RISING):
                reply[field] = value + chance.randrange(1 << 36)
        name = str(uuid.UUID(int=chance.getrandbits(128)))
        description = describe(XML.replace("server-1", f"web-{number}"))
        guests.append((Guest(name, None, number + 1, description, None), reply))
    made: list[Sample] = []
    for cycle in range(CYCLES + 1):
        advance(guests)
        moment = 100.0 + 60 * cycle
        rows = [Row(guest, reply, moment + chance.random()) for guest, reply in guests]
        found = tracker.samples(inspector.observe(rows, wanted))
        made += found if cycle else []  # the first has no readings before
    return [made[start : start + BATCH] for start in range(0, len(made) - BATCH + 1, BATCH)]


def write(log: Log, offers: Sequence[Sequence[Sample]]) -> Cost:
    watch = Watch()
    for samples in offers:
        log.offer([Offer(["bench"], samples)])
    return watch.cost(len(offers) * BATCH)


def read(log: Log, count: int) -> Cost:
    watch = Watch()
    queue, found = log.queue("bench"), 0
    while (taken := queue.take(BATCH)) is not None:
        found += len(taken.samples)
        queue.done(taken, len(taken.samples), ())
    assert found == count, f"{found} of {count} came back"
    return watch.cost(count)


def bare(path: Path, rows: int, size: int) -> tuple[Cost, Cost]:
    """Return what SQLite alone takes to write rows of some bytes, and to read and delete them."""
    data = [random.randbytes(size) for _ in range(100)]
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA secure_delete = OFF")
        db.execute("CREATE TABLE log (seq INTEGER PRIMARY KEY, samples BLOB)")
        watch = Watch()
        for number in range(rows):
            db.execute("INSERT INTO log VALUES (?, ?)", (number, data[number % 100]))
        written = watch.cost(rows * BATCH)
        watch = Watch()
        for number in range(rows):
            db.execute("SELECT samples FROM log WHERE seq = ?", (number,)).fetchone()
            db.execute("DELETE FROM log WHERE seq = ?", (number,))
        return written, watch.cost(rows * BATCH)


def main() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    made = batches()
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    offers = [made[number % len(made)] for number in range(count // BATCH)]
    count = len(offers) * BATCH
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        before = rusage.getrusage(rusage.RUSAGE_SELF).ru_maxrss
        log = Log(directory / "0")
        log.open()
        log.enroll(["bench"])
        written = write(log, offers)
        log.close()
        size = sum(file.stat().st_size for file in (directory / "0").iterdir())
        log = Log(directory / "0")
        log.open()
        log.enroll(["bench"])
        taken = read(log, count)
        log.close()
        grown = rusage.getrusage(rusage.RUSAGE_SELF).ru_maxrss - before
        plain = bare(directory / "bare.db", len(offers), size // len(offers))
    print(f"{count:,} samples in batches of {BATCH:,}, one core")
    print("                        samples/s  samples/s CPU")
    print(f"into the log         {written}")
    print(f"out of the file      {taken}")
    print(f"SQLite alone, in     {plain[0]}   {plain[0].wall / written.wall:.1f} x")
    print(f"SQLite alone, out    {plain[1]}   {plain[1].wall / taken.wall:.1f} x")
    print(f"{size / count:.1f} bytes a sample on disk; {grown / 1024:.0f} MB more memory")


if __name__ == "__main__":
    main()
