# SPDX-License-Identifier: Apache-2.0
"""Previous readings and starts of series."""

import msgspec
import pytest

from ceilo_agent.plugins import Column, Derivation, Observation
from ceilo_agent.polling.tracker import Dump, Tracker
from ceilo_agent.sample import FIRST, Meter, Previous, Resource, SampleType

GAUGE = Column(Meter("g", "", SampleType.GAUGE))
COUNTER = Column(Meter("c", "B", SampleType.CUMULATIVE))
REQUESTS = Column(Meter("n", "request", SampleType.CUMULATIVE))
DELTA = Column(Meter("c.delta", "B", SampleType.DELTA), Derivation.DELTA, ("c",))
RATE = Column(Meter("c.rate", "B/s", SampleType.GAUGE), Derivation.RATE, ("c",))
MEAN = Column(Meter("c.mean", "B", SampleType.GAUGE), Derivation.MEAN, ("c", "n"))
PERCENT = Column(Meter("c.percent", "%", SampleType.GAUGE), Derivation.MEAN, ("c", "n"), 0.01)

PLAIN = (GAUGE, COUNTER)
DERIVED = (COUNTER, REQUESTS, DELTA, RATE, MEAN, PERCENT)
DISK = Resource("guest-vda", None, None, "instance_disk", {})


def everything(_name):
    return True


def seen(columns, *volumes, clock, time=None, incarnation="1", owner="guest", resource=DISK):
    values = list(volumes) + [None] * (len(columns) - len(volumes))
    when = clock + 1000.0 if time is None else time
    return Observation(resource, columns, values, when, clock, owner, incarnation)


def by_name(samples):
    return {sample.meter.name: sample for sample in samples}


def test_the_first_reading_is_first_and_starts_the_series():
    gauge, counter = Tracker("s", everything, 10).samples([seen(PLAIN, 1, 2, clock=5.0)])
    assert gauge.previous is FIRST
    assert counter.previous is FIRST
    assert counter.started == counter.time == 1005.0
    assert counter.source == "s"


def test_the_next_reading_has_the_pair_and_keeps_the_start():
    tracker = Tracker("s", everything, 10)
    tracker.samples([seen(PLAIN, 1.5, 2, clock=5.0)])
    gauge, counter = tracker.samples([seen(PLAIN, 0.5, 7, clock=15.25)])
    assert gauge.previous == Previous(10.25, 1.5)
    assert counter.previous == Previous(10.25, 2)
    assert counter.started == 1005.0


def test_elapsed_does_not_follow_a_wall_clock_that_is_set():
    tracker = Tracker("s", everything, 10)
    tracker.samples([seen(PLAIN, 1, 2, clock=5.0, time=9e9)])
    _, counter = tracker.samples([seen(PLAIN, 1, 7, clock=15.0, time=1.0)])
    assert counter.previous == Previous(10.0, 2)


def test_a_counter_that_falls_starts_anew_and_a_gauge_that_falls_does_not():
    tracker = Tracker("s", everything, 10)
    tracker.samples([seen(PLAIN, 9, 100, clock=5.0)])
    gauge, counter = tracker.samples([seen(PLAIN, 1, 40, clock=15.0)])
    assert gauge.previous == Previous(10.0, 9)
    assert counter.previous is FIRST
    assert counter.started == counter.time
    _, counter = tracker.samples([seen(PLAIN, 1, 45, clock=25.0)])
    assert counter.previous == Previous(10.0, 40)


def test_another_incarnation_starts_every_series_of_the_resource_anew():
    tracker = Tracker("s", everything, 10)
    tracker.samples([seen(PLAIN, 9, 100, clock=5.0)])
    gauge, counter = tracker.samples([seen(PLAIN, 9, 200, clock=15.0, incarnation="2")])
    assert gauge.previous is FIRST
    assert counter.previous is FIRST
    assert counter.started == counter.time


def test_an_absent_value_gives_no_sample_and_the_pair_spans_the_gap():
    tracker = Tracker("s", everything, 10)
    tracker.samples([seen(PLAIN, 9, 100, clock=5.0)])
    assert [s.meter.name for s in tracker.samples([seen(PLAIN, 9, None, clock=15.0)])] == ["g"]
    _, counter = tracker.samples([seen(PLAIN, 9, 160, clock=25.0)])
    assert counter.previous == Previous(20.0, 100)


