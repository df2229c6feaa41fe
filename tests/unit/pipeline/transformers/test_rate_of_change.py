# SPDX-License-Identifier: Apache-2.0
"""rate_of_change, line by line against what Ceilometer's does."""

import logging
import math

import pytest

from ceilo_agent.plugins import NeverMatches
from ceilo_agent.sample import FIRST, UNTRACKED, Meter, Resource, SampleType
from tests.unit.pipeline.transformers.written import (
    counter,
    gauge,
    refusal,
    sample,
    transformer,
    volumes,
)

CPU_SCALE = "100.0 / (10**9 * (resource_metadata.cpu_number or 1))"
CPU_UTIL = f'{{target: {{name: cpu_util, unit: "%", type: gauge, scale: "{CPU_SCALE}"}}}}'


def guest(name, **metadata):
    return Resource(name, None, None, "instance", metadata)


# -- What a rate is ------------------------------------------------------------------------------


def test_the_rate_is_growth_by_elapsed_seconds():
    """Ceilometer: (current - previous) / dt. Here: the same; dt is the pair's, not of wall clocks.

    Ceilometer took the cycle's timestamp, so that cpu_util passed 100 %.
    """
    rate = transformer("rate_of_change")
    (made,) = rate([counter("a", 1300, at=5.0, previous=(8.0, 100))])
    assert made.volume == 150.0


def test_the_default_type_is_gauge_though_the_sample_is_cumulative():
    """Ceilometer: keeps the sample's type unless the target has one. Here: gauge."""
    (made,) = transformer("rate_of_change")([counter("a", 20, previous=(10.0, 10))])
    assert made.meter == Meter("a", "B", SampleType.GAUGE)


def test_the_default_name_and_unit_are_those_of_the_sample():
    """Ceilometer: keeps name and unit unless the target gives them. Here: the same."""
    rate = transformer("rate_of_change", "{target: {name: b, unit: B/s}}")
    assert rate([counter("a", 2, previous=(1.0, 1))])[0].meter == Meter(
        "b", "B/s", SampleType.GAUGE
    )


def test_maps_of_disk_and_network_sinks():
    """Ceilometer: map_from and map_to on name and unit. Here: the same."""
    rate = transformer(
        "rate_of_change",
        r"""
        source:
          map_from: {name: "(disk\\.device|disk)\\.(read|write)\\.(bytes|requests)",
                     unit: "(B|request)"}
        target:
          map_to: {name: "\\1.\\2.\\3.rate", unit: "\\1/s"}
          type: gauge
        """,
    )
    made = rate(
        [
            counter("disk.read.bytes", 30, previous=(10.0, 10)),
            counter("disk.device.write.requests", 5, previous=(10.0, 4), unit="request"),
        ]
    )
    assert [(s.meter.name, s.meter.unit, s.volume) for s in made] == [
        ("disk.read.bytes.rate", "B/s", 2.0),
        ("disk.device.write.requests.rate", "request/s", 0.1),
    ]


def test_what_else_a_sample_holds_stays():
    """Ceilometer: same timestamp, user, project, resource, metadata; the source was reset.

    Here: the source stays. A rate has no reading before it.
    """
    before = counter("a", 2, at=60.0, previous=(1.0, 1), started=3.0)
    (made,) = transformer("rate_of_change")([before])
    assert made.resource is before.resource
    assert (made.time, made.source) == (60.0, "guests")
    assert (made.previous, made.started) == (UNTRACKED, None)


def test_cpu_util():
    """Ceilometer: the scale expression of cpu_sink, 50 % of two CPUs. Here: the same."""
    rate = transformer("rate_of_change", CPU_UTIL)
    (made,) = rate([counter("cpu", 60 * 10**9, 60.0, (60.0, 0), unit="ns")])
    assert made.meter == Meter("cpu_util", "%", SampleType.GAUGE)
    assert made.volume == 50.0


