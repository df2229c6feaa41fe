# SPDX-License-Identifier: Apache-2.0
"""Windows over ends of the agent that nobody announced."""

import json
import signal
import subprocess
import time

import pytest

from tests.functional import agent
from tests.functional.agent import COMMAND

LONG = 10
"""Seconds of a window."""


def configuration(tmp_path):
    sums = {
        "name": "aggregator",
        "parameters": {"retention_time": LONG, "grace": 1, "method": "sum"},
    }
    document = {
        "sources": [
            {"name": "s", "interval": 1, "meters": ["hardware.uptime"], "sinks": ["raw", "sums"]}
        ],
        "sinks": [
            {"name": "raw", "publishers": [f"file://{tmp_path}/raw"]},
            {"name": "sums", "transformers": [sums], "publishers": [f"file://{tmp_path}/sums"]},
        ],
    }
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text(json.dumps(document))
    config = tmp_path / "agent.conf"
    config.write_text(
        f"[DEFAULT]\nhost = h\nstate_path = {tmp_path}/state\npipeline_cfg_file = {pipeline}\n"
        "[polling]\nnamespaces = host\n"
    )
    return config


def by_window(samples):
    """Return the sum of each window by its beginning."""
    found = {}
    for sample in samples:
        start = agent.seconds(sample) // LONG * LONG
        found[start] = found.get(start, 0) + sample["volume"]
    return found


def test_an_agent_that_is_killed_twice_in_a_window_counts_every_sample_once(tmp_path):
    config, log = configuration(tmp_path), tmp_path / "log"
    raw, sums = tmp_path / "raw", tmp_path / "sums"
    killed = []
    # Until two ends fall into one window, which nearly always the first two do.
    while len(killed) < 2 or killed[-1] != killed[-2]:
        assert len(killed) < 6
        with log.open("a") as output:
            process = subprocess.Popen(
                [*COMMAND, "--config-file", str(config), "polling"], stdout=output, stderr=output
            )
        polls(raw, 1)
        if not killed:
            agent.wait_until(lambda: 2 <= time.time() % LONG < 4)
        polls(raw, 1)
        time.sleep(0.2)  # so that it is written down as delivered, and does not come again
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed.append(time.time() // LONG * LONG)
    with agent.running("polling", config=config, log=log):
        agent.wait_until(lambda: any(agent.seconds(s) > killed[-1] for s in agent.lines(sums)), 60)
    got = [(agent.seconds(sample), sample["volume"]) for sample in agent.lines(sums)]
    expected = by_window(agent.lines(raw))
    assert len(dict(got)) == len(got), "each window comes once"
    for start, volume in got:
        assert volume == pytest.approx(expected[start], abs=1e-3), start
    assert killed[-1] in dict(got)
    windows = [agent.seconds(s) // LONG * LONG for s in agent.lines(raw)]
    assert windows.count(killed[-1]) >= 5, "it has samples of all three lives"
    assert "given to steps again" in log.read_text()


def polls(path, count):
    """Wait for so many more polls."""
    before = len(agent.lines(path))
    agent.wait_until(lambda: len(agent.lines(path)) >= before + count)
