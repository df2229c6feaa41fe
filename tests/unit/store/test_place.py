# SPDX-License-Identifier: Apache-2.0
"""Where a store can be, who may write it, and what happens when there is no space."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ceilo_agent.errors import ConfigError, Retryable
from ceilo_agent.store.reader import Reader
from ceilo_agent.store.writer import Writer
from tests.unit.store.samples import cycle

Opened = Callable[..., Writer]
ENV = {**os.environ, "PYTHONPATH": ":".join(sys.path)}


def make(path: Path) -> Writer:
    return Writer(path, 1e9, 1 << 30)


def test_the_directory_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "store.db"
    writer = make(path)
    writer.open()
    assert path.parent.stat().st_mode & 0o777 == 0o750
    writer.close()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/proc/ceilo/store.db", "cannot be written: No such file or directory"),
        ("/dev/null/store.db", "cannot be written: /dev/null is no directory"),
        ("/dev/null/x/store.db", "cannot be written: Not a directory"),
        ("/dev/null", "cannot be written: it is no regular file"),
        ("/tmp", "cannot be written: Is a directory"),
        ("/tmp/" + "x" * 300, "cannot be written: File name too long"),
    ],
)
def test_a_path_that_cannot_be_written_is_refused(path: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make(Path(path)).open()
    (fault,) = caught.value.faults
    assert fault.file == path
    assert reason in fault.what
    assert not Path("/dev/null.lock").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_what_permissions_forbid_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    make(path).open()
    for place in (tmp_path, *tmp_path.parents[:2]):
        place.chmod(0o755)
    path.chmod(0o644)
    code = (
        "import sys, os; from pathlib import Path\n"
        "from ceilo_agent.store.writer import Writer; from ceilo_agent.errors import ConfigError\n"
        "os.setuid(65534)\n"
        "try: Writer(Path(sys.argv[1]), 1e9, 1 << 30).open()\n"
        "except ConfigError as error: print(error)"
    )

    def told() -> str:
        command = [sys.executable, "-c", code, str(path)]
        return subprocess.run(command, env=ENV, capture_output=True, text=True, check=True).stdout

    assert f"{path}: metric store: cannot be written: no permission to write {path}" in told()
    path.unlink()
    assert f"{path}: metric store: cannot be written: Permission denied" in told()


def test_a_second_writer_is_refused_and_told_who_the_first_is(
    opened: Opened, path: Path, reader: Reader
) -> None:
    writer = opened()
    with pytest.raises(ConfigError, match=f"process {os.getpid()} writes this store"):
        make(path).open()
    code = (
        "import sys; from pathlib import Path; from ceilo_agent.store.writer import Writer\n"
        "from ceilo_agent.errors import ConfigError\n"
        "try: Writer(Path(sys.argv[1]), 1e9, 1 << 30).open()\n"
        "except ConfigError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], env=ENV, capture_output=True, text=True, check=True
    )
    assert f"{path}: process {os.getpid()} writes this store" in done.stdout
    writer.append(cycle(0))
    assert len(list(reader.samples())) == 6
    writer.close()
    opened()


def test_a_lock_that_a_dead_process_left_is_no_obstacle(opened: Opened, path: Path) -> None:
    Path(f"{path}.lock").write_text("999999999\n")
    opened()
    assert Path(f"{path}.lock").read_text() == f"{os.getpid()}\n"


def test_a_refused_store_leaves_no_lock_behind(path: Path) -> None:
    path.mkdir()
    writer = make(path)
    with pytest.raises(ConfigError):
        writer.open()
    path.rmdir()
    make(path).open()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 3 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> Path:
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


def refused(writer: Writer, number: int) -> bool:
    assert number < 1000
    try:
        writer.append(cycle(number, guests=300))
    except Retryable as error:
        return f"no space left on the device of the metric store {writer.path}" in str(error)
    return False


def test_a_full_disk_is_told_and_the_store_goes_on_when_there_is_space(small_disk: Path) -> None:
    path = small_disk / "store.db"
    writer = make(path)
    writer.open()
    writer.append(cycle(0))
    ballast = fill(small_disk)
    number = 1
    while not refused(writer, number):
        number += 1
    for _ in range(3):
        with pytest.raises(Retryable, match="no space left"):
            writer.append(cycle(number, guests=300))
    before = len(list(Reader(path).samples()))
    assert before == 6 + 600 * (number - 1)
    ballast.unlink()
    writer.append(cycle(number, guests=300))
    assert len(list(Reader(path).samples())) == before + 600
    assert writer.counters.stored == before + 600
    writer.close()
    assert [p.name for p in small_disk.iterdir() if "corrupt" in p.name] == []


def test_a_disk_full_from_the_start_is_told(small_disk: Path) -> None:
    ballast = fill(small_disk)
    path = small_disk / "sub" / "store.db"
    writer = make(path)
    with pytest.raises(Retryable, match="no space left"):
        writer.open()
    with pytest.raises(Retryable, match="no space left"):
        writer.append(cycle(0))
    ballast.unlink()
    writer.append(cycle(0))
    assert len(list(Reader(path).samples())) == 6
    writer.close()


def test_a_store_fills_a_small_disk_and_its_limit_keeps_it_going(small_disk: Path) -> None:
    path = small_disk / "store.db"
    writer = Writer(path, 1e9, 2 << 20)
    writer.open()
    for number in range(300):
        writer.append(cycle(number, guests=300))
    assert writer.counters.stored == 300 * 600
    assert writer.counters.deleted_by_bytes > 0
    writer.close()
