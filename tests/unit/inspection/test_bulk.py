# SPDX-License-Identifier: Apache-2.0
"""The bulk call, with libvirt's objects faked at the edge."""

import time

import libvirt
import pytest

from ceilo_agent.discovery.libvirt.calls import MAX_IN_FLIGHT
from ceilo_agent.discovery.libvirt.connection import Connection
from ceilo_agent.discovery.libvirt.guest import Guest
from ceilo_agent.inspection.libvirt import bulk


class Hypervisor:
    def __init__(self):
        self.calls = []
        self.error = None
        self.pause = 0.0
        self.gone = set()
        self.runs = {}

    def domainListGetStats(self, domains, groups, flags):  # noqa: N802 - libvirt's name
        self.calls.append((len(domains), groups, flags))
        time.sleep(self.pause)
        if self.error:
            raise self.error
        return [(d, {"state.state": 1}) for d in domains if d.uuid not in self.gone]


class Domain:
    def __init__(self, hypervisor, uuid):
        self.hypervisor, self.uuid = hypervisor, uuid

    def connect(self):
        return self.hypervisor

    def UUIDString(self):  # noqa: N802 - libvirt's name
        return self.uuid

    def ID(self):  # noqa: N802 - libvirt's name
        return self.hypervisor.runs.get(self.uuid, 1)


class Named:
    name = "a-guest"


@pytest.fixture
def hypervisor():
    return Hypervisor()


def fleet(hypervisor, size):
    connection = Connection("fake:///", "fake")
    return [Guest(str(n), Domain(hypervisor, str(n)), 1, Named(), connection) for n in range(size)]


def read(guests, seconds=5.0):
    missing = []
    rows = list(bulk.read(guests, 7, time.monotonic() + seconds, missing))
    return rows, missing


@pytest.mark.parametrize(
    ("size", "calls"), [(1, 1), (8, 1), (9, 2), (24, 3), (100, MAX_IN_FLIGHT), (5000, 3)]
)
def test_calls_are_few_and_all_guests_are_read_without_waiting(hypervisor, size, calls):
    rows, missing = read(fleet(hypervisor, size))
    assert sorted(int(row.guest.uuid) for row in rows) == list(range(size))
    assert missing == []
    assert len(hypervisor.calls) == calls
    assert {call[1:] for call in hypervisor.calls} == {(7, bulk.NOWAIT)}


def test_each_guest_has_its_own_moment_within_the_call(hypervisor):
    hypervisor.pause = 0.2
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    rows, _ = read(fleet(hypervisor, 4))
    after = time.clock_gettime(time.CLOCK_BOOTTIME)
    clocks = [row.clock for row in rows]
    assert clocks == sorted(set(clocks))
    assert before < clocks[0] < clocks[-1] < after
    assert clocks[-1] - clocks[0] == pytest.approx(0.15, abs=0.05)


def test_a_guest_that_vanished_or_began_another_run_gives_nothing_and_is_not_missing(hypervisor):
    hypervisor.gone = {"0"}
    hypervisor.runs = {"1": -1, "2": 9}
    rows, missing = read(fleet(hypervisor, 4))
    assert [row.guest.uuid for row in rows] == ["3"]
    assert missing == []


def test_a_call_without_an_answer_costs_only_its_own_guests(hypervisor):
    slow, quick = Hypervisor(), hypervisor
    slow.pause = 3.0
    guests = fleet(slow, 8) + fleet(quick, 8)
    guests = [Guest(str(n), g.domain, 1, g.description, g.connection) for n, g in enumerate(guests)]
    for number, guest in enumerate(guests):
        guest.domain.uuid = str(number)
    rows, missing = read(guests, 0.5)
    assert sorted(int(row.guest.uuid) for row in rows) == list(range(8, 16))
    assert sorted(int(lack.target) for lack in missing) == list(range(8))
    assert missing[0].name == "a-guest"
    assert missing[0].reason == "libvirt did not answer in time for a call about 8 guests"


def test_an_error_of_libvirt_is_the_reason(hypervisor):
    hypervisor.error = libvirt.libvirtError("the daemon is gone")
    rows, missing = read(fleet(hypervisor, 2))
    assert rows == []
    # libvirt's class takes the text of the thread's last error where there was one.
    assert [lack.reason for lack in missing] == [f"libvirt: {hypervisor.error}"] * 2
