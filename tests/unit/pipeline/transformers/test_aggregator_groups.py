# SPDX-License-Identifier: Apache-2.0
"""aggregator: which samples become one, and what it is called."""

import pytest

from ceilo_agent.plugins import NeverMatches
from ceilo_agent.sample import UNTRACKED, Meter, SampleType
from tests.unit.pipeline.transformers.kinds import START, build
from tests.unit.pipeline.transformers.windows import CPU, GROWN, MEMORY, Run, sample
from tests.unit.pipeline.transformers.written import refusal

# -- groups --------------------------------------------------------------------------------------


def test_a_group_is_a_meter_of_a_resource_of_an_owner():
    """Ceilometer: key name-resource_id-(project_id, user_id unless given a policy). Here too."""
    run = Run("{retention_time: 60}")
    run.add(sample(1, 1), sample(2, 2, user_id="ben"), sample(3, 3, project_id="red"))
    assert [(out.volume, out.resource.user_id) for out in run.until(100).out] == [
        (1, "anna"), (2, "ben"), (3, "anna"),
    ]  # fmt: skip


@pytest.mark.parametrize(("policy", "user"), [("first", "anna"), ("last", "ben")])
def test_a_policy_takes_the_owner_out_of_the_group(policy, user):
    """Ceilometer: project_id and user_id: first or last. Here too."""
    run = Run(f"{{retention_time: 60, user_id: {policy}, project_id: {policy}}}")
    run.add(sample(1, 1, user_id="anna"), sample(3, 2, user_id="ben", project_id="red"))
    (out,) = run.until(100).out
    assert (out.volume, out.resource.user_id) == (2.0, user)
    assert out.resource.project_id == ("blue" if policy == "first" else "red")


@pytest.mark.parametrize("field", ["project_id", "user_id", "resource_metadata"])
def test_a_policy_that_is_none_is_an_error(field):
    """Ceilometer: 'last' was taken in its place, with a warning."""
    assert f"parameter '{field}': one of" in refusal("aggregator", f"{{{field}: newest}}")


def test_a_timestamp_that_is_none_is_an_error():
    """Ceilometer: 'first' was taken in its place, without a word."""
    assert refusal("aggregator", "{timestamp: latest}") == (
        "test:1:13: parameter 'timestamp': one of first, last was expected, found the text "
        "'latest' (did you mean 'last'?)"
    )


@pytest.mark.parametrize("size", ["ten", "'10'", "2.5", "true", "-1"])
def test_a_size_that_is_no_whole_number_is_an_error_in_words(size):
    """Ceilometer: int(size) when it was loaded, a ValueError for 'ten'; 2.5 was 2, true was 1."""
    assert "parameter 'size': a whole number from 0 to 100000 was expected" in refusal(
        "aggregator", f"{{size: {size}}}"
    )


def test_an_owner_that_is_not_known_is_one_of_its_own():
    """Ceilometer: None -> '<undefined>'. Here: None stays None, and can be mistaken for nobody."""
    run = Run("{retention_time: 60}")
    run.add(sample(1, 1, project_id=None), sample(3, 2, project_id="<undefined>"))
    assert [out.resource.project_id for out in run.until(100).out] == [None, "<undefined>"]


def test_names_with_dashes_do_not_run_together():
    run = Run("{retention_time: 60}")
    run.add(sample(1, 1, "a-b", project_id="c"), sample(3, 2, "a", project_id="b-c"))
    assert len(run.until(100).found) == 2


@pytest.mark.parametrize(
    ("policy", "metadata"), [("first", {"n": 1}), ("last", {"n": 2}), ("drop", {})]
)
def test_metadata_is_that_of_the_first_or_last_sample_or_none(policy, metadata):
    """Ceilometer: resource_metadata: first, last (default) or drop. Here too."""
    run = Run(f"{{retention_time: 60, resource_metadata: {policy}}}")
    run.add(sample(1, 1, metadata={"n": 1}), sample(3, 2, metadata={"n": 2}))
    assert run.until(100).out[0].resource.metadata == metadata


