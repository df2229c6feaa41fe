# SPDX-License-Identifier: Apache-2.0
"""A lane, with a discovery and an inspector at the edge that the tests steer."""

import contextlib
import logging
import threading
import time

import pytest

from ceilo_agent.errors import Unavailable
from ceilo_agent.plugins import Context, Discovery, Inspector, Listing, Missing, Snapshot, Target
from ceilo_agent.polling.lane import Due, Lane
from ceilo_agent.polling.tracker import Tracker
from ceilo_agent.sample import FIRST, Previous
from tests.unit.polling.test_tracker import PLAIN, seen

CONTEXT = Context("host", {})


class Things(Discovery):
    def __init__(self):
        super().__init__(CONTEXT)
        self.listing = Listing([Target("guest")])

    def discover(self, deadline):
        return self.listing


class Reader(Inspector):
    discovery = "things"

    def __init__(self):
        super().__init__(CONTEXT)
        self.asked = []
        self.missing = []
        self.fault = None
        self.hold = threading.Event()
        self.hold.set()

    def meters(self):
        return [column.meter for column in PLAIN]

    def inspect(self, targets, wanted, deadline):
        self.asked.append(wanted)
        self.hold.wait()
        if self.fault:
            raise self.fault
        clock = time.clock_gettime(time.CLOCK_BOOTTIME)
        found = [seen(PLAIN, 1, len(self.asked), clock=clock, owner=t.id) for t in targets]
        return Snapshot(found, self.missing)


def due(name, interval, *meters):
    return Due(name, interval, frozenset(meters), Tracker(name, set(meters).__contains__, interval))


@pytest.fixture
def reader():
    return Reader()


@pytest.fixture
def batches():
    return []


def lane_of(reader, batches, *sources):
    return Lane("test", "host", Things(), reader, sources, batches.append)


def test_sources_that_are_due_together_share_one_snapshot(reader, batches):
    lane = lane_of(reader, batches, due("a", 10, "g"), due("b", 60, "c"))
    lane.poll_all()
    assert reader.asked == [{"g", "c"}]
    assert [(b.source, [s.meter.name for s in b.samples]) for b in batches] == [
        ("a", ["g"]),
        ("b", ["c"]),
    ]


def test_two_sources_on_one_meter_keep_their_own_previous_reading(reader, batches):
    often, seldom = due("often", 10, "c"), due("seldom", 60, "c")
    lane = lane_of(reader, batches, often, seldom)
    lane.poll([often, seldom])
    lane.poll([often])
    lane.poll([often, seldom])
    last = {batch.source: batch.samples[0] for batch in batches}
    assert last["often"].previous.volume == 2
    assert last["seldom"].previous.volume == 1


def test_a_target_that_is_gone_from_a_complete_listing_is_first_when_it_comes_back(reader, batches):
    things = Things()
    lane = Lane("test", "host", things, reader, [due("s", 10, "c")], batches.append)
    lane.poll_all()
    things.listing = Listing([], complete=False)
    lane.poll_all()
    things.listing = Listing([Target("guest")])
    lane.poll_all()
    assert isinstance(batches[-1].samples[0].previous, Previous)
    things.listing = Listing([])
    lane.poll_all()
    things.listing = Listing([Target("guest")])
    lane.poll_all()
    assert batches[-1].samples[0].previous is FIRST


def test_a_fault_is_told_when_it_comes_and_when_it_goes(reader, batches, caplog):
    caplog.set_level(logging.INFO)
    lane = lane_of(reader, batches, due("s", 10, "c"))
    reader.fault = Unavailable("libvirtd is away")
    lane.poll_all()
    lane.poll_all()
    reader.fault = None
    lane.poll_all()
    assert caplog.text.count("no samples: libvirtd is away") == 1
    assert caplog.text.count("samples again") == 1
    assert (lane.counters.failed, lane.counters.cycles) == (2, 1)


def test_what_a_target_lacks_is_told_when_it_changes_and_when_it_is_over(reader, batches, caplog):
    caplog.set_level(logging.INFO)
    lane = lane_of(reader, batches, due("s", 10, "c"))
    for lacks in (
        [Missing("guest", "a-guest", "busy", partial=True)] * 2,
        [Missing("guest", "a-guest", "hung", partial=True)],
        [Missing("guest", "a-guest", "hung")],
        [],
    ):
        reader.missing = lacks[:1]
        lane.poll_all()
        lane.poll_all()
    assert [record.getMessage() for record in caplog.records] == [
        "test: only some samples of a-guest: busy",
        "test: only some samples of a-guest: hung",
        "test: no samples of a-guest: hung",
        "test: all samples of a-guest again",
    ]
    assert lane.whole


def test_a_target_that_vanished_while_it_was_missing_is_not_told_to_be_back(
    reader, batches, caplog
):
    caplog.set_level(logging.INFO)
    things = Things()
    lane = Lane("test", "host", things, reader, [due("s", 10, "c")], batches.append)
    reader.missing = [Missing("guest", "a-guest", "hung")]
    lane.poll_all()
    reader.missing, things.listing = [], Listing([])
    lane.poll_all()
    assert [record.getMessage() for record in caplog.records] == [
        "test: no samples of a-guest: hung"
    ]
    assert lane.missing == {}


