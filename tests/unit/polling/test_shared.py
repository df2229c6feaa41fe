# SPDX-License-Identifier: Apache-2.0
"""Lanes that share their work: what is polled in a slot, with which time, and what a change does.

The share, the discovery and the inspector at the edge are steered by the tests.
"""

import itertools
import threading
import time

import pytest

from ceilo_agent.plugins import Context, Discovery, Inspector, Listing, Snapshot, Target
from ceilo_agent.polling import making
from ceilo_agent.polling.agent import PollingAgent
from ceilo_agent.polling.lane import Due
from ceilo_agent.polling.making import Making, Selected
from ceilo_agent.polling.shared import Alone, SharedLane
from ceilo_agent.polling.sharing import Sharing
from ceilo_agent.polling.tracker import Tracker
from ceilo_agent.sample import FIRST, Resource
from tests.unit.polling.test_agent import wait_until
from tests.unit.polling.test_tracker import PLAIN, seen

CONTEXT = Context("host", {})
TARGETS = ("a", "b", "c")


class View:
    def __init__(self, owned, members=("me",)):
        self.owned = set(owned)
        self.valid = True
        self.members = members

    def owns(self, key):
        return key in self.owned


class Part:
    """A share that the test gives."""

    noticed_within = 0.2

    def __init__(self, *owned):
        self.now = View(owned)
        self.calls = []
        self.leaves = True

    def start(self):
        self.calls.append("start")

    def view(self):
        return self.now

    def stop(self, seconds):
        self.calls.append("stop")
        return self.leaves


class Places(Discovery):
    shared = True
    asked = ()

    def want(self, meters, resources):
        self.asked = (meters, resources)

    def discover(self, deadline):
        return Listing([Target(name) for name in (self.asked[1] or TARGETS)])


class Reader(Inspector):
    discovery = "places"

    def __init__(self, context=CONTEXT):
        super().__init__(context)
        self.read = []
        self.during = lambda: None
        self.closed = 0

    def meters(self):
        return [column.meter for column in PLAIN]

    def inspect(self, targets, wanted, deadline):
        found = []
        for target in targets:
            if self.may_read(target):
                self.read.append(target.id)
                clock = time.clock_gettime(time.CLOCK_BOOTTIME)
                resource = Resource(target.id, None, None, "thing", {})
                volumes = (1, len(self.read))
                found.append(seen(PLAIN, *volumes, resource=resource, clock=clock, owner=target.id))
                self.during()
        return Snapshot(found, [])

    def close(self):
        self.closed += 1


def due(name, interval, *resources):
    tracker = Tracker(name, {"g", "c"}.__contains__, interval, by_owner=True)
    return Due(name, interval, frozenset({"g", "c"}), tracker, resources)


class Bench:
    """A lane on its thread, and what it gave."""

    def __init__(self, part, *sources):
        self.batches = []
        self.reader = Reader()
        arguments = ("places", "host", Places(CONTEXT), self.reader, sources, self.batches.append)
        self.lane = SharedLane(*arguments, share=part)
        self.stop = threading.Event()

    def samples(self):
        return [sample for batch in self.batches for sample in batch.samples]

    def run(self):
        self.thread = self.lane.start(self.stop)

    def end(self):
        self.stop.set()
        self.lane.wake()
        self.thread.join(5)


@pytest.fixture
def run():
    made = []

    def begin(part, *sources):
        bench = Bench(part, *sources)
        made.append(bench)
        bench.run()
        return bench

    yield begin
    for bench in made:
        bench.end()


def test_samples_have_the_time_at_which_the_slot_began(run):
    bench = run(Part("a", "b"), due("s", 1))
    wait_until(lambda: len(bench.batches) >= 3)
    for batch in bench.batches:
        assert {sample.resource.id for sample in batch.samples} == {"a", "b"}
        (moment,) = {sample.time for sample in batch.samples}
        assert moment == int(moment)
    moments = [batch.samples[0].time for batch in bench.batches]
    assert moments == [moments[0] + n for n in range(len(moments))]


def test_what_is_gained_is_polled_at_once_in_the_present_slot_and_nothing_else_again(run):
    part = Part("a")
    bench = run(part, due("s", 3600))
    wait_until(lambda: bench.reader.read == ["a"])
    part.now = View({"a", "b"})
    bench.lane.rebalanced()
    wait_until(lambda: bench.reader.read == ["a", "b"])
    wait_until(lambda: len(bench.batches) == 2)
    first, second = ({sample.time for sample in batch.samples} for batch in bench.batches)
    assert first == second


def test_nothing_is_polled_before_the_share_is_known(run):
    part = Part()
    bench = run(part, due("s", 3600))
    wait_until(lambda: bench.lane.counters.cycles)
    assert bench.reader.read == []
    part.now = View(TARGETS)
    bench.lane.rebalanced()
    wait_until(lambda: len(bench.reader.read) == len(TARGETS))


def test_what_was_lost_begins_anew_when_it_comes_back():
    part = Part("a", "b")
    bench = Bench(part, due("s", 1))

    def poll():
        bench.lane._polled.clear()
        bench.lane.poll_all()
        return {s.resource.id: s.previous for s in bench.batches[-1].samples}

    poll()
    part.now = View({"a"})
    assert poll()["a"] is not FIRST
    part.now = View({"a", "b"})
    previous = poll()
    assert previous["b"] is FIRST
    assert previous["a"] is not FIRST


