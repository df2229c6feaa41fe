# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ceilo_agent.errors import Unavailable
from ceilo_agent.sample import Sample
from ceilo_agent.store import index
from ceilo_agent.store.reader import Reader
from ceilo_agent.store.writer import Writer
from tests.unit.store.samples import CPU, MEMORY, READ, START, cycle, guest, told

Opened = Callable[..., Writer]


def state(path: Path) -> list[tuple[str, int, int]]:
    return sorted((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in path.parent.iterdir())


def ask_everything(reader: Reader) -> int:
    reader.series()
    reader.latest(0)
    reader.statistics()
    return len(list(reader.samples()))


def test_filters(opened: Opened, reader: Reader) -> None:
    writer = opened()
    for number in range(4):
        writer.append(cycle(number, meters=(CPU, MEMORY, READ)))
    assert {s.meter.name for s in reader.samples("disk.*")} == {READ.name}
    assert {s.meter.name for s in reader.samples("cp")} == set()
    assert {s.resource.id for s in reader.samples("cpu", "guest-1")} == {"guest-1"}
    assert len(list(reader.samples("cpu"))) == 12
    # The lower bound belongs to the window, the upper one does not.
    first, last = START + 60, START + 120
    assert [s.volume for s in reader.samples("cpu", "guest-0", first, last)] == [1000]
    assert [s.volume for s in reader.samples("cpu", "guest-0", first)] == [1000, 2000, 3000]
    assert [s.volume for s in reader.samples("cpu", "guest-0", until=first)] == [0]
    assert list(reader.samples("cpu", since=1e300)) == []
    assert len(list(reader.samples("cpu", since=-1e300, until=1e300))) == 12
    assert [one.meter.name for one in reader.series("*.*", "guest-2")] == [
        "disk.device.read.bytes",
        "memory.usage",
    ]
    assert reader.series("nothing") == []


def test_latest_is_the_last_sample_of_every_series_in_the_window(
    opened: Opened, reader: Reader
) -> None:
    writer = opened()
    writer.append([Sample(CPU, guest(9), START - 600, 9)])
    for number in range(3):
        writer.append(cycle(number))
    assert told(reader.latest(START)) == sorted(told(cycle(2)), key=lambda row: row[1])
    assert "guest-9" in {s.resource.id for s in reader.latest(START - 3600)}
    assert [s.volume for s in reader.latest(START, "cpu", "guest-1")] == [2001]
    assert reader.latest(START + 3600) == []


def test_statistics(opened: Opened, reader: Reader, path: Path) -> None:
    writer = opened()
    found = reader.statistics()
    assert (found.series, found.samples, found.first, found.last) == (0, 0, None, None)
    assert reader.series() == []
    writer.append(cycle(0))
    writer.append(cycle(1))
    found = reader.statistics()
    assert (found.series, found.samples) == (6, 12)
    assert (found.first, found.last) == (START, START + 60.002)
    assert found.bytes == path.stat().st_size + Path(f"{path}-wal").stat().st_size


def test_last_times_are_right_over_every_move_of_the_horizon(
    opened: Opened, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "MARK_ROWS", 5)
    writer = opened(now=START + 90)
    truth: dict[str, float] = {}

    def push(*samples: Sample) -> None:
        writer.append(samples)
        for one in samples:
            truth[one.resource.id] = max(truth.get(one.resource.id, 0), one.time)
        assert {one.resource.id: one.last for one in reader.series("cpu")} == truth

    for number in range(4):
        push(*[Sample(CPU, guest(n), START + 60 * number + n, 1) for n in range(3)])
    # Late ones before the horizon: a new series, one that is not the newest, one that is.
    push(Sample(CPU, guest(7), START + 10, 1))
    push(Sample(CPU, guest(7), START + 5, 1), Sample(CPU, guest(1), START + 1.5, 1))
    push(Sample(CPU, guest(7), START + 20, 1))
    # Another's clock runs years ahead.
    push(Sample(CPU, guest(8), START + 1e8, 1))
    for number in range(4, 9):
        push(*[Sample(CPU, guest(n), START + 60 * number + n, 1) for n in range(3)])
    writer.close()
    writer = opened(now=START + 900)
    push(Sample(CPU, guest(7), START + 30, 1))
    push(*[Sample(CPU, guest(n), START + 600 + n, 1) for n in range(9)])


def test_a_reader_sees_each_batch_while_the_writer_goes_on(opened: Opened, path: Path) -> None:
    writer = opened()
    code = (
        "import sys; from pathlib import Path; from ceilo_agent.store.reader import Reader\n"
        "for line in sys.stdin: print(Reader(Path(sys.argv[1])).statistics().samples, flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        for number in range(20):
            writer.append(cycle(number))
            other.stdin.write("\n")
            other.stdin.flush()
            assert other.stdout.readline() == f"{6 * (number + 1)}\n"
        other.stdin.close()


def test_a_reader_that_dawdles_does_not_hold_the_log(opened: Opened, path: Path) -> None:
    writer = opened(max_bytes=1 << 20)
    for number in range(10):
        writer.append(cycle(number, guests=100))
    slow = Reader(path).samples()
    next(slow)
    for number in range(10, 100):
        writer.append(cycle(number, guests=100))
    assert Path(f"{path}-wal").stat().st_size < 1 << 19
    assert len(list(slow)) == 1999


def test_a_reader_changes_no_file(opened: Opened, path: Path, reader: Reader) -> None:
    writer = opened()
    writer.append(cycle(0))
    before = state(path)
    assert ask_everything(reader) == 6
    assert state(path) == before
    writer.close()
    before = state(path)
    assert ask_everything(reader) == 6
    assert state(path) == before


def test_a_store_that_a_killed_writer_left_is_read_without_a_trace(path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from ceilo_agent.store.writer import Writer\n"
        "from tests.unit.store.samples import cycle\n"
        "writer = Writer(Path(sys.argv[1]), 1e9, 1 << 30); writer.open(); writer.append(cycle(0))\n"
        "os.kill(os.getpid(), 9)"
    )
    env = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", code, str(path)], env=env, check=False)
    assert Path(f"{path}-wal").exists()
    before = state(path)
    assert ask_everything(Reader(path)) == 6
    assert state(path) == before
    # Its lock is no obstacle either, and nothing is lost.
    writer = Writer(path, 1e9, 1 << 30)
    writer.open()
    writer.append(cycle(1))
    assert ask_everything(Reader(path)) == 12
    writer.close()


def test_a_copy_of_the_file_alone_is_read(opened: Opened, path: Path, tmp_path: Path) -> None:
    writer = opened()
    writer.append(cycle(0))
    db = writer._db
    assert db is not None
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    copy = tmp_path / "there" / "copy #1?.db"
    copy.parent.mkdir()
    shutil.copy(path, copy)
    assert ask_everything(Reader(copy)) == 6
    assert [p.name for p in copy.parent.iterdir()] == [copy.name]


def test_a_log_without_its_index_is_told(opened: Opened, path: Path, tmp_path: Path) -> None:
    opened().append(cycle(0))
    copy = tmp_path / "there" / "copy.db"
    copy.parent.mkdir()
    shutil.copy(path, copy)
    shutil.copy(f"{path}-wal", f"{copy}-wal")
    with pytest.raises(Unavailable, match="left by a writer that died"):
        Reader(copy).statistics()
    assert len(list(copy.parent.iterdir())) == 2


@pytest.mark.parametrize("method", ["series", "statistics", "samples", "latest"])
def test_a_store_that_is_not_there_says_what_to_run(path: Path, method: str) -> None:
    arguments = (0,) if method == "latest" else ()
    with pytest.raises(Unavailable, match=f"no metric store at {path}: start `ceilo-agent up`"):
        list(getattr(Reader(path), method)(*arguments))
    assert list(path.parent.iterdir()) == []


def test_what_is_no_store_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="is a directory"):
        Reader(tmp_path).series()
    noise = tmp_path / "noise"
    noise.write_bytes(b"noise" * 1000)
    with pytest.raises(Unavailable, match="noise cannot be read: file is not a database"):
        Reader(noise).series()
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(Unavailable, match="empty is still empty"):
        Reader(empty).series()
    with pytest.raises(Unavailable, match="Not a directory"):
        Reader(noise / "x").series()
