# SPDX-License-Identifier: Apache-2.0
"""unit_conversion, line by line against what Ceilometer's does."""

import math
import warnings

import pytest

from ceilo_agent.plugins import NeverMatches
from ceilo_agent.sample import FIRST, UNTRACKED, Meter, Previous, Resource, SampleType
from tests.unit.pipeline.transformers.written import (
    counter,
    gauge,
    refusal,
    transformer,
    volumes,
)

GIGABYTES = "{source: {unit: B}, target: {name: disk.gb, unit: GB, scale: 1.0e-9}}"


def test_without_a_source_unit_every_sample_is_converted():
    """Ceilometer: converts if source.unit is absent. Here: the same."""
    convert = transformer("unit_conversion", "{target: {unit: kB, scale: 0.001}}")
    made = convert([gauge("a", 2000, unit="B"), gauge("b", 500, unit="octet")])
    assert [(s.volume, s.meter.unit) for s in made] == [(2.0, "kB"), (0.5, "kB")]


def test_another_unit_passes_unchanged():
    """Ceilometer: converts only if source.unit is the sample's, others pass. Here: the same."""
    other = gauge("a", 5, unit="MB")
    made = transformer("unit_conversion", GIGABYTES)([other, gauge("a", 2e9)])
    assert made[0] is other
    assert (made[1].meter, made[1].volume) == (Meter("disk.gb", "GB", SampleType.GAUGE), 2.0)


def test_a_number_multiplies():
    """Ceilometer: a numeric scale gives volume * scale. Here: the same; integers stay integers."""
    convert = transformer("unit_conversion", "{target: {scale: 1024}}")
    (made,) = convert([gauge("a", 2**52 + 1)])
    assert made.volume == 2**62 + 1024
    assert type(made.volume) is int


def test_the_value_of_an_expression_is_the_volume():
    """Ceilometer: a text is evaluated, and its value is the volume. Here: the same."""
    convert = transformer("unit_conversion", '{target: {unit: F, scale: "volume * 1.8 + 32"}}')
    assert volumes(convert([gauge("t", 20.0), gauge("t", -40.0)])) == [68.0, -40.0]


def test_an_expression_sees_the_metadata_and_may_miss_them():
    """Ceilometer: a missing attribute is false in `or`. Here: the same."""
    convert = transformer(
        "unit_conversion", '{target: {scale: "volume / (resource_metadata.cpu_number or 1)"}}'
    )
    bare = Resource("vm-2", None, None, "instance", {})
    assert volumes(convert([gauge("a", 10), gauge("a", 10, resource=bare)])) == [5.0, 10.0]


def test_an_expression_without_the_volume_is_refused():
    """Ceilometer: every sample got the value of the expression. Here: told when it is read."""
    assert refusal("unit_conversion", '{target: {scale: "1.0 / 1024"}}') == (
        "test:1:19: parameter 'scale': the value of the expression is the new volume, but it does "
        "not read 'volume' (a factor is written: volume * (...))"
    )


def test_without_a_scale_the_volume_stays():
    """Ceilometer: a scale that is absent leaves the volume. Here: the same."""
    convert = transformer("unit_conversion", "{target: {name: b, unit: u, type: delta}}")
    (made,) = convert([gauge("a", 7)])
    assert (made.meter, made.volume) == (Meter("b", "u", SampleType.DELTA), 7)


def test_a_scale_of_zero_is_refused():
    """Ceilometer: a scale of 0 counted as absent. Here: told when it is read."""
    assert refusal("unit_conversion", "{target: {scale: 0}}") == (
        "test:1:10: a scale of 0 makes every volume 0"
    )


def test_an_empty_scale_is_refused():
    """Ceilometer: an empty text counted as no scale. Here: told when it is read."""
    assert refusal("unit_conversion", "{target: {scale: ''}}") == (
        "test:1:19: parameter 'scale': the expression is empty"
    )


