# SPDX-License-Identifier: Apache-2.0
"""The durable log when SQLite's write-ahead log is overwritten or cut, and the file with it."""

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from ceilo_agent.delivery import access, logfile, shelf
from ceilo_agent.delivery import log as log_module
from ceilo_agent.delivery.schema import FILE
from tests.unit.delivery.logs import Process

PAGE, HEAD = 4096, 32
FRAME = 24 + PAGE
NAMES = ["a", "b"]
ROWS, EACH = 30, 20
OFFERED = ROWS * EACH
NEW = range(10_000, 10_010)
"""What is offered once the damage is done."""


def wal(path):
    return Path(f"{path}-wal")


def frames(path):
    """Return how many pages a write-ahead log has."""
    return (wal(path).stat().st_size - HEAD) // FRAME


@pytest.fixture(params=["all of it is new", "some of it is in the file"])
def filled(request, tmp_path, monkeypatch):
    """Return what makes a log: much waits for `a`, less for `b`, some is set aside.

    Where some of the write-ahead log is in the file, the file's pages may be newer than its own.
    """
    monkeypatch.setattr(shelf, "TAIL_SAMPLES", 10)
    monkeypatch.setattr(log_module, "NOTE_SECONDS", 0.0)
    if request.param != "all of it is new":
        monkeypatch.setattr(logfile, "WAL_BYTES", 20 * PAGE)

    def fill(name):
        process = Process(tmp_path / name / "0", NAMES)
        for turn in range(ROWS):
            process.offer(range(turn * EACH, turn * EACH + EACH), "a", "b")
            process.deliver("b", 11, refused=[turn * 11] if turn % 10 == 3 else [])
        return process

    return fill


def overwrite(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def noise(path, frame, chance):
    overwrite(wal(path), HEAD + frame * FRAME + 24, chance.randbytes(PAGE))


def noise_at_a_head(path, frame, chance):
    overwrite(wal(path), HEAD + frame * FRAME, chance.randbytes(24))


def zeros(path, frame, chance):
    overwrite(wal(path), HEAD + frame * FRAME + 24, bytes(PAGE))


def cut_before(path, frame, chance):
    _cut(wal(path), HEAD + frame * FRAME)


def cut_within(path, frame, chance):
    _cut(wal(path), HEAD + frame * FRAME + chance.randrange(1, FRAME))


def cut_both(path, frame, chance):
    cut_before(path, frame, chance)
    _cut(path, chance.randrange(path.stat().st_size))


def cut_the_file(path, frame, chance):
    _cut(path, path.stat().st_size * frame // frames(path))


def _cut(path, size):
    with path.open("r+b") as file:
        file.truncate(size)


HARMS = [noise, noise_at_a_head, zeros, cut_before, cut_within, cut_both, cut_the_file]
SAMPLED, EVERY = 5, 0
HOW_MANY = [
    pytest.param(SAMPLED, id="some"),
    pytest.param(EVERY, id="all", marks=[pytest.mark.long, pytest.mark.timeout(3600)]),
]


def positions(path, how_many):
    """Return the pages of a write-ahead log, or some of them, the first and the last included."""
    count = frames(path)
    chosen = range(count)
    return chosen if how_many == EVERY else sorted({*chosen[:: count // how_many], count - 1})


def settled(process, before, caplog):
    """Let everything be delivered; all is counted, what is lost is told, nothing comes twice."""
    for name in NAMES:
        offered, delivered, waiting, _, _ = process.counted(name)
        assert offered == OFFERED + len(NEW)
        assert delivered == before[name][1]
        found = process.drain(name)
        assert len(found) <= waiting
        assert found == sorted(set(found)), "in order, and nothing twice"
        assert found[-len(NEW) :] == [*NEW]
        if name == "b":
            assert found[0] >= 11 * ROWS, "nothing that was delivered"
        offered, delivered, waiting, aside, dropped = process.counted(name)
        assert waiting == 0
        assert offered == delivered + aside + dropped
        assert delivered == before[name][1] + len(found)
        if dropped:
            assert f"samples for publisher {name} are" in caplog.text
    # SQLite may have used what it had in memory: what is wrong is found at the next start.
    process = process.stopped(names=NAMES)
    process.log.tick()
    in_file = Counter()
    names = {row[0]: row[1] for row in process.rows("publisher")}
    for _, publisher, _, _, count, _, _ in process.rows("aside"):
        in_file[names[publisher]] += count
    assert [in_file[name] for name in NAMES] == [process.counted(name)[3] for name in NAMES]
    for name in NAMES:
        offered, delivered, waiting, aside, dropped = process.counted(name)
        assert (offered, waiting) == (OFFERED + len(NEW), 0)
        assert offered == delivered + aside + dropped
    assert "Traceback" not in caplog.text
    return process


@pytest.mark.parametrize("how_many", HOW_MANY)
@pytest.mark.parametrize("harm", HARMS)
def test_after_a_kill_all_is_counted(filled, tmp_path, caplog, harm, how_many):
    process = filled("first")
    before = {name: process.counted(name) for name in NAMES}
    shutil.copytree(process.directory, tmp_path / "killed")
    process.abandon()
    for frame in positions(tmp_path / "killed" / FILE, how_many):
        caplog.clear()
        place = tmp_path / f"{frame}" / "0"
        shutil.copytree(tmp_path / "killed", place)
        harm(place / FILE, frame, random.Random(frame))
        process = Process(place, NAMES, clock=process.clock)
        process.offer(NEW, *NAMES)
        settled(process, before, caplog).log.close()


@pytest.mark.parametrize("how_many", HOW_MANY)
@pytest.mark.parametrize("harm", HARMS)
def test_while_it_is_in_use_all_is_counted(filled, caplog, harm, how_many):
    process = filled("first")
    for frame in positions(process.path, how_many):
        process.log.close()
        caplog.clear()
        process = filled(f"{frame}")
        before = {name: process.counted(name) for name in NAMES}
        harm(process.path, frame, random.Random(frame))
        process.offer(NEW, *NAMES)
        for _ in range(5):
            process.clock.now += access.RETRY_SECONDS
            process.log.tick()
        process = settled(process, before, caplog)
    process.log.close()
