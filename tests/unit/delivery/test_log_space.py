# SPDX-License-Identifier: Apache-2.0
"""What the log's file keeps of the disk, and what is looked at before it is used."""

import contextlib
import errno
import os
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from ceilo_agent.delivery import access, logfile
from ceilo_agent.delivery.fileerrors import Kind, is_full, kind_of
from ceilo_agent.delivery.logfile import LEFT_BYTES, LogFile
from ceilo_agent.delivery.rows import DamagedFile
from ceilo_agent.delivery.schema import FILE
from tests.unit.delivery.logs import Process

PAGE = 4096


@pytest.fixture
def file(tmp_path):
    """An open file of a log."""
    file = LogFile(tmp_path, fsync=False)
    assert file.open()
    yield file
    file.close()


def wal(file):
    return Path(f"{file.path}-wal")


def fill(file, count, begin=0):
    """Write rows of a page and more; no compression makes them small."""
    with file.transaction() as db:
        for number in range(begin, begin + count):
            data = random.Random(number).randbytes(PAGE)
            db.execute("INSERT INTO log VALUES (?, 1, 0.0, 1, 0, ?, ?)", (number, PAGE, data))


def pages(file):
    (count,) = file.db.execute("PRAGMA page_count").fetchone()
    return count


def count(file):
    (found,) = file.db.execute("SELECT count(*) FROM log").fetchone()
    return found


class Left:
    """What is left of the disk.

    Attributes:
        bytes: as the system tells them.
    """

    def __init__(self, monkeypatch):
        self.bytes = 0
        real = os.fstatvfs

        def told(file):
            found = list(real(file))
            found[1], found[4] = 1, self.bytes  # f_frsize, f_bavail
            return os.statvfs_result(found)

        monkeypatch.setattr(os, "fstatvfs", told)


# -- what is reserved ----------------------------------------------------------------------------


def test_what_is_only_in_sqlites_log_has_its_space_in_the_file(file):
    fill(file, 20)
    assert wal(file).stat().st_size > 20 * PAGE
    assert file.path.stat().st_size == pages(file) * PAGE
    assert file.path.stat().st_blocks * 512 >= pages(file) * PAGE, "not a hole"


def test_the_last_of_the_disk_is_left_and_what_does_not_fit_is_not_written(file, monkeypatch):
    left = Left(monkeypatch)
    before = file.path.stat().st_size
    left.bytes = LEFT_BYTES + 20 * PAGE
    with pytest.raises(OSError, match="No space left") as caught:
        fill(file, 30)
    assert caught.value.errno == errno.ENOSPC
    assert is_full(caught.value)
    assert (count(file), file.path.stat().st_size) == (0, before)
    fill(file, 3)
    assert count(file) == 3


def test_what_takes_no_more_space_is_written_on_a_full_disk(file, monkeypatch):
    fill(file, 20)
    Left(monkeypatch)
    with file.transaction() as db:
        db.execute("DELETE FROM log WHERE seq < 10")
    fill(file, 5, 100)
    assert count(file) == 15


def test_the_space_of_sqlites_log_can_be_had_back(file):
    fill(file, 20)
    assert file.relieve()
    assert wal(file).stat().st_size == 0
    assert not file.relieve(), "there is none"
    file.check()
    assert count(file) == 20