def test_missing_metadata_are_false_in_or():
    """Ceilometer: a missing name is an empty namespace, false in `or`. Here: the same."""
    rate = transformer("rate_of_change", CPU_UTIL)
    (made,) = rate([counter("cpu", 30 * 10**9, 60.0, (60.0, 0), resource=guest("vm"))])
    assert made.volume == 50.0


def test_each_resource_has_its_own_scale():
    rate = transformer("rate_of_change", CPU_UTIL)
    one, four = guest("1", cpu_number=1), guest("4", cpu_number=4)
    made = rate(
        [
            counter("cpu", 40 * 10**9, previous=(100.0, 0), resource=resource)
            for resource in (one, four, four, one, guest("none"))
        ]
    )
    assert volumes(made) == [40.0, 10.0, 10.0, 40.0, 40.0]


@pytest.mark.parametrize("scale", ["2.5", '"2.5"'])
def test_a_number_scales_the_rate(scale):
    """Ceilometer: a numeric scale gave volume * scale * rate, a text scale * rate.

    Here: both scale the rate.
    """
    rate = transformer("rate_of_change", f"{{target: {{scale: {scale}}}}}")
    assert volumes(rate([counter("a", 300, previous=(10.0, 100))])) == [50.0]


@pytest.mark.parametrize("scale", ["", ", scale: null"])
def test_the_default_scale_is_one(scale):
    """Ceilometer: scale is '1' by default. Here: the same."""
    rate = transformer("rate_of_change", f"{{target: {{name: b{scale}}}}}")
    assert volumes(rate([counter("a", 300, previous=(10.0, 100))])) == [20.0]


def test_volume_in_the_scale_is_the_samples():
    """Ceilometer: `volume` in the scale is the volume read, not the rate. Here: the same."""
    rate = transformer("rate_of_change", '{target: {scale: "1 / volume"}}')
    samples = [counter("a", 300, previous=(10.0, 100)), counter("b", 100, previous=(10.0, 0))]
    assert volumes(rate(samples)) == [20.0 / 300, 10.0 / 100]


def test_max_caps_the_rate():
    """Ceilometer (Pike): the least of the rate and target.max, if that is not 0. Here: always."""
    rate = transformer("rate_of_change", "{target: {scale: 10, max: 100}}")
    samples = [counter("a", volume, previous=(1.0, 0)) for volume in (9, 10, 11)]
    assert volumes(rate(samples)) == [90.0, 100.0, 100]
    assert volumes(transformer("rate_of_change", "{target: {max: 0}}")(samples)) == [0, 0, 0]


def test_a_source_unit_chooses():
    """Ceilometer: source.unit was ignored. Here: other units pass unchanged."""
    rate = transformer("rate_of_change", "{source: {unit: B}}")
    other = counter("a", 2, unit="request", previous=(1.0, 1))
    assert rate([other, counter("b", 2, previous=(1.0, 0))])[0] is other


# -- What falls, what stands still ---------------------------------------------------------------


@pytest.mark.parametrize("tracked", [True, False])
def test_a_counter_that_fell_gives_what_it_reached_since(tracked):
    """Ceilometer: of a cumulative meter below its last value, the volume is the growth.

    Here: the same lower bound, for producers that do not tell of the reset.
    """
    rate = transformer("rate_of_change")
    if not tracked:
        rate([counter("a", 1000, at=0.0)])
    (made,) = rate([counter("a", 40, at=10.0, previous=(10.0, 1000) if tracked else UNTRACKED)])
    assert made.volume == 4.0


@pytest.mark.parametrize("kind", [SampleType.GAUGE, SampleType.DELTA])
@pytest.mark.parametrize("tracked", [True, False])
def test_other_meters_may_fall(kind, tracked):
    """Ceilometer: gauges and deltas have negative rates. Here: the same."""
    rate, meter = transformer("rate_of_change"), Meter("a", "B", kind)
    if not tracked:
        rate([sample(meter, 1000, 0.0)])
    (made,) = rate([sample(meter, 40, 10.0, (10.0, 1000) if tracked else UNTRACKED)])
    assert made.volume == -96.0


