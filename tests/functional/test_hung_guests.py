# SPDX-License-Identifier: Apache-2.0
"""Guests whose QEMU hangs (SIGSTOP) or is busy for another client, on real guests."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ceilo_agent import options
from ceilo_agent.discovery.libvirt.domains import LibvirtDomains
from ceilo_agent.inspection.libvirt import lines
from ceilo_agent.inspection.libvirt.inspector import LibvirtInspector
from ceilo_agent.meters.catalogue import catalogue
from ceilo_agent.plugins import Context
from ceilo_agent.polling.lane import Due, Lane
from ceilo_agent.polling.tracker import Tracker
from ceilo_agent.sample import Batch
from tests.functional import agent
from tests.guests import Guest, daemon, fleet

EVERYTHING = frozenset(entry.name for entry in catalogue("compute").meters)
INTERVAL = 10.0
DEADLINE = 5.0
ONLY_QEMU = "memory.resident"
WITHOUT_QEMU = "network.incoming.bytes"


@pytest.fixture(scope="module")
def guests() -> Iterator[list[Guest]]:
    with fleet(bare=12, prefix="ceilo-hung-") as made:
        # A libvirtd that was just started takes seconds for its first answer: it probes QEMU.
        with daemon.connection() as handle:
            handle.getAllDomainStats(0, 0)
        yield made


class Poller:
    """A real lane, whose cycles the tests begin."""

    def __init__(self, guests: Sequence[Guest]) -> None:
        conf = options.parse([], {"libvirt.uri": "qemu:///system"})
        context = Context("here", options.values(conf))
        self.batches: list[Batch] = []
        self.own = {guest.uuid for guest in guests}
        source = Due("s", INTERVAL, EVERYTHING, Tracker("s", EVERYTHING.__contains__, INTERVAL))
        self.lane = Lane(
            "compute",
            "here",
            LibvirtDomains(context),
            LibvirtInspector(context),
            [source],
            self.batches.append,
        )

    def poll(self) -> dict[str, dict[str, float]]:
        """Run a cycle; return the volumes of each guest's own resource by its id."""
        self.batches.clear()
        began = time.monotonic()
        self.lane.poll_all()
        assert time.monotonic() - began < DEADLINE + 0.5
        found: dict[str, dict[str, float]] = {}
        for sample in self.batches[0].samples if self.batches else ():
            owner = sample.resource.metadata.get("instance_id")
            if owner is None:  # the hypervisor's own
                continue
            found.setdefault(owner, {})[sample.meter.name] = sample.volume
        return found

    @property
    def lacking(self) -> dict[str, str]:
        """Return why each guest of this test lacks samples; others may run beside them."""
        missing = self.lane.missing.values()
        return {lack.target: lack.reason for lack in missing if lack.target in self.own}


@pytest.fixture
def poller(guests: Sequence[Guest]) -> Iterator[Poller]:
    made = Poller(guests)
    try:
        yield made
    finally:
        for guest in guests:
            with contextlib.suppress(ProcessLookupError):
                guest.cont_process()
        made.lane.close()


@contextlib.contextmanager
def hung(*guests: Guest) -> Iterator[None]:
    """Guests that hang for the length of a block."""
    for guest in guests:
        guest.stop_process()
    try:
        yield
    finally:
        for guest in guests:
            with contextlib.suppress(ProcessLookupError):
                guest.cont_process()


def check(
    found: dict[str, dict[str, float]], guests: Sequence[Guest], hanging: Sequence[Guest]
) -> None:
    """Hold a cycle against who hangs."""
    for guest in guests:
        own = found[guest.uuid]
        assert WITHOUT_QEMU in own, guest.name
        if guest in hanging:
            assert ONLY_QEMU not in own, guest.name
            assert own["monitor.state"] == 2, guest.name
            assert own["monitor.silence"] > 0.4, guest.name
        else:
            assert ONLY_QEMU in own, guest.name
            assert (own["monitor.state"], own["monitor.silence"]) == (0, 0), guest.name


def back_within_two_cycles(poller: Poller, guests: Sequence[Guest]) -> None:
    for _ in range(2):
        found = poller.poll()
        time.sleep(0.5)  # less than the shortest interval: the calls that were stuck return
    check(found, guests, [])
    assert not poller.lacking


