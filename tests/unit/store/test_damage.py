# SPDX-License-Identifier: Apache-2.0
"""Broken files are set aside, other people's files are left alone."""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from ceilo_agent.errors import ConfigError
from ceilo_agent.store import schema
from ceilo_agent.store.reader import Reader
from ceilo_agent.store.writer import Writer
from tests.unit.store.samples import START, cycle

Opened = Callable[..., Writer]


def set_aside(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir() if ".corrupt-" in p.name)


def noise(length: int) -> bytes:
    return random.Random(length).randbytes(length)


def good(path: Path, cycles: int = 300) -> bytes:
    writer = Writer(path, 1e9, 1 << 30)
    writer.open()
    for number in range(cycles):
        writer.append(cycle(number, guests=50))
    writer.close()
    return path.read_bytes()


@pytest.mark.parametrize("length", [1, 15, 16, 99, 100, 511, 512, 4096, 50_000])
def test_noise_is_set_aside_when_the_store_is_opened(
    opened: Opened, path: Path, reader: Reader, caplog: pytest.LogCaptureFixture, length: int
) -> None:
    path.write_bytes(noise(length))
    writer = opened()
    writer.append(cycle(0))
    assert len(list(reader.samples())) == 6
    (name,) = set_aside(path)
    assert re.fullmatch(r"store\.db\.corrupt-20260921T141320Z", name)
    assert (path.parent / name).read_bytes() == noise(length)
    assert writer.counters.set_aside == 1
    (record,) = [r for r in caplog.records if r.levelname == "WARNING"]
    assert str(path) in record.getMessage()
    assert name in record.getMessage()


def spoil_header(data: bytes) -> bytes:
    return noise(100) + data[100:]


def spoil_schema(data: bytes) -> bytes:
    return data[:100] + noise(4096) + data[4196:]


def cut_short(data: bytes) -> bytes:
    return data[: len(data) // 2]


def cut_amid_a_page(data: bytes) -> bytes:
    return data[:-1000]


def spoil_small_tables(data: bytes) -> bytes:
    return data[:4096] + noise(12 * 4096) + data[13 * 4096 :]


@pytest.mark.parametrize(
    "spoil", [spoil_header, spoil_schema, cut_short, cut_amid_a_page, spoil_small_tables]
)
def test_a_spoilt_store_is_set_aside_when_it_is_opened(
    opened: Opened, path: Path, reader: Reader, spoil: Callable[[bytes], bytes]
) -> None:
    broken = spoil(good(path))
    path.write_bytes(broken)
    opened().append(cycle(0))
    assert len(list(reader.samples())) == 6
    (name,) = set_aside(path)
    # Bytes 18 to 100 of the header may tell that it was opened for writing.
    assert (path.parent / name).read_bytes()[100:] == broken[100:]


def test_damage_found_by_a_push_costs_no_sample_of_the_batch(
    opened: Opened, path: Path, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    pages = len(good(path, cycles=3000)) // 4096
    assert pages > 1500  # far more than the writer's cache holds
    writer = opened()
    writer.append(cycle(3000, guests=50))
    with path.open("r+b") as file:
        # The oldest samples, which retention is about to read.
        file.seek(20 * 4096)
        file.write(noise((pages - 40) * 4096))
    writer.close()
    writer = opened(max_age=86400, now=START + 3000 * 60)
    writer.append(cycle(3001, guests=50))
    assert sorted(s.volume for s in reader.samples("cpu")) == list(range(3_001_000, 3_001_050))
    assert len([n for n in set_aside(path) if "-wal" not in n and "-shm" not in n]) == 1
    assert writer.counters.set_aside == 1
    assert "set aside" in caplog.text
    writer.append(cycle(3002, guests=50))
    assert len(list(reader.samples("cpu"))) == 100


def test_the_log_goes_along_with_the_file(opened: Opened, path: Path) -> None:
    good(path)
    writer = opened()
    writer.append(cycle(301, guests=50))
    for suffix in ("-wal", "-shm"):
        Path(f"{path}.kept{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
    writer.close()
    for suffix in ("-wal", "-shm"):
        Path(f"{path}.kept{suffix}").rename(f"{path}{suffix}")
    path.write_bytes(noise(50_000))
    opened().append(cycle(0))
    names = set_aside(path)
    assert len(names) == 3
    assert {name[len(names[0]) :] for name in names} == {"", "-wal", "-shm"}


def test_two_broken_files_within_a_second_are_both_kept(opened: Opened, path: Path) -> None:
    for number in range(3):
        path.write_bytes(noise(1000 + number))
        opened().close()
        path.unlink()
    assert len(set_aside(path)) == 3


def test_a_store_with_other_tables_is_set_aside(opened: Opened, path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {schema.VERSION}")
        db.execute("CREATE TABLE sample(a, b)")
    db.close()
    opened()
    assert len(set_aside(path)) == 1


def test_an_empty_file_or_database_becomes_a_store(opened: Opened, path: Path) -> None:
    path.touch()
    opened().close()
    path.unlink()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE t(a)")
    db.execute("DROP TABLE t")
    db.close()
    writer = opened()
    writer.append(cycle(0))
    assert writer._db is not None
    assert writer._db.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    assert set_aside(path) == []


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
@pytest.mark.parametrize("application", [0, 1234])
def test_another_programs_database_is_refused_and_left_as_it_is(
    opened: Opened, path: Path, mode: str, application: int
) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(f"PRAGMA journal_mode = {mode}")
    db.execute(f"PRAGMA application_id = {application}")
    db.execute("CREATE TABLE contacts(name)")
    db.execute("INSERT INTO contacts VALUES('Ada')")
    db.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=f"{path}: .*another program.*another .store. path"):
        opened()
    assert path.read_bytes() == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["store.db", "store.db.lock"]


def test_a_newer_store_is_refused_and_left_as_it_is(
    opened: Opened, path: Path, reader: Reader
) -> None:
    good(path, cycles=1)
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 2")
    db.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="has format 2; this agent knows formats up to 1"):
        opened()
    assert path.read_bytes() == before
    assert set_aside(path) == []
    with pytest.raises(Exception, match="has format 2"):
        reader.series()
