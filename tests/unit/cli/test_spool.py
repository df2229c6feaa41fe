# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent spool``."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ceilo_agent.cli.main import main
from ceilo_agent.delivery.spool import Place, Reader, places
from ceilo_agent.errors import CeiloAgentError
from ceilo_agent.sample import as_document
from tests.pages import ROOT
from tests.unit.cli.spooled import START, Written, sample

COMMAND = [sys.executable, "-c", "from ceilo_agent.cli.main import run; run()"]
PIPELINE = """\
sources:
  - {{name: guests, interval: 60, meters: [cpu], sinks: [store]}}
sinks:
  - {{name: store, publishers: [{publishers}]}}
"""


class Spool:
    """A spool directory, a configuration that names it, and the command on both."""

    def __init__(self, root: Path) -> None:
        self.directory = root / "spool"
        self.zero = self.directory / "polling" / "0"
        self.config = root / "agent.conf"
        self._pipeline = root / "pipeline.yaml"
        self.config.write_text(
            f"[DEFAULT]\npipeline_cfg_file = {self._pipeline}\n"
            f"[delivery]\nspool_dir = {self.directory}\n"
        )
        self.publishers("console")

    def publishers(self, text: str) -> None:
        self._pipeline.write_text(PIPELINE.format(publishers=text))

    def durable(self, name: str) -> None:
        """Have a publisher of this name that waits on disk."""
        text = PIPELINE.format(publishers=name)
        self._pipeline.write_text(f"{text}publishers:\n  {name}: http://127.0.0.1:1/\n")

    def delivery(self, text: str) -> None:
        """Add options to [delivery]."""
        with self.config.open("a") as file:
            file.write(text)

    def run(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, "--config-file", self.config, "spool", *arguments],
            env={**os.environ, "PYTHONPATH": ":".join(sys.path), "COLUMNS": "100"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--output", "json").stdout)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path)


@pytest.fixture
def filled(spool: Spool) -> Iterator[Spool]:
    """One log: `store` is behind by three samples, `other` by all five; two were refused."""
    log = Written(spool.zero)
    store, other = log.publisher("store"), log.publisher("other", delivered=7, dropped=4)
    log.offer([store, other], [sample(n) for n in range(3)], START + 10)
    second = log.offer([store, other], [sample(n) for n in range(3, 5)], START + 20)
    log.deliver(store, second - 1, 2, 2)
    log.refuse(store, [sample(100, "vm-2")], START + 30, "400: bad \x1b[31m")
    log.refuse(store, [sample(101, "vm-2")], START + 31, "400: worse")
    yield spool
    log.close()


def tree(directory: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


# -- list ----------------------------------------------------------------------------------------


def test_list_tells_what_waits_for_whom_and_since_when(filled: Spool) -> None:
    found = {each["publisher"]: each for each in filled.json("list")}
    assert list(found) == ["other", "store"]
    store, other = found["store"], found["other"]
    assert store["waiting"] == 3
    assert store["since"] == "2026-01-01T00:00:10.000000+00:00"
    assert (store["offered"], store["delivered"], store["set_aside"]) == (7, 2, 2)
    assert (other["waiting"], other["delivered"], other["dropped"]) == (5, 7, 4)
    assert other["bytes"] == store["bytes"] > 100
    for each in found.values():
        parts = ("delivered", "waiting", "set_aside", "dropped")
        assert each["offered"] == sum(each[part] for part in parts)
    header, *rows = filled.run("list").stdout.splitlines()
    page = (ROOT / "doc" / "source" / "delivery.rst").read_text("utf-8")
    assert " ".join(header.split()) in {" ".join(line.split()) for line in page.splitlines()}
    words = "log publisher waiting size since set aside offered delivered dropped served by fault"
    assert " ".join(header.split()) == words
    assert rows[1].split()[:3] == ["polling/0", "store", "3"]
    assert "2026-01-01T00:00:10" in rows[1]


def test_list_tells_how_full_the_bounds_are(filled: Spool) -> None:
    filled.delivery("max_bytes = 2000000\nmax_samples = 40\nmax_age = 432000\n")
    found = filled.json("list")
    for each in found:
        assert (each["max_bytes"], each["max_samples"], each["max_age"]) == (2000000, 40, 432000)
        assert each["log_bytes"] > each["bytes"] > 100
        assert each["age"] > 86400
    *_, row, told = filled.run("list").stdout.splitlines()
    assert row.split()[2:5] == ["3", "of", "40"]
    assert told.startswith("polling/0: ")
    assert " KiB of 1.91 MiB (max_bytes), the oldest waits for " in told
    assert told.endswith(" d of 5 d (max_age)")


def test_bounds_of_another_directory_are_not_known(filled: Spool, tmp_path: Path) -> None:
    shutil.copytree(filled.directory, tmp_path / "copy")
    found = filled.json("list", "--spool-dir", str(tmp_path / "copy"))
    assert {each["max_bytes"] for each in found} == {None}
    assert "max_bytes" not in filled.run("list", "--spool-dir", str(tmp_path / "copy")).stdout


def test_list_tells_why_samples_wait(spool: Spool) -> None:
    log = Written(spool.zero)
    store = log.publisher("store")
    log.offer([store], [sample(1)], START)
    log.db.execute("UPDATE publisher SET fault = ?", ("Connection\x1b refused",))
    (found,) = spool.json("list")
    shown = spool.run("list").stdout
    log.close()
    assert found["fault"] == "Connection\x1b refused"
    assert "refused" in shown
    assert "\x1b" not in shown


def test_a_cursor_behind_the_last_row_waits_for_nothing(spool: Spool) -> None:
    log = Written(spool.zero)
    store = log.publisher("store")
    seq = log.offer([store], [sample(1)], START)
    log.deliver(store, seq + 1, 0, 1)
    (found,) = spool.json("list")
    log.close()
    assert (found["waiting"], found["bytes"], found["since"]) == (0, 0, None)


def test_what_is_for_others_does_not_wait_for_a_publisher(spool: Spool) -> None:
    log = Written(spool.zero)
    first, second = log.publisher("first"), log.publisher("second")
    log.offer([second], [sample(1)], START)
    log.offer([first], [sample(2), sample(3)], START + 1)
    log.offer([second], [sample(4)], START + 2)
    found = {each["publisher"]: each for each in spool.json("list")}
    shown = spool.json("show", "first")
    log.close()
    assert (found["first"]["waiting"], found["second"]["waiting"]) == (2, 2)
    assert found["first"]["since"] == "2026-01-01T00:00:01.000000+00:00"
    assert [each["volume"] for each in shown] == [2.5, 3.5]


def test_without_an_agent_that_is_said_and_with_one_its_process(filled: Spool) -> None:
    assert filled.json("list")[0]["process"] is None
    with (filled.zero / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        assert filled.json("list")[0]["process"] == os.getpid()
        assert f"process {os.getpid()}" in filled.run("list").stdout
    (filled.zero / "lock").write_text(f"{os.getpid()}\n")
    assert filled.json("list")[0]["process"] is None, "a file alone is no lock"


def test_a_publisher_that_no_file_has_is_an_orphan(filled: Spool) -> None:
    assert {each["orphan"] for each in filled.json("list")} == {True}
    assert "orphan: not in the pipeline file (no agent runs)" in filled.run("list").stdout


def test_with_a_faulty_pipeline_file_what_is_an_orphan_is_not_known(filled: Spool) -> None:
    filled.publishers("nowhere")
    assert {each["orphan"] for each in filled.json("list")} == {None}
    done = filled.run("list")
    assert "orphan" not in done.stdout
    assert done.stderr == (
        "ceilo-agent: the pipeline file has faults: which publishers are gone from it is not "
        "known (`ceilo-agent config check`)\n"
    )


def test_every_log_is_listed_and_one_of_a_worker_that_is_gone_is_marked(filled: Spool) -> None:
    for name in ("polling/10", "polling/9", "polling/0/from-3"):
        log = Written(filled.directory / name)
        log.offer([log.publisher("store")], [sample(1)], START)
        log.close()
    rows = [(each["log"], each["worker_gone"]) for each in filled.json("list")]
    assert rows == [
        ("polling/0", False),
        ("polling/0", False),
        ("polling/0/from-3", True),
        ("polling/9", True),
        ("polling/10", True),
    ]


@pytest.mark.parametrize("command", ["list", "show", "check"])
def test_without_a_log_that_is_said(spool: Spool, command: str) -> None:
    done = spool.run(command)
    assert len(done.stdout.splitlines()) == 1
    if command != "show":
        words = f"there is no log below {spool.directory}: nothing waits on disk\n"
        assert done.stdout == words
    assert not spool.directory.exists()


def test_a_directory_that_is_not_there_is_told_with_the_nearest(
    filled: Spool, tmp_path: Path
) -> None:
    for wrong, what in (
        ("spol", "no such directory"),
        (".", "no <agent>/<worker>/log.db below it"),
        ("spool/polling", "no <agent>/<worker>/log.db below it"),
        ("spool/polling/0", "no <agent>/<worker>/log.db below it"),
    ):
        named = tmp_path / wrong
        for command in ("list", "check", "show"):
            done = filled.run(command, "--spool-dir", str(named), status=2)
            assert done.stderr == (
                f"ceilo-agent: {named}: {what} (did you mean '{filled.directory}'?)\n"
            )


def test_a_directory_of_something_else_is_told(spool: Spool, tmp_path: Path) -> None:
    (tmp_path / "music" / "songs").mkdir(parents=True)
    done = spool.run("list", "--spool-dir", str(tmp_path / "music"), status=2)
    assert done.stderr == f"ceilo-agent: {tmp_path}/music: no <agent>/<worker>/log.db below it\n"


def test_a_directory_where_nothing_waits_yet_is_none_of_something_else(
    spool: Spool, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "new" / "polling" / "0").mkdir(parents=True)
    (tmp_path / "new" / "polling" / "0" / "lock").touch()
    for name in ("empty", "new"):
        done = spool.run("list", "--spool-dir", str(tmp_path / name))
        assert done.stdout == f"there is no log below {tmp_path / name}: nothing waits on disk\n"


def test_a_publisher_that_keeps_no_log_is_known(filled: Spool) -> None:
    words = "nothing waits on disk for 'console': it keeps no log\n"
    assert filled.run("show", "console").stdout == words
    assert filled.run("replay", "console").stdout == words
    done = filled.run("show", "console", "--output", "json")
    assert (done.stdout, done.stderr) == ("[]\n", words)


def test_a_scheme_is_enough_to_be_asked_for_the_name(filled: Spool) -> None:
    filled.publishers('"otlp://127.0.0.1:4318"')
    done = filled.run("show", "otlp", status=2)
    assert done.stderr == (
        "ceilo-agent: no publisher 'otlp' (did you mean 'otlp-127.0.0.1:4318'?)\n"
    )


def test_without_a_log_json_is_an_empty_list(spool: Spool) -> None:
    assert spool.json("list") == []
    assert spool.json("show") == []


# -- show ----------------------------------------------------------------------------------------


def test_show_gives_the_samples_from_the_cursor_on(filled: Spool) -> None:
    found = filled.json("show", "store")
    expected = [json.loads(json.dumps(as_document(sample(n)))) for n in (2, 3, 4)]
    about = [{key: each.pop(key) for key in ("log", "publisher", "waits_since")} for each in found]
    assert found == expected
    assert about[0] == {
        "log": "polling/0",
        "publisher": "store",
        "waits_since": "2026-01-01T00:00:10.000000+00:00",
    }
    assert len(filled.json("show")) == 3 + 5


def test_a_table_has_a_line_each_and_steers_no_terminal(filled: Spool) -> None:
    done = filled.run("show", "store")
    header, *rows = done.stdout.splitlines()
    assert " ".join(header.split()) == "waits since time (UTC) resource meter volume unit"
    assert [row.split()[-2] for row in rows] == ["2.5", "3.5", "4.5"]
    header, *rows = filled.run("show", "--aside").stdout.splitlines()
    assert header.split()[:2] == ["number", "set"]
    assert "400: bad \ufffd[31m" in rows[0]
    assert rows[1].split()[0] == "2"


def test_what_was_refused_comes_with_its_reason(filled: Spool) -> None:
    first, second = filled.json("show", "store", "--aside")
    assert (first["number"], first["reason"]) == (1, "400: bad \x1b[31m")
    assert second["set_aside"] == "2026-01-01T00:00:31.000000+00:00"
    assert second["to_be_sent_again"] is False
    assert second["resource_id"] == "vm-2"
    assert filled.json("show", "other", "--aside") == []
    assert filled.run("show", "other", "--aside").stdout == "nothing was refused by 'other'\n"


def test_a_limit_holds_for_each_publisher_and_says_what_is_left(filled: Spool) -> None:
    done = filled.run("show", "--limit", "2")
    assert len(done.stdout.splitlines()) == 1 + 4
    assert done.stderr == "and 4 more (--limit 0 shows all)\n"
    assert len(filled.json("show", "other", "--limit", "0")) == 5
    assert filled.run("show", "--limit", "0").stderr == ""


# -- replay --------------------------------------------------------------------------------------


def marked(spool: Spool) -> list[bool]:
    return [each["to_be_sent_again"] for each in spool.json("show", "--aside")]


def test_replay_marks_what_was_refused_once(filled: Spool) -> None:
    waits = "when the pipeline file has a publisher of this name"
    done = filled.run("replay", "store", "--dry-run")
    assert done.stdout == f"polling/0: 2 samples of 'store' would be sent again {waits}\n"
    assert marked(filled) == [False, False]
    done = filled.run("replay", "store", "--number", "2")
    assert done.stdout == f"polling/0: 1 sample of 'store' will be sent again {waits}\n"
    assert marked(filled) == [False, True]
    done = filled.run("replay", "--all")
    assert done.stdout == (
        f"polling/0: 1 sample of 'store' will be sent again {waits}; "
        "1 sample had been asked for before\n"
    )
    assert marked(filled) == [True, True]
    assert filled.json("list")[1]["to_be_sent_again"] == 2
    assert "2 (2 to be sent again)" in filled.run("list").stdout
    assert "(to be sent again)" in filled.run("show", "--aside").stdout


def test_discard_marks_all_of_an_orphan_and_nothing_of_others(filled: Spool) -> None:
    done = filled.run("discard", "store", "--dry-run").stdout
    assert (
        done
        == "polling/0: 3 samples waiting and 2 samples set aside of 'store' would be discarded\n"
    )
    nobody = filled.run("discard", "store", status=2)
    assert "nothing is discarded: nobody answered (--yes)" in nobody.stderr
    assert not any(each["to_be_discarded"] for each in filled.json("list"))
    said = filled.run("discard", "store", "--yes").stdout
    assert said == (
        "polling/0: 3 samples waiting and 2 samples set aside will be discarded when the agent "
        "starts\n"
    )
    found = {each["publisher"]: each["to_be_discarded"] for each in filled.json("list")}
    assert found == {"other": 0, "store": 5}
    rows = filled.run("list").stdout
    assert "3 (3 to be discarded)" in rows
    assert "2 (2 to be discarded)" in rows
    assert {each["to_be_discarded"] for each in filled.json("show", "store", "--aside")} == {True}
    again = filled.run("discard", "store", "--yes").stdout
    assert again == "nothing is kept for 'store' that is not discarded already\n"
    filled.run("check")


def test_discard_asks_and_takes_a_no(filled: Spool) -> None:
    done = CliRunner().invoke(
        main, ["--config-file", str(filled.config), "spool", "discard", "store"], input="n\n"
    )
    assert str(done.exception) == "nothing is discarded"
    assert not any(each["to_be_discarded"] for each in filled.json("list"))


def test_of_a_publisher_in_the_file_only_what_it_refused_is_discarded(filled: Spool) -> None:
    filled.durable("store")
    refused = filled.run("discard", "store", "--yes", status=2).stderr
    assert refused == (
        "ceilo-agent: 'store' is in the pipeline file: what waits is delivered to it (take it out "
        "first; --aside discards what it refused)\n"
    )
    filled.run("discard", "store", "--number", "2", "--yes")
    assert [each["to_be_discarded"] for each in filled.json("list")] == [0, 1]
    filled.run("discard", "store", "--aside", "--yes")
    assert [each["to_be_discarded"] for each in filled.json("list")] == [0, 2]
    assert filled.json("list")[1]["waiting"] == 3
    assert filled.run("discard", "store", "--aside").stdout.startswith("nothing is set aside")


def test_what_is_discarded_is_not_replayed(filled: Spool) -> None:
    filled.run("discard", "store", "--number", "1", "--yes")
    filled.run("replay", "store")
    found = filled.json("list")[1]
    assert (found["to_be_sent_again"], found["to_be_discarded"]) == (1, 1)


def test_a_log_whose_worker_is_gone_is_not_discarded(filled: Spool) -> None:
    filled.zero.rename(filled.zero.parent / "7")
    refused = filled.run("discard", "store", "--yes", status=2).stderr
    assert "polling/7: its worker is gone" in refused


def test_with_a_faulty_pipeline_file_nothing_that_waits_is_discarded(filled: Spool) -> None:
    filled.publishers("nonsense://")
    assert (
        "the pipeline file has faults" in filled.run("discard", "store", "--yes", status=2).stderr
    )


def test_replay_of_nothing_says_so(filled: Spool) -> None:
    assert filled.run("replay", "other").stdout == "nothing is set aside for 'other'\n"


def test_a_number_of_several_logs_is_told_apart(filled: Spool) -> None:
    log = Written(filled.directory / "polling" / "1")
    log.refuse(log.publisher("store"), [sample(5)], START, "no")
    log.close()
    done = filled.run("replay", "store", "--number", "1", status=2)
    assert done.stderr == (
        "ceilo-agent: the number 1 is in several logs (write polling/0:1 or polling/1:1)\n"
    )
    filled.run("replay", "store", "--number", "polling/1:1")
    assert marked(filled) == [False, False, True]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "stor"), "no publisher 'stor' (did you mean 'store'?)"),
        (("replay", "zzz"), "no publisher 'zzz' (there are other, store)"),
        (("replay",), "a PUBLISHER is needed, or --all"),
        (("replay", "--all", "store"), "only one of PUBLISHER and --all may be given"),
        (("replay", "--all", "--number", "1"), "--number goes with a PUBLISHER"),
        (
            ("replay", "store", "--number", "7"),
            "nothing is set aside under the number '7' (there are 1, 2)",
        ),
        (("show", "--limit", "-1"), "-1 is not in the range"),
        (("list", "--output", "xml"), "'xml' is not one of"),
        (("purge",), "No such command 'purge'"),
    ],
)
def test_wrong_use_is_told_with_code_2(
    filled: Spool, arguments: tuple[str, ...], words: str
) -> None:
    assert words in filled.run(*arguments, status=2).stderr


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