def test_maps_of_name_and_unit():
    """Ceilometer: re.sub with map_from and map_to, on name and unit. Here: the same."""
    convert = transformer(
        "unit_conversion",
        r'{source: {map_from: {name: "disk\\.(read|write)", unit: "^B"}},'
        r' target: {map_to: {name: "volume.\\1", unit: KiB}, scale: 0.5}}',
    )
    made = convert([gauge("disk.read.bytes", 4, unit="B/s"), gauge("memory", 2, unit="MB")])
    assert [s.meter.name for s in made] == ["volume.read.bytes", "memory"]
    assert [s.meter.unit for s in made] == ["KiB/s", "MB"]
    assert volumes(made) == [2.0, 1.0]


def test_a_map_that_does_not_match_leaves_the_name_though_the_target_has_one():
    """Ceilometer: a map comes before target.name, and one that finds nothing gives the own name.

    Here: the same.
    """
    convert = transformer(
        "unit_conversion", "{source: {map_from: {name: x}}, target: {name: t, map_to: {name: y}}}"
    )
    assert [s.meter.name for s in convert([gauge("axa", 1), gauge("b", 1)])] == ["aya", "b"]


def test_a_map_that_leaves_nothing_gives_the_name_of_the_target_or_its_own():
    """Ceilometer: an empty result of a map falls back. Here: the same."""
    source = "source: {map_from: {name: '.*'}}"
    with_name = transformer(
        "unit_conversion", f"{{{source}, target: {{name: t, map_to: {{name: ''}}}}}}"
    )
    without = transformer("unit_conversion", f"{{{source}, target: {{map_to: {{name: ''}}}}}}")
    assert [with_name([gauge("a", 1)])[0].meter.name, without([gauge("a", 1)])[0].meter.name] == [
        "t",
        "a",
    ]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (
            "{source: {map_from: {name: a}}}",
            "test:1:28: source.map_from.name needs target.map_to.name",
        ),
        (
            "{target: {map_to: {unit: a}}}",
            "test:1:26: target.map_to.unit needs source.map_from.unit",
        ),
        (
            '{source: {map_from: {name: "a(b"}}, target: {map_to: {name: c}}}',
            (
                "test:1:30: parameter 'name': no regular expression: missing ), unterminated "
                "subpattern"
            ),
        ),
        (
            r'{source: {map_from: {name: "(a)"}}, target: {map_to: {name: "\\2"}}}',
            (
                r"test:1:61: the replacement '\2' is wrong: invalid group reference 2 at position "
                "1 (the pattern '(a)' has one group)"
            ),
        ),
    ],
)
def test_maps_are_checked_when_they_are_read(parameters, expected):
    """Ceilometer: half a map did nothing, faults of a regular expression were swallowed."""
    assert refusal("unit_conversion", parameters) == expected


def test_a_pattern_that_python_warns_of_is_taken_without_a_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert = transformer(
            "unit_conversion",
            "{source: {map_from: {name: '[[]|[a||b]'}}, target: {map_to: {name: x}}}",
        )
    assert convert([gauge("[b]", 1)])[0].meter.name == "xx]"


def test_max_caps():
    """Ceilometer (Pike): the least of volume and target.max. Here: the same."""
    convert = transformer("unit_conversion", "{target: {scale: 2, max: 100}}")
    assert volumes(convert([gauge("a", 10), gauge("a", 50), gauge("a", 51)])) == [20, 100, 100]


def test_a_max_of_zero_caps_too():
    """Ceilometer: a max of 0 counted as none. Here: it caps."""
    convert = transformer("unit_conversion", "{target: {max: 0}}")
    assert volumes(convert([gauge("a", 5), gauge("a", -5)])) == [0, -5]


def test_what_else_a_sample_holds_stays():
    """Ceilometer: same timestamp, user, project, resource, metadata; the source was reset.

    Here: the source stays too, and with it who polled the sample.
    """
    before = counter("a", 10, at=12.5, previous=FIRST, started=3.0)
    (made,) = transformer("unit_conversion", "{target: {scale: 2}}")([before])
    assert made.resource is before.resource
    assert (made.time, made.started, made.source, made.previous) == (12.5, 3.0, "guests", FIRST)
    assert made.meter.type is SampleType.CUMULATIVE


