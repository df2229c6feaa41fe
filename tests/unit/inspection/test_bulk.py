# SPDX-License-Identifier: Apache-2.0
"""One cycle's reading, with libvirt faked at the edge: its connections, domains and their jobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import libvirt
import pytest

from ceilo_agent.discovery.libvirt.calls import MAX_IN_FLIGHT
from ceilo_agent.discovery.libvirt.connection import Connection
from ceilo_agent.discovery.libvirt.guest import Guest, describe
from ceilo_agent.errors import Unavailable
from ceilo_agent.inspection.libvirt import lines
from ceilo_agent.inspection.libvirt.asks import NOWAIT
from ceilo_agent.inspection.libvirt.reader import Reader
from ceilo_agent.inspection.libvirt.rows import MONITOR_FREE, Condition, Row
from ceilo_agent.plugins import Missing

GROUPS = libvirt.VIR_DOMAIN_STATS_STATE | libvirt.VIR_DOMAIN_STATS_BALLOON
WHOLE = {"state.state": 1, "balloon.current": 5, "balloon.rss": 9}
PART = {"state.state": 1, "balloon.current": 5}
TIMEOUT = 1.2


class Fault(libvirt.libvirtError):
    """An error of libvirt with a domain and a code of our choice."""

    def __init__(self, domain: int, code: int) -> None:
        super().__init__("the daemon is gone")
        self.err = (code, domain, "the daemon is gone", 2, None, None, None, 0, 0)


class Hypervisor:
    """Guests whose jobs are held like those of QEMU's driver: by a call that hangs, or `busy`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.calls: list[tuple[list[str], int, int]] = []
        self.error: Exception | None = None
        self.failures = 10**6
        self.pause = 0.0
        self.gone: set[str] = set()
        self.runs: dict[str, int] = {}
        self.hung: dict[str, threading.Event] = {}
        self.busy: set[str] = set()
        self.without: set[str] = set()
        self.held: dict[str, float] = {}
        self.opened = 0
        self.refuses = False

    def hang(self, *uuids: str) -> None:
        self.hung |= {uuid: threading.Event() for uuid in uuids}

    def wake(self, *uuids: str) -> None:
        for uuid in uuids:
            self.hung.pop(uuid).set()

    def stats(self, uuids: Sequence[str], groups: int, flags: int) -> list[dict[str, Any]]:
        with self.lock:
            self.calls.append((list(uuids), groups, flags))
        time.sleep(self.pause)
        if self.error and self.failures > 0:
            self.failures -= 1
            raise self.error
        return [self._stats(uuid, groups, flags) for uuid in uuids]

    def _stats(self, uuid: str, groups: int, flags: int) -> dict[str, Any]:
        if not groups & ~MONITOR_FREE or uuid in self.without:
            return dict(PART)
        while uuid in self.busy and not flags & NOWAIT:
            time.sleep(0.01)
        with self.lock:
            if uuid in self.held or uuid in self.busy:
                return dict(PART)
            self.held[uuid] = time.monotonic()
        if (woken := self.hung.get(uuid)) is not None:
            woken.wait(30)
        del self.held[uuid]
        return dict(WHOLE)


class Handle:
    """A virConnect."""

    def __init__(self, hypervisor: Hypervisor) -> None:
        self.hypervisor = hypervisor

    def isAlive(self) -> int:  # noqa: N802 - libvirt's name
        return 1

    def setKeepAlive(self, *_: int) -> None:  # noqa: N802 - libvirt's name
        pass

    def close(self) -> None:
        pass

    def lookupByUUIDString(self, uuid: str) -> Domain:  # noqa: N802 - libvirt's name
        if uuid in self.hypervisor.gone:
            raise Fault(libvirt.VIR_FROM_QEMU, libvirt.VIR_ERR_NO_DOMAIN)
        return Domain(self.hypervisor, uuid)

    def domainListGetStats(  # noqa: N802 - libvirt's name
        self, domains: Sequence[Domain], groups: int, flags: int
    ) -> list[tuple[Domain, dict[str, Any]]]:
        found = [each for each in domains if each.uuid not in self.hypervisor.gone]
        replies = self.hypervisor.stats([each.uuid for each in found], groups, flags)
        return list(zip(found, replies, strict=True))


