# SPDX-License-Identifier: Apache-2.0
"""arithmetic: a meter computed from several others of one resource and one cycle."""

import pytest

from ceilo_agent.plugins import NeverMatches
from ceilo_agent.sample import UNTRACKED, Meter, Previous, Resource, Sample, SampleType
from tests.unit.pipeline.transformers.kinds import START, build
from tests.unit.pipeline.transformers.written import refusal

SHARE = "{target: {name: share, unit: '%', type: gauge, expr: 100 * $(memory.usage) / $(memory)}}"
USAGE = Meter("memory.usage", "MB", SampleType.GAUGE)
MEMORY = Meter("memory", "MB", SampleType.GAUGE)
OTHER = Meter("vcpus", "vcpu", SampleType.GAUGE)


def sample(meter, volume, at=0.0, resource="vm-1", source="polled", previous=UNTRACKED, **owner):
    values = {"project_id": "blue", "user_id": "anna", "metadata": {}} | owner
    one = Resource(resource, type="instance", **values)
    return Sample(meter, one, START + at, volume, previous, source=source)


def found(samples):
    return [(each.resource.id, each.time - START, each.volume) for each in samples]


def test_the_result_comes_out_as_soon_as_all_meters_are_there():
    """Ceilometer: at the flush, when ALL required meters are present. Here: at once."""
    made = build("arithmetic", SHARE)
    assert found(made([sample(USAGE, 512, 60)])) == []
    assert found(made([sample(MEMORY, 2048, 60)])) == [("vm-1", 60, 25.0)]


def test_what_comes_out_has_the_target_and_the_first_meters_owner():
    """Ceilometer: the other fields came from a meter by the order of a dict."""
    made = build("arithmetic", SHARE)
    (out,) = made([
        sample(MEMORY, 4, user_id="ben", metadata={"x": 1}),
        sample(USAGE, 1, user_id="anna", metadata={"x": 2}),
    ])  # fmt: skip
    assert out.meter == Meter("share", "%", SampleType.GAUGE)
    assert (out.resource.user_id, out.resource.metadata, out.source) == ("anna", {"x": 2}, "polled")
    assert out.previous is UNTRACKED


def test_without_a_target_name_unit_and_type_are_those_of_the_first_meter():
    """Ceilometer: of the reference meter, the first one. Here too."""
    (out,) = build("arithmetic", "{target: {expr: $(memory) * 2}}")([sample(MEMORY, 4)])
    assert (out.meter, out.volume) == (MEMORY, 8)


def test_the_time_is_the_latest_of_the_samples_that_were_used():
    """Ceilometer: the last time seen of ANY sample. Here: of those in the result."""
    made = build("arithmetic", SHARE)
    out = made([sample(USAGE, 1, 63), sample(MEMORY, 4, 60), sample(OTHER, 9, 69)])
    assert found(out) == [("vm-1", 63, 25.0)]


def test_metadata_of_a_meter_can_be_used():
    """Ceilometer: $(meter).resource_metadata.x. Here too."""
    made = build("arithmetic", "{target: {name: x, expr: $(memory).resource_metadata.n * 2}}")
    assert found(made([sample(MEMORY, 4, metadata={"n": 21})])) == [("vm-1", 0, 42)]


def test_a_meter_with_a_dash_in_its_name_can_be_used():
    """Ceilometer: '-' was matched but not escaped, so the name became a subtraction."""
    made = build("arithmetic", "{target: {name: x, expr: $(a-b) - $(a) - $(b)}}")
    volumes = {"a-b": 100, "a": 1, "b": 2}
    batch = [sample(Meter(name, "", SampleType.GAUGE), value) for name, value in volumes.items()]
    assert found(made(batch)) == [("vm-1", 0, 97)]