@pytest.mark.parametrize("scale", ["0.001", '"volume / 1000"', '"volume / 2 - 500"'])
def test_the_reading_before_is_converted_too_so_that_a_rate_after_it_is_right(scale):
    convert = transformer("unit_conversion", f"{{target: {{unit: kB, scale: {scale}}}}}")
    rate = transformer("rate_of_change")
    reading, before = counter("a", 9000, 60.0, (10.0, 4000)), counter("a", 4000, 50.0)
    (made,) = convert([reading])
    assert made.previous == Previous(10.0, convert([before])[0].volume)
    (after,) = rate([made])
    assert after.volume == pytest.approx((made.volume - made.previous.volume) / 10.0)


def test_the_cap_holds_for_the_reading_before_too():
    convert = transformer("unit_conversion", "{target: {max: 100}}")
    (made,) = convert([gauge("a", 120, 60.0, (10.0, 150))])
    assert (made.volume, made.previous) == (100, Previous(10.0, 100))


def test_a_reading_before_that_cannot_be_converted_is_none():
    convert = transformer("unit_conversion", '{target: {scale: "100 / volume"}}')
    (made,) = convert([gauge("a", 50, 60.0, (10.0, 0))])
    assert (made.volume, made.previous) == (2.0, FIRST)
    assert not convert.dropped
    assert convert([gauge("a", 50)])[0].previous is UNTRACKED


@pytest.mark.parametrize("bad", [None, "7", math.nan, math.inf, -math.inf, [1]])
@pytest.mark.parametrize("scale", ["2", "2.5", '"volume * 2"'])
def test_a_volume_that_is_no_number_costs_only_its_own_sample(bad, scale):
    """Ceilometer: an exception, the sample dropped with a traceback. Here: dropped and counted."""
    convert = transformer("unit_conversion", f"{{target: {{scale: {scale}}}}}")
    made = convert([gauge("a", 1), gauge("a", bad), gauge("a", 2)])
    assert len(made) == 2
    assert sum(convert.dropped.values()) == 1


def test_results_that_no_store_can_take_do_not_come_out():
    convert = transformer("unit_conversion", "{target: {scale: 1.0e300}}")
    assert volumes(convert([gauge("a", 1e300), gauge("a", 10**400), gauge("a", 2)])) == [2e300]
    assert convert.dropped == {"the result is no finite number": 2}
    doubled = transformer("unit_conversion", "{target: {scale: 2}}")
    (made,) = doubled([gauge("a", 2**63)])
    assert made.volume == float(2**64)
    assert type(made.volume) is float


def test_an_expression_that_fails_costs_only_its_own_sample():
    convert = transformer("unit_conversion", '{target: {scale: "1 / volume"}}')
    assert volumes(convert([gauge("a", 0), gauge("a", 4)])) == [0.25]
    assert convert.dropped == {"division by zero": 1}


def test_samples_of_one_meter_share_what_it_becomes():
    convert = transformer("unit_conversion", "{target: {unit: kB}}")
    first, second = convert([gauge("a", 1), gauge("a", 2)])
    assert first.meter is second.meter


def test_names_of_foreign_producers_do_not_fill_the_memory():
    convert = transformer("unit_conversion", "{target: {unit: kB}}")
    for number in range(10_000):
        convert([gauge(f"meter-{number}", 1)])
    assert len(convert._meters) <= 4096


METERS = [
    Meter("disk.read.bytes", "B", SampleType.CUMULATIVE),
    Meter("memory", "MB", SampleType.GAUGE),
]


def test_outcome():
    assert transformer("unit_conversion", GIGABYTES).outcome(METERS) == [
        Meter("disk.gb", "GB", SampleType.CUMULATIVE),
        Meter("memory", "MB", SampleType.GAUGE),
    ]
    assert transformer("unit_conversion", GIGABYTES).outcome([]) == []


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("{source: {unit: GB}}", "no meter that reaches it has the unit 'GB'"),
        (
            "{source: {map_from: {name: network}}, target: {map_to: {name: net}}}",
            "'network' of map_from matches the name of no meter that reaches it",
        ),
        (
            "{source: {unit: MB, map_from: {name: disk}}, target: {map_to: {name: d}}}",
            "'disk' of map_from matches the name of no meter that reaches it",
        ),
    ],
)
def test_outcome_tells_what_never_matches(parameters, expected):
    with pytest.raises(NeverMatches, match=f"^{expected}$"):
        transformer("unit_conversion", parameters).outcome(METERS)
