# SPDX-License-Identifier: Apache-2.0
"""Who has a device on the host that several guests name."""

from __future__ import annotations

from typing import Any

from ceilo_agent.discovery.libvirt.connection import Connection
from ceilo_agent.discovery.libvirt.guest import Guest, describe
from ceilo_agent.inspection.libvirt.rows import Row
from ceilo_agent.inspection.libvirt.taps import Taps


def row(uuid: str, *names: str, run: int = 1) -> Row:
    description = describe(f"<domain><name>{uuid}</name></domain>")
    guest = Guest(uuid, None, run, description, Connection("fake:///", "fake"))
    reply: dict[str, Any] = {"net.count": len(names)}
    reply |= {f"net.{number}.name": name for number, name in enumerate(names)}
    return Row(guest, reply, 0.0)


def test_a_device_that_one_guest_names_is_its_own() -> None:
    assert Taps().taken([row("a", "tap0", "tap1"), row("b", "tap2"), row("c")]) == {}


def test_the_guest_that_named_it_last_has_it_however_long_the_other_ran() -> None:
    taps = Taps()
    old, new = row("old", "tap0", run=9), row("new", "tap1", run=3)
    assert taps.taken([old, new]) == {}
    plugged = row("new", "tap1", "tap0", run=3)
    for order in ([old, plugged], [plugged, old]):
        assert taps.taken(order) == {"old": {"tap0"}}
    assert taps.taken([row("old", "tap0", run=10), plugged]) == {"new": {"tap0"}}


def test_where_both_named_it_at_first_sight_the_later_run_has_it() -> None:
    assert Taps().taken([row("a", "t", run=5), row("b", "t", run=4)]) == {"b": {"t"}}


def test_a_guest_that_was_not_heard_for_a_while_takes_nothing_over() -> None:
    taps = Taps()
    taps.taken([row("old", "t", run=1)])
    both = [row("old", "t", run=1), row("new", "t", run=2)]
    assert taps.taken(both) == {"old": {"t"}}
    assert taps.taken(both[1:]) == {}
    assert taps.taken(both) == {"old": {"t"}}
    taps.forget({"old"})
    assert taps.taken(both) == {"old": {"t"}}


def test_a_device_that_was_unplugged_and_plugged_again_is_named_anew() -> None:
    taps = Taps()
    taps.taken([row("a", "t", run=1), row("b", run=2)])
    assert taps.taken([row("a", "t", run=1), row("b", "t", run=2)]) == {"a": {"t"}}
    taps.taken([row("a", run=1), row("b", "t", run=2)])
    assert taps.taken([row("a", "t", run=1), row("b", "t", run=2)]) == {"b": {"t"}}
