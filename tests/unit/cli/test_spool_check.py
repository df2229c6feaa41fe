# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent spool check``, and what others do to a log while a command reads it."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from ceilo_agent.cli.main import main
from ceilo_agent.delivery.spool import Place, Reader, places
from ceilo_agent.errors import CeiloAgentError
from tests.unit.cli.spooled import START, Spool, Written, sample, tree

# -- check ---------------------------------------------------------------------------------------


def test_a_sound_log_is_whole(filled: Spool) -> None:
    path = filled.zero / "log.db"
    assert filled.run("check").stdout == f"{path}: 4 rows, 7 samples, whole\n"


def changed(spool: Spool, statement: str) -> list[str]:
    """Change the log behind its own back; return what `check` finds."""
    with sqlite3.connect(spool.zero / "log.db") as db:
        db.execute(statement)
    db.close()
    before = tree(spool.directory)
    found = spool.run("check", status=1).stdout.splitlines()
    assert tree(spool.directory) == before, "it changes nothing"
    prefix = f"{spool.zero}/log.db: "
    assert all(line.startswith(prefix) for line in found)
    return [line.removeprefix(prefix) for line in found]


def test_a_changed_row_is_found(filled: Spool) -> None:
    damaged = "they are not what was written"
    assert changed(filled, "UPDATE log SET samples = x'0102' WHERE seq = 1") == [
        f"log row 1: {damaged}"
    ]
    assert changed(filled, "UPDATE aside SET reason = 'x' WHERE number = 2") == [
        f"log row 1: {damaged}",
        f"aside row 2: {damaged}",
    ]
    done = filled.run("show", "store", status=2)
    assert f"log.db is damaged: {damaged}" in done.stderr


def test_counters_that_do_not_add_up_are_found(filled: Spool) -> None:
    found = changed(filled, "UPDATE publisher SET delivered = 3, set_aside = 1 WHERE id = 1")
    assert found == ["publisher 'store': 1 samples set aside, 2 are there"]
    first, _ = changed(filled, "UPDATE publisher SET offered = 17 WHERE id = 2")
    assert first == (
        "publisher 'other': 17 offered, but 7 delivered + 5 waiting + 0 set aside + 4 dropped "
        "are 16"
    )


def test_many_findings_are_cut(filled: Spool) -> None:
    log = Written(filled.directory / "polling" / "0b")
    store = log.publisher("store")
    for number in range(30):
        log.offer([store], [sample(number)], START)
    log.db.execute("UPDATE log SET samples = x''")
    log.close()
    found = filled.run("check", status=1).stdout.splitlines()
    assert sum("0b/log.db: log row" in line for line in found) == 20
    assert sum("and 10 more like these" in line for line in found) == 1


def test_what_is_left_over_is_a_finding(filled: Spool) -> None:
    (filled.zero / "log.db.20260101T000000Z.damaged").write_bytes(b"noise")
    (filled.zero / "log.db.salvage").write_bytes(b"noise")
    log = Written(filled.directory / "polling" / "4")
    log.close()
    found = filled.run("check", status=1).stdout.splitlines()
    assert found == [
        f"{filled.zero}/log.db.20260101T000000Z.damaged: set aside since it was damaged",
        f"{filled.zero}/log.db.salvage: damaged; what of it is whole is not saved yet",
        f"{filled.directory}/polling/4: its worker is gone; the next start goes on with what waits",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"noise" * 2000, "file is not a database"),
        (b"", "it is no log of this agent"),
    ],
)
def test_a_file_that_is_no_log_is_told_and_the_others_are_read(
    filled: Spool, content: bytes, words: str
) -> None:
    other = filled.directory / "polling" / "1"
    other.mkdir()
    (other / "log.db").write_bytes(content)
    done = filled.run("list")
    assert len(done.stdout.splitlines()) == 4
    assert (
        f"ceilo-agent: {other}/log.db cannot be read: {words}\n"
        == done.stderr.splitlines(keepends=True)[0]
    )
    assert f"{other}/log.db cannot be read: {words}" in filled.run("check", status=1).stdout