def test_missing_targets_are_told_once_and_grouped(reader, batches, caplog):
    lane = lane_of(reader, batches, due("s", 10, "c"))
    reader.missing = [Missing(str(n), f"guest-{n}", "no answer") for n in range(5)]
    lane.poll_all()
    lane.poll_all()
    told = [record.getMessage() for record in caplog.records]
    assert told == ["test: no samples of guest-0, guest-1, guest-2 and 2 more: no answer"]
    assert lane.counters.missing == 10


def test_a_cycle_never_overlaps_itself_and_missed_ones_are_counted(reader, batches):
    lane = lane_of(reader, batches, due("s", 1, "c"))
    stop = threading.Event()
    reader.hold.clear()
    thread = lane.start(stop)
    time.sleep(3.2)
    assert len(reader.asked) == 1
    reader.hold.set()
    wait_until(lambda: lane.counters.missed)
    stop.set()
    thread.join(5)
    assert lane.counters.missed >= 2


def test_a_stuck_inspector_does_not_keep_the_lane_from_being_left_behind(reader, batches):
    lane = lane_of(reader, batches, due("s", 1, "c"))
    stop = threading.Event()
    reader.hold.clear()
    thread = lane.start(stop)
    wait_until(lambda: reader.asked)
    stop.set()
    assert thread.daemon
    thread.join(0.2)
    assert thread.is_alive()
    reader.hold.set()
    thread.join(5)
    assert not thread.is_alive()


def test_a_fault_of_ours_does_not_end_the_lane(reader, batches, caplog):
    lane = lane_of(reader, batches, due("s", 1, "c"))
    reader.fault = ZeroDivisionError("ours")
    stop = threading.Event()
    thread = lane.start(stop)
    wait_until(lambda: lane.counters.failed)
    reader.fault = None
    wait_until(lambda: lane.counters.cycles)
    stop.set()
    thread.join(5)
    assert "the cycle failed" in caplog.text


def wait_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


# -- other sources -------------------------------------------------------------------------------


@contextlib.contextmanager
def running(lane):
    stop = threading.Event()
    thread = lane.start(stop)
    yield
    stop.set()
    lane.wake()
    thread.join(5)
    assert not thread.is_alive()


def of(batches, source):
    return [batch.samples for batch in batches if batch.source == source]


def test_a_source_that_stays_keeps_its_moments_and_its_readings(reader, batches):
    lane = lane_of(reader, batches, due("a", 2, "c"))
    with running(lane):
        wait_until(lambda: len(of(batches, "a")) == 2)
        for _ in range(10):
            lane.replace([due("a", 2, "c"), due("b", 86400, "g")])
            time.sleep(0.05)
        wait_until(lambda: len(of(batches, "a")) == 4)
    assert len(of(batches, "b")) == 1, "a new one is polled at once, and then at its own moments"
    assert lane.counters.missed == 0
    first, *rest = [samples[0] for samples in of(batches, "a")]
    assert first.previous is FIRST
    assert all(isinstance(each.previous, Previous) for each in rest)
    # The first poll is at once, the second on a tick.
    assert [each.previous.elapsed for each in rest[1:]] == pytest.approx([2, 2], abs=0.2)


def test_a_source_that_changed_keeps_its_readings(reader, batches):
    lane = lane_of(reader, batches, due("a", 1, "c"))
    with running(lane):
        wait_until(lambda: of(batches, "a"))
        lane.replace([due("a", 2, "c", "g")])
        wait_until(lambda: len(of(batches, "a")[-1]) == 2)
    *_, (gauge, counter) = of(batches, "a")
    assert gauge.previous is FIRST
    assert isinstance(counter.previous, Previous)


def test_a_source_with_another_interval_is_polled_when_that_says_so(reader, batches):
    lane = lane_of(reader, batches, due("a", 1, "c"))
    with running(lane):
        wait_until(lambda: len(of(batches, "a")) == 2)
        lane.replace([due("a", 86400, "c"), due("b", 86400, "c")])
        wait_until(lambda: of(batches, "b"))
        count = len(of(batches, "a"))
        time.sleep(1.2)
    assert len(of(batches, "a")) == count


def test_a_source_that_is_gone_is_polled_no_more(reader, batches):
    lane = lane_of(reader, batches, due("a", 1, "c"), due("b", 1, "c"))
    with running(lane):
        wait_until(lambda: of(batches, "b"))
        lane.replace([due("a", 1, "c")])
        count = len(of(batches, "a"))
        wait_until(lambda: len(of(batches, "a")) == count + 2)
    assert len(of(batches, "b")) <= 2


def test_a_cycle_at_hand_ends_with_the_sources_that_it_began_with(reader, batches):
    lane = lane_of(reader, batches, due("a", 1, "c"))
    reader.hold.clear()
    with running(lane):
        wait_until(lambda: reader.asked)
        lane.replace([due("b", 1, "g")])
        reader.hold.set()
        wait_until(lambda: of(batches, "b"))
    assert [batch.source for batch in batches][:2] == ["a", "b"]


def test_no_cycle_begins_while_somebody_holds_the_lock(reader, batches):
    lane = lane_of(reader, batches, due("a", 1, "c"))
    with running(lane):
        wait_until(lambda: batches)
        with lane.cycle:
            count = len(reader.asked)
            time.sleep(1.5)
            assert len(reader.asked) == count
            lane.replace([due("b", 1, "g")])
        wait_until(lambda: of(batches, "b"))
    assert len(of(batches, "a")) == count
