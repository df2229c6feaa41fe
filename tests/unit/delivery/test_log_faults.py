# SPDX-License-Identifier: Apache-2.0
"""What others do to the log at a bad moment, and what it says of publishers that cannot deliver."""

import contextlib
import sqlite3
import time

import pytest

from ceilo_agent.delivery import logfile, upkeep
from ceilo_agent.delivery.holding import Taken, refusal
from ceilo_agent.delivery.log import Log, Offer
from ceilo_agent.delivery.rows import Rows
from ceilo_agent.delivery.spool import Place, Reader
from tests.unit.delivery.logs import Disk, Process, samples


def test_what_was_taken_over_is_there_after_a_kill(tmp_path):
    gone = Process(tmp_path / "1", ["a", "b"], workers=2)
    gone.offer(range(10), "a")
    gone.offer(range(10, 20), "a", "b")
    gone.deliver("b", 5, refused={12})
    gone.log.close()
    log = Log(tmp_path / "0", clock=gone.clock, monotonic=gone.clock)
    log.open(workers=1)
    log._access.end()  # killed before any publisher is enrolled
    (tmp_path / "0" / "ledger").unlink()
    process = Process(tmp_path / "0", ["a", "b"], clock=gone.clock)
    assert process.counted("a") == (20, 0, 20, 0, 0)
    assert process.counted("b") == (10, 4, 5, 1, 0)
    process.mark()
    process.log.tick()
    assert process.drain("a") == [*range(20)]
    assert process.drain("b") == [*range(15, 20), 12]


@pytest.mark.parametrize("ledger", [True, False])
@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), -1])
@pytest.mark.parametrize(
    ("table", "column"),
    [
        *(("publisher", column) for column in ("seq", "done", "offered", "delivered", "turn")),
        *(("log", column) for column in ("seq", "count", "size")),
        ("aside", "count"),
    ],
)
def test_a_number_that_nobody_wrote_ends_nothing(tmp_path, table, column, value, ledger):
    process = Process(tmp_path / "0")
    process.offer(range(30))
    process.deliver(most=10, refused={3})
    process.log.close()
    if not ledger:
        (tmp_path / "0" / "ledger").unlink()
    with contextlib.closing(sqlite3.connect(process.path)) as db, db:
        db.execute(f"UPDATE {table} SET {column} = ?", (value,))
    process = Process(tmp_path / "0", clock=process.clock)
    process.offer(range(30, 40))
    process.clock.now += 10
    process.log.tick()
    assert process.drain()[-10:] == [*range(30, 40)]
    process.counted()
    process.log.close()


@pytest.mark.parametrize(
    ("name", "seq"), [("discard x", 1), ("discard 1", b"\xff"), ("from-1", "?"), (b"\xff", 1)]
)
def test_a_mark_that_nobody_wrote_ends_nothing(tmp_path, name, seq, caplog):
    process = Process(tmp_path / "0")
    process.offer(range(30))
    process.log.close()
    with contextlib.closing(sqlite3.connect(process.path)) as db, db:
        db.execute("INSERT INTO taken_over VALUES (?, ?)", (name, seq))
    process = Process(tmp_path / "0", clock=process.clock)
    process.log.tick()
    assert process.drain() == [*range(30)]
    process = process.stopped()
    process.log.tick()
    assert process.counted() == (30, 30, 0, 0, 0)
    assert process.rows("taken_over") == []
    assert "Traceback" not in caplog.text