def test_a_first_reading_gives_nothing_and_touches_no_state(caplog):
    """Ceilometer: the first sample is dropped, with a warning each. Here: silently, no fault."""
    rate = transformer("rate_of_change")
    empty = rate.dump()
    assert rate([counter("a", 10, previous=FIRST), counter("b", 1, previous=(1.0, 0))])[1:] == []
    assert rate.dump() == empty
    assert not rate.dropped
    assert caplog.records == []


@pytest.mark.parametrize("elapsed", [0.0, -1.0, math.nan])
def test_a_pair_whose_reading_is_not_before_gives_nothing(elapsed):
    rate = transformer("rate_of_change")
    assert rate([counter("a", 10, previous=(elapsed, 5))]) == []
    assert rate.dropped == {"its previous reading is not before it": 1}


# -- Samples of foreign producers ----------------------------------------------------------------


def test_untracked_samples_are_compared_with_the_last_of_their_series():
    """Ceilometer: the first sample is dropped with a warning. Here: silently."""
    rate = transformer("rate_of_change")
    assert rate([counter("a", 10, at=100.0)]) == []
    assert volumes(rate([counter("a", 30, at=110.0), counter("a", 60, at=120.0)])) == [2.0, 3.0]
    assert not rate.dropped


def test_an_older_sample_is_dropped_and_the_newer_reading_kept():
    """Ceilometer: dt < 0 is dropped, the cache keeps the newer. Here: the same, counted."""
    rate = transformer("rate_of_change")
    rate([counter("a", 10, at=100.0)])
    assert rate([counter("a", 5, at=90.0)]) == []
    assert rate.dropped == {"it is older than the reading before": 1}
    assert volumes(rate([counter("a", 30, at=110.0)])) == [2.0]


def test_the_same_sample_again_gives_nothing():
    """Ceilometer: dt == 0 emitted a rate of 0.0. Here: dropped and counted, the state stays.

    A broker delivers a message again whose acknowledgement it lost.
    """
    rate = transformer("rate_of_change")
    rate([counter("a", 10, at=100.0)])
    assert rate([counter("a", 10, at=100.0), counter("a", 99, at=100.0)]) == []
    assert rate.dropped == {"it has the time of the reading before: the same sample again": 2}
    assert volumes(rate([counter("a", 30, at=110.0)])) == [2.0]


def test_series_are_told_apart_by_source_resource_and_meter():
    """Ceilometer: the key was name + resource_id, so that `a` of `bc` and `ab` of `c` were one."""
    rate = transformer("rate_of_change")
    series = [("a", "bc", "s"), ("ab", "c", "s"), ("a", "bc", "t"), ("a", "bc", None)]
    for at, volume in ((0.0, 0), (10.0, 10)):
        made = rate(
            [
                counter(name, volume * (n + 1), at, resource=guest(resource), source=source)
                for n, (name, resource, source) in enumerate(series)
            ]
        )
    assert volumes(made) == [1.0, 2.0, 3.0, 4.0]


def test_the_project_is_no_part_of_the_key():
    """Ceilometer: no project in the key. Here: the same, a guest that changes hands goes on."""
    rate = transformer("rate_of_change")
    before, after = (Resource("vm-1", project, None, "instance", {}) for project in ("a", "b"))
    assert rate([counter("a", 10, at=0.0, resource=before)]) == []
    (made,) = rate([counter("a", 30, at=10.0, resource=after)])
    assert (made.volume, made.resource.project_id) == (2.0, "b")


def test_a_wall_clock_that_is_set_back_costs_no_rate():
    """Ceilometer: dt was that of the cycles' timestamps, and dt < 0 was dropped.

    Here: dt is the pair's, whatever the wall clock showed at either reading.
    """
    rate = transformer("rate_of_change")
    samples = [
        counter("a", 100, at=7260.0, previous=(60.0, 40)),
        counter("a", 160, at=120.0, previous=(60.0, 100)),
        counter("a", 220, at=90_000.0, previous=(60.0, 160)),
    ]
    assert volumes(rate(samples)) == [1.0, 1.0, 1.0]
    assert not rate.dropped