class Domain:
    """A virDomain."""

    def __init__(self, hypervisor: Hypervisor, uuid: str) -> None:
        self.hypervisor, self.uuid = hypervisor, uuid

    def UUIDString(self) -> str:  # noqa: N802 - libvirt's name
        return self.uuid

    def ID(self) -> int:  # noqa: N802 - libvirt's name
        return self.hypervisor.runs.get(self.uuid, 1)

    def controlInfo(self) -> list[int]:  # noqa: N802 - libvirt's name
        if self.uuid in self.hypervisor.busy:
            return [libvirt.VIR_DOMAIN_CONTROL_JOB, 0, 0]
        since = self.hypervisor.held.get(self.uuid)
        if since is None:
            return [libvirt.VIR_DOMAIN_CONTROL_OK, 0, 0]
        return [libvirt.VIR_DOMAIN_CONTROL_OCCUPIED, 0, int((time.monotonic() - since) * 1000)]


@pytest.fixture
def hypervisor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hypervisor]:
    made = Hypervisor()

    def opened(_uri: str) -> Handle:
        made.opened += 1
        if made.refuses:
            raise Fault(libvirt.VIR_FROM_RPC, libvirt.VIR_ERR_SYSTEM_ERROR)
        return Handle(made)

    monkeypatch.setattr(libvirt, "openReadOnly", opened)
    yield made
    made.busy.clear()
    made.wake(*list(made.hung))


@pytest.fixture
def reader(hypervisor: Hypervisor) -> Iterator[Reader]:
    made = Reader("fake:///", TIMEOUT)
    yield made
    made.close()


def fleet(hypervisor: Hypervisor, size: int) -> list[Guest]:
    connection = Connection("fake:///", "discovery")
    description = describe("<domain><name>a-guest</name></domain>")
    return [
        Guest(str(n), Domain(hypervisor, str(n)), 1, description, connection) for n in range(size)
    ]


def read(
    reader: Reader, guests: Sequence[Guest], seconds: float = 5.0
) -> tuple[dict[str, Row], dict[str, Missing]]:
    rows, missing = reader.read(guests, GROUPS, time.monotonic() + seconds)
    return {row.guest.uuid: row for row in rows}, {lack.target: lack for lack in missing}


@pytest.mark.parametrize(
    ("size", "calls"), [(1, 1), (8, 1), (9, 2), (24, 3), (100, MAX_IN_FLIGHT), (5000, 3)]
)
def test_calls_are_few_and_all_guests_are_read_over_one_connection(
    hypervisor: Hypervisor, reader: Reader, size: int, calls: int
) -> None:
    for _ in range(2):
        hypervisor.calls.clear()
        rows, missing = read(reader, fleet(hypervisor, size))
        assert list(rows) == [str(n) for n in range(size)]
        assert missing == {}
        assert len(hypervisor.calls) == calls
        assert {call[1:] for call in hypervisor.calls} == {(GROUPS, NOWAIT)}
    assert hypervisor.opened == 1
    assert {row.reply["monitor.state"] for row in rows.values()} == {0}
    assert {row.reply["monitor.silence"] for row in rows.values()} == {0}


def test_each_guest_has_its_own_moment_within_the_call(
    hypervisor: Hypervisor, reader: Reader
) -> None:
    hypervisor.pause = 0.2
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    rows, _ = read(reader, fleet(hypervisor, 4))
    after = time.clock_gettime(time.CLOCK_BOOTTIME)
    clocks = [row.clock for row in rows.values()]
    assert clocks == sorted(set(clocks))
    assert before < clocks[0] < clocks[-1] < after
    assert clocks[-1] - clocks[0] == pytest.approx(0.15, abs=0.05)


