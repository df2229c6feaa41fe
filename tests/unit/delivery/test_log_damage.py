# SPDX-License-Identifier: Apache-2.0
"""The durable log when its files are cut, overwritten or deleted, before a start and meanwhile."""

import contextlib
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from ceilo_agent.delivery import access
from ceilo_agent.delivery.salvage import SetAside, Waiting, Wreck
from ceilo_agent.delivery.schema import FILE, LEDGER, SALVAGE
from ceilo_agent.errors import ConfigError
from tests.unit.delivery.logs import Process

PAGE = 4096


def filled(path, rows=200, each=20):
    """Return a process in whose log much waits for two publishers, and some is set aside."""
    process = Process(path, ["a", "b"])
    for turn in range(rows):
        process.offer(range(turn * each, turn * each + each), "a", "b")
    process.deliver("b", 30, refused=[7, 9])
    return process


def checked(process, caplog):
    """Return what comes out of a log; all is counted, in order, and nothing twice."""
    found = {}
    for name in ("a", "b"):
        waiting = process.counted(name)[2]
        found[name] = process.drain(name)
        assert found[name] == sorted(set(found[name]))
        assert len(found[name]) <= waiting
        assert process.counted(name)[2] == 0
    assert "Traceback" not in caplog.text
    return found


def overwrite(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


DAMAGES = {
    "cut": lambda path: _cut(path, 0.5),
    "cut within a page": lambda path: _cut(path, 0.5, 100),
    "empty": lambda path: _cut(path, 0),
    "head": lambda path: overwrite(path, 0, b"\xff" * PAGE),
    "text": lambda path: path.write_text("this is no database\n" * 100),
    "noise": lambda path: overwrite(path, PAGE * 10, random.Random(1).randbytes(PAGE * 20)),
}


def _cut(path, part, more=0):
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(int(size * part) // PAGE * PAGE + more)


# -- before a start ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DAMAGES)
def test_what_can_be_read_of_a_damaged_file_is_saved_and_the_rest_counted(path, caplog, kind):
    process = filled(path)
    process.log.close()
    DAMAGES[kind](process.path)
    process = Process(path, ["a", "b"], clock=process.clock)
    assert process.counted("a")[0] == 4000
    found = checked(process, caplog)
    assert process.log.damaged == (0 if kind == "empty" else 1)
    assert process.counted("a")[1] + process.counted("a")[4] == 4000
    assert process.counted("b")[3] in {0, 2}, "what was set aside is there, or dropped"
    if kind in {"text", "empty"}:
        assert found == {"a": [], "b": []}
    elif kind == "head":
        assert found["a"] == list(range(4000)), "only the first page is lost, no row is on it"
        assert found["b"] == list(range(30, 4000))
    else:
        assert 200 < len(found["a"]) < 4000
    assert any(path.glob("log.db.*.damaged")) == (kind != "empty")
    assert "are lost" in caplog.text or kind == "head"
    process.offer([9000], "a", "b")
    assert process.stopped(names=["a", "b"]).drain("a") == [9000]


def test_without_the_second_copy_it_is_saved_too(path, caplog):
    process = filled(path)
    process.log.close()
    (path / LEDGER).unlink()
    overwrite(process.path, PAGE * 10, b"\xff" * PAGE * 20)
    process = Process(path, ["a", "b"], clock=process.clock)
    found = checked(process, caplog)
    assert 200 < len(found["a"]) < 4000


def test_without_anything_that_tells_who_it_is_for_it_is_kept_aside(path, caplog):
    process = filled(path)
    process.log.close()
    (path / LEDGER).write_bytes(b"noise")
    overwrite(process.path, 0, b"\xff" * PAGE * 4)
    process = Process(path, ["a", "b"], clock=process.clock)
    assert process.drain("a") == []
    (aside,) = path.glob("log.db.*.damaged")
    assert aside.stat().st_size > 20_000


@pytest.mark.parametrize("ledger", ["gone", "noise", "old", "cut"])
def test_a_sound_file_needs_no_second_copy(path, ledger):
    process = filled(path, rows=3)
    before = (path / LEDGER).read_bytes()
    process.drain("b")
    process.log.close()
    expected = process.counted("a"), process.counted("b")
    file = path / LEDGER
    if ledger == "gone":
        file.unlink()
    else:
        data = file.read_bytes()
        file.write_bytes({"noise": b"\xff" * 99, "old": before, "cut": data[:30]}[ledger])
    process = Process(path, ["a", "b"], clock=process.clock)
    assert (process.counted("a"), process.counted("b")) == expected
    assert process.drain("a") == list(range(60))


def test_a_salvage_that_was_interrupted_goes_on(path, monkeypatch):
    process = filled(path)
    process.log.close()
    overwrite(process.path, 0, b"\xff" * PAGE)
    monkeypatch.setattr("ceilo_agent.delivery.recovery.AT_ONCE", 50)
    rows = Wreck.rows

    def dying(wreck):
        for number, found in enumerate(rows(wreck)):
            if number == 120:
                raise KeyboardInterrupt
            yield found

    monkeypatch.setattr(Wreck, "rows", dying)
    with pytest.raises(KeyboardInterrupt):
        Process(path, ["a", "b"])
    assert (path / SALVAGE).exists()
    monkeypatch.setattr(Wreck, "rows", rows)
    shutil.copytree(path, path.parent / "1")
    process = Process(path.parent / "1", ["a", "b"], clock=process.clock, workers=2)
    assert process.drain("a") == list(range(4000))
    assert not (process.directory / SALVAGE).exists()


def test_a_move_that_was_interrupted_is_ended(path):
    process = filled(path, rows=3)
    copy = path.parent / "1"
    shutil.copytree(path, copy)
    overwrite(copy / FILE, 0, b"\xff" * PAGE)
    (copy / f"{FILE}-wal").rename(copy / f"{SALVAGE}-wal")
    process = Process(copy, ["a", "b"], workers=2)
    assert process.drain("a") == list(range(60))


def test_a_file_of_another_version_is_left_alone(path):
    process = filled(path)
    process.log.close()
    with sqlite3.connect(process.path) as db:
        db.execute("PRAGMA user_version = 7")
    db.close()
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"log\.db: another version .*: format 7, not 1"):
            Process(path)


@pytest.mark.parametrize("seed", range(25))
def test_noise_anywhere_is_counted_and_makes_nothing_up(path, tmp_path, caplog, seed):
    chance = random.Random(seed)
    process = filled(path, rows=chance.randrange(5, 60))
    if chance.random() < 0.5:
        process.log.close()
    place = tmp_path / "copy" / "0"
    shutil.copytree(path, place)
    for _ in range(chance.randrange(1, 4)):
        file = chance.choice([f for f in place.iterdir() if f.name.startswith(("log", "led"))])
        size = file.stat().st_size
        length = min(chance.choice([1, 30, 5000]), size)
        if length:
            offset = chance.randrange(max(1, size - length))
            if not (file.name == FILE and offset <= 60 < offset + length):  # its version
                overwrite(file, offset, chance.randbytes(length))
    process = Process(place, ["a", "b"], clock=process.clock)
    process.offer([100_000], "a", "b")
    found = checked(process, caplog)
    assert found["a"][-1] == 100_000
    assert set(found["b"]) <= {*range(1200), 100_000}
    process = process.stopped(names=["a", "b"])
    assert process.counted("a")[2] == 0


# -- while it is in use --------------------------------------------------------------------------


def wal(process):
    return Path(f"{process.path}-wal")


HURTS = {
    "cut": lambda process: (_cut(process.path, 0.5), _cut(wal(process), 0)),
    "emptied": lambda process: (_cut(process.path, 0), _cut(wal(process), 0)),
    "its log emptied": lambda process: _cut(wal(process), 0),
    "head": lambda process: overwrite(process.path, 0, b"\xff" * PAGE),
    "all noise": lambda process: overwrite(
        process.path, 0, random.Random(2).randbytes(process.path.stat().st_size)
    ),
    "rows": lambda process: (
        process.log._access.file.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall(),
        overwrite(process.path, PAGE * 8, b"\xff" * PAGE * 30),
    ),
}


@pytest.mark.parametrize("kind", HURTS)
def test_a_file_that_is_hurt_while_it_is_in_use_is_made_anew(path, caplog, small, kind):
    process = filled(path)
    HURTS[kind](process)
    for turn in range(10):
        process.offer(range(10_000 + turn * 10, 10_010 + turn * 10), "a", "b")
        process.clock.now += access.RETRY_SECONDS
        process.log.tick()
    assert process.counted("a")[0] == 4100
    found = checked(process, caplog)
    assert found["a"][-100:] == list(range(10_000, 10_100))
    offered, delivered, _, aside, dropped = process.counted("b")
    assert offered == delivered + aside + dropped
    process.offer([20_000], "a", "b")
    process = process.stopped(names=["a", "b"])
    assert process.drain("a") == [20_000]
    assert "damaged" in caplog.text


@pytest.mark.parametrize("what", ["file", "its log", "everything", "the directory"])
def test_a_file_that_is_deleted_while_it_is_in_use_is_written_once_more(path, caplog, small, what):
    process = filled(path)
    if what == "file":
        process.path.unlink()
    elif what == "its log":
        wal(process).unlink()
    elif what == "everything":
        for file in path.iterdir():
            file.unlink()
    else:
        shutil.rmtree(path)
    process.offer([10_000], "a", "b")
    process.clock.now += access.RETRY_SECONDS
    process.log.tick()
    assert "was deleted or replaced" in caplog.text
    process = process.stopped(names=["a", "b"])
    assert process.drain("a") == [*range(4000), 10_000]
    assert process.drain("b") == [*range(30, 4000), 10_000]
    assert process.counted("b")[3:] == (2, 0)


def test_another_file_in_its_place_is_set_aside(path, small):
    process = filled(path)
    other = path / "other"
    shutil.copy(process.path, other)
    other.rename(process.path)
    process.log.tick()
    assert len(list(path.glob("log.db.*.damaged"))) == 1
    process = process.stopped(names=["a", "b"])
    assert process.drain("a") == list(range(4000))


def test_one_damaged_row_costs_only_itself(path, caplog, small):
    process = filled(path, rows=50, each=4)
    with sqlite3.connect(process.path) as db:
        db.execute("UPDATE log SET samples = zeroblob(length(samples)) WHERE seq = 20")
    db.close()
    assert process.drain("a") == [*range(76), *range(80, 200)]
    assert process.counted("a") == (200, 196, 0, 0, 4)
    assert "4 samples for publisher b are damaged and lost" in caplog.text
    assert process.drain("b") == [*range(30, 76), *range(80, 200)]
    assert process.log.damaged == 1
    (aside,) = path.glob("log.db.*.damaged")
    assert aside.stat().st_size > 50, "what stood there"


def test_a_row_that_somebody_deleted_is_counted(path, small):
    process = filled(path, rows=50, each=4)
    with sqlite3.connect(process.path) as db:
        db.execute("DELETE FROM log WHERE seq > 45")
    db.close()
    assert process.drain("a") == list(range(180))
    assert process.counted("a")[1:] == (180, 0, 0, 20)


# -- page by page --------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["open", "closed"])
def test_every_row_of_a_sound_file_is_found(path, way):
    process = filled(path, rows=300, each=30)
    process.offer(range(9000, 12_000), "a")
    expected = [row[0] for row in process.rows()]
    if way == "closed":
        process.log.close()
    with contextlib.closing(Wreck(process.path)) as wreck:
        found = list(wreck.rows())
    rows = [each.row for each in found if isinstance(each, Waiting)]
    assert sorted(row.seq for row in rows) == expected
    (aside,) = [each.aside for each in found if isinstance(each, SetAside)]
    assert (aside.reason, aside.length) == ("bad", 2)
