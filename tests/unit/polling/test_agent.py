# SPDX-License-Identifier: Apache-2.0
"""The lanes of an agent, and how they follow another configuration; the host is a real one."""

import gc
import time
import weakref

import pytest

from ceilo_agent.errors import PluginError
from ceilo_agent.inspection.host.inspector import HostInspector
from ceilo_agent.plugins import Context
from ceilo_agent.polling.agent import PollingAgent
from ceilo_agent.polling.making import Making, Selected

CONTEXT = Context("h", {"libvirt.uri": "test:///default", "libvirt.call_timeout": 2.0})
UPTIME, MEMORY = "hardware.uptime", "hardware.memory.total"


def source(name, interval, *meters):
    return Selected(name, interval, set(meters).__contains__)


class Agent:
    """An agent on this host, and what it delivered."""

    def __init__(self, state, *sources):
        self.batches = []
        self.making = Making(CONTEXT, self.batches.append, state)
        self.agent = PollingAgent(self.making.plan(["host"], sources).fresh)
        self.agent.start()

    def plan(self, *sources, namespaces=("host",)):
        return self.making.plan(namespaces, sources, self.agent.lanes)

    def replace(self, *sources, namespaces=("host",)):
        plan = self.plan(*sources, namespaces=namespaces)
        with self.agent.between_cycles(5, lambda: False) as idle:
            assert idle
            self.agent.replace(plan)

    def count(self, name):
        return sum(batch.source == name for batch in self.batches)


@pytest.fixture
def agent(tmp_path):
    made = Agent(tmp_path, source("s", 1, UPTIME))
    yield made
    assert made.agent.stop()


def test_a_lane_goes_on_with_other_sources(agent):
    (lane,) = agent.agent.lanes
    wait_until(lambda: agent.count("s"))
    agent.replace(source("s", 1, UPTIME), source("t", 60, MEMORY))
    wait_until(lambda: agent.count("t"))
    assert agent.agent.lanes == [lane]


def test_a_lane_that_nothing_asks_for_ends_and_one_that_is_asked_for_again_goes_on_counting(agent):
    (lane,) = agent.agent.lanes
    wait_until(lambda: agent.count("s") >= 2)
    agent.replace(source("s", 1, "power.state"), namespaces=("host",))
    assert agent.agent.lanes == []
    assert agent.agent.left == {"host": lane}
    time.sleep(0.3)
    count = agent.count("s")
    time.sleep(1.2)
    assert agent.count("s") == count
    agent.replace(source("s", 1, UPTIME))
    (again,) = agent.agent.lanes
    assert again is not lane
    assert agent.agent.left == {}
    wait_until(lambda: agent.count("s") > count)
    assert again.counters.cycles >= agent.count("s") - 1
    # The readings were kept on disk in between.
    assert agent.batches[count].samples[0].previous.elapsed >= 1


def test_a_plan_that_cannot_be_made_changes_nothing(agent):
    with pytest.raises(PluginError, match="'hots'"):
        agent.plan(source("s", 1, UPTIME), namespaces=("host", "hots"))
    plan = agent.plan(source("t", 1, UPTIME))
    agent.agent.discard(plan)
    wait_until(lambda: agent.count("s") >= 2)
    assert not agent.count("t")


def test_a_cycle_that_does_not_end_is_waited_for_so_long_and_holds_up_nothing(agent):
    (lane,) = agent.agent.lanes
    wait_until(lambda: agent.count("s"))
    with lane.cycle:
        began = time.monotonic()
        with agent.agent.between_cycles(0.3, lambda: False) as idle:
            assert not idle
        assert 0.2 < time.monotonic() - began < 1
        with agent.agent.between_cycles(10, lambda: True) as idle:
            assert not idle
    with agent.agent.between_cycles(5, lambda: False) as idle:
        assert idle


def test_lanes_that_are_gone_are_let_go(agent):
    gone = weakref.ref(agent.agent.lanes[0])
    agent.replace(source("s", 1, "power.state"), namespaces=("host",))
    agent.replace(source("s", 1, UPTIME))

    def let_go():
        agent.replace(source("s", 1, UPTIME))
        gc.collect()
        return gone() is None

    wait_until(let_go)


def test_a_namespace_that_is_not_there_leaves_nothing_of_the_others_open(agent, monkeypatch):
    closed = []
    monkeypatch.setattr(HostInspector, "close", lambda self: closed.append(self.discovery))
    with pytest.raises(PluginError):
        agent.making.plan(["host", "hots"], [source("s", 1, UPTIME)])
    assert len(closed) == 1


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
