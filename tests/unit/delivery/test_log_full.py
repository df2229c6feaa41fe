# SPDX-License-Identifier: Apache-2.0
"""The durable log on a full disk: what is offered to it meanwhile, and what else is asked of it."""

import contextlib
import shutil

import pytest

from ceilo_agent.delivery import access, leftovers, marks, shelf
from ceilo_agent.delivery.log import Limits
from ceilo_agent.delivery.logfile import LogFile
from ceilo_agent.delivery.spool import Place
from tests.unit.delivery.logs import Disk, Process

NAMES = ["a", "b"]


def look(process):
    process.clock.now += access.RETRY_SECONDS
    process.log.tick()


# -- what is offered -------------------------------------------------------------------------------


def test_a_full_disk_is_held_out_in_memory(path, caplog, small):
    caplog.set_level("INFO")
    process = Process(path, ["a", "b"])
    process.offer(range(5), "a", "b")
    disk = Disk(process)
    disk.full = True
    for turn in range(1, 6):
        process.offer(range(turn * 5, turn * 5 + 5), "a", "b")
        process.clock.now += access.RETRY_SECONDS
    assert caplog.text.count("kept in memory for now: database or disk is full") == 1
    assert process.drain("b", most=4) == list(range(30))
    assert process.deliver("a", most=7, refused=[6]) == [0, 1, 2, 3, 4, 5]
    disk.full = False
    process.clock.now += access.RETRY_SECONDS
    process.log.tick()
    assert "is written again" in caplog.text
    process = process.stopped(names=["a", "b"])
    assert process.drain("a") == list(range(7, 30))
    assert process.counted("a") == (30, 29, 0, 1, 0)
    assert process.counted("b") == (30, 30, 0, 0, 0)


@pytest.mark.parametrize("left", range(45))
@pytest.mark.parametrize("limit", [0, 40])
def test_a_disk_that_is_full_at_any_statement_costs_nothing(path, small, left, limit):
    process = Process(path, ["a", "b"], limits=Limits(max_samples=limit))
    process.offer(range(20), "a", "b")
    process.deliver("b", 9, refused=[2, 5])
    disk = Disk(process)
    disk.left = left
    process.mark()
    process.log.tick()
    process.offer(range(20, 31), "a", "b")
    process.offer(range(31, 40), "b")
    got = process.deliver("b", 15, refused=[10])
    process.deliver("a", 3)
    process.clock.now += access.RETRY_SECONDS
    process.log.tick()
    process = process.stopped(names=["a", "b"])
    assert process.drain("a") == list(range(3, 31))
    got += process.drain("b")
    again = [got.index(2), got.index(5)]
    assert again == sorted(again)
    assert sorted(got) == [2, 5, 9, *range(11, 40)], "set aside again is 10"
    assert process.counted("a") == (31, 31, 0, 0, 0)
    assert process.counted("b") == (40, 39, 0, 1, 0)


def test_what_only_memory_held_when_it_was_killed_is_counted(path, tmp_path, caplog):
    process = Process(path, ["a", "b"])
    process.offer(range(5), "a", "b")
    Disk(process).full = True
    process.offer(range(5, 9), "a", "b")
    process.clock.now += access.RETRY_SECONDS
    assert process.drain("b") == list(range(9))
    process = process.killed(tmp_path, names=["a", "b"])
    assert process.counted("a") == (9, 0, 5, 0, 4)
    assert process.counted("b") == (9, 9, 0, 0, 0)
    assert "4 samples for publisher a are lost" in caplog.text
    assert process.drain("a") == list(range(5))


def test_what_cannot_be_written_at_the_end_is_counted_once(path):
    process = Process(path)
    process.offer(range(5))
    Disk(process).full = True
    process.offer(range(5, 9))
    assert process.log.close() == 4
    assert process.counted() == (9, 0, 5, 0, 4)
    process = Process(path, clock=process.clock)
    assert process.counted() == (9, 0, 5, 0, 4)


