# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from ceilo_agent.sample import Meter, Sample, SampleType
from ceilo_agent.store import index
from ceilo_agent.store.reader import Reader
from ceilo_agent.store.retention import SLICE_ROWS
from ceilo_agent.store.writer import Writer
from tests.unit.store.samples import CPU, START, cycle, guest


def size(path: Path) -> int:
    wal = Path(f"{path}-wal")
    return path.stat().st_size + (wal.stat().st_size if wal.exists() else 0)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def test_samples_go_when_they_are_too_old(path: Path, reader: Reader) -> None:
    clock = Clock()
    writer = Writer(path, max_age=600, max_bytes=1 << 30, clock=clock)
    writer.open()
    for number in range(30):
        clock.now = START + 60 * number
        writer.append(cycle(number))
    found = reader.statistics()
    assert found.first is not None
    assert clock.now - 600 <= found.first <= clock.now - 540
    assert writer.counters.deleted_by_age == 30 * 6 - found.samples
    assert writer.counters.deleted_by_bytes == 0
    writer.close()


@pytest.mark.parametrize("batch", [10, 600, 6000])
def test_the_file_and_its_log_stay_below_the_limit(path: Path, reader: Reader, batch: int) -> None:
    limit = 1 << 20
    writer = Writer(path, max_age=1e9, max_bytes=limit, clock=Clock())
    writer.open()
    meters = tuple(Meter(f"meter.{n}", "B", SampleType.GAUGE) for n in range(10))
    written = 0
    for number in range(max(60, min(6000, 200_000 // batch))):
        samples = cycle(number, guests=batch // 10, meters=meters)
        writer.append(samples)
        written += len(samples)
        assert size(path) <= limit
    found = reader.statistics()
    # It is used well, too: at most half stands empty.
    assert found.samples * 24 > limit / 2 if batch < 1000 else found.samples >= batch
    assert writer.counters.deleted_by_bytes == written - found.samples
    assert found.last == pytest.approx(START + 60 * number, abs=60)
    writer.close()


def test_a_store_that_one_batch_fills_keeps_the_one_before_too(path: Path, reader: Reader) -> None:
    writer = Writer(path, max_age=1e9, max_bytes=1 << 20, clock=Clock())
    writer.open()
    for number in range(4):
        writer.append(cycle(number, guests=20_000, meters=(CPU,)))
    assert {s.volume // 1000 for s in reader.samples("cpu", "guest-0")} == {2, 3}
    writer.close()


def test_a_limit_that_was_lowered_is_reached_in_slices(path: Path, reader: Reader) -> None:
    writer = Writer(path, max_age=1e9, max_bytes=1 << 30, clock=Clock())
    writer.open()
    for number in range(60):
        writer.append(cycle(number, guests=2000))
    writer.close()
    assert size(path) > 4 << 20
    writer = Writer(path, max_age=1e9, max_bytes=2 << 20, clock=Clock())
    writer.open()
    pushes, deleted = 0, 0
    while size(path) > 2 << 20:
        writer.append(cycle(60 + pushes, guests=10))
        assert writer.counters.deleted_by_bytes - deleted <= SLICE_ROWS + 2 * 20
        deleted = writer.counters.deleted_by_bytes
        pushes += 1
        assert pushes < 200
    assert pushes > 5
    newest = list(reader.samples("cpu", "guest-0"))[-1]
    assert newest.time == START + 60 * (59 + pushes)
    writer.close()


def test_an_emptied_store_gives_its_space_back(path: Path) -> None:
    clock = Clock()
    writer = Writer(path, max_age=3600, max_bytes=1 << 30, clock=clock)
    writer.open()
    for number in range(40):
        writer.append(cycle(number, guests=2000))
    clock.now = START + 86400
    for number in range(100):
        writer.append([Sample(CPU, guest(), clock.now + number, 1)])
    writer.close()
    assert writer.counters.deleted_by_age == 40 * 4000
    # 4 MB of samples; what stays is mostly the table of resources.
    assert size(path) < 2 << 20


def test_resources_without_samples_are_forgotten(
    path: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "MARK_ROWS", 10)
    clock = Clock()
    writer = Writer(path, max_age=600, max_bytes=1 << 30, clock=clock)
    writer.open()
    gone, stays = guest(1), guest(2)
    writer.append([Sample(CPU, gone, START, 1), Sample(CPU, stays, START, 1)])
    for number in range(1, 40):
        clock.now = START + 60 * number
        writer.append([Sample(CPU, stays, clock.now, number)])
        if number == 12:
            # Already hidden when its last sample went.
            assert [one.resource.id for one in reader.series()] == ["guest-2"]
    assert reader.statistics().series == 1
    assert writer._db is not None
    assert writer._db.execute("SELECT name FROM resource").fetchall() == [("guest-2",)]
    # It may come back, as the same object or another.
    writer.append([Sample(CPU, gone, clock.now, 5), Sample(CPU, guest(1), clock.now + 1, 6)])
    assert [s.volume for s in reader.samples("cpu", "guest-1")] == [5, 6]
    writer.close()


def test_a_clock_that_ran_ahead_deletes_nothing_once_it_is_right_again(
    path: Path, reader: Reader
) -> None:
    writer = Writer(path, max_age=600, max_bytes=1 << 30, clock=lambda: START + 120)
    writer.open()
    writer.append([Sample(CPU, guest(), START + 1e8, 1)])
    writer.append(cycle(0))
    writer.append(cycle(1))
    assert reader.statistics().samples == 13
    assert writer.counters.deleted_by_age == 0
    writer.close()