def test_a_log_of_a_later_version_is_told(filled: Spool) -> None:
    with sqlite3.connect(filled.zero / "log.db") as db:
        db.execute("PRAGMA user_version = 9")
    db.close()
    done = filled.run("list", status=2)
    assert done.stderr == (
        f"ceilo-agent: {filled.zero}/log.db cannot be read: it is of version 9, 1 was expected\n"
    )


# -- reading while others write --------------------------------------------------------------------


def test_a_log_that_was_killed_or_closed_or_copied_is_read_and_nothing_is_changed(
    spool: Spool, tmp_path: Path
) -> None:
    log = Written(spool.zero)
    store = log.publisher("store")
    log.offer([store], [sample(1)], START)
    copy = tmp_path / "killed" / "polling" / "0"
    shutil.copytree(spool.zero, copy)
    assert (copy / "log.db-wal").stat().st_size
    log.close()
    assert not (spool.zero / "log.db-wal").exists()
    for directory in (tmp_path / "killed", spool.directory):
        before = tree(directory)
        done = spool.run("list", "--output", "json", "--spool-dir", str(directory))
        assert [each["waiting"] for each in json.loads(done.stdout)] == [1]
        spool.run("check", "--spool-dir", str(directory))
        assert tree(directory).keys() == before.keys()
        assert tree(directory) == before
    (copy / "log.db-shm").unlink()
    done = spool.run("list", "--spool-dir", str(tmp_path / "killed"), status=2)
    assert done.stderr.endswith("log.db-shm, which belongs to it, is missing\n")


def test_a_snapshot_stays_what_it_was_while_the_agent_goes_on(spool: Spool) -> None:
    log = Written(spool.zero)
    store = log.publisher("store")
    log.offer([store], [sample(1)], START)
    (place,) = places(spool.directory)
    with Reader(place) as reader:
        log.offer([store], [sample(2)], START + 1)
        log.db.execute("DELETE FROM log")
        assert [standing.waiting for standing in reader.standings()] == [1]
        assert [each.samples[0].volume for each in reader.waiting("store")] == [1.5]
    log.close()


def test_a_directory_that_may_not_be_read_is_told(spool: Spool) -> None:
    spool.directory.parent.mkdir(exist_ok=True)
    spool.directory.write_text("no directory")
    done = spool.run("list", status=2)
    assert done.stderr == f"ceilo-agent: {spool.directory}: Not a directory\n"


def test_a_holder_is_not_found_where_there_is_no_lock(tmp_path: Path) -> None:
    assert Place(tmp_path / "polling" / "0").holder() is None


# -- damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seed", [*range(15), *(pytest.param(n, marks=pytest.mark.long) for n in range(15, 300))]
)
def test_noise_in_the_file_is_told_and_never_a_traceback(
    filled: Spool, tmp_path: Path, seed: int
) -> None:
    """Whatever of the file is overwritten or cut off: a finding or a line, and an exit code."""
    chance = random.Random(seed)
    noisy = tmp_path / "noisy" / "polling" / "0"
    noisy.mkdir(parents=True)
    with sqlite3.connect(filled.zero / "log.db") as db:
        db.execute("VACUUM INTO ?", (str(noisy / "log.db"),))
    db.close()
    data = bytearray((noisy / "log.db").read_bytes())
    for _ in range(chance.randrange(1, 60)):
        # Past the header: what is no database at all has a test of its own.
        data[chance.randrange(100, len(data))] = chance.randrange(256)
    if seed % 4 == 0:
        del data[chance.randrange(1000, len(data)) :]
    (noisy / "log.db").write_bytes(data)
    for words in (["check"], ["list"], ["show", "--limit", "0"], ["show", "--aside"]):
        arguments = ["spool", *words, "--spool-dir", str(tmp_path / "noisy")]
        done = CliRunner().invoke(main, arguments, standalone_mode=False)
        assert done.exception is None or isinstance(done.exception, CeiloAgentError), (
            seed, words, done.exception, done.exc_info
        )  # fmt: skip
        if words == ["check"] and done.exception is None:
            assert done.return_value in (0, 1)
    assert (noisy / "log.db").read_bytes() == data, "nothing was changed"
