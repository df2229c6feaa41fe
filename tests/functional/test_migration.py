# SPDX-License-Identifier: Apache-2.0
"""A real guest migrates between two libvirtds: one host reports it at a time, and no rate is false.

Both are on this machine, the second in namespaces of its own.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import libvirt
import pytest

from ceilo_agent.sample import FIRST
from tests.functional.cycles import Cycles, Seen, firsts, read, state
from tests.guests import Guest, daemon, fleet
from tests.guests.second import Second, second

SLOW = 25
"""MiB a second; a guest of this test has a few dozen to send."""


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    with fleet(booted=1, prefix="ceilo-move-") as made:
        made[0].wait_ready()
        with daemon.connection() as handle:
            handle.getSecurityModel()  # takes seconds when libvirtd was just started
        yield made[0]


@pytest.fixture(scope="module")
def other(guest: Guest) -> Iterator[Second]:
    with second() as made:
        yield made


@pytest.fixture
def here(guest: Guest) -> Iterator[Cycles]:
    yield from opened(Cycles([guest]))


@pytest.fixture
def there(guest: Guest, other: Second) -> Iterator[Cycles]:
    yield from opened(Cycles([guest], other.readonly_uri))


def opened(cycles: Cycles) -> Iterator[Cycles]:
    try:
        cycles.poll()
        yield cycles
    finally:
        cycles.close()


class Move(threading.Thread):
    """A migration under way; `end` waits for it and raises what went wrong."""

    def __init__(self, move: object, number: str) -> None:
        super().__init__(daemon=True)
        self._move = move
        self._number = number
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self._move(self._number, bandwidth=SLOW)  # type: ignore[operator]
        except libvirt.libvirtError as error:
            self.error = error

    def end(self) -> None:
        self.join(60)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error


def follow(move: Move, source: Cycles, target: Cycles, guest: Guest) -> tuple[list[Seen], ...]:
    """Poll both hosts by turns until some time after the move; return what each saw."""
    seen: tuple[list[Seen], list[Seen]] = ([], [])
    after = 0
    while after < 4:
        after += not move.is_alive()
        for found, cycles in zip(seen, (source, target), strict=True):
            found.append(cycles.of(guest))
        time.sleep(0.2)
    move.end()
    return seen


def check(before: list[Seen], after: list[Seen]) -> None:
    """One host reports a guest up to some moment, the other one from then on."""
    count = sum(bool(seen) for seen in before)
    assert count >= 3, "it was reported while it was sent"
    assert all(before[:count]), "the source reports in each cycle, and then no more"
    assert not any(before[count:])
    count = sum(bool(seen) for seen in after)
    assert count >= 3
    assert not any(after[:-count]), "the destination does not, and then in each cycle"
    assert all(after[-count:])
    last = max(s.time for seen in before for each in seen.values() for s in each.values())
    first = min(s.time for seen in after for each in seen.values() for s in each.values())
    assert last < first, "never both"
    began = after[-count]
    assert firsts(began) == {True}
    for last_seen, found in [*itertools.pairwise(before), *itertools.pairwise(after[-count:])]:
        for name, meters in read(found).items():
            for meter in meters & read(last_seen).get(name, set()):
                assert found[name][meter].previous is not FIRST, (name, meter)
    for found in [*before, *after]:
        for samples in found.values():
            for name, sample in samples.items():
                assert sample.volume >= 0 or not sample.meter.unit, name
    assert parts(began) == parts(before[0]), "the resources keep their ids"


def parts(seen: Seen) -> set[str]:
    """Return the resources; the second libvirtd has no control groups."""
    return {name for name in seen if not name.endswith("-cgroup")}


def test_a_guest_that_migrates_is_reported_by_one_host_at_a_time(
    guest: Guest, other: Second, here: Cycles, there: Cycles, caplog: pytest.LogCaptureFixture
) -> None:
    whole = here.of(guest)
    check(*follow(Move(other.take, guest.uuid), here, there, guest))
    # And back, to a host that knew it.
    check(*follow(Move(other.give_back, guest.uuid), there, here, guest))
    assert read(here.of(guest)) == read(whole)
    assert state(here.of(guest), guest) == 1
    said = [r.getMessage() for r in caplog.records if r.levelname in ("WARNING", "ERROR")]
    # What moves is busy at times; that is told.
    told = [line for line in said if guest.name in line and "is busy with another job" not in line]
    assert not told, said


def test_a_migration_that_is_given_up_changes_nothing(
    guest: Guest, other: Second, here: Cycles, there: Cycles
) -> None:
    here.of(guest)
    move = Move(other.take, guest.uuid)
    with guest.domain() as domain:
        for _ in range(3):
            seen = here.of(guest)
            assert firsts(seen) == {False}
            assert not there.of(guest)
        # Its memory is taken there already.
        assert there.hypervisor["hypervisor.memory.allocated"] == 160
        assert not there.lane.missing
        assert move.is_alive()
        domain.abortJob()
    with pytest.raises(libvirt.libvirtError):
        move.end()
    for _ in range(2):
        seen = here.of(guest)
        assert firsts(seen) == {False}
        assert not there.of(guest)


def test_a_guest_that_stays_defined_where_it_left_is_not_reported_as_stopped_there(
    guest: Guest, other: Second
) -> None:
    asked = {"compute.report_stopped_instance_metrics": True}
    here = Cycles([guest], **asked)
    there = Cycles([guest], other.readonly_uri, **asked)
    try:
        assert here.of(guest)
        assert not there.of(guest)
        other.take(guest.uuid, stay=True)
        assert not here.of(guest)
        assert state(there.of(guest), guest) == 1
        other.give_back(guest.uuid)
        assert state(here.of(guest), guest) == 1
        assert not there.of(guest)
    finally:
        here.close()
        there.close()
