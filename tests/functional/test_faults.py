# SPDX-License-Identifier: Apache-2.0
"""What the agent does when something around it breaks."""

import contextlib
import json
import threading

import libvirt
import pytest

from tests.functional import agent
from tests.functional.conftest import lacking
from tests.guests.errors import GuestsUnavailable
from tests.guests.fleet import fleet


def settings(tmp_path, meters, uri="qemu:///system", namespaces="compute,host"):
    output = tmp_path / "samples.json"
    pipeline = tmp_path / "pipeline.yaml"
    source = {"name": "s", "interval": 1, "meters": meters, "sinks": ["file"]}
    sink = {"name": "file", "publishers": [f"file://{output}"]}
    pipeline.write_text(json.dumps({"sources": [source], "sinks": [sink]}))
    config = tmp_path / "agent.conf"
    config.write_text(f"""[DEFAULT]
host = functional
state_path = {tmp_path}/state
pipeline_cfg_file = {pipeline}
[polling]
namespaces = {namespaces}
[libvirt]
uri = {uri}
""")
    return config, output


def cycles(output, name):
    return sorted({s["timestamp"] for s in agent.lines(output) if s["name"] == name})


def test_without_libvirtd_the_host_goes_on_and_the_lack_is_told_once(tmp_path):
    socket = tmp_path / "none"
    uri = f"qemu+unix:///system?socket={socket}"
    config, output = settings(tmp_path, ["power.state", "hardware.uptime"], uri)
    log = tmp_path / "log"
    with agent.running("polling", config=config, log=log):
        agent.wait_until(lambda: len(cycles(output, "hardware.uptime")) >= 4)
    assert log.read_text().count("compute: no samples: libvirt at") == 1
    once = agent.run("poll", "--namespaces", "compute", config=config, check=False)
    assert once.returncode == 1
    assert "cannot be reached" in once.stderr


@pytest.fixture(scope="module")
def bare():
    try:
        with fleet(bare=8, prefix="ceilo-gone-") as guests:
            yield guests
    except GuestsUnavailable as error:
        lacking(str(error))


def test_guests_that_vanish_and_return_in_mid_cycle_cost_only_their_own_samples(bare, tmp_path):
    config, output = settings(tmp_path, ["cpu.time", "disk.device.capacity"], namespaces="compute")
    steady, restless = bare[:4], bare[4:]
    stop = threading.Event()

    def churn(guest):
        while not stop.is_set():
            # On a busy machine QEMU may fail to start; the next round tries again.
            with contextlib.suppress(libvirt.libvirtError):
                guest.destroy()
                guest.start()

    log = tmp_path / "log"
    with agent.running("polling", config=config, log=log):
        agent.wait_until(lambda: len(cycles(output, "cpu.time")) >= 8)
        threads = [threading.Thread(target=churn, args=(guest,)) for guest in restless]
        for thread in threads:
            thread.start()
        try:
            count = len(cycles(output, "cpu.time"))
            agent.wait_until(lambda: len(cycles(output, "cpu.time")) >= count + 60, 120)
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)
    by_guest = {guest.uuid: [] for guest in bare}
    for sample in agent.lines(output):
        if sample["name"] == "cpu.time":
            by_guest.get(sample["resource_id"], []).append(sample["timestamp"])
    most = max(len(times) for times in by_guest.values())
    for guest in steady:
        assert len(by_guest[guest.uuid]) >= most - 1, "a steady guest lost samples"
    assert "the cycle failed" not in log.read_text()
