# SPDX-License-Identifier: Apache-2.0
"""The main job on any machine: `up` without configuration, then the store."""

import json
import os
import pty
import signal
import subprocess
import time

from tests.functional import agent
from tests.functional.agent import COMMAND

TEST_DRIVER = "[libvirt]\nuri = test:///default\n"


def configuration(tmp_path, text=TEST_DRIVER):
    config = tmp_path / "agent.conf"
    config.write_text(f"[DEFAULT]\nstate_path = {tmp_path}/state\nhost = here\n{text}")
    return config


def test_up_stores_samples_that_query_shows(tmp_path):
    config = configuration(tmp_path)
    done = agent.run("up", "--for", "6s", "--interval", "1", config=config)
    assert "test:///default" in done.stdout
    assert "samples stored" in done.stdout
    samples = json.loads(
        agent.run("query", "hardware.memory.total", "--output", "json", config=config).stdout
    )
    assert len(samples) >= 5
    assert {s["resource_id"] for s in samples} == {"here"}
    assert samples == sorted(samples, key=lambda s: s["timestamp"])
    states = json.loads(agent.run("query", "power.state", "--output", "json", config=config).stdout)
    assert {s["volume"] for s in states} == {1}
    assert "here" in agent.run("query", "hardware.memory.total", config=config).stdout


def test_the_store_can_be_read_while_the_agent_writes_and_has_one_writer(tmp_path):
    config = configuration(tmp_path)
    with agent.running("up", "--interval", "1", config=config, log=tmp_path / "log"):
        agent.wait_until(lambda: "samples" in (tmp_path / "log").read_text())
        counts = []
        for _ in range(3):
            out = agent.run("query", "hardware.cpu.user", "--output", "json", config=config).stdout
            counts.append(len(json.loads(out)))
            time.sleep(1.1)
        assert counts == sorted(set(counts)), "each reading saw more"
        text = config.read_text()
        for elsewhere, why in (
            ("", "it takes one agent"),
            (f"[delivery]\nspool_dir = {tmp_path}/other\n", "it takes one writer"),
        ):
            config.write_text(text + elsewhere)
            second = agent.run("up", "--for", "2s", config=config, check=False)
            assert second.returncode == 2
            told = second.stderr.strip().splitlines()[-1]
            assert str(tmp_path) in told
            assert why in told
            assert "cycles" not in second.stderr