def test_a_mistake_in_the_code_is_told_once_and_samples_are_delivered(
    tmp_path, monkeypatch, caplog
):
    process = Process(tmp_path / "0")
    with monkeypatch.context() as patched:
        patched.setattr(Rows, "note", lambda *_: 1 // 0)
        for number in range(5):
            process.offer([number])
            process.clock.now += 10
            process.log.tick()
    assert caplog.text.count("Traceback") == 1
    process.clock.now += 10
    process.log.tick()
    process = process.stopped()
    assert process.drain() == [*range(5)]
    process.log.close()


def test_a_name_that_changed_is_on_disk_at_once(tmp_path):
    process = Process(tmp_path / "0")
    process.offer(range(3))
    process.log.enroll(["b"], {"a": "b"})
    process = process.killed(tmp_path, names=["b"])
    assert process.drain("b") == [0, 1, 2]


def test_a_log_that_was_deleted_is_written_once_more_at_the_end(tmp_path):
    process = Process(tmp_path / "0")
    process.offer(range(3))
    for path in process.directory.iterdir():
        path.unlink()
    process = process.stopped()
    assert process.drain() == [0, 1, 2]


def test_nobody_waits_for_a_reader(tmp_path, monkeypatch):
    monkeypatch.setattr(logfile, "SPARE_BYTES", 4096)
    monkeypatch.setattr(logfile, "BUSY_SECONDS", 30.0)
    process = Process(tmp_path / "0")
    for _ in range(50):
        process.offer(range(1000))
    with Reader(Place(process.directory)) as reader:
        next(reader.rows("SELECT * FROM log"))
        process.drain()
        begun = time.monotonic()
        process.clock.now += 10
        process.log.tick()
        assert time.monotonic() - begun < logfile.BUSY_SECONDS / 2
    process.log.close()


def test_a_long_replay_lets_others_in(tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "AT_ONCE", 1)
    monkeypatch.setattr(upkeep, "REPLAY_SECONDS", 0.0)
    process = Process(tmp_path / "0")
    for number in range(3):
        process.offer([number])
        process.deliver(refused={number})
    process.mark()
    for done in range(1, 4):
        process.log.tick()
        assert process.counted() == (3, 0, done, 3 - done, 0)
    assert process.drain() == [0, 1, 2]


def fault(process):
    (row,) = process.rows("publisher")
    return row[-1]


def test_why_samples_wait_is_on_disk_with_the_next_tick_and_is_written_once(tmp_path):
    process = Process(tmp_path / "0")
    process.offer(range(3))
    queue, cursor = process.queue(), process.log._shelf.cursors["a"]
    queue.tell("gone")
    process.log.tick()
    assert fault(process) == "gone"
    turn = cursor.turn
    queue.tell("gone")
    assert cursor.turn == turn
    process.log.offer([Offer(["a"], samples([3]))])
    assert fault(process) == "gone"
    queue.tell(None)
    process.log.tick()
    assert fault(process) is None
    process.log.close()


def test_a_second_agent_is_told_which_option_gives_it_a_directory(tmp_path):
    assert "[DEFAULT] state_path" in str(refusal(tmp_path, Taken("1")))


@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_what_is_refused_while_the_disk_is_full_is_refused_again_after_the_end(tmp_path, end):
    process = Process(tmp_path / "0")
    process.offer(range(30))
    process.deliver(most=10)
    disk = Disk(process)
    disk.full = True
    process.deliver(most=10, refused={12, 13})
    assert process.drain() == [*range(20, 30)]
    assert process.counted() == (30, 28, 0, 2, 0)
    process = process.killed(tmp_path) if end == "killed" else process.stopped()
    # What came behind is delivered again: that is better than to lose what was refused.
    assert process.counted() == (30, 10, 20, 0, 0)
    assert process.deliver(most=10, refused={12, 13})[:3] == [10, 11, 14]
    assert process.drain() == [*range(20, 30)]
    process = process.killed(tmp_path)
    assert process.counted() == (30, 28, 0, 2, 0)
    assert len(process.rows("aside")) == 1


def test_what_is_refused_while_the_disk_is_full_is_noted_once_there_is_space(tmp_path):
    process = Process(tmp_path / "0")
    process.offer(range(30))
    disk = Disk(process)
    disk.full = True
    process.deliver(most=10, refused={3})
    disk.full = False
    process.clock.now += 10
    process.log.tick()
    disk.full = True
    process.drain()
    process = process.killed(tmp_path)
    assert process.counted() == (30, 29, 0, 1, 0)
