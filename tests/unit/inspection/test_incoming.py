# SPDX-License-Identifier: Apache-2.0
"""Which guests are this host's, by their states; libvirt is faked at the edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import libvirt
import pytest

from ceilo_agent.discovery.libvirt.connection import Connection
from ceilo_agent.discovery.libvirt.guest import Guest, describe
from ceilo_agent.inspection.libvirt.incoming import Incoming

RUNNING = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED)
RECEIVED = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION)
BEGINNING = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP)
BY_USER = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER)
STOPPED = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED)
LEFT = (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED)


class Domain:
    """A virDomain, and its virConnect."""

    def __init__(self, uuid: str, state: tuple[int, int]) -> None:
        self.uuid, self.state = uuid, state
        self.fault: Exception | None = None
        self.asked = 0

    def connect(self) -> Domain:
        return self

    def UUIDString(self) -> str:  # noqa: N802 - libvirt's name
        return self.uuid

    def info(self) -> list[int]:
        return [self.state[0], 2048, 1024, 3, 0]

    def domainListGetStats(  # noqa: N802 - libvirt's name
        self, domains: Sequence[Domain], groups: int, _flags: int
    ) -> list[tuple[Domain, dict[str, Any]]]:
        assert groups == libvirt.VIR_DOMAIN_STATS_STATE
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return [(d, {"state.state": d.state[0], "state.reason": d.state[1]}) for d in domains]


def guest(uuid: str, state: tuple[int, int], run: int = 1) -> Guest:
    description = describe(f"<domain><name>{uuid}</name></domain>")
    return Guest(uuid, Domain(uuid, state), run, description, Connection("fake:///", "fake"))


def here(incoming: Incoming, *guests: Guest) -> list[str]:
    return [each.uuid for each in incoming.part(guests, float("inf"))[0]]


def test_guests_that_are_received_or_being_started_are_not_here() -> None:
    guests = [
        guest("a", RUNNING),
        guest("b", RECEIVED),
        guest("c", BEGINNING),
        guest("d", BY_USER),
        guest("e", STOPPED, run=-1),
    ]
    incoming = Incoming()
    found, rows = incoming.part(guests, float("inf"))
    assert [each.uuid for each in found] == ["a", "d", "e"]
    promised = {
        row.guest.uuid: (row.reply["vcpu.current"], row.reply["balloon.maximum"]) for row in rows
    }
    assert promised == {"b": (3, 2048), "c": (3, 2048)}


def test_a_guest_that_ran_here_is_here_until_it_has_left() -> None:
    incoming = Incoming()
    assert here(incoming, guest("a", RUNNING)) == ["a"]
    assert here(incoming, guest("a", RECEIVED)) == ["a"]
    assert incoming.is_here(guest("a", STOPPED), {"state.state": STOPPED[0]})
    assert not incoming.is_here(guest("a", LEFT), {"state.state": LEFT[0], "state.reason": LEFT[1]})
    assert here(incoming, guest("a", RECEIVED, run=2)) == [], "it comes back"


def test_guests_that_run_here_are_asked_for_once() -> None:
    incoming = Incoming()
    running = guest("a", RUNNING)
    for _ in range(3):
        assert here(incoming, running) == ["a"]
    assert running.domain.asked == 1
    incoming.forget(set())
    assert here(incoming, running) == ["a"]
    assert running.domain.asked == 2


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_where_libvirt_does_not_tell_all_are_here(seconds: float) -> None:
    received = guest("b", RECEIVED)
    received.domain.fault = libvirt.libvirtError("the daemon is gone")
    assert Incoming().part([received], seconds) == ([received], ())