def test_a_reboot_or_a_migration_costs_one_reading():
    """Ceilometer (Pike): a monotonic clock that fell dropped all until it passed the old value.

    Here: the producer says that the reading is its first, and the next one has a rate.
    """
    rate = transformer("rate_of_change")
    assert volumes(rate([counter("a", 10**15, at=50.0, previous=(10.0, 10**15 - 20))])) == [2.0]
    assert rate([counter("a", 5, at=60.0, previous=FIRST)]) == []
    assert volumes(rate([counter("a", 25, at=70.0, previous=(10.0, 5))])) == [2.0]
    assert not rate.dropped


def test_the_key_is_the_series_and_none_where_no_state_is_needed():
    rate = transformer("rate_of_change", "{source: {unit: B}}")
    assert rate.key(counter("a", 1)) == ("guests", "vm-1", "a")
    assert rate.key(counter("a", 1, previous=FIRST)) is None
    assert rate.key(counter("a", 1, previous=(1.0, 0))) is None
    assert rate.key(counter("a", 1, unit="request")) is None
    assert not rate.spans_hosts


def test_a_clock_that_went_back_at_the_producer_does_not_silence_a_series_for_ever():
    """Ceilometer (Pike): monotonic times that fell dropped every sample until they passed the old.

    Here: the reading from the future expires.
    """
    rate = transformer("rate_of_change", "{retention: 600}")
    rate.tick(0.0)
    rate([counter("a", 5, at=1e9)])
    assert rate([counter("a", 10, at=100.0)]) == []
    rate.tick(600.0)
    assert rate([counter("a", 10, at=600.0)]) == []
    rate.tick(1200.0)
    assert rate([counter("a", 10, at=1200.0)]) == []
    assert volumes(rate([counter("a", 70, at=1260.0)])) == [1.0]


def test_a_reading_is_kept_for_the_retention_and_less_than_twice_as_long():
    for seen, expected in ((1199.0, [1.0]), (1800.0, [])):
        rate = transformer("rate_of_change", "{retention: 600}")
        rate.tick(0.0)
        rate([counter("a", 0, at=590.0)])
        for now in (600.0, 1199.0, 1200.0, 1799.0):
            if now <= seen:
                rate.tick(now)
        assert volumes(rate([counter("a", seen - 590.0, at=seen)])) == expected


def test_a_restored_state_goes_on():
    rate, other = transformer("rate_of_change"), transformer("rate_of_change")
    rate.tick(0.0)
    rate([counter("a", 2**64 - 11, at=0.0), gauge("b", 1.5, at=0.0)])
    other.load(rate.dump())
    assert volumes(other([counter("a", 2**64 - 1, at=10.0), gauge("b", 2.5, at=10.0)])) == [
        1.0,
        0.1,
    ]


def test_what_is_no_state_is_refused():
    for junk in (b"", b"\x00", b"{}", transformer("delta").dump()[:-1]):
        with pytest.raises(ValueError, match="no readings"):
            transformer("rate_of_change").load(junk)


# -- Bad samples ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [None, "7", math.nan, math.inf, -math.inf, [1]])
@pytest.mark.parametrize("previous", [UNTRACKED, (10.0, 1)])
def test_a_volume_that_is_no_number_costs_only_its_own_sample(bad, previous):
    """Ceilometer: a volume of None was a TypeError. Here: dropped and counted."""
    rate = transformer("rate_of_change", f'{{target: {{scale: "{CPU_SCALE}"}}}}')
    rate([counter("a", 0, at=0.0)])
    made = rate(
        [
            counter("b", 10, 10.0, (10.0, 0)),
            counter("a", bad, 10.0, previous),
            counter("b", 20, 20.0, (10.0, 10)),
        ]
    )
    assert len(made) == 2
    assert sum(rate.dropped.values()) == 1
    assert len(rate([counter("a", 10**9, at=20.0)])) == 1


