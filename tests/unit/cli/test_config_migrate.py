# SPDX-License-Identifier: Apache-2.0
"""`ceilo-agent config migrate`, through the command itself; what it makes is in tests/migrate."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ceilo_agent.cli.main import main
from ceilo_agent.errors import ConfigError
from ceilo_agent.pipeline.migration.migrate import Misplaced, migrate

OLD = """\
sources:
  - {name: guests, interval: 60, counters: [cpu], sinks: [store]}
sinks:
  - {name: store, publishers: [nowhere://]}
"""
FINE = OLD.replace("counters", "meters").replace("nowhere", "local")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("old.yaml").write_text(OLD)
    Path("fine.yaml").write_text(FINE)

    def run(*words):
        result = CliRunner().invoke(main, ["config", "migrate", *words], standalone_mode=False)
        if result.exception:
            raise result.exception
        return result.return_value, result.stdout, result.stderr

    return run


def test_the_file_goes_to_standard_output_and_the_report_to_standard_error(run):
    assert run("old.yaml", "--publisher", "local://") == (
        0,
        FINE,
        (
            "Done:\n"
            "old.yaml:2:34: 'counters' is called 'meters' now\n"
            "old.yaml:4:32: 'nowhere://' is 'local://' now: "
            "this version has no publisher 'nowhere'\n"
            "\n"
            "0 to decide, 0 changed meaning, 2 done\n"
        ),
    )


def test_a_publisher_that_is_not_there_is_told_of_once_and_first(run):
    code, out, err = run("old.yaml")
    assert (code, out) == (1, FINE.replace("local", "nowhere"))
    assert err.splitlines() == [
        "To be decided by hand:",
        (
            "old.yaml:4:32: this version has no publisher 'nowhere' "
            "('--publisher URL' puts another in its place)"
        ),
        "",
        "Done:",
        "old.yaml:2:34: 'counters' is called 'meters' now",
        "",
        "1 to decide, 0 changed meaning, 1 done",
    ]


def test_other_mistakes_are_to_be_decided_by_hand_too(run):
    Path("old.yaml").write_text(OLD.replace("[store]", "[stor]").replace("nowhere", "local"))
    code, _, err = run("old.yaml")
    assert code == 1
    heading, first, *_ = err.splitlines()
    assert heading == "To be decided by hand:"
    assert first.startswith("stdout:2:57: error: dangling sink 'stor'")


def test_a_file_that_polls_nothing_is_to_be_decided_and_loads(run):
    Path("old.yaml").write_text(FINE.replace("interval: 60, ", ""))
    code, _, err = run("old.yaml")
    assert code == 0
    assert err.splitlines() == [
        "old.yaml: needs no change",
        "To be decided by hand:",
        (
            "old.yaml:1:1: no source has an interval: nothing is polled (since Ceilometer 8 a "
            "polling.yaml says what is: '--polling FILE' joins the two)"
        ),
        "",
        "1 to decide, 0 changed meaning, 0 done",
    ]


def test_of_a_source_that_goes_nothing_else_is_told(run):
    gone = (
        "  - {name: cloud, interval: '600', meters: [port, switch.port, instance], sinks: store}\n"
    )
    Path("old.yaml").write_text(FINE.replace("sinks:\n", gone + "sinks:\n"))
    code, out, err = run("old.yaml")
    assert (code, out) == (0, FINE)
    assert err.splitlines() == [
        "Changed meaning:",
        (
            "old.yaml:3:5: source 'cloud' removed: this agent has none of its meters "
            "('port': it comes from an OpenStack API, which this agent does not poll; "
            "'instance': power.state tells which guests there are)"
        ),
        "",
        "0 to decide, 1 changed meaning, 0 done",
    ]


POLLING = "sources:\n  - {name: guests, interval: 60, meters: [cpu]}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["polling.yaml"],
            (
                "polling.yaml: it has no sinks: it is a polling.yaml, and no pipeline.yaml "
                "('config migrate PIPELINE --polling polling.yaml', with the pipeline.yaml "
                "beside it)"
            ),
        ),
        (
            ["polling.yaml", "--polling", "fine.yaml"],
            (
                "polling.yaml: it has no sinks: it is a polling.yaml, and no pipeline.yaml "
                "(the other way round: 'config migrate fine.yaml --polling polling.yaml')"
            ),
        ),
        (
            ["fine.yaml", "--polling", "old.yaml"],
            (
                "old.yaml: it has sinks: it is a pipeline.yaml, and no polling.yaml "
                "('--polling' names the polling.yaml)"
            ),
        ),
    ],
)
def test_a_file_in_the_place_of_another_is_wrong_use(run, words, said):
    Path("polling.yaml").write_text(POLLING)
    with pytest.raises(click.ClickException) as refused:
        run(*words)
    assert refused.value.message == said


def test_a_file_that_needs_no_change(run):
    assert run("fine.yaml") == (0, FINE, "fine.yaml: needs no change\n")


def test_output(run):
    code, out, err = run("old.yaml", "--output", "new.yaml")
    assert (code, out) == (1, "")
    assert Path("new.yaml").read_text() == FINE.replace("local", "nowhere")
    assert "1 to decide" in err
    assert {path.name for path in Path().iterdir()} == {"fine.yaml", "new.yaml", "old.yaml"}


def test_who_may_read_the_file_may_read_the_outcome_and_nobody_else(run):
    Path("fine.yaml").chmod(0o640)
    run("fine.yaml", "--output", "new.yaml")
    assert Path("new.yaml").stat().st_mode & 0o777 == 0o640


def test_a_file_that_exists_is_kept_without_force(run):
    with pytest.raises(click.UsageError, match=r"fine\.yaml exists: --force overwrites it"):
        run("old.yaml", "--output", "fine.yaml")
    assert Path("fine.yaml").read_text() == FINE
    run("old.yaml", "--publisher", "console", "--output", "fine.yaml", "--force")
    assert "publishers: [console]" in Path("fine.yaml").read_text()


def test_a_file_is_migrated_in_place(run):
    assert run("old.yaml", "--publisher", "local://", "--output", "old.yaml", "--force")[0] == 0
    assert Path("old.yaml").read_text() == FINE


def test_a_place_that_cannot_be_written(run):
    with pytest.raises(click.ClickException, match="cannot be written"):
        run("fine.yaml", "--output", "no/such/directory.yaml")


def test_a_publisher_that_is_not_there_either(run):
    with pytest.raises(click.BadParameter, match="'rpc://' is none; there are console, file"):
        run("old.yaml", "--publisher", "rpc://")


def test_a_file_that_is_not_there(run):
    with pytest.raises(ConfigError, match=r"^none\.yaml: no such file$"):
        run("none.yaml")
    with pytest.raises(ConfigError, match=r"^none\.yaml: no such file$"):
        run("fine.yaml", "--polling", "none.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "bad.yaml: error: the file is empty"),
        ("- a\n", "bad.yaml:1:1: error: a mapping with sources and sinks was expected"),
        ("a: 1\na: 2\n", "bad.yaml:2:1: error: the key 'a' stands twice (first in line 1)"),
        ("a: [1\n", "bad.yaml:2:1: error: ',' or ']' was expected (the list begins at 1:4)"),
        (
            "sources: [{name: a, events: ['*']}]\n",
            (
                "bad.yaml:1:21: error: a source of events (only samples go through our file: "
                "leave event_pipeline.yaml with Ceilometer)"
            ),
        ),
    ],
)
def test_a_file_that_cannot_be_migrated(run, text, said):
    Path("bad.yaml").write_text(text)
    assert run("bad.yaml") == (1, "", said + "\n")
    assert run("fine.yaml", "--polling", "bad.yaml") == (1, "", said + "\n")


def test_a_password_is_not_shown(run):
    Path("old.yaml").write_text(OLD.replace("nowhere://", "nowhere://me:secret@host/?key=hidden"))
    code, out, err = run("old.yaml", "--publisher", "local")
    assert code == 0
    assert "secret" not in err
    assert "hidden" not in err
    assert "secret" not in out


def test_wrong_use_is_exit_code_2(tmp_path):
    command = [sys.executable, "-c", "from ceilo_agent.cli.main import run; run()"]
    tmp_path.joinpath("polling.yaml").write_text(POLLING)
    for words in (
        ["none.yaml"], [], ["a.yaml", "--publisher", "rpc"], ["a.yaml", "--polling"],
        ["polling.yaml"],
    ):  # fmt: skip
        done = subprocess.run(
            [*command, "config", "migrate", *words], capture_output=True, check=False, cwd=tmp_path
        )
        assert done.returncode == 2
        assert b"Traceback" not in done.stderr


def test_a_file_of_options_is_told_with_what_to_do_with_it(tmp_path):
    file = tmp_path / "ceilometer.conf"
    for text, hint in (
        ("# ours\n\n[DEFAULT]\ndebug = 1\n", "options stand in ceilo_agent.conf"),
        (
            "[DEFAULT]\n[service_credentials]\npassword = x\n",
            "copy [service_credentials] into ceilo_agent.conf",
        ),
    ):
        file.write_text(text)
        with pytest.raises(Misplaced) as caught:
            migrate(file)
        assert str(caught.value) == (
            f"{file}: that is no pipeline file: it has options in sections "
            f"(name the pipeline.yaml; {hint})"
        )