@pytest.mark.parametrize("expr", ["2 * 3", "cpu * 2", "''", "$cpu", "$()", "7"])
def test_an_expression_without_a_meter_is_an_error(expr):
    """Ceilometer: without `$()` a warning, and all samples of the sink were swallowed."""
    assert "parameter 'expr': " in refusal("arithmetic", f"{{target: {{name: x, expr: {expr}}}}}")


@pytest.mark.parametrize("text", ["{}", "{target: {name: x}}"])
def test_the_target_needs_an_expression(text):
    """Ceilometer: target and expr might be absent: all samples of the sink were swallowed."""
    assert "is missing" in refusal("arithmetic", text)


def test_a_result_uses_its_samples_up():
    """Ceilometer: the flush cleared the resource. Here too: each cycle needs all its meters."""
    made = build("arithmetic", SHARE)
    assert len(made([sample(USAGE, 1, 0), sample(MEMORY, 4, 0)])) == 1
    assert found(made([sample(USAGE, 1, 5)])) == []
    assert found(made([sample(MEMORY, 2, 5)])) == [("vm-1", 5, 50.0)]
    assert made.dropped == {}, "nothing of the first result was left"


def test_resources_do_not_mix():
    """Ceilometer: the last sample per (resource, meter). Here too."""
    made = build("arithmetic", SHARE)
    assert (
        found(made([sample(USAGE, 1, resource="vm-1"), sample(MEMORY, 4, resource="vm-2")])) == []
    )
    assert found(made([sample(MEMORY, 2, resource="vm-1")])) == [("vm-1", 0, 50.0)]


def test_sources_do_not_mix():
    made = build("arithmetic", SHARE)
    assert found(made([sample(USAGE, 1, source="a"), sample(MEMORY, 4, source="b")])) == []


def test_values_of_different_cycles_are_never_paired():
    """Ceilometer: paired a value with one of the cycle before."""
    made = build("arithmetic", SHARE)
    assert found(made([sample(USAGE, 1, 0)])) == []
    assert found(made([sample(MEMORY, 4, 60)])) == []
    assert found(made([sample(USAGE, 2, 60)])) == [("vm-1", 60, 50.0)]
    assert made.dropped == {"other meters of the expression did not come with it": 1}


def test_window_says_how_near_the_times_must_be():
    near = SHARE.removesuffix("}") + ", window: 20}"
    batch = [sample(USAGE, 1, 0), sample(MEMORY, 4, 20)]
    assert found(build("arithmetic", near)(batch)) == [("vm-1", 20, 25.0)]
    assert found(build("arithmetic", SHARE)(batch)) == []


def test_a_short_interval_narrows_the_window():
    made = build("arithmetic", SHARE)
    # Polled every 5 s; memory is missing in the first cycle, and comes first in the second.
    made([sample(USAGE, 1, 0, previous=Previous(5.0, 0))])
    out = made([sample(MEMORY, 4, 5, previous=Previous(5.0, 0))])
    assert found(out) == []
    assert found(made([sample(USAGE, 2, 5, previous=Previous(5.0, 1))])) == [("vm-1", 5, 50.0)]


def test_a_meter_that_comes_again_begins_a_new_set():
    made = build("arithmetic", SHARE)
    made([sample(USAGE, 1, 0)])
    made([sample(USAGE, 2, 5)])
    assert found(made([sample(MEMORY, 4, 5)])) == [("vm-1", 5, 50.0)]


def test_a_sample_of_an_older_cycle_does_not_disturb_the_newer():
    made = build("arithmetic", SHARE)
    made([sample(USAGE, 2, 60)])
    made([sample(MEMORY, 9, 0), sample(USAGE, 9, 55)])
    assert found(made([sample(MEMORY, 4, 60)])) == [("vm-1", 60, 50.0)]
    assert made.dropped == {"it came after a newer one of its resource": 2}


def test_a_set_that_is_never_complete_is_dropped_and_counted():
    """Ceilometer: incomplete ones were kept forever."""
    made = build("arithmetic", SHARE)
    made([sample(USAGE, 1, number, resource=f"vm-{number}") for number in range(50)])
    for second in range(0, 700, 5):
        assert list(made.tick(START + second)) == []
    assert made.dropped == {"other meters of the expression did not come with it": 50}
    assert len(made.dump()) < 100