def test_the_default_keeps_the_last_resource_as_it_is():
    run = Run("{retention_time: 60}")
    last = sample(3, 2, metadata={"n": 2})
    run.add(sample(1, 1, metadata={"n": 1}), last)
    (out,) = run.until(100).out
    assert out.resource is last.resource
    assert (out.previous, out.source) == (UNTRACKED, "polled")


def test_the_resource_of_a_project():
    run = Run("{retention_time: 60, group_by: [project_id]}")
    run.add(sample(1, 1, metadata={"n": 1}), sample(2, 1, "vm-2", user_id="ben"))
    (out,) = run.until(100).out
    one = out.resource
    assert (one.id, one.type, one.project_id, one.user_id) == ("blue", "project", "blue", None)
    assert one.metadata == {}
    assert run.made.spans_hosts


def test_the_resource_of_a_group_of_several_fields():
    run = Run("{retention_time: 60, group_by: [project_id, resource_metadata.flavor.name]}")
    run.add(
        sample(1, 1, metadata={"flavor": {"name": "small"}}),
        sample(2, 1, "vm-2", metadata={"flavor": {"name": "small"}}),
        sample(4, 1, "vm-3", metadata={"flavor": {"name": "large"}}),
    )
    run.until(100)
    assert [(out.resource.id, out.volume) for out in run.out] == [
        ("blue/small", 3), ("blue/large", 4),
    ]  # fmt: skip
    assert run.out[0].resource.type == "group"
    assert run.out[0].resource.metadata == {"flavor.name": "small"}


def test_metadata_beside_the_resource_makes_resources_of_its_own():
    run = Run("{retention_time: 60, group_by: [resource_id, resource_metadata.state]}")
    run.add(sample(1, 1, metadata={"state": "on"}), sample(3, 2, metadata={"state": "off"}))
    assert run.until(100).found == [("vm-1/on", 0, 1), ("vm-1/off", 0, 3)]
    assert not run.made.spans_hosts


@pytest.mark.parametrize(
    ("owner", "lacking"),
    [
        ({"project_id": None}, "project_id"),
        ({"metadata": {}}, "resource_metadata.zone"),
        ({"metadata": {"zone": ["a"]}}, "resource_metadata.zone"),
    ],
)
def test_a_sample_without_a_field_that_was_asked_for_is_left_out_quietly(owner, lacking, caplog):
    run = Run("{retention_time: 60, group_by: [project_id, resource_metadata.zone]}")
    one = sample(1, 1, **({"metadata": {"zone": "a"}} | owner))
    assert run.made.key(one) is None
    assert run.add(one).until(100).found == []
    assert run.made.dropped == {f"it has no {lacking}, a field of group_by": 1}
    assert caplog.text == ""


def test_the_source_is_told_when_it_is_one():
    run = Run("{retention_time: 60, group_by: [project_id]}")
    run.add(sample(1, 1, source="a"), sample(2, 2, "vm-2", source="b"))
    run.add(sample(1, 1, project_id="red", source="a"))
    assert [out.source for out in run.until(100).out] == [None, "a"]


def test_a_counter_of_one_resource_stays_one_and_keeps_its_start():
    run = Run("{retention_time: 60}").add(sample(1, 1, meter=CPU), sample(1, 1, meter=MEMORY))
    counter, gauge = run.until(100).out
    assert (counter.meter, counter.started) == (CPU, START - 9)
    assert gauge.started is None


# -- source and target ---------------------------------------------------------------------------


def test_a_renamed_gauge_is_aggregated():
    """Ceilometer: a rename of a gauge gave ZeroDivisionError at each flush, and it grew forever."""
    run = Run("{retention_time: 60, target: {name: used, unit: GB, scale: 0.5}}")
    (out,) = run.add(sample(4, 1), sample(8, 2)).until(100).out
    assert (out.meter, out.volume) == (Meter("used", "GB", SampleType.GAUGE), 3.0)


