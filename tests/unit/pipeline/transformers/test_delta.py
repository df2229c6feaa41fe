# SPDX-License-Identifier: Apache-2.0
"""delta, line by line against what Ceilometer's does."""

import math

import pytest

from ceilo_agent.plugins import NeverMatches
from ceilo_agent.sample import FIRST, UNTRACKED, Meter, SampleType
from tests.unit.pipeline.transformers.written import (
    counter,
    gauge,
    refusal,
    sample,
    transformer,
    volumes,
)

CPU_DELTA = "{target: {name: cpu.delta}, growth_only: true}"


def test_the_type_is_delta_and_the_unit_that_of_the_sample():
    """Ceilometer: output type delta, unit = source unit. Here: the same."""
    made = transformer("delta", CPU_DELTA)([counter("cpu", 30, previous=(10.0, 10), unit="ns")])
    assert [(s.meter, s.volume) for s in made] == [(Meter("cpu.delta", "ns", SampleType.DELTA), 20)]


def test_integers_stay_exact():
    top = 2**64 - 1
    (made,) = transformer("delta")([counter("a", top, previous=(10.0, top - 1))])
    assert made.volume == 1
    assert type(made.volume) is int


def test_a_name_map():
    """Ceilometer: source.map_from and target.map_to give the name. Here: the same."""
    parameters = r'{source: {map_from: {name: "^(\\w+)$"}}, target: {map_to: {name: "\\1.delta"}}}'
    made = transformer("delta", parameters)([counter("cpu", 2, previous=(1.0, 1))])
    assert made[0].meter.name == "cpu.delta"


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("{target: {unit: s}}", "1:11: unknown parameter 'unit' (it takes name, map_to)"),
        ("{target: {scale: 2}}", "1:11: unknown parameter 'scale' (it takes name, map_to)"),
        ("{target: {type: gauge}}", "1:11: unknown parameter 'type' (it takes name, map_to)"),
        (
            "{source: {map_from: {unit: B}}, target: {map_to: {unit: b}}}",
            "1:1: a delta keeps the unit: map_from and map_to take a name only",
        ),
        ("{growth: true}", "1:2: unknown parameter 'growth' (did you mean 'growth_only'?)"),
        (
            "{growth_only: 1}",
            "1:15: parameter 'growth_only': true or false was expected, found 1",
        ),
        ("{source: {map_from: {name: a}}}", "1:28: source.map_from.name needs target.map_to.name"),
    ],
)
def test_mistakes_are_told(parameters, expected):
    """Ceilometer: unit, type and scale of a target were ignored, unknown parameters swallowed."""
    assert refusal("delta", parameters) == f"test:{expected}"


def test_what_else_a_sample_holds_stays_and_it_began_at_the_reading_before():
    before = counter("a", 2, at=60.0, previous=(10.0, 1), started=3.0)
    (made,) = transformer("delta")([before])
    assert made.resource is before.resource
    assert (made.time, made.source) == (60.0, "guests")
    assert (made.previous, made.started) == (UNTRACKED, 50.0)


def test_a_source_unit_chooses():
    """Ceilometer: source.unit was ignored. Here: other units pass unchanged."""
    delta = transformer("delta", "{source: {unit: B}}")
    other = counter("a", 2, unit="request", previous=(1.0, 1))
    made = delta([other, counter("b", 2, previous=(1.0, 0))])
    assert made[0] is other
    assert made[1].volume == 2


def test_nothing_gained_is_a_delta_of_zero():
    """Ceilometer: a zero delta is emitted. Here: the same, with growth_only too."""
    for parameters in ("{}", CPU_DELTA):
        assert volumes(transformer("delta", parameters)([counter("a", 5, 0, (1.0, 5))])) == [0]


@pytest.mark.parametrize("parameters", ["{}", "{growth_only: false}"])
def test_without_growth_only_what_fell_is_negative(parameters):
    """Ceilometer: growth_only is False by default, and then emits a negative delta, without reset
    logic. Here: the same.
    """
    samples = [gauge("a", 5, previous=(1.0, 8)), counter("b", 5, previous=(1.0, 8))]
    assert volumes(transformer("delta", parameters)(samples)) == [-3, -3]


def test_with_growth_only_a_gauge_that_fell_gives_nothing():
    """Ceilometer: growth_only drops a negative delta with a warning. Here: it is no fault."""
    delta = transformer("delta", CPU_DELTA)
    assert volumes(delta([gauge("a", 5, 0, (1.0, 8)), gauge("a", 9, 0, (1.0, 5))])) == [4]
    assert not delta.dropped