@pytest.mark.parametrize(("interval", "good"), [(10, 3600.0), (600, 6000.0)])
def test_a_reading_is_good_for_ten_intervals_and_at_least_an_hour(interval, good):
    for gap, expected in ((good, Previous(good, 1)), (good + 1, FIRST)):
        tracker = Tracker("s", everything, interval)
        tracker.samples([seen(PLAIN, 0, 1, clock=5.0)])
        _, counter = tracker.samples([seen(PLAIN, 0, 2, clock=5.0 + gap)])
        assert counter.previous == expected
        assert counter.started == 1005.0  # the counter did not begin anew, it was only not seen


def test_a_source_gets_only_what_it_takes():
    tracker = Tracker("s", lambda name: name == "c", 10)
    assert [s.meter.name for s in tracker.samples([seen(PLAIN, 1, 2, clock=5.0)])] == ["c"]


def test_derived_meters_need_two_good_readings():
    tracker = Tracker("s", everything, 10)
    first = by_name(tracker.samples([seen(DERIVED, 1000, 10, clock=5.0)]))
    assert set(first) == {"c", "n"}
    second = by_name(tracker.samples([seen(DERIVED, 1600, 30, clock=15.0)]))
    assert second["c.delta"].volume == 600
    assert second["c.delta"].previous is FIRST
    assert second["c.rate"].volume == 60.0
    assert second["c.mean"].volume == 30.0
    assert second["c.percent"].volume == 3000.0
    third = by_name(tracker.samples([seen(DERIVED, 1700, 30, clock=25.0)]))
    assert third["c.rate"].volume == 10.0
    assert third["c.rate"].previous == Previous(10.0, 60.0)
    assert "c.mean" not in third  # no request, no mean
    reset = by_name(tracker.samples([seen(DERIVED, 5, 40, clock=35.0)]))
    assert set(reset) == {"c", "n"}


def test_a_derived_meter_does_not_need_its_base_to_be_taken():
    tracker = Tracker("s", lambda name: name == "c.rate", 10)
    assert tracker.samples([seen(DERIVED, 1000, 10, clock=5.0)]) == []
    (rate,) = tracker.samples([seen(DERIVED, 1600, 30, clock=15.0)])
    assert (rate.meter.name, rate.volume) == ("c.rate", 60.0)


def test_readings_survive_dump_and_load():
    tracker = Tracker("s", everything, 10)
    tracker.samples([seen(DERIVED, 2**64 - 2, 10, clock=5.0)])
    encoded = msgspec.msgpack.encode(tracker.dump())
    other = Tracker("s", everything, 10)
    other.load(msgspec.msgpack.decode(encoded, type=Dump))
    samples = by_name(other.samples([seen(DERIVED, 2**64 - 2, 20, clock=12.0)]))
    assert samples["c"].previous == Previous(7.0, 2**64 - 2)
    assert samples["c"].started == 1005.0


def test_readings_survive_a_change_of_the_columns():
    tracker = Tracker("s", everything, 10)
    tracker.samples([seen(PLAIN, 1, 2, clock=5.0)])
    swapped = (COUNTER, GAUGE)
    counter, gauge = tracker.samples([seen(swapped, 7, 8, clock=15.0)])
    assert counter.previous == Previous(10.0, 2)
    assert gauge.previous == Previous(10.0, 1)


def test_owners_that_are_gone_are_forgotten():
    tracker = Tracker("s", everything, 10)
    tracker.samples([seen(PLAIN, 1, 2, clock=5.0)])
    tracker.keep(["another"], 6.0)
    _, counter = tracker.samples([seen(PLAIN, 1, 7, clock=15.0)])
    assert counter.previous is FIRST
    tracker.keep(["guest"], 16.0)
    _, counter = tracker.samples([seen(PLAIN, 1, 9, clock=25.0)])
    assert counter.previous == Previous(10.0, 7)


def test_readings_that_are_too_old_to_be_of_use_are_forgotten_though_their_owner_lives():
    tracker = Tracker("s", everything, 10)
    for number in range(50):
        device = Resource(f"host-dm{number}", None, None, "host_disk", {})
        clock = 100.0 * number
        tracker.samples([seen(PLAIN, 1, 2, clock=clock, resource=device)])
        tracker.keep(None, clock)
    assert len(tracker.dump().rows) == 37  # those of the last hour


def test_a_meter_that_comes_while_another_goes_is_seen():
    columns = (GAUGE, COUNTER, REQUESTS, Column(Meter("other", "", SampleType.GAUGE)))
    tracker = Tracker("s", {"g", "c", "n"}.__contains__, 10)
    tracker.samples([seen(columns, 1, 1, None, 1, clock=5.0)])
    tracker.samples([seen(columns, 1, 1, None, 1, clock=15.0)])
    found = tracker.samples([seen(columns, 1, 1, 1, None, clock=25.0)])
    assert [sample.meter.name for sample in found] == ["g", "c", "n"]
