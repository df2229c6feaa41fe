# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent spool``."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from ceilo_agent.cli.main import main
from ceilo_agent.sample import as_document
from tests.pages import ROOT
from tests.unit.cli.spooled import START, Spool, Written, sample

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


def test_logs_of_the_notification_agent_are_those_of_its_workers_and_its_publishers(
    spool: Spool,
) -> None:
    spool.durable("store")
    spool.delivery("[polling]\noutput = bus\n[notification]\nworkers = 2\n")
    for number in range(4):
        log = Written(spool.directory / "notification" / str(number))
        log.offer([log.publisher("store")], [sample(1)], START)
        log.close()
    with (spool.directory / "notification" / "3" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        found = {each["log"]: each for each in spool.json("list")}
    assert [each["worker_gone"] for each in found.values()] == [False, False, True, False]
    assert {each["orphan"] for each in found.values()} == {False}
    # A polling agent beside it has a publisher of its own.
    log = Written(spool.zero)
    log.offer([log.publisher("bus")], [sample(1)], START)
    log.close()
    assert {each["orphan"] for each in spool.json("list")} == {False}


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