def test_a_share_that_is_lost_in_mid_cycle_ends_it_and_what_was_read_is_dropped(caplog):
    part = Part(*TARGETS)
    bench = Bench(part, due("s", 1))
    bench.reader.during = lambda: setattr(part.now, "valid", False)
    bench.lane.poll_all()
    assert len(bench.reader.read) == 1
    assert bench.samples() == []
    assert "the share is another's by now" in caplog.text
    bench.reader.during = lambda: None
    part.now = View(TARGETS)
    bench.lane.poll_all()
    assert len(bench.samples()) == 2 * len(TARGETS)


def test_a_source_of_a_longer_interval_polls_what_is_gained_for_its_own_slot(run):
    part = Part("a")
    bench = run(part, due("short", 1800), due("long", 3600))
    wait_until(lambda: len(bench.batches) == 2)
    part.now = View({"a", "b"})
    bench.lane.rebalanced()
    wait_until(lambda: len(bench.batches) == 4)
    gained = bench.batches[2:]
    assert [batch.source for batch in gained] == ["short", "long"]
    assert [{s.resource.id for s in batch.samples} for batch in gained] == [{"b"}, {"b"}]
    assert [batch.samples[0].time % 1800 for batch in gained] == [0, 0]
    assert gained[1].samples[0].time % 3600 == 0


@pytest.mark.parametrize("step", [-3600, 3600])
@pytest.mark.parametrize("cycle", [True, False], ids=["in a cycle", "between two"])
def test_slots_go_on_when_the_clock_is_set(run, monkeypatch, step, cycle):
    ahead = [0]
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + ahead[0])
    bench = run(Part("a"), due("s", 2))
    wait_until(lambda: len(bench.batches) == 1)
    if cycle:
        bench.reader.during = lambda: ahead.__setitem__(0, step)
    else:
        ahead[0] = step
    wait_until(lambda: len(bench.batches) >= 4)
    moments = [batch.samples[0].time for batch in bench.batches[:4]]
    assert len(set(moments)) == 4, "none is polled twice"
    assert {b - a for a, b in itertools.pairwise(moments) if abs(b - a) < 1800} == {2}
    assert abs(moments[-1] - moments[0] - step) < 10
    assert bench.lane.counters.clock_steps == 1
    assert bench.lane.counters.missed == 0


# -- Making and leaving ------------------------------------------------------------------------


@pytest.fixture
def plugins(monkeypatch):
    made = []

    def load(kind, name):
        if kind == making.plugins.DISCOVERY:
            return Places

        def reader(context):
            made.append(Reader(context))
            return made[-1]

        return reader

    monkeypatch.setattr(making.plugins, "load", load)
    return made


def selected(name, *resources):
    return Selected(name, 3600, {"g"}.__contains__, (), resources)


def test_a_source_with_resources_has_a_lane_of_its_own(plugins):
    plan = Making(CONTEXT, print).plan(["places"], [selected("s"), selected("t", "http://x")])
    assert [lane.name for lane in plan.fresh] == ["places", "places:t"]
    assert {lane.namespace for lane in plan.fresh} == {"places"}
    assert [lane._discovery.asked for lane in plan.fresh] == [
        (frozenset("g"), ()),
        (frozenset("g"), ("http://x",)),
    ]


def test_a_lane_goes_on_over_a_reload_unless_its_inspector_reads_other_files(plugins):
    maker = Making(CONTEXT, print)
    running = maker.plan(["places"], [selected("s")]).fresh
    again = maker.plan(["places"], [selected("s")], running)
    assert [lane for lane, _ in again.kept] == running
    assert not again.fresh
    assert plugins[-1].closed == 1
    running[0].inspector.digest = "before"
    changed = maker.plan(["places"], [selected("s")], running)
    assert not changed.kept
    assert [lane.name for lane in changed.fresh] == ["places"]
    assert plugins[-1].closed == 0


def test_a_share_is_asked_for_with_the_first_lane_and_left_with_the_last(plugins):
    part = Part(*TARGETS)
    sharing = Sharing(lambda namespace, changed: part)
    maker = Making(CONTEXT, lambda batch: None, None, sharing.of)
    agent = PollingAgent(maker.plan(["places"], [selected("s")]).fresh, sharing=sharing)
    assert part.calls == []
    agent.start()
    assert part.calls == ["start"]
    agent.replace(maker.plan(["places"], [], agent.lanes))
    assert part.calls == ["start", "stop"]
    assert agent.stop()
    assert part.calls == ["start", "stop"]


def test_an_agent_that_leaves_goes_on_until_the_others_know_if_a_slot_begins(plugins):
    part = Part(*TARGETS)
    part.now = View(TARGETS, ("me", "other"))
    part.noticed_within = 1.5
    sharing = Sharing(lambda namespace, changed: part)
    batches = []
    maker = Making(CONTEXT, batches.append, None, sharing.of)
    source = Selected("s", 1, {"g"}.__contains__)
    agent = PollingAgent(maker.plan(["places"], [source]).fresh, sharing=sharing)
    agent.start()
    wait_until(lambda: batches)
    count = len(batches)
    assert agent.stop()
    assert len(batches) > count


def test_an_agent_ends_though_the_back_end_does_not_answer(plugins, caplog):
    part = Part(*TARGETS)
    part.now = View(TARGETS, ("me", "other"))
    part.noticed_within = 3600
    part.leaves = False
    sharing = Sharing(lambda namespace, changed: part)
    maker = Making(CONTEXT, lambda batch: None, None, sharing.of)
    agent = PollingAgent(maker.plan(["places"], [selected("s")]).fresh, sharing=sharing)
    agent.start()
    assert not agent.stop(), "the process must not wait for it either"
    assert "will notice that this agent is gone when its heartbeats lack" in caplog.text


def test_one_agent_alone_owns_all():
    assert Alone().view().owns("anything")
