# SPDX-License-Identifier: Apache-2.0
"""What the agent does when something around it breaks."""

import json

import pytest

from tests.functional import agent
from tests.guests import daemon
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
    with fleet(bare=8, prefix="ceilo-gone-") as guests:
        yield guests


def test_guests_that_vanish_and_return_in_mid_cycle_cost_only_their_own_samples(bare, tmp_path):
    config, output = settings(tmp_path, ["cpu.time", "disk.device.capacity"], namespaces="compute")
    steady, restless = bare[:4], bare[4:]
    log = tmp_path / "log"

    def times(guest):
        samples = [s for s in agent.lines(output) if s["resource_id"] == guest.uuid]
        return sorted({s["timestamp"] for s in samples if s["name"] == "cpu.time"})

    with agent.running("polling", config=config, log=log):
        agent.wait_until(lambda: all(times(guest) for guest in bare))
        for guest in restless * 2:
            before = {other.uuid: len(times(other)) for other in steady}
            guest.destroy()
            gone = len(times(guest))
            agent.wait_until(
                lambda before=before: all(len(times(o)) > before[o.uuid] + 1 for o in steady)
            )
            assert len(times(guest)) <= gone + 1, "a guest that is gone gives nothing"
            guest.start()
            agent.wait_until(lambda guest=guest, gone=gone: len(times(guest)) > gone + 1)
    said = log.read_text()
    assert "the cycle failed" not in said
    for guest in restless:
        assert f"no samples of {guest.name}:" not in said, "to vanish is a normal event"


def test_the_agent_outlives_a_restart_of_libvirtd_and_keeps_the_series(bare, tmp_path):
    meters = ["network.incoming.bytes", "network.incoming.bytes.delta"]
    config, output = settings(tmp_path, meters, namespaces="compute")
    log = tmp_path / "log"

    def count(name):
        return len([s for s in agent.lines(output) if s["name"] == name])

    with agent.running("polling", config=config, log=log):
        agent.wait_until(lambda: count(meters[1]) >= len(bare))
        try:
            daemon.stop_libvirtd()
        except GuestsUnavailable as error:
            pytest.skip(f"LEFT OUT: {error}")
        try:
            agent.wait_until(lambda: "no samples" in log.read_text())
        finally:
            daemon.start_libvirtd()
        before = count(meters[0])
        agent.wait_until(lambda: count(meters[0]) >= before + 3 * len(bare))
    # Guests run on while libvirtd is away: each has one first reading, not two.
    times = {name: {} for name in meters}
    for sample in agent.lines(output):
        times[sample["name"]].setdefault(sample["resource_id"], set()).add(sample["timestamp"])
    for resource, readings in times[meters[0]].items():
        assert sorted(readings)[1:] == sorted(times[meters[1]][resource])