def test_up_draws_a_table_on_a_terminal_and_ends_on_ctrl_c(tmp_path):
    config = configuration(tmp_path)
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "--config-file", str(config), "up", "--interval", "1"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"},
        start_new_session=True,
    )
    os.close(slave)
    shown = b""
    end = time.monotonic() + 20
    while b"running" not in shown and time.monotonic() < end:
        shown += os.read(master, 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    os.close(master)
    assert b"memory MiB" in shown
    assert b"Ctrl-C" in shown


def test_what_is_stored_is_what_the_store_took_and_the_hint_finds_it(tmp_path):
    config = configuration(tmp_path)
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text(
        "sources: [{name: s, interval: 60, meters: [hardware.cpu.load.*], sinks: [t]}]\n"
        f"sinks: [{{name: t, publishers: ['local://', 'file://{tmp_path}/samples.json']}}]\n"
    )
    done = agent.run("up", "--for", "3s", "--interval", "1", "--pipeline", pipeline, config=config)
    said = done.stdout.splitlines()[-1]
    written = len((tmp_path / "samples.json").read_text().splitlines())
    assert said == (
        f"{written} samples stored; look at them with: ceilo-agent --config-file {config} query"
    )
    assert written > 0
    found = agent.run("query", "*", "--output", "json", config=config).stdout
    assert len(json.loads(found)) == written


def test_no_sample_stored_is_exit_1(tmp_path):
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text(
        "sources: [{name: s, interval: 60, meters: [network.*], sinks: [t]}]\n"
        "sinks: [{name: t, publishers: ['local://']}]\n"
    )
    done = agent.run(
        "up", "--for", "2s", "--pipeline", pipeline, config=configuration(tmp_path), check=False
    )
    assert done.returncode == 1
    assert "0 samples stored" in done.stdout


def test_a_poll_that_finds_none_of_the_meters_says_so(tmp_path):
    config = configuration(tmp_path)
    done = agent.run(
        "poll", "--namespaces", "compute", "--meter", "disk.*", config=config, check=False
    )
    assert done.returncode == 1
    assert "nothing that is there gives such samples" in done.stderr


def test_a_pipeline_with_faults_is_refused_with_all_of_them(tmp_path):
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text(
        "sources: [{name: s, interval: 0, meters: ['*'], sinks: [u]}]\n"
        "sinks: [{name: t, publishers: ['locl://']}]\n"
    )
    for command in ("up", "polling"):
        done = agent.run(
            command, "--pipeline", pipeline, config=configuration(tmp_path), check=False
        )
        assert done.returncode == 2
        assert done.stdout == ""
        told = done.stderr.strip().splitlines()
        assert len(told) == 3
        assert all(line.startswith(f"{pipeline}:") for line in told)


def test_an_unknown_meter_is_told_at_run_time_and_the_rest_goes_on(tmp_path):
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text(
        "sources: [{name: s, interval: 1, meters: [hardware.uptime, hardware.uptim], sinks: [t]}]\n"
        "sinks: [{name: t, publishers: ['local://']}]\n"
    )
    config = configuration(tmp_path)
    done = agent.run("up", "--for", "3s", "--pipeline", pipeline, config=config)
    assert "hardware.uptim" in done.stderr
    assert "did you mean 'hardware.uptime'?" in done.stderr
    assert agent.run("config", "check", pipeline, config=config, check=False).returncode == 1


def test_the_store_in_a_place_that_cannot_be_written_is_refused(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    config = configuration(tmp_path, f"{TEST_DRIVER}[store]\npath = {blocker}/store.db\n")
    done = agent.run("up", "--for", "2s", config=config, check=False)
    assert done.returncode == 2
    assert str(blocker) in done.stderr


def test_wrong_options_are_wrong_use(tmp_path):
    config = configuration(tmp_path, "[polling]\ninterval = often\n")
    done = agent.run("up", config=config, check=False)
    assert done.returncode == 2
    assert "interval" in done.stderr
    for wrong in (["up", "--interval", "0"], ["up", "--for", "soon"], ["upp"], ["poll", "--x"]):
        assert agent.run(*wrong, check=False).returncode == 2
    missing = agent.run("up", config=tmp_path / "nowhere.conf", check=False)
    assert missing.returncode == 2
    assert "nowhere.conf" in missing.stderr


def test_a_reader_that_goes_away_is_no_fault(tmp_path):
    for arguments in ("meters", "poll --namespaces host"):
        done = subprocess.run(
            f"{COMMAND[0]} {arguments} | head -n 1",
            shell=True,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        assert len(done.stdout.splitlines()) == 1


def test_a_meter_that_nothing_knows_is_wrong_use(tmp_path):
    done = agent.run(
        "poll", "--meter", "hardware.uptim", config=configuration(tmp_path), check=False
    )
    assert done.returncode == 2
    assert "did you mean 'hardware.uptime'?" in done.stderr
    assert done.stdout == ""


def test_without_the_store_up_says_delivered(tmp_path):
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text(
        "sources: [{name: s, interval: 1, meters: [hardware.uptime], sinks: [t]}]\n"
        f"sinks: [{{name: t, publishers: ['file://{tmp_path}/out.json']}}]\n"
    )
    config = configuration(tmp_path)
    said = agent.run("up", "--for", "2s", "--pipeline", pipeline, config=config).stdout
    assert "samples delivered" in said
    assert "store:" not in said


def test_an_unknown_namespace_is_told_by_name(tmp_path):
    config = configuration(tmp_path)
    done = agent.run("poll", "--namespaces", "compute,hots", config=config, check=False)
    assert done.returncode == 2
    assert "'hots'" in done.stderr
    assert "did you mean 'host'?" in done.stderr