def test_rates_that_no_store_can_take_do_not_come_out():
    rate = transformer("rate_of_change", "{target: {scale: 1.0e300}}")
    huge = [counter("a", 1e300, previous=(1.0, 0)), counter("a", 10**400, previous=(1.0, 0))]
    assert rate([*huge, counter("a", 10**400, at=1.0)]) == []
    assert sum(rate.dropped.values()) == 3
    assert math.isfinite(
        transformer("rate_of_change")([counter("a", 2**64 - 1, 0, (0.5, 0))])[0].volume
    )


def test_a_time_that_is_none_is_not_remembered():
    rate = transformer("rate_of_change")
    for at in (math.nan, math.inf):
        rate([counter("a", 1, at=at)])
    assert sum(rate.dropped.values()) == 2
    rate([counter("a", 1, at=0.0)])
    assert volumes(rate([counter("a", 11, at=10.0)])) == [1.0]


def test_an_expression_that_fails_costs_the_samples_of_that_resource_only():
    rate = transformer("rate_of_change", '{target: {scale: "1 / resource_metadata.n"}}')
    none, two = guest("0", n=0), guest("2", n=2)
    samples = [counter("a", 20, previous=(10.0, 0), resource=r) for r in (two, none, none, two)]
    assert volumes(rate(samples)) == [1.0, 1.0]
    assert rate.dropped == {"division by zero": 2}


def test_a_reason_is_told_once(caplog):
    rate = transformer("rate_of_change")
    with caplog.at_level(logging.WARNING):
        rate([counter("a", 1, previous=(0.0, 1))] * 50)
    assert len(caplog.records) == 1
    assert rate.dropped.total() == 50


# -- Parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("{taget: {}}", "1:2: unknown parameter 'taget' (did you mean 'target'?)"),
        (
            "{target: {type: guage}}",
            (
                "1:17: parameter 'type': one of gauge, cumulative, delta was expected, found "
                "the text 'guage' (did you mean 'gauge'?)"
            ),
        ),
        (
            "{target: {name: ' '}}",
            (
                r"1:17: parameter 'name': a text that is not blank was expected, "
                "found the text ' '"
            ),
        ),
        (
            "{target: {scale: true}}",
            "1:18: parameter 'scale': a number or an expression was expected, found true",
        ),
        ("{target: [a]}", "1:10: parameter 'target': a mapping was expected, found a list"),
        ("{retention: 0}", "1:13: parameter 'retention': a number above 0 was expected, found 0"),
    ],
)
def test_mistakes_are_told(parameters, expected):
    """Ceilometer: unknown parameters were swallowed. Here: an error at its place."""
    assert refusal("rate_of_change", parameters) == f"test:{expected}"


def test_empty_parameters_will_do():
    """Ceilometer: `source:` and `target:` may be absent. Here: the same, or empty."""
    for parameters in ("{}", "{source: , target: }", "{source: {}, target: {}}"):
        rate = transformer("rate_of_change", parameters)
        assert volumes(rate([counter("a", 2, previous=(1.0, 1))])) == [1.0]


METERS = [Meter("cpu", "ns", SampleType.CUMULATIVE), Meter("memory", "MB", SampleType.GAUGE)]


def test_outcome():
    rate = transformer(
        "rate_of_change", '{source: {unit: ns}, target: {name: cpu_util, unit: "%"}}'
    )
    assert rate.outcome(METERS) == [Meter("cpu_util", "%", SampleType.GAUGE), METERS[1]]


def test_outcome_tells_what_never_matches():
    deltas = [Meter("cpu.delta", "ns", SampleType.DELTA)]
    for parameters, meters, expected in (
        ("{source: {unit: GB}}", METERS, "no meter that reaches it has the unit 'GB'"),
        ("{}", deltas, "every meter that reaches it is a delta"),
    ):
        with pytest.raises(NeverMatches, match=expected):
            transformer("rate_of_change", parameters).outcome(meters)
