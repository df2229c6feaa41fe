# SPDX-License-Identifier: Apache-2.0
"""What waits in the logs of workers that are no more is taken over, and never twice."""

import contextlib
import shutil
from pathlib import Path

import pytest

from ceilo_agent.delivery import leftovers
from ceilo_agent.delivery.holding import Holding
from ceilo_agent.delivery.intake import Intake
from ceilo_agent.delivery.schema import FILE
from tests.unit.delivery.logs import Process, numbers


@pytest.fixture
def spool(tmp_path):
    return tmp_path / "spool" / "notification"


def worker(spool, number, workers=4, **options):
    return Process(spool / str(number), ["a", "b"], workers=workers, **options)


def filled(spool, workers=4):
    """Let each worker have a backlog of its own: its number, times 1000."""
    for number in range(workers):
        process = worker(spool, number)
        first = number * 1000
        for turn in range(100):
            process.offer(range(first + turn * 5, first + turn * 5 + 5), "a", "b")
        assert process.deliver("a", 7, refused=[first + 3]) == [
            *range(first, first + 3), *range(first + 4, first + 7),
        ]  # fmt: skip
        process.log.close()


def test_fewer_workers_deliver_what_all_had(spool):
    filled(spool)
    process = worker(spool, 0, workers=1)
    assert process.counted("a") == (2000, 24, 1972, 4, 0)
    assert process.counted("b") == (2000, 0, 2000, 0, 0)
    process.offer([9999], "a", "b")
    assert process.drain("a") == [
        n * 1000 + each for n in range(4) for each in range(7, 500)
    ] + [9999]  # fmt: skip
    assert process.drain("b") == [n * 1000 + each for n in range(4) for each in range(500)] + [9999]
    assert [path.name for path in spool.iterdir()] == ["0"]
    assert not any(path.is_dir() for path in process.directory.iterdir())
    assert process.rows("taken_over") == []
    process.mark()
    process.log.tick()
    assert process.drain("a") == [3, 1003, 2003, 3003]
    process = process.stopped(names=["a", "b"])
    assert process.counted("a") == (2001, 2001, 0, 0, 0)