def test_names_and_units_are_mapped():
    """Ceilometer: source and target as of unit_conversion. Here too."""
    text = "{retention_time: 60, source: {map_from: {name: '^'}}, target: {map_to: {name: all.}}}"
    (out,) = Run(text).add(sample(4, 1)).until(100).out
    assert out.meter == Meter("all.memory.usage", "MB", SampleType.GAUGE)


def test_samples_in_another_unit_pass_unchanged():
    """Ceilometer: source.unit was looked at by unit_conversion alone."""
    made = build("aggregator", "{retention_time: 60, source: {unit: MB}}")
    other = sample(4, 1, meter=CPU)
    assert made.key(other) is None
    assert list(made([sample(4, 1), other])) == [other]


def test_a_number_that_no_store_can_take_does_not_pass_unchanged():
    made = build("aggregator", "{retention_time: 60, source: {unit: MB}}")
    (out,) = made([sample(2**64, 1, meter=CPU)])
    assert (out.volume, type(out.volume)) == (2.0**64, float)


def test_a_scale_is_that_of_unit_conversion():
    """Ceilometer: a counter's latest is scaled, each gauge and delta before the sum. Here too."""
    for scale in ("0.5", "volume / 2"):
        run = Run(f"{{retention_time: 60, target: {{scale: {scale}}}}}")
        for meter in (CPU, GROWN, MEMORY):
            run.add(sample(4, 1, meter=meter), sample(8, 2, meter=meter))
        assert [volume for *_, volume in run.until(100).found] == [4.0, 6.0, 3.0]


def test_each_sample_is_scaled_with_its_own_metadata():
    run = Run("{retention_time: 60, target: {scale: volume * (resource_metadata.n or 1)}}")
    run.add(sample(4, 1, metadata={"n": 3}), sample(4, 2))
    assert run.until(100).found == [("vm-1", 0, 8.0)]


def test_an_expression_without_a_result_costs_its_sample():
    run = Run("{retention_time: 60, target: {scale: 100 / volume}}")
    run.add(sample(0, 1), sample(4, 2))
    assert run.until(100).found == [("vm-1", 0, 25.0)]
    assert run.made.dropped == {"division by zero": 1}


def test_max_is_the_highest_output():
    """Ceilometer: max was applied to the first sample only."""
    run = Run("{retention_time: 60, target: {max: 5}}").add(sample(4, 1), sample(8, 2))
    assert run.until(100).found == [("vm-1", 0, 5)]


def test_a_sum_beyond_all_numbers_is_counted():
    run = Run("{retention_time: 60, method: sum}").add(sample(1.5e308, 1), sample(1.5e308, 2))
    assert run.until(100).found == []
    assert run.made.dropped == {"it makes a number that is too large": 1}


def test_what_comes_out_is_told_before():
    made = build("aggregator", "{retention_time: 60, group_by: [project_id], target: {unit: x}}")
    assert made.outcome([MEMORY, CPU, GROWN]) == [
        Meter("memory.usage", "x", SampleType.GAUGE),
        Meter("cpu", "x", SampleType.GAUGE),
        Meter("cpu.delta", "x", SampleType.DELTA),
    ]
    with pytest.raises(NeverMatches, match="no meter that reaches it has the unit 'GB'"):
        build("aggregator", "{source: {unit: GB}}").outcome([MEMORY])


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("{target: {type: delta}}", "delta"), ("{}", "cumulative"), ("{method: max}", "cumulative"),
        ("{method: mean}", "gauge"), ("{method: count}", "gauge"),
    ],
)  # fmt: skip
def test_the_type_follows_from_the_method(text, type_):
    assert build("aggregator", text).outcome([CPU])[0].type == type_
    assert build("aggregator", text)([sample(1, 1, meter=CPU)])[0].meter.type == type_