@pytest.mark.parametrize("count", [1, 3])
def test_guests_that_hang_from_the_first_cycle_cost_only_their_own_samples(
    guests: list[Guest], poller: Poller, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    hanging = guests[::4][:count]
    with hung(*hanging):
        for _ in range(3):
            check(poller.poll(), guests, hanging)
            assert poller.lacking.keys() == {guest.uuid for guest in hanging}
    back_within_two_cycles(poller, guests)
    began, *again = [line for line in caplog.messages if "samples of ceilo-hung-" in line]
    assert "its QEMU does not answer; only what libvirt knows without it is read" in began
    # Some may be back one cycle after the others.
    assert all(line.startswith("compute: all samples of") for line in again), again
    assert sorted(re.findall(r"ceilo-hung-\d+", " ".join(again))) == [g.name for g in hanging]


def test_guests_that_begin_to_hang_one_after_another_are_told_apart(
    guests: list[Guest], poller: Poller
) -> None:
    check(poller.poll(), guests, [])
    with hung(guests[0]):
        check(poller.poll(), guests, guests[:1])
        with hung(guests[7], guests[11]):
            check(poller.poll(), guests, [guests[0], guests[7], guests[11]])
        poller.poll()
        check(poller.poll(), guests, guests[:1])
    back_within_two_cycles(poller, guests)


def test_a_guest_that_hangs_for_less_than_the_calls_timeout_is_whole(
    guests: list[Guest], poller: Poller
) -> None:
    poller.poll()
    with hung(guests[5]):
        threading.Timer(1.0, guests[5].cont_process).start()
        check(poller.poll(), guests, [])
    assert not poller.lacking


def test_a_guest_that_is_busy_for_another_client_is_waited_for(
    guests: list[Guest], poller: Poller
) -> None:
    poller.poll()
    busy = guests[2]
    with hung(busy), busy.domain() as domain:
        other = threading.Thread(target=domain.memoryStats)
        other.start()
        time.sleep(0.1)
        threading.Timer(1.0, busy.cont_process).start()
        check(poller.poll(), guests, [])
        other.join()
    assert not poller.lacking


def test_a_guest_that_another_clients_call_hangs_on_is_hung_for_us_at_once(
    guests: list[Guest], poller: Poller
) -> None:
    poller.poll()
    with guests[2].domain() as domain:
        other = threading.Thread(target=domain.memoryStats)
        with hung(guests[2]):
            other.start()
            time.sleep(1.0)
            check(poller.poll(), guests, guests[2:3])
        other.join()
    back_within_two_cycles(poller, guests)


def test_a_guest_that_is_killed_while_it_hangs_is_forgotten(
    guests: list[Guest], poller: Poller, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    gone = guests[3]
    others = [guest for guest in guests if guest is not gone]
    with hung(gone):
        check(poller.poll(), guests, [gone])
        os.kill(gone.pid, signal.SIGKILL)
    try:
        agent.wait_until(lambda: gone.state() == "shut off")
        for _ in range(2):
            found = poller.poll()
        assert gone.uuid not in found
        check(found, others, [])
        assert not poller.lacking
        assert not [line for line in caplog.messages if line.startswith("compute: all samples of")]
    finally:
        gone.start()
    back_within_two_cycles(poller, guests)


def test_beyond_the_cap_of_stuck_calls_only_what_needs_no_qemu_is_read(
    guests: list[Guest], poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MAX_STUCK", 3)
    with hung(*guests[:5]):
        for _ in range(2):
            found = poller.poll()
            assert found.keys() >= {guest.uuid for guest in guests}
            assert all(WITHOUT_QEMU in found[guest.uuid] for guest in guests)
        reasons = {reason.partition(" ")[0] for reason in poller.lacking.values()}
        assert reasons == {"its", "too"}
        assert poller.lane.inspector._reader._lines.in_flight <= 3  # type: ignore[attr-defined]
    back_within_two_cycles(poller, guests)


def held() -> tuple[int, int]:
    """Return how many threads and descriptors this process has."""
    return threading.active_count(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208


@pytest.mark.parametrize("cycles", [20, pytest.param(200, marks=pytest.mark.long)])
def test_nothing_grows_while_guests_hang_and_come_back(
    guests: list[Guest], poller: Poller, cycles: int
) -> None:
    poller.poll()
    before = held()
    with hung(guests[1], guests[6]):
        for _ in range(2):
            poller.poll()
        during = held()
        for _ in range(cycles):
            check(poller.poll(), guests, [guests[1], guests[6]])
        after = held()
        assert after[0] <= during[0] + 1
        assert after[1] <= during[1] + 2
    back_within_two_cycles(poller, guests)

    def settled() -> bool:
        # The threads that close connections end a moment later.
        poller.poll()
        now = held()
        return now[0] <= before[0] + 1 and now[1] <= before[1] + 2

    agent.wait_until(settled, what=f"{before} before, {held()} after")


def test_the_command_tells_who_hangs_and_ends_while_calls_are_stuck(
    guests: list[Guest], tmp_path: Path
) -> None:
    pipeline = tmp_path / "pipeline.yaml"
    output = tmp_path / "samples.json"
    pipeline.write_text(
        json.dumps(
            {
                "sources": [{"name": "all", "interval": 5, "meters": ["*"], "sinks": ["file"]}],
                "sinks": [{"name": "file", "publishers": [f"file://{output}"]}],
            }
        )
    )
    config = tmp_path / "agent.conf"
    config.write_text(
        f"[DEFAULT]\nstate_path = {tmp_path}/state\npipeline_cfg_file = {pipeline}\n"
        "[polling]\nnamespaces = compute\n[libvirt]\nuri = qemu:///system\n"
    )
    words = f"only some samples of {guests[4].name}: its QEMU does not answer"
    with hung(guests[4]):
        with agent.running("polling", config=config, log=tmp_path / "log"):
            agent.wait_until(lambda: words in (tmp_path / "log").read_text())
        # `running` has checked that it ended within 5 s.
        once = agent.run("poll", "--once", config=config, check=False)
    assert once.returncode == 1
    assert words in once.stderr
    assert guests[5].uuid in once.stdout