def test_each_worker_takes_its_share(spool):
    filled(spool)
    one, other = worker(spool, 0, workers=2), worker(spool, 1, workers=2)
    assert {n // 1000 for n in one.drain("b")} == {0, 2}
    assert {n // 1000 for n in other.drain("b")} == {1, 3}


def test_a_worker_that_returns_begins_anew(spool):
    filled(spool)
    first = worker(spool, 0, workers=1)
    again = worker(spool, 3)
    again.offer([7], "a")
    assert again.drain("a") == [7]
    first.log.close()


def test_what_was_not_all_there_keeps_its_time_and_what_comes_again_its_mark(spool):
    process = worker(spool, 1)
    process.offer(range(4), "a")
    process.deliver("a", refused=[1])
    process.mark()
    process.log.tick()
    process.log.close()
    clock = process.clock
    clock.now += 50
    process = worker(spool, 0, workers=1, clock=clock)
    (row,) = process.rows()
    assert row[2] == clock.now - 50
    taken = process.queue("a").take(9)
    assert (numbers(taken.samples), taken.again) == ([1], True)


def test_what_is_still_at_work_is_left_alone(spool, caplog):
    filled(spool, workers=2)
    holding = Holding(spool / "1")
    process = worker(spool, 0, workers=1)
    assert {n // 1000 for n in process.drain("b")} == {0}
    assert "still at work there" in caplog.text
    holding.release()
    process = process.stopped(names=["a", "b"])
    assert {n // 1000 for n in process.drain("b")} == {1}


class Interrupted(BaseException):
    """The process ends here."""


def copied(spool):
    """Return what the next process finds; the lock of the one before is not there."""
    return Path(shutil.copytree(spool, spool.parent / "copy" / spool.name))


@pytest.mark.parametrize("at", range(1, 12))
def test_a_taking_over_that_is_interrupted_anywhere_doubles_nothing(spool, monkeypatch, at):
    filled(spool, workers=3)
    monkeypatch.setattr(leftovers, "AT_ONCE", 30)
    finish, turn = Intake.finish, 0

    def dying(intake):
        nonlocal turn
        turn += 1
        if turn == at:
            raise Interrupted
        finish(intake)

    monkeypatch.setattr(Intake, "finish", dying)
    with pytest.raises(Interrupted):
        worker(spool, 0, workers=1)
    process = worker(copied(spool), 0, workers=1)
    expected = [n * 1000 + each for n in range(3) for each in range(500)]
    assert process.drain("b") == expected
    assert process.counted("a") == (1500, 18, 1479, 3, 0)
    assert process.drain("a") == [n * 1000 + each for n in range(3) for each in range(7, 500)]


@pytest.mark.parametrize("at", [1, 3, 4, 8, 10])
def test_damage_amid_a_taking_over_doubles_nothing(spool, monkeypatch, at):
    filled(spool, workers=3)
    monkeypatch.setattr(leftovers, "AT_ONCE", 30)
    finish, turn = Intake.finish, 0

    def dying(intake):
        nonlocal turn
        turn += 1
        if turn >= at:
            raise Interrupted
        finish(intake)

    with monkeypatch.context() as patched:
        patched.setattr(Intake, "finish", dying)
        with pytest.raises(Interrupted):
            worker(spool, 0, workers=1)
        spool = copied(spool)
        with (spool / "0" / FILE).open("r+b") as file:
            file.write(b"\xff" * 4096)
        # The file that is begun in its place knows how far it was, too.
        with contextlib.suppress(Interrupted):
            worker(spool, 0, workers=1)
    shutil.copytree(spool, spool.parent / "again" / spool.name)
    process = worker(spool.parent / "again" / spool.name, 0, workers=1)
    assert process.counted("a") == (1500, 18, 1479, 3, 0)
    assert process.counted("b") == (1500, 0, 1500, 0, 0)
    assert process.drain("b") == [n * 1000 + each for n in range(3) for each in range(500)]


@pytest.mark.parametrize("at", [1, 2, 4, 7, 11])
def test_a_log_that_is_lost_amid_a_taking_over_is_counted_once(spool, monkeypatch, at):
    filled(spool, workers=3)
    monkeypatch.setattr(leftovers, "AT_ONCE", 30)
    finish, turn = Intake.finish, 0

    def dying(intake):
        nonlocal turn
        turn += 1
        if turn >= at:
            raise Interrupted
        finish(intake)

    with monkeypatch.context() as patched:
        patched.setattr(Intake, "finish", dying)
        with pytest.raises(Interrupted):
            worker(spool, 0, workers=1)
    spool = copied(spool)
    # The ledger alone tells how far it was.
    for path in (spool / "0").glob(f"{FILE}*"):
        path.unlink()
    process = worker(spool, 0, workers=1)
    for name in ("a", "b"):
        offered, delivered, waiting, aside, dropped = process.counted(name)
        assert offered == 1500
        assert offered == delivered + waiting + aside + dropped
        found = process.drain(name)
        assert found == sorted(set(found))
        assert len(found) == waiting
    assert process.rows("taken_over") == []


def test_it_is_interrupted_before_the_directory_is_deleted(spool, monkeypatch):
    filled(spool, workers=2)

    def dying(*_, **__):
        raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(leftovers.shutil, "rmtree", dying)
        with pytest.raises(Interrupted):
            worker(spool, 0, workers=1)
    process = worker(copied(spool), 0, workers=1)
    assert process.counted("b") == (1000, 0, 1000, 0, 0)
    assert process.rows("taken_over") == []


def test_damaged_leftovers_are_saved_and_kept(spool, caplog):
    filled(spool, workers=2)
    file = spool / "1" / FILE
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    process = worker(spool, 0, workers=1)
    offered, _, waiting, _, dropped = process.counted("b")
    assert offered == 1000
    assert dropped > 0
    assert waiting + dropped == 1000
    assert len(process.drain("b")) == waiting
    assert len(list(process.directory.glob("*.damaged*"))) >= 1
    assert "Traceback" not in caplog.text


def test_leftovers_within_leftovers_are_not_forgotten(spool, monkeypatch):
    filled(spool)
    with monkeypatch.context() as patched:
        patched.setattr(Intake, "finish", lambda _: (_ for _ in ()).throw(Interrupted))
        with pytest.raises(Interrupted):
            worker(spool, 1, workers=2)
    assert (spool / "1" / "from-3").is_dir()
    process = worker(copied(spool), 0, workers=1)
    assert {n // 1000 for n in process.drain("b")} == {0, 1, 2, 3}


def test_files_of_others_in_the_directory_of_a_worker_that_is_gone_stay(spool):
    filled(spool, workers=2)
    (spool / "1" / "letters.db").write_bytes(b"not the log's")
    process = worker(spool, 0, workers=1)
    assert [path.name for path in process.directory.glob("from-1/*")] == ["letters.db"]
    waited = len(process.drain("b"))
    assert waited == 1000
    process = process.stopped(names=["a", "b"])
    assert process.counted("b") == (1000, 1000, 0, 0, 0), "nothing comes twice"
    (process.directory / "from-1" / "letters.db").unlink()
    process = process.stopped(names=["a", "b"])
    assert not (process.directory / "from-1").exists()
    assert process.rows("taken_over") == []
