# SPDX-License-Identifier: Apache-2.0
"""What a hypervisor has promised to its guests."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from typing import Any

import libvirt
import pytest

from ceilo_agent.discovery.libvirt.connection import Connection
from ceilo_agent.discovery.libvirt.guest import Guest, describe
from ceilo_agent.inspection.libvirt.allocation import KIND, Allocation
from ceilo_agent.inspection.libvirt.layout import GROUPS, Layout
from ceilo_agent.inspection.libvirt.rows import Condition, Row
from ceilo_agent.meters import catalogue
from ceilo_agent.sample import Volume

CATALOGUE = catalogue("compute")
WANTED = frozenset(entry.name for entry in CATALOGUE.meters if entry.kind == KIND)
RUNNING = libvirt.VIR_DOMAIN_RUNNING
PAUSED = libvirt.VIR_DOMAIN_PAUSED
SHUTOFF = libvirt.VIR_DOMAIN_SHUTOFF
LOCAL = Connection("qemu:///system", "test")


def guest_of(uuid: str, run: int = 1, connection: Connection = LOCAL) -> Guest:
    xml = f"<domain><name>{uuid}</name></domain>"
    return Guest(uuid, None, run, describe(xml), connection)


def row_of(
    guest: Guest,
    state: int = RUNNING,
    vcpus: int | None = 2,
    memory: int | None = 1024 * 1024,
    condition: Condition | None = Condition.ANSWERS,
) -> Row:
    reply: dict[str, Any] = {"state.state": state}
    if vcpus is not None:
        reply["vcpu.current"] = vcpus
    if memory is not None:
        reply["balloon.maximum"] = memory
    return Row(guest, reply, 5.0, condition)


def allocation(*, stopped: bool = False) -> Allocation:
    return Allocation(CATALOGUE, "node-7", stopped_are_listed=stopped)


def observe(
    subject: Allocation, guests: Sequence[Guest], rows: Sequence[Row], unread: Collection[str] = ()
) -> dict[str, Volume | None]:
    seen = subject.observe(guests, rows, unread, WANTED, time.monotonic() + 1)
    assert seen is not None
    names = [column.meter.name.removeprefix("hypervisor.") for column in seen.columns]
    return dict(zip(names, seen.volumes, strict=True))


def test_it_sums_what_guests_were_given_and_counts_their_states() -> None:
    guests = [guest_of(str(n)) for n in range(4)] + [guest_of("off", run=-1)]
    rows = [
        row_of(guests[0]),
        row_of(guests[1], vcpus=4, memory=512 * 1024, condition=Condition.BUSY),
        row_of(guests[2], PAUSED, condition=Condition.HUNG),
        row_of(guests[3], libvirt.VIR_DOMAIN_CRASHED, condition=None),
        row_of(guests[4], SHUTOFF, vcpus=8, memory=2**30),
    ]
    found = observe(allocation(stopped=True), guests, rows)
    cpus = os.sysconf("SC_NPROCESSORS_ONLN")
    assert found["vcpus.allocated"] == 2 + 4 + 2 + 2
    assert found["memory.allocated"] == 1024 + 512 + 1024 + 1024
    assert found["vcpus.present"] == cpus
    assert found["vcpus.ratio"] == 10 / cpus
    present = found["memory.present"]
    assert present is not None
    assert found["memory.ratio"] == 3584 / present
    counts = {name: found[f"guests.{name}"] for name in ("running", "paused", "crashed", "stopped")}
    assert counts == {"running": 2, "paused": 1, "crashed": 1, "stopped": 1}
    assert (found["guests.busy"], found["guests.hung"], found["guests.unread"]) == (1, 1, 0)


def test_stopped_guests_that_are_not_listed_are_not_counted_as_none() -> None:
    guest = guest_of("a")
    assert observe(allocation(), [guest], [row_of(guest)])["guests.stopped"] is None


def test_a_host_without_guests_has_promised_nothing() -> None:
    found = observe(allocation(), [], [])
    assert found["vcpus.allocated"] == 0
    assert found["memory.allocated"] == 0
    assert found["vcpus.ratio"] == 0
    assert found["guests.running"] == 0


def test_a_guest_that_does_not_answer_counts_with_what_it_was_given_before() -> None:
    subject = allocation()
    guests = [guest_of("a"), guest_of("b")]
    rows = [row_of(guest) for guest in guests]
    observe(subject, guests, rows)
    partial = row_of(guests[1], vcpus=None, memory=None, condition=Condition.HUNG)
    assert observe(subject, guests, [rows[0], partial])["vcpus.allocated"] == 4
    found = observe(subject, guests, rows[:1], {"b"})
    assert (found["vcpus.allocated"], found["guests.unread"]) == (4, 1)
    assert observe(subject, guests, rows[:1])["vcpus.allocated"] == 2, "it vanished"


def test_a_sum_that_lacks_a_part_is_absent_not_too_low() -> None:
    subject = allocation()
    guests = [guest_of("a"), guest_of("b")]
    found = observe(subject, guests, [row_of(guests[0])], {"b"})
    assert found["vcpus.allocated"] is None
    assert found["vcpus.ratio"] is None
    assert found["memory.allocated"] is None
    assert found["vcpus.present"] is not None
    observe(subject, guests, [row_of(guest) for guest in guests])
    again = [guests[0], guest_of("b", run=2)]
    assert observe(subject, again, [row_of(again[0])], {"b"})["vcpus.allocated"] is None


class Remote(Connection):
    """libvirt on another host, faked at the edge."""

    def __init__(self, answers: list[Any]) -> None:
        super().__init__("qemu+ssh://node-8/system", "test")
        self.answers = answers
        self.asked = 0

    def get(self, deadline: float) -> Any:
        del deadline
        return self

    def getInfo(self) -> Any:  # noqa: N802 - libvirt's name
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_another_host_is_asked_what_it_has_and_seldom() -> None:
    remote = Remote([["x86_64", 64000, 32, 2400, 2, 1, 8, 2]])
    subject = allocation()
    guest = guest_of("a", connection=remote)
    for _ in range(3):
        found = observe(subject, [guest], [row_of(guest)])
    assert (found["vcpus.present"], found["memory.present"]) == (32, 64000)
    assert found["vcpus.ratio"] == 2 / 32
    assert remote.asked == 1


def test_a_host_that_does_not_say_what_it_has_costs_only_that() -> None:
    remote = Remote([libvirt.libvirtError("not supported")])
    guest = guest_of("a", connection=remote)
    found = observe(allocation(), [guest], [row_of(guest)])
    assert found["vcpus.allocated"] == 2
    assert found["vcpus.present"] is None
    assert found["vcpus.ratio"] is None


def test_nothing_is_done_where_no_meter_of_it_is_wanted() -> None:
    guest = guest_of("a")
    rows = [row_of(guest)]
    assert allocation().observe([guest], rows, (), frozenset({"cpu"}), 0.0) is None


@pytest.mark.parametrize(
    ("meter", "groups"),
    [
        ("hypervisor.guests.running", ("state",)),
        ("hypervisor.vcpus.allocated", ("state", "vcpu")),
        ("hypervisor.memory.ratio", ("state", "balloon")),
        ("pressure.cpu.some", ("state",)),
    ],
)
def test_libvirt_is_asked_for_no_more_than_they_need(meter: str, groups: Sequence[str]) -> None:
    expected = 0
    for group in groups:
        expected |= GROUPS[group]
    assert Layout(CATALOGUE, frozenset({meter})).groups == expected


def test_the_resource_is_not_the_machine_itself() -> None:
    seen = allocation().observe([], [], (), WANTED, time.monotonic() + 1)
    assert seen is not None
    assert seen.resource.id == "node-7.hypervisor"
    assert seen.resource.metadata == {"host": "node-7"}
