# SPDX-License-Identifier: Apache-2.0
"""What a cycle costs the embedded store: ``python bench/store.py [SAMPLES] [CYCLES]``.

First the bare table under its two possible keys, (series, time) and (time, series), then the whole
writer: with the same Resource objects in every cycle, and with new but equal ones.
"""

from __future__ import annotations

import resource as rusage
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ceilo_agent.sample import Meter, Resource, Sample, SampleType
from ceilo_agent.store.reader import Reader
from ceilo_agent.store.writer import Writer

START = 1_700_000_000
METERS_EACH = 10


def bare(directory: Path, key: str, series: int, cycles: int) -> tuple[float, float]:
    """Return median CPU milliseconds and MB of write-ahead log per cycle, of one keyed table."""
    path = directory / f"{key}.db"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    db.execute(f"CREATE TABLE t(time INTEGER, series INTEGER, volume, PRIMARY KEY({key})) "
               "WITHOUT ROWID")  # fmt: skip
    wal = Path(f"{path}-wal")
    spent, logged = [], []
    for cycle in range(cycles):
        rows = [((START + cycle * 60) * 10**6, n, cycle * 1000 + n) for n in range(series)]
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        before = time.process_time()
        db.execute("BEGIN")
        db.executemany("INSERT INTO t VALUES(?, ?, ?)", rows)
        db.execute("COMMIT")
        spent.append(time.process_time() - before)
        logged.append(wal.stat().st_size)
    db.close()
    # The later half: the table must have grown for the keys to differ.
    half = cycles // 2
    return statistics.median(spent[half:]) * 1e3, statistics.median(logged[half:]) / 1e6


def cycle_samples(count: int, cycles: int, *, fresh: bool) -> Iterator[list[Sample]]:
    """Yield cycles of samples as the polling agent makes them."""
    meters = [
        Meter(f"bench.meter.{n}", "B", SampleType.CUMULATIVE if n % 3 else SampleType.GAUGE)
        for n in range(METERS_EACH)
    ]

    def resources() -> list[Resource]:
        return [
            Resource(f"{n:08x}-0000-4000-8000-000000000000", "p", "u", "instance",
                     {"display_name": f"guest-{n}", "host": "h", "vcpus": 2, "memory_mb": 512,
                      "flavor": {"name": "m1.small", "ram": 512}, "status": "active"})
            for n in range(count // METERS_EACH)
        ]  # fmt: skip

    those = resources()
    for cycle in range(cycles):
        if fresh:
            those = resources()
        samples = []
        for number, resource in enumerate(those):
            moment = START + cycle * 60 + number / 7000
            for n, meter in enumerate(meters):
                volume = cycle * 1_000_003 + n if n % 3 else (cycle + n) / 7
                samples.append(Sample(meter, resource, moment, volume))
        yield samples


def whole(directory: Path, count: int, cycles: int, *, fresh: bool, max_bytes: int) -> list[float]:
    """Return CPU milliseconds of every push but the first."""
    path = directory / f"whole-{fresh}-{max_bytes}.db"
    writer = Writer(path, 7 * 86400, max_bytes, clock=lambda: START)
    writer.open()
    spent = []
    largest = 0
    for samples in cycle_samples(count, cycles, fresh=fresh):
        before = time.process_time()
        writer.append(samples)
        spent.append((time.process_time() - before) * 1e3)
        size = path.stat().st_size + Path(f"{path}-wal").stat().st_size
        largest = max(largest, size)
    reader = Reader(path)
    before = time.perf_counter()
    latest = reader.latest(START)
    took = (time.perf_counter() - before) * 1e3
    figures = reader.statistics()
    print(f"    latest() {len(latest)} series in {took:.1f} ms; {figures.samples} samples, at most "
          f"{largest / 1e6:.1f} MB, {figures.bytes / max(1, figures.samples):.1f} B a sample; "
          f"deleted {writer.counters.deleted_by_bytes}")  # fmt: skip
    writer.close()
    return spent[1:]


def show(name: str, spent: list[float]) -> None:
    ordered = sorted(spent)
    print(f"{name}: median {statistics.median(spent):.1f} ms CPU a cycle, 95% within "
          f"{ordered[int(len(ordered) * 0.95)]:.1f}, worst {ordered[-1]:.1f}")  # fmt: skip


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 7000
    cycles = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        print(f"bare table, {count} series a cycle")
        cost = {}
        for key in ("series, time", "time, series"):
            cost[key] = bare(directory, key, count, cycles)
            print(f"  ({key}): {cost[key][0]:.1f} ms CPU, {cost[key][1]:.2f} MB of log a cycle")
        cpu, log = (a / b for a, b in zip(*cost.values(), strict=True))
        print(f"  the second is {cpu:.1f} x cheaper in CPU, {log:.0f} x in log")
        print(f"whole writer, {count} samples a cycle")
        for title, fresh, limit in (
            ("the same Resource objects", False, 1 << 30),
            ("new Resource objects", True, 1 << 30),
            ("at a limit of 8 MiB", False, 8 << 20),
        ):
            show(f"  {title}", whole(directory, count, cycles, fresh=fresh, max_bytes=limit))
        peak = rusage.getrusage(rusage.RUSAGE_SELF).ru_maxrss / 1024
        print(f"peak memory of this process: {peak:.0f} MB")


if __name__ == "__main__":
    main()
