# SPDX-License-Identifier: Apache-2.0
"""``ceilo-agent spool`` beside a real agent whose receiver is away, picky, and back again."""

import json
import signal
import subprocess
import time

import pytest

from tests import example_plugin
from tests.functional import agent
from tests.services import faulty

METERS = ["hardware.cpu.load.1min", "hardware.cpu.load.5min", "hardware.memory.used"]
REFUSED = "hardware.cpu.load.5min"


class Watched:
    """An agent's configuration, and what `spool` says of it."""

    def __init__(self, directory, port):
        self.directory = directory
        self.spool_dir = directory / "state" / "spool"
        self.log = directory / "log"
        self.config = directory / "agent.conf"
        self._pipeline = directory / "pipeline.yaml"
        self.config.write_text(
            f"[DEFAULT]\nhost = functional\nstate_path = {directory}/state\n"
            f"pipeline_cfg_file = {self._pipeline}\n[polling]\nnamespaces = host\n"
        )
        self.environment = {}
        self.publisher("store", port)

    def publisher(self, name, port, url="http://127.0.0.1:{port}/samples"):
        source = {"name": "s", "interval": 1, "meters": METERS, "sinks": ["out"]}
        sink = {"name": "out", "publishers": [name]}
        publishers = {name: url.format(port=port)}
        self._pipeline.write_text(
            json.dumps({"sources": [source], "sinks": [sink], "publishers": publishers})
        )

    def running(self):
        return agent.running("polling", config=self.config, log=self.log, **self.environment)

    def run(self, *arguments, **options):
        return agent.run("spool", *arguments, config=self.config, **options, **self.environment)

    def json(self, *arguments):
        return json.loads(self.run(*arguments, "--output", "json").stdout)

    def standing(self, name="store"):
        """Return the row of a publisher, whose counters must add up; None without one."""
        for row in self.json("list"):
            if row["publisher"] == name:
                parts = ("delivered", "waiting", "set_aside", "dropped")
                assert row["offered"] == sum(row[part] for part in parts), row
                return row
        return None

    def aside(self, name="store"):
        """Return what was set aside, all of it."""
        return self.json("show", name, "--aside", "--limit", "0")

    def numbers(self):
        return [one["number"] for one in self.aside()]

    def until(self, condition, what):
        return agent.wait_until(lambda: (row := self.standing()) and condition(row) and row,
                                what=what)  # fmt: skip


@pytest.fixture
def server():
    with faulty.serving() as made:
        yield made


@pytest.fixture
def watched(tmp_path, server):
    return Watched(tmp_path, server.port)


def arrived(server):
    """Return the samples that were answered with success, by meter and time."""
    documents = [one for request in server.accepted for one in json.loads(request.body)]
    return [(one["name"], one["timestamp"]) for one in documents]


def test_what_waits_is_seen_while_the_agent_runs_and_gone_when_it_arrived(watched, server):
    server.stop()
    with watched.running() as process:
        row = watched.until(lambda row: row["waiting"] >= 9, "nothing waits")
        assert row["process"] == process.pid
        assert row["orphan"] is False
        assert row["bytes"] > 0
        assert (row["delivered"], row["dropped"], row["set_aside"]) == (0, 0, 0)
        shown = watched.json("show", "store", "--limit", "0")
        assert {one["name"] for one in shown} == set(METERS)
        assert shown[0]["waits_since"] == row["since"]
        assert watched.run("check").stdout.endswith(", whole\n")
        server.start()
        row = watched.until(lambda row: row["delivered"] and not row["waiting"], "it still waits")
        assert row["since"] is None
        assert row["bytes"] == 0
    waited = [(one["name"], one["timestamp"]) for one in shown]
    assert arrived(server)[: len(waited)] == waited, "the backlog came first, in its order"
    row = watched.standing()
    assert row["process"] is None
    assert row["delivered"] + row["waiting"] == row["offered"]
    assert len(arrived(server)) == row["delivered"]


def test_what_was_refused_is_shown_with_its_reason_and_sent_again(watched, server):
    def answer(request):
        bad = any(one["name"] == REFUSED for one in json.loads(request.body))
        return (400, {}, b"no loads of five minutes") if bad else (200, {}, b"")

    server.usual = faulty.reply(answer)
    with watched.running() as process:
        row = watched.until(lambda row: row["set_aside"] >= 2, "nothing is set aside")
        assert row["delivered"] >= 2 * row["set_aside"]
        refused = watched.aside()
        assert {one["name"] for one in refused} == {REFUSED}
        assert all("400: no loads of five minutes" in one["reason"] for one in refused)
        assert watched.run("check").returncode == 0

        said = watched.run("replay", "store", "--dry-run").stdout
        assert f"would be sent again by process {process.pid}" in said
        # What is still wrong is set aside again, under another number.
        number = refused[0]["number"]
        watched.run("replay", "store", "--number", str(number))
        agent.wait_until(lambda: number not in watched.numbers(), what="it was not sent again")
        again = agent.wait_until(
            lambda: [o for o in watched.aside() if o["timestamp"] == refused[0]["timestamp"]],
            what="it was not set aside again",
        )
        assert again[0]["reason"] == refused[0]["reason"]

        server.usual = faulty.ok()
        watched.run("replay", "--all")
        watched.until(
            lambda row: not row["set_aside"] and not row["waiting"], "it was not sent again"
        )
    loads = [each for each in arrived(server) if each[0] == REFUSED]
    assert len(loads) == len(set(loads)), "what was set aside arrived once"
    assert {each[1] for each in loads} == {each[1] for each in arrived(server)}


