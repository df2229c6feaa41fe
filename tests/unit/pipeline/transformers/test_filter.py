# SPDX-License-Identifier: Apache-2.0
"""filter: a condition decides which samples go on."""

import pytest

from ceilo_agent.plugins import NeverMatches
from ceilo_agent.sample import Meter, Resource, SampleType
from tests.unit.pipeline.transformers.written import gauge, refusal, transformer, volumes


def test_samples_for_which_it_is_true_go_on_as_they_are():
    samples = [gauge("a", volume) for volume in (5, 15, 10)]
    made = transformer("filter", '{expr: "volume >= 10"}')(samples)
    assert [each is sample for each, sample in zip(made, samples[1:], strict=True)] == [True, True]


def test_those_left_out_are_no_fault():
    chosen = transformer("filter", '{expr: "volume >= 10"}')
    assert chosen([gauge("a", 5)]) == []
    assert not chosen.dropped


def test_metadata_decide():
    keep = transformer("filter", "{expr: \"resource_metadata.state == 'running'\"}")
    running = Resource("1", None, None, "instance", {"state": "running"})
    stopped = Resource("2", None, None, "instance", {"state": "stopped"})
    made = keep([gauge("a", n, resource=r) for n, r in enumerate((running, stopped, running))])
    assert volumes(made) == [0, 2]


def test_an_error_costs_only_its_own_sample_and_is_counted():
    keep = transformer("filter", '{expr: "1 / volume > 0.1"}')
    assert volumes(keep([gauge("a", 0), gauge("a", 2), gauge("a", 0)])) == [2]
    assert keep.dropped == {"division by zero": 2}


def test_the_condition_is_required():
    assert refusal("filter", "{}") == "test:1:1: the parameter 'expr' is missing"


METERS = [Meter("cpu", "ns", SampleType.CUMULATIVE), Meter("memory", "MB", SampleType.GAUGE)]


def test_outcome_knows_what_a_condition_on_the_meter_leaves():
    keep = transformer("filter", "{expr: \"unit == 'MB'\"}")
    assert keep.outcome(METERS) == METERS[1:]
    assert transformer("filter", '{expr: "volume > 0"}').outcome(METERS) == METERS
    with pytest.raises(NeverMatches, match="true for no meter that reaches it"):
        keep.outcome(METERS[:1])