def test_a_reader_holds_that_up_and_nobody_waits_for_it(file):
    fill(file, 20)
    with contextlib.closing(sqlite3.connect(file.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM log").fetchone()
        fill(file, 5, 100)
        assert not file.relieve()
        assert wal(file).stat().st_size > 0
    assert file.relieve()
    file.check()


def test_sqlite_is_told_to_wait_for_no_reader_and_to_wait_for_writers_again(file):
    fill(file, 20)
    said = []
    file.db.set_trace_callback(said.append)
    assert file.relieve()
    file.db.set_trace_callback(None)
    before = f"PRAGMA busy_timeout = {logfile.BUSY_SECONDS * 1000:.0f}"
    assert said == ["PRAGMA busy_timeout = 0", "PRAGMA wal_checkpoint(TRUNCATE)", before]


def test_a_file_that_is_closed_has_nothing_to_give_back(tmp_path):
    assert not LogFile(tmp_path, fsync=False).relieve()


def test_with_what_is_given_back_the_log_goes_on(tmp_path, monkeypatch):
    process = Process(tmp_path / "0")
    process.offer(range(100))
    left = Left(monkeypatch)
    file = process.log._access.file
    relieve = file.relieve

    def relieved():
        done = relieve()
        left.bytes = LEFT_BYTES + 1000 * PAGE
        return done

    monkeypatch.setattr(file, "relieve", relieved)
    for turn in range(100, 3000, 100):
        process.offer(range(turn, turn + 100))
    assert process.log._access.writing.works
    process = process.killed(tmp_path)
    assert process.drain() == [*range(3000)]


# -- what is looked at ---------------------------------------------------------------------------


def cut(path, size):
    with path.open("r+b") as file:
        file.truncate(size)


def overwrite(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


HURTS = {
    "it was overwritten": lambda file: overwrite(file.path, 0, b"x"),
    "it was cut": lambda file: cut(file.path, file.path.stat().st_size - 1),
    "its write-ahead log was overwritten": lambda file: overwrite(wal(file), 0, b"x"),
    "its write-ahead log was cut": lambda file: cut(wal(file), wal(file).stat().st_size - 1),
}


@pytest.mark.parametrize("told", HURTS)
def test_a_file_that_was_hurt_is_found_before_it_is_used(file, told):
    fill(file, 20)
    file.check()
    HURTS[told](file)
    with pytest.raises(DamagedFile, match=told):
        file.check()


def test_what_sqlite_itself_makes_smaller_is_no_damage(file, monkeypatch):
    fill(file, 5)
    fill(file, 2 * logfile.WAL_BYTES // PAGE, 1000)
    large = wal(file).stat().st_size
    for number in range(3):
        fill(file, 1, 100_000 + number)
        file.check()
    assert wal(file).stat().st_size < large
    with file.transaction() as db:
        db.execute("DELETE FROM log")
    monkeypatch.setattr(logfile, "SPARE_BYTES", PAGE * 100)
    before = pages(file)
    file.shrink()
    file.check()
    assert pages(file) < before
    fill(file, 1)
    file.check()


def test_what_comes_after_sqlites_log_was_cut_outlives_a_kill(tmp_path, caplog):
    process = Process(tmp_path / "0")
    for turn in range(30):
        process.offer(range(turn * 10, turn * 10 + 10))
    cut(Path(f"{process.path}-wal"), Path(f"{process.path}-wal").stat().st_size // 2)
    process.offer(range(1000, 1010))
    process.clock.now += access.RETRY_SECONDS
    process.log.tick()
    process.offer(range(1010, 1020))
    process = process.killed(tmp_path)
    assert process.drain() == [*range(300), *range(1000, 1020)]
    assert "its write-ahead log was cut" in caplog.text


@pytest.mark.parametrize("statement", ["PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM"])
def test_another_program_that_makes_the_files_smaller_costs_nothing(tmp_path, statement):
    process = Process(tmp_path / "0", ["a", "b"])
    for turn in range(60):
        process.offer(range(turn * 10, turn * 10 + 10), "a", "b")
    process.deliver("a", 105, refused=[5])
    with contextlib.closing(sqlite3.connect(process.path, isolation_level=None)) as db:
        db.execute(statement).fetchall()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    for turn in range(60, 90):
        process.offer(range(turn * 10, turn * 10 + 10), "a", "b")
        process.clock.now += access.RETRY_SECONDS
        process.log.tick()
    process = process.killed(tmp_path, names=["a", "b"])
    assert process.drain("a") == [*range(105, 900)]
    assert process.drain("b") == [*range(900)]
    assert process.counted("a") == (900, 899, 0, 1, 0)
    assert process.counted("b") == (900, 900, 0, 0, 0)


def killed(tmp_path, rows):
    """Return the path of a log whose process was killed: its rows are in SQLite's log only."""
    process = Process(tmp_path / "first" / "0")
    for turn in range(rows):
        process.offer(range(turn * 10, turn * 10 + 10))
    shutil.copytree(process.directory, tmp_path / "0")
    process.log.close()
    return tmp_path / "0" / FILE


def test_a_file_that_was_cut_is_whole_with_what_sqlites_log_has_beyond_it(tmp_path):
    path = killed(tmp_path, 100)
    assert path.stat().st_size > 3 * PAGE
    cut(path, PAGE)  # all its pages are in SQLite's log
    process = Process(tmp_path / "0")
    assert process.log.damaged == 0
    assert process.drain() == [*range(1000)]


@pytest.mark.parametrize("ledger", ["whole", "gone"])
@pytest.mark.parametrize("how", ["emptied", "deleted"])
def test_of_a_file_that_is_gone_what_sqlites_log_has_is_saved(tmp_path, how, ledger):
    path = killed(tmp_path, 100)
    if how == "emptied":
        cut(path, 0)
    else:
        path.unlink()
    if ledger == "gone":
        (path.parent / "ledger").unlink()
    process = Process(tmp_path / "0")
    process.offer([1000])
    assert process.log.damaged == 1
    if ledger == "whole":
        assert process.drain() == [*range(1001)]
        assert process.counted() == (1001, 1001, 0, 0, 0)
    (aside,) = path.parent.glob("log.db.*.damaged-wal")
    assert aside.stat().st_size > 100 * PAGE, "it is kept"


def test_a_file_that_was_cut_and_is_not_in_sqlites_log_is_damaged(tmp_path):
    path = killed(tmp_path, 400)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        size = path.stat().st_size
        db.execute("UPDATE publisher SET seen = seen")
        db.commit()
        shutil.copytree(path.parent, tmp_path / "1")
    cut(tmp_path / "1" / FILE, size // 2)
    process = Process(tmp_path / "1", workers=2)
    offered, _, waiting, _, dropped = process.counted()
    assert offered == 4000
    assert process.log.damaged == 1
    found = process.drain()
    assert found == sorted(set(found))
    assert 0 < len(found) == waiting
    assert dropped == 4000 - waiting


def test_a_file_with_a_damaged_page_is_not_written_to(tmp_path):
    process = Process(tmp_path / "0")
    for turn in range(200):
        process.offer(range(turn * 10, turn * 10 + 10))
    process.log.close()
    overwrite(process.path, process.path.stat().st_size // PAGE // 2 * PAGE, b"\xff" * PAGE)
    file = LogFile(process.directory, fsync=False)
    with pytest.raises(DamagedFile):
        file.open()
    assert file.db is None


def test_a_very_large_file_is_not_looked_through_when_it_is_opened(tmp_path, monkeypatch):
    process = Process(tmp_path / "0")
    for turn in range(200):
        process.offer(range(turn * 10, turn * 10 + 10))
    process.log.close()
    monkeypatch.setattr(logfile, "CHECKED_BYTES", 10 * PAGE)
    overwrite(process.path, process.path.stat().st_size // PAGE // 2 * PAGE, b"\xff" * PAGE)
    file = LogFile(process.directory, fsync=False)
    assert not file.open(), "it is there, and opened as it is"
    file.close()
    process = Process(tmp_path / "0", clock=process.clock)
    found = []
    for _ in range(5):
        found += process.drain()
        process.clock.now += access.RETRY_SECONDS
        process.log.tick()
    offered, delivered, waiting, _, dropped = process.counted()
    assert (offered, waiting) == (2000, 0)
    assert found == sorted(set(found))
    assert delivered == len(found) == 2000 - dropped


def test_a_very_large_file_that_was_cut_is_found_all_the_same(tmp_path, monkeypatch):
    process = Process(tmp_path / "0")
    for turn in range(200):
        process.offer(range(turn * 10, turn * 10 + 10))
    process.log.close()
    monkeypatch.setattr(logfile, "CHECKED_BYTES", 0)
    cut(process.path, process.path.stat().st_size - PAGE)
    with pytest.raises((DamagedFile, sqlite3.DatabaseError)) as caught:
        LogFile(process.directory, fsync=False).open()
    assert kind_of(caught.value) is Kind.DAMAGE