def test_what_memory_holds_is_bounded(path, monkeypatch):
    monkeypatch.setattr(shelf, "HELD_BYTES", 2000)
    process = Process(path)
    process.offer(range(3))
    Disk(process).full = True
    for turn in range(100):
        process.offer(range(turn, turn + 1))
    offered, _, waiting, _, dropped = process.counted()
    assert offered == 103
    assert 5 < waiting < 40
    assert waiting + dropped == 103
    got = process.drain()
    assert got == [0, 1, 2, *range(100 - waiting + 3, 100)], "the file's, and the newest"


# -- a discard -----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["there is space", "killed", "stopped"])
def test_what_was_set_aside_is_discarded_once_there_is_space(path, tmp_path, end):
    process = Process(path)
    process.offer(range(6))
    process.deliver(refused=[1, 3])
    process.log.tick()
    marks.discard(Place(path), [1])
    disk = Disk(process)
    disk.full = True
    process.offer([6])
    look(process)
    assert process.counted() == (7, 4, 1, 2, 0)
    disk.full = False
    if end == "killed":
        process = process.killed(tmp_path)
    elif end == "stopped":
        process = process.stopped()
    look(process)
    lost = 1 if end == "killed" else 0
    assert process.counted() == (7, 4, 1 - lost, 0, 2 + lost)
    assert process.rows("aside") == []
    assert process.stopped().counted() == (7, 4, 1 - lost, 0, 2 + lost)


@pytest.mark.parametrize("end", ["there is space", "killed", "stopped"])
def test_what_waits_is_discarded_and_counted_once_whenever_there_is_space(path, tmp_path, end):
    process = Process(path, NAMES)
    process.offer(range(6), *NAMES)
    process.deliver("a", most=2)
    process = process.stopped(names=["b"])
    marks.discard_waiting(Place(path), "a")
    disk = Disk(process)
    disk.full = True
    process.offer([6], "b")
    look(process)
    disk.full = False
    if end == "killed":
        process = process.killed(tmp_path, names=["b"])
    elif end == "stopped":
        process = process.stopped(names=["b"])
    for _ in range(3):
        look(process)
    assert process.counted("a") == (6, 2, 0, 0, 4)
    assert process.rows("taken_over") == []
    assert process.drain("b")[:6] == [*range(6)]


@pytest.mark.parametrize("left", range(20))
def test_a_discard_is_counted_once_at_whatever_statement_the_disk_is_full(path, left):
    process = Process(path, NAMES)
    process.offer(range(6), *NAMES)
    process.deliver("b", refused=[1, 3])
    process.log.enroll(["b"])
    process.log.tick()
    marks.discard(Place(path), [1])
    marks.discard_waiting(Place(path), "a")
    disk = Disk(process)
    disk.left = left
    for _ in range(4):
        look(process)
    for current in (process, process.stopped(names=["b"])):
        assert current.counted("a") == (6, 0, 0, 0, 6)
        assert current.counted("b") == (6, 4, 0, 0, 2)


@pytest.mark.parametrize("ledger", ["whole", "gone"])
@pytest.mark.parametrize("where", ["head", "end"])
def test_a_discard_in_a_damaged_file_is_done_or_nothing_of_it(path, where, ledger, caplog):
    process = Process(path, NAMES)
    process.offer(range(600), *NAMES)
    process.deliver("b", refused=[1, 3])
    process.log.close()
    marks.discard(Place(path), [1])
    marks.discard_waiting(Place(path), "a")
    if ledger == "gone":
        (path / "ledger").unlink()
    with process.path.open("r+b") as file:
        file.seek(0 if where == "head" else process.path.stat().st_size - 4096)
        file.write(b"\xff" * 4096)
    process = Process(path, ["b"], clock=process.clock)
    for _ in range(3):
        look(process)
    for name in set(NAMES) & process.log.counters.keys():
        offered, delivered, waiting, aside, dropped = process.counted(name)
        if ledger == "whole":
            assert offered == 600
        if name == "b":
            assert (waiting, aside) == (0, 0)
        assert offered == delivered + waiting + aside + dropped
    assert "Traceback" not in caplog.text