def test_sets_are_bounded(monkeypatch):
    monkeypatch.setattr("ceilo_agent.pipeline.transformers.arithmetic.MAX_SETS", 10)
    made = build("arithmetic", SHARE)
    made([sample(USAGE, 1, resource=f"vm-{number}") for number in range(15)])
    assert made.dropped == {"other meters of the expression did not come with it": 5}
    out = made([sample(MEMORY, 1, resource=f"vm-{number}") for number in range(5, 15)])
    assert len(out) == 10


def test_extra_meters_are_consumed_without_a_word():
    """Ceilometer: extra meters ignored, all inputs consumed. Here too."""
    made = build("arithmetic", SHARE)
    assert found(made([sample(OTHER, 1)])) == []
    assert made.key(sample(OTHER, 1)) is None
    assert made.dropped == {}


@pytest.mark.parametrize(
    ("usage", "memory", "reason"),
    [(1, 0, "division by zero"), (1e308, 1e-308, None), (float("nan"), 1, "is no number")],
)
def test_what_is_no_number_makes_no_sample(usage, memory, reason, caplog):
    """Ceilometer: NaN / ZeroDivision: a warning, no sample, cache cleared. Here too, counted."""
    made = build("arithmetic", SHARE)
    assert found(made([sample(USAGE, usage), sample(MEMORY, memory)])) == []
    assert found(made([sample(USAGE, 1, 60), sample(MEMORY, 4, 60)])) == [("vm-1", 60, 25.0)]
    assert made.dropped
    assert (reason or "range") in caplog.text


@pytest.mark.parametrize("n", ["two", [2], None, {"a": 1}])
def test_any_error_of_the_expression_costs_its_set_only(n):
    """Ceilometer: any error: a warning, no sample, the cache cleared. Here too, counted."""
    made = build(
        "arithmetic",
        "{target: {name: x, expr: $(memory) * $(memory.usage).resource_metadata.n}}",
    )
    assert found(made([sample(USAGE, 1, metadata={"n": n}), sample(MEMORY, 4)])) == []
    assert made.dropped == {"no number": 1}
    assert found(made([sample(USAGE, 1, 60, metadata={"n": 2}), sample(MEMORY, 4, 60)])) == [
        ("vm-1", 60, 8)
    ]


def test_a_sample_that_comes_again_makes_no_second_result():
    made = build("arithmetic", SHARE)
    batch = [sample(USAGE, 1, 60), sample(MEMORY, 4, 60)]
    assert len(made(batch)) == 1
    assert found(made(batch)) == []
    assert found(made([sample(USAGE, 3, 58)])) == []
    assert len(made([sample(USAGE, 1, 120), sample(MEMORY, 4, 120)])) == 1


def test_a_clock_that_was_set_back_by_more_than_an_hour_does_not_stop_it():
    made = build("arithmetic", SHARE)
    assert len(made([sample(USAGE, 1, 9000), sample(MEMORY, 4, 9000)])) == 1
    assert len(made([sample(USAGE, 1, 0), sample(MEMORY, 4, 0)])) == 1


def test_one_meter_alone_needs_no_state():
    made = build("arithmetic", "{target: {name: x, expr: 2 * $(memory)}}")
    assert made.key(sample(MEMORY, 1)) is None
    assert found(made([sample(MEMORY, 1)])) == [("vm-1", 0, 2)]


def test_a_meter_that_never_reaches_it_is_told():
    made = build("arithmetic", SHARE)
    with pytest.raises(NeverMatches, match=r"^no sample of 'memory' reaches it$"):
        made.outcome([USAGE, OTHER])
    assert made.outcome([OTHER, MEMORY, USAGE]) == [Meter("share", "%", SampleType.GAUGE)]