def test_a_guest_that_vanished_or_began_another_run_gives_nothing_and_is_not_missing(
    hypervisor: Hypervisor, reader: Reader
) -> None:
    guests = fleet(hypervisor, 4)
    hypervisor.gone = {"0"}
    hypervisor.runs = {"1": -1, "2": 9}
    rows, missing = read(reader, guests)
    assert list(rows) == ["3"]
    assert missing == {}


def test_those_that_hang_cost_only_what_their_qemu_tells(
    hypervisor: Hypervisor, reader: Reader
) -> None:
    guests = fleet(hypervisor, 40)
    hung = {"3", "4", "20", "39"}
    hypervisor.hang(*hung)
    rows, missing = read(reader, guests)
    assert list(rows) == [guest.uuid for guest in guests]
    assert missing.keys() == hung
    assert {each.reason for each in missing.values()} == {
        "its QEMU does not answer; only what libvirt knows without it is read"
    }
    for uuid, row in rows.items():
        condition = Condition.HUNG if uuid in hung else Condition.ANSWERS
        assert row.condition is condition
        assert row.reply["monitor.state"] == condition
        assert ("balloon.rss" in row.reply) is (uuid not in hung)
    assert all(rows[uuid].reply["monitor.silence"] >= TIMEOUT for uuid in hung)


def test_while_they_hang_nobody_waits_for_them_and_calls_stay_few(
    hypervisor: Hypervisor, reader: Reader
) -> None:
    guests = fleet(hypervisor, 40)
    hypervisor.hang("3", "20")
    read(reader, guests)
    for _ in range(5):
        hypervisor.calls.clear()
        began = time.monotonic()
        rows, missing = read(reader, guests)
        assert time.monotonic() - began < 0.5  # the patience alone is as long
        assert len(rows) == 40
        assert missing.keys() == {"3", "20"}
        assert len(hypervisor.calls) == MAX_IN_FLIGHT + 1
    hypervisor.wake("3", "20")
    for _ in range(2):
        rows, missing = read(reader, guests)
    assert missing == {}
    assert {row.condition for row in rows.values()} == {Condition.ANSWERS}


def test_an_answer_before_the_timeout_counts_and_nobody_is_held(
    hypervisor: Hypervisor, reader: Reader
) -> None:
    guests = fleet(hypervisor, 12)
    hypervisor.hang("3")
    threading.Timer(0.8, hypervisor.wake, ["3"]).start()
    rows, missing = read(reader, guests)
    assert missing == {}
    assert rows["3"].condition is Condition.ANSWERS
    assert "balloon.rss" in rows["3"].reply


def test_the_deadline_holds_where_it_comes_before_the_timeout(
    hypervisor: Hypervisor, reader: Reader
) -> None:
    hypervisor.hang("3")
    rows, missing = read(reader, fleet(hypervisor, 12), 0.9)
    assert missing.keys() == {"3"}
    assert len(rows) == 12


def test_a_busy_guest_is_waited_for_within_the_timeout(
    hypervisor: Hypervisor, reader: Reader
) -> None:
    guests = fleet(hypervisor, 12)
    hypervisor.busy = {"3"}
    threading.Timer(0.4, hypervisor.busy.clear).start()
    rows, missing = read(reader, guests)
    assert missing == {}
    assert "balloon.rss" in rows["3"].reply
    assert hypervisor.calls[-1] == (["3"], GROUPS, 0)


def test_a_guest_that_stays_busy_is_told_from_one_that_hangs(
    hypervisor: Hypervisor, reader: Reader
) -> None:
    guests = fleet(hypervisor, 12)
    hypervisor.busy = {"3"}
    for _ in range(2):
        rows, missing = read(reader, guests)
        assert missing["3"].partial
        assert "busy with another job" in missing["3"].reason
        assert rows["3"].reply["monitor.state"] == 1
    hypervisor.busy.clear()
    rows, missing = read(reader, guests)
    assert missing == {}


