# SPDX-License-Identifier: Apache-2.0
"""``otlp://`` into a real collector of OpenTelemetry, which passes on what it understood."""

import json
import time

import pytest

from ceilo_agent.sample import FIRST, UNTRACKED, Meter, Previous, Resource, Sample, SampleType
from tests.functional import agent
from tests.services import faulty, rotel
from tests.unit.publishers.kinds import build, series
from tests.unit.publishers.receivers import otlp_expected, otlp_request, otlp_samples

NOW = float(int(time.time())) - 3600


@pytest.fixture(scope="module")
def sink():
    with faulty.serving() as found:
        yield found


@pytest.fixture(scope="module")
def collector(sink, tmp_path_factory):
    with rotel.running(tmp_path_factory.mktemp("rotel"), sink.url) as started:
        yield started


def passed_on(sink):
    return [one for request in sink.requests for one in otlp_samples(request)]


def guest(number):
    metadata = {
        "display_name": f"wéb-{number}",
        "instance_type": "m1.small",
        "architecture": "x86_64",
        "flavor": {"name": "m1.small", "ram": 512},
        "tags": ["a", 1, None],
        "state": "running",
    }
    return Resource(f"guest-{number}", "project", "user", "instance", metadata)


def test_a_collector_understands_every_sample(sink, collector, tmp_path):
    sink.requests.clear()
    meters = [Meter(f"meter.{kind}.{n}", "B", kind) for kind in SampleType for n in range(10)]
    volumes = (0, 2**53 + 1, 2**63 - 1, 2**64 - 1, 0.1, 1e300)
    pairs = (FIRST, UNTRACKED, Previous(60.0, 5))
    samples = [
        Sample(meter, owner, NOW + 60 * turn, volumes[(n + turn) % 6], pairs[n % 3], NOW - 5)
        for turn in range(3)
        for owner in map(guest, range(10))
        for n, meter in enumerate(meters)
    ]
    publisher = build(f"otlp://127.0.0.1:{collector.port}", tmp_path)
    publisher.open()
    publisher.push(samples)
    publisher.close()
    agent.wait_until(lambda: len(passed_on(sink)) >= len(samples))
    assert series(passed_on(sink)) == series(otlp_expected(samples))
    for request in sink.requests:
        for resource in otlp_request(request).resource_metrics:
            names = {one.key for one in resource.resource.attributes}
            assert {"host.id", "host.name", "host.type", "host.arch", "cloud.account.id"} <= names
            assert {"ceilo_agent.flavor.ram", "ceilo_agent.tags"} <= names
            assert "ceilo_agent.state" not in names


def test_an_agent_delivers_all_over_an_outage_of_the_collector(sink, collector, tmp_path):
    sink.requests.clear()
    there, log = tmp_path / "there.json", tmp_path / "log"
    source = {"name": "s", "interval": 1, "meters": ["hardware.*"], "sinks": ["t"]}
    otlp = {"url": f"otlp://127.0.0.1:{collector.port}", "timeout": 5}
    pipeline = {
        "sources": [source],
        "sinks": [{"name": "t", "publishers": [otlp, f"file://{there}"]}],
    }
    (tmp_path / "pipeline.yaml").write_text(json.dumps(pipeline))
    config = tmp_path / "agent.conf"
    config.write_text(
        f"[DEFAULT]\nhost = h\nstate_path = {tmp_path}/state\n"
        f"pipeline_cfg_file = {tmp_path}/pipeline.yaml\n[polling]\nnamespaces = host\n"
    )
    with agent.running("polling", config=config, log=log):
        agent.wait_until(lambda: passed_on(sink))
        collector.stop()
        before = len(agent.lines(there))
        agent.wait_until(lambda: len(agent.lines(there)) > 3 * before)
        collector.start()
        agent.wait_until(lambda: "delivers again" in log.read_text())
    wanted = [(s["resource_id"], s["name"], s["timestamp"]) for s in agent.lines(there)]
    agent.wait_until(lambda: len(keys(sink)) >= len(wanted))
    assert "Connection refused" in log.read_text()
    assert sorted(keys(sink)) == sorted(wanted)


def keys(sink):
    return [(one["resource_id"], one["name"], one["timestamp"]) for one in passed_on(sink)]