@pytest.mark.parametrize("tracked", [True, False])
def test_with_growth_only_a_counter_that_fell_gives_what_it_gained_since(tracked):
    """Ceilometer: the growth since a reset was lost. Here: it is what the counter shows."""
    delta = transformer("delta", CPU_DELTA)
    if not tracked:
        delta([counter("a", 100, at=0.0)])
    (made,) = delta([counter("a", 40, at=10.0, previous=(10.0, 100) if tracked else UNTRACKED)])
    assert made.volume == 40


def test_a_first_reading_gives_nothing_and_touches_no_state(caplog):
    """Ceilometer: the first sample is dropped, with a warning each. Here: silently, no fault."""
    delta = transformer("delta")
    empty = delta.dump()
    assert delta([counter("a", 10, previous=FIRST)]) == []
    assert delta.dump() == empty
    assert not delta.dropped
    assert caplog.records == []


def test_untracked_samples_are_compared_with_the_last_of_their_series():
    """Ceilometer: the key is name + resource_id. Here: source, resource and name, told apart."""
    delta = transformer("delta")
    assert delta([counter("a", 10, at=0.0), counter("a", 50, at=0.0, source="other")]) == []
    assert volumes(delta([counter("a", 30, 10.0), counter("a", 51, 10.0, source="other")])) == [
        20,
        1,
    ]
    assert delta.key(counter("a", 1)) == ("guests", "vm-1", "a")
    assert delta.key(counter("a", 1, previous=(1.0, 1))) is None


def test_an_older_sample_is_dropped_and_the_newer_reading_kept():
    """Ceilometer: dt < 0 is dropped, the cache restored. Here: the same, counted."""
    delta = transformer("delta")
    delta([counter("a", 10, at=100.0)])
    assert delta([counter("a", 5, at=90.0)]) == []
    assert delta.dropped == {"it is older than the reading before": 1}
    assert volumes(delta([counter("a", 30, at=110.0)])) == [20]


def test_the_same_sample_again_gives_nothing():
    """Ceilometer: dt == 0 gave a delta, of 0 for a sample that came twice.

    Here: dropped and counted, the state stays.
    """
    delta = transformer("delta")
    delta([counter("a", 10, at=100.0)])
    assert delta([counter("a", 10, at=100.0), counter("a", 12, at=100.0)]) == []
    assert delta.dropped == {"it has the time of the reading before: the same sample again": 2}
    assert volumes(delta([counter("a", 30, at=110.0)])) == [20]


def test_growth_only_moves_on_after_a_fall():
    """Ceilometer: the cache advances past a drop that growth_only left out. Here: the same."""
    delta = transformer("delta", CPU_DELTA)
    delta([gauge("a", 10, at=0.0)])
    assert volumes(delta([gauge("a", 4, at=10.0), gauge("a", 6, at=20.0)])) == [2]


def test_the_state_survives_dump_and_load():
    delta, other = transformer("delta"), transformer("delta")
    delta([counter("a", 10, at=0.0)])
    other.load(delta.dump())
    assert volumes(other([counter("a", 12, at=10.0)])) == [2]


@pytest.mark.parametrize("bad", [None, "7", math.nan, math.inf, -math.inf, [1]])
@pytest.mark.parametrize("previous", [UNTRACKED, (10.0, 1)])
def test_a_volume_that_is_no_number_costs_only_its_own_sample(bad, previous):
    delta = transformer("delta")
    delta([counter("a", 0, at=0.0)])
    made = delta([counter("a", bad, 10.0, previous), counter("b", 20, 20.0, (10.0, 10))])
    assert volumes(made) == [10]
    assert sum(delta.dropped.values()) == 1


def test_a_pair_whose_reading_is_not_before_gives_nothing():
    delta = transformer("delta")
    assert delta([counter("a", 10, previous=(0.0, 5))]) == []
    assert delta.dropped == {"its previous reading is not before it": 1}


def test_a_difference_beyond_64_bits_is_a_float():
    (made,) = transformer("delta")([gauge("a", -1, previous=(1.0, 2**64 - 1))])
    assert (made.volume, type(made.volume)) == (-(2.0**64), float)
    low = Meter("a", "B", SampleType.GAUGE)
    assert transformer("delta")([sample(low, 1e308, 0, (1.0, -1e308))]) == []


def test_outcome():
    meters = [Meter("cpu", "ns", SampleType.CUMULATIVE), Meter("memory", "MB", SampleType.GAUGE)]
    assert transformer("delta", CPU_DELTA).outcome(meters[:1]) == [
        Meter("cpu.delta", "ns", SampleType.DELTA)
    ]
    with pytest.raises(NeverMatches, match="no meter that reaches it has the unit 'GB'"):
        transformer("delta", "{source: {unit: GB}}").outcome(meters)
    with pytest.raises(NeverMatches, match="is a delta"):
        transformer("delta").outcome([Meter("cpu.delta", "ns", SampleType.DELTA)])
