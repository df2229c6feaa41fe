# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from ceilo_agent.errors import ConfigError, Retryable
from ceilo_agent.plugins import Publisher
from ceilo_agent.publishers import file as module
from ceilo_agent.publishers.rendering import json_lines
from ceilo_agent.sample import Sample
from tests.unit.publishers.kinds import build
from tests.unit.store.samples import cycle


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "samples.json"


def opened(path: Path, query: str = "") -> Publisher:
    publisher = build(f"file://{path}?{query}", path.parent)
    publisher.open()
    return publisher


def volumes(path: Path) -> list[int]:
    """Return the volumes of a file's lines, each of which must be whole."""
    data = path.read_bytes()
    assert not data or data.endswith(b"\n")
    return [msgspec.json.decode(line)["volume"] for line in data.splitlines()]


def numbered(count: int, first: int = 0) -> list[Sample]:
    (one, *_) = cycle(0)
    return [Sample(one.meter, one.resource, one.time, n) for n in range(first, first + count)]


def test_it_is_rotated_by_size_and_so_many_are_kept(path: Path) -> None:
    length = len(next(json_lines(numbered(1))))
    publisher = opened(path, f"max_bytes={10 * length + 50}&backup_count=3")
    for number in range(100):
        publisher.push(numbered(1, 1000 + number))
    publisher.close()
    names = sorted(p.name for p in path.parent.iterdir())
    assert names == ["samples.json"] + [f"samples.json.{n}" for n in (1, 2, 3)]
    for name in names:
        assert (path.parent / name).stat().st_size <= 10 * length + 50
    kept = [v for name in reversed(names) for v in volumes(path.parent / name)]
    assert kept == list(range(1100 - len(kept), 1100))
    assert len(kept) > 25


def test_a_batch_larger_than_a_file_is_divided_between_lines(path: Path) -> None:
    publisher = opened(path, "max_bytes=2000&backup_count=50")
    publisher.push(numbered(100))
    publisher.push(numbered(100, 100))
    publisher.close()
    names = sorted(path.parent.iterdir(), key=lambda p: -int(p.suffix[1:].replace("json", "0")))
    assert [v for name in names for v in volumes(name)] == list(range(200))
    assert all(name.stat().st_size <= 2000 for name in names)


def test_a_line_longer_than_the_limit_has_a_file_of_its_own(path: Path) -> None:
    publisher = opened(path, "max_bytes=10&backup_count=2")
    publisher.push(numbered(2))
    publisher.close()
    assert volumes(path) == [1]
    assert volumes(Path(f"{path}.1")) == [0]


@pytest.mark.parametrize("query", ["max_bytes=0", "backup_count=0&max_bytes=100"])
def test_without_limits_it_is_never_rotated(path: Path, query: str) -> None:
    publisher = opened(path, query)
    for number in range(50):
        publisher.push(numbered(1, number))
    publisher.close()
    assert volumes(path) == list(range(50))
    assert list(path.parent.iterdir()) == [path]


def test_it_follows_a_file_that_others_rotate(path: Path) -> None:
    publisher = opened(path)
    publisher.push(numbered(1))
    path.rename(f"{path}.1")
    publisher.push(numbered(1, 1))
    assert (volumes(Path(f"{path}.1")), volumes(path)) == ([0], [1])
    path.rename(f"{path}.2")
    path.touch()
    publisher.push(numbered(1, 2))
    assert (volumes(Path(f"{path}.2")), volumes(path)) == ([1], [2])
    # logrotate's copytruncate
    shutil.copy(path, f"{path}.3")
    os.truncate(path, 0)
    publisher.push(numbered(1, 3))
    assert volumes(path) == [3]
    publisher.close()


def test_two_processes_share_a_file_over_rotations(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.unit.publishers import test_file as t\n"
        "one = t.opened(Path(sys.argv[1]), 'max_bytes=3000&backup_count=250')\n"
        "for number in range(int(sys.argv[2]), 300, 2): one.push(t.numbered(5, 5 * number))"
    )
    env = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(path), first], env=env) for first in "01"
    ]
    assert [process.wait() for process in both] == [0, 0]
    found = sorted(v for p in path.parent.iterdir() for v in volumes(p))
    assert found == list(range(1500))
    assert all(p.stat().st_size <= 3000 for p in path.parent.iterdir())


def test_a_file_that_another_process_holds_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.1)
    publisher = opened(path)
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Retryable, match="another process has it locked"):
            publisher.push(numbered(1))
    publisher.push(numbered(1))
    assert volumes(path) == [0]


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("file://", "file://: a path is missing (write file:///var/log/samples.json)"),
        ("file://var/log/x", "'var' stands in the host's place (write file:///var/log/x)"),
        ("file:relative", "the path must begin with /"),
        ("file:///nope/there/x", "/nope/there/x: cannot be written: No such file or directory"),
        ("file:///nope/there/x", "(make the directory /nope/there)"),
        ("file:///tmp", "/tmp: cannot be written: Is a directory"),
        ("file:///dev/null", "/dev/null: cannot be written: it is no regular file"),
        ("file:///proc/x", "/proc/x: cannot be written"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, url: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(url, tmp_path).open()
    assert what in str(caught.value)


def test_a_directory_that_vanished_is_told_and_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "samples.json"
    path.parent.mkdir()
    publisher = opened(path)
    shutil.rmtree(path.parent)
    with pytest.raises(Retryable, match="No such file"):
        publisher.push(numbered(1))
    path.parent.mkdir()
    publisher.push(numbered(1))
    assert volumes(path) == [0]


def test_percent_signs_in_the_url(tmp_path: Path) -> None:
    publisher = build(f"file://{tmp_path}/a%20b%3F.json", tmp_path)
    publisher.open()
    publisher.close()
    assert [p.name for p in tmp_path.iterdir()] == ["a b?.json"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 64 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can be mounted by root only")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_leaves_no_part_of_a_line(small_disk: Path) -> None:
    path = small_disk / "samples.json"
    publisher = opened(path)
    publisher.push(numbered(50))
    (small_disk / "ballast").write_bytes(b"x" * 30_000)
    for _ in range(2):
        with pytest.raises(Retryable, match=f"no space left on the device of {path}"):
            publisher.push(numbered(200, 50))
        assert volumes(path) == list(range(50))
    (small_disk / "ballast").unlink()
    publisher.push(numbered(50, 50))
    assert volumes(path) == list(range(100))
    publisher.close()
