# SPDX-License-Identifier: Apache-2.0
"""Which sinks get which samples."""

import pytest

from ceilo_agent.definition.pipeline import load
from ceilo_agent.pipeline.routing import Routes
from ceilo_agent.sample import Batch, Meter, Resource, Sample, SampleType

FILE = """
sources:
  - {name: guests, interval: 60, meters: ["cpu", "disk.*"], sinks: [store, both]}
  - {name: others, meters: ["disk.*", "net.*"], sinks: [both]}
sinks:
  - {name: store, publishers: [local]}
  - {name: both, publishers: [console]}
"""

RESOURCE = Resource("r", None, None, "instance", {})


def samples(*names):
    return [Sample(Meter(n, "", SampleType.GAUGE), RESOURCE, 0.0, 1) for n in names]


@pytest.fixture
def routes(tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(FILE)
    return Routes(load(path).sources)


def routed(routes, source, *names):
    batch = Batch(source, samples(*names))
    return {sink: [s.meter.name for s in chosen] for sink, chosen in routes(batch)}


def test_a_batch_of_a_source_goes_to_its_sinks_whole(routes):
    expected = ["cpu", "odd"]
    assert routed(routes, "guests", *expected) == {"store": expected, "both": expected}
    assert routes.unmatched == 0


def test_without_a_source_each_sample_is_matched_and_a_sink_gets_it_once(routes):
    found = routed(routes, None, "net.in", "cpu", "disk.read", "odd")
    assert found == {"store": ["cpu", "disk.read"], "both": ["net.in", "cpu", "disk.read"]}
    assert routes.unmatched == 1


def test_an_unknown_source_is_matched_by_meter_counted_and_told_once(routes, caplog):
    for _ in range(3):
        assert routed(routes, "gone", "cpu") == {"store": ["cpu"], "both": ["cpu"]}
    assert routes.strangers == 3
    assert caplog.text.count("no source is named 'gone'") == 1


def test_nothing_goes_nowhere(routes):
    assert routed(routes, None, "odd") == {}