WINDOWED = """\
import json
import pathlib

import msgspec

from ceilo_agent.errors import Permanent
from ceilo_agent.plugins import Promise, Publisher
from ceilo_agent.sample import as_document


class Windowed(Publisher):
    \"""A store with moods: files of the directory in the URL say what it refuses.\"""

    promises = frozenset({Promise.DURABLE})
    Options = msgspec.defstruct("Options", [], kw_only=True, forbid_unknown_fields=True)

    def push(self, samples):
        place = pathlib.Path(self.url.path)
        if (place / "refuse").exists():
            raise Permanent("refused", {n: "not in the mood" for n in range(len(samples))})
        with (place / "taken").open("a") as file:
            file.writelines(json.dumps(as_document(sample)) + "\\n" for sample in samples)

    def outdated(self, samples):
        if (pathlib.Path(self.url.path) / "window").exists():
            return {n: "older than the window" for n in range(0, len(samples), 2)}
        return {}
"""


def test_what_the_store_would_throw_away_is_set_aside_again_with_that_reason(watched, tmp_path):
    example_plugin.describe(
        tmp_path, "ceilo-windowed", "1.0", "[ceilo_agent.publisher]\nwindowed = windowed:Windowed\n"
    )
    (tmp_path / "windowed.py").write_text(WINDOWED)
    watched.environment = {"PYTHONPATH": str(tmp_path)}
    watched.publisher("store", 0, f"windowed://{tmp_path}")
    refuse, window = tmp_path / "refuse", tmp_path / "window"
    refuse.touch()
    with watched.running():
        watched.until(lambda row: row["set_aside"] >= 4, "nothing is set aside")
    refuse.unlink()
    window.touch()
    before = watched.aside()
    assert {one["reason"] for one in before} == {"not in the mood"}
    assert "when the agent starts" in watched.run("replay", "store").stdout
    with watched.running():
        watched.until(
            lambda row: row["to_be_sent_again"] == row["waiting"] == 0, "it was not sent again"
        )
        again = watched.aside()
        assert {one["reason"] for one in again} == {"older than the window"}
        assert 0 < len(again) < len(before)
        window.unlink()
        watched.run("replay", "--all")
        watched.until(lambda row: row["set_aside"] == 0, "it was not sent again")
    taken = [(one["name"], one["timestamp"]) for one in agent.lines(tmp_path / "taken")]
    assert len(taken) == len(set(taken)) == watched.standing()["offered"]
    assert {(one["name"], one["timestamp"]) for one in before} <= set(taken)


def test_an_orphan_is_told_at_the_start_and_discarded_while_the_agent_runs(watched, tmp_path):
    watched.publisher("store", 1)  # nobody listens on port 1
    with watched.running():
        watched.until(lambda row: row["waiting"] >= 3, "nothing waits")
    waiting = watched.standing()["waiting"]
    watched.publisher("other", 0, f"file://{tmp_path}/taken")
    with watched.running():
        told = f"publisher store is not in the pipeline file: {waiting} samples wait on disk for it"
        agent.wait_until(lambda: told in watched.log.read_text(), what="the orphan is not told")
        assert "(ceilo-agent spool discard store drops them)" in watched.log.read_text()
        said = watched.run("discard", "store", "--yes").stdout
        assert f"{waiting} samples waiting will be discarded by process " in said
        row = watched.until(lambda row: row["dropped"] == waiting, "it is not discarded")
    assert (row["waiting"], row["to_be_discarded"]) == (0, 0)
    watched.run("check")


def test_after_a_kill_all_is_there_for_the_commands_and_for_the_next_start(watched, server):
    server.stop()
    with pytest.raises(AssertionError), watched.running() as process:  # noqa: PT012 - it is killed
        watched.until(lambda row: row["waiting"] >= 6, "nothing waits")
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    row = watched.standing()
    assert row["process"] is None
    assert row["waiting"] == row["offered"] >= 6
    assert "no agent runs" in watched.run("list").stdout
    assert watched.run("check").stdout.endswith(", whole\n")
    shown = watched.json("show", "--limit", "0")

    watched.publisher("another", server.port)
    assert watched.standing()["orphan"] is True
    watched.publisher("store", server.port)
    server.start()
    with watched.running():
        watched.until(lambda row: row["delivered"] >= row["waiting"] == 0, "it still waits")
    waited = [(one["name"], one["timestamp"]) for one in shown]
    assert arrived(server)[: len(waited)] == waited
    assert watched.standing()["dropped"] == 0


def test_readers_and_a_writer_do_not_disturb_one_another(watched, server):
    server.stop()
    with watched.running():
        watched.until(lambda row: row["waiting"] >= 3, "nothing waits")
        end = time.monotonic() + 5
        commands = [
            [*agent.COMMAND, "--config-file", watched.config, "spool", *words]
            for words in (["list"], ["check"], ["show", "--limit", "0"], ["replay", "--all"])
        ]
        while time.monotonic() < end:
            started = [
                subprocess.Popen(each, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                for each in commands
            ]
            for process in started:
                _, said = process.communicate(timeout=60)
                assert process.returncode == 0, said
        server.start()
        watched.until(lambda row: row["delivered"] and not row["waiting"], "it still waits")
    said = watched.log.read_text()
    assert "locked" not in said
    assert "damaged" not in said
    assert watched.standing()["dropped"] == 0