def test_a_guest_that_another_clients_call_hangs_on_is_not_waited_for(
    hypervisor: Hypervisor, reader: Reader
) -> None:
    guests = fleet(hypervisor, 12)
    hypervisor.held["3"] = time.monotonic() - 10
    rows, missing = read(reader, guests)
    assert rows["3"].reply["monitor.state"] == 2
    assert rows["3"].reply["monitor.silence"] >= 10
    assert all(flags == NOWAIT for _, _, flags in hypervisor.calls)
    assert missing.keys() == {"3"}


def test_guests_that_never_give_what_qemu_tells_are_asked_twice_only_once(
    hypervisor: Hypervisor, reader: Reader
) -> None:
    guests = fleet(hypervisor, 12)
    hypervisor.without = {"3", "4"}
    _, missing = read(reader, guests)
    assert missing == {}
    assert sorted(map(len, (call[0] for call in hypervisor.calls))) == [2, 6, 6]
    hypervisor.calls.clear()
    rows, missing = read(reader, guests)
    assert missing == {}
    assert len(hypervisor.calls) == 2
    assert rows["3"].condition is Condition.ANSWERS


def test_no_more_calls_than_the_cap_are_ever_stuck(
    hypervisor: Hypervisor, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MAX_STUCK", 4)
    guests = fleet(hypervisor, 24)
    hypervisor.hang(*(str(n) for n in range(0, 24, 3)))
    for _ in range(3):
        rows, missing = read(reader, guests, 3.0)
        assert len(hypervisor.held) <= 4
    assert len(rows) == 24, "what needs no QEMU is read of all"
    reasons = {lack.reason.partition(";")[0] for lack in missing.values()}
    assert any("too many calls" in reason for reason in reasons)
    hypervisor.wake(*list(hypervisor.hung))
    for _ in range(2):
        rows, missing = read(reader, guests)
    assert missing == {}


def test_an_error_of_libvirt_is_the_reason(hypervisor: Hypervisor, reader: Reader) -> None:
    hypervisor.error = Fault(libvirt.VIR_FROM_QEMU, libvirt.VIR_ERR_INTERNAL_ERROR)
    rows, missing = read(reader, fleet(hypervisor, 2))
    assert rows == {}
    assert [lack.reason for lack in missing.values()] == [f"libvirt: {hypervisor.error}"] * 2
    assert not any(lack.partial for lack in missing.values())


@pytest.mark.parametrize("moments", [1, 10**6])
def test_a_guest_that_fails_its_call_costs_no_other_one_its_samples(
    hypervisor: Hypervisor, reader: Reader, monkeypatch: pytest.MonkeyPatch, moments: int
) -> None:
    """libvirt fails the whole call when a QEMU dies in the middle of it."""
    answers, failed = hypervisor.stats, 0

    def stats(uuids: Sequence[str], groups: int, flags: int) -> list[dict[str, Any]]:
        nonlocal failed
        if "7" in uuids and failed < moments:
            failed += 1
            raise Fault(libvirt.VIR_FROM_QEMU, libvirt.VIR_ERR_OPERATION_FAILED)
        return answers(uuids, groups, flags)

    monkeypatch.setattr(hypervisor, "stats", stats)
    rows, missing = read(reader, fleet(hypervisor, 24))
    broken = set() if moments == 1 else {"7"}
    assert rows.keys() == {str(n) for n in range(24)} - broken
    assert missing.keys() == broken
    assert failed <= 6


def test_a_connection_that_was_lost_is_opened_anew_in_the_same_cycle(
    hypervisor: Hypervisor, reader: Reader
) -> None:
    read(reader, fleet(hypervisor, 2))
    hypervisor.error = Fault(libvirt.VIR_FROM_RPC, libvirt.VIR_ERR_INTERNAL_ERROR)
    hypervisor.failures = 1
    rows, missing = read(reader, fleet(hypervisor, 2))
    assert len(rows) == 2
    assert missing == {}


def test_without_a_connection_nothing_can_be_read(hypervisor: Hypervisor, reader: Reader) -> None:
    hypervisor.refuses = True
    with pytest.raises(Unavailable, match="fake:/// cannot be reached"):
        read(reader, fleet(hypervisor, 2))