# -- a bound -------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_what_was_set_aside_and_is_too_much_is_dropped_once(path, tmp_path, end):
    process = Process(path)
    for turn in range(5):
        process.offer(range(turn * 50, turn * 50 + 50))
        process.deliver(refused=range(turn * 50, turn * 50 + 50))
        process.clock.now += 1
    disk = Disk(process)
    disk.full = True
    process.log.limits = Limits(max_bytes=1400)
    process.offer([250])
    look(process)
    assert process.counted() == (251, 0, 1, 250, 0)
    disk.full = False
    process = (
        process.killed(tmp_path, limits=process.log.limits)
        if end == "killed"
        else process.stopped(limits=process.log.limits)
    )
    process.offer([251])
    look(process)
    offered, delivered, waiting, aside, dropped = process.counted()
    assert offered == 252
    assert 0 < aside < 250
    assert offered == delivered + waiting + aside + dropped
    assert 50 * len(process.rows("aside")) == aside


# -- the take-over of another worker's directory -------------------------------------------------


def keep_small(monkeypatch, pages):
    """Let SQLite find the disk full where a file would have more pages."""
    transaction = LogFile.transaction

    @contextlib.contextmanager
    def limited(file, **options):
        file.db.execute(f"PRAGMA max_page_count = {pages}").fetchall()
        with transaction(file, **options) as db:
            yield db

    monkeypatch.setattr(LogFile, "transaction", limited)


LARGEST = 50
"""Pages; with so many there is space for all."""


@pytest.mark.parametrize("end", ["killed", "stopped"])
@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([1, 20, 26, 30, 33, LARGEST], id="some"),
        pytest.param(range(1, LARGEST + 1), id="all", marks=pytest.mark.long),
    ],
)
def test_a_take_over_that_fills_the_disk_is_ended_later_and_doubles_nothing(
    tmp_path, monkeypatch, caplog, sizes, end
):
    monkeypatch.setattr(leftovers, "AT_ONCE", 20)
    waiting = {}
    for number in range(2):
        process = Process(tmp_path / "all" / str(number), NAMES, workers=2)
        first = number * 5000
        for turn in range(first, first + 2000, 10):
            process.offer(range(turn, turn + 10), *NAMES)
        process.deliver("a", 15, refused=[first + 3])
        waiting[number] = [*range(first, first + 2000)]
        process.log.close()
    written = True
    for pages in sizes:
        caplog.clear()
        spool = tmp_path / f"{pages}"
        shutil.copytree(tmp_path / "all", spool)
        with monkeypatch.context() as patched:
            keep_small(patched, pages)
            process = Process(spool / "0", NAMES, clock=process.clock)
            process.offer([-1], *NAMES)
            written = not process.log._shelf.unstored
            lost = 0 if written else 1
            if (spool / "0" / "from-1").exists():
                assert "is taken over at the next start" in caplog.text
            if end == "stopped":
                lost = process.log.close() // len(NAMES)
            else:
                process.abandon()
        (spool / "1").mkdir(exist_ok=True)  # a worker that is there once more
        process = Process(spool / "0", NAMES, clock=process.clock)
        assert process.counted("a") == (4001, 28, 3971 - lost, 2, lost)
        assert process.counted("b") == (4001, 0, 4001 - lost, 0, lost)
        for name, start in (("a", 15), ("b", 0)):
            mine = [number for number in process.drain(name) if number != -1]
            assert mine == [*waiting[0][start:], *waiting[1][start:]]
        assert process.rows("taken_over") == []
        assert [each.name for each in spool.iterdir() if any(each.glob("log.db*"))] == ["0"]
        process.log.close()
    assert written, "the last was large enough"
