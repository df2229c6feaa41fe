# SPDX-License-Identifier: Apache-2.0
"""libvirtd comes and goes under the agent: the real one, with real guests that run on."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import libvirt
import pytest

from ceilo_agent import options
from ceilo_agent.discovery.libvirt import connection
from ceilo_agent.discovery.libvirt.domains import LibvirtDomains
from ceilo_agent.inspection.libvirt import harvest
from ceilo_agent.inspection.libvirt.inspector import LibvirtInspector
from ceilo_agent.meters.catalogue import catalogue
from ceilo_agent.plugins import Context
from ceilo_agent.polling.lane import Due, Lane
from ceilo_agent.polling.tracker import Tracker
from ceilo_agent.sample import FIRST, Batch, Previous, Sample, SampleType
from tests.functional import agent
from tests.guests import Guest, daemon, fleet

EVERYTHING = frozenset(entry.name for entry in catalogue("compute").meters)
INTERVAL = 2.0
DEADLINE = 1.0
"""Of a cycle, which the interval gives."""
SLACK = 0.5
PREFIX = "ceilo-daemon-"
LATER = {name for name in EVERYTHING if name.split(".")[0] == "cpu" or "bandwidth" in name}
"""Meters that a libvirtd that was just started cannot tell."""
SOCKET = Path("/run/libvirt/libvirt-sock-ro")


@pytest.fixture(scope="module")
def guests() -> Iterator[list[Guest]]:
    with fleet(bare=6, prefix=PREFIX) as made:
        ask_for_all()
        yield made


class Cycle(NamedTuple):
    """What one cycle of the lane gave; times are CLOCK_MONOTONIC."""

    began: float
    ended: float
    fault: str | None
    lacking: dict[str, str]
    samples: Sequence[Sample]

    def meters(self) -> dict[str, set[str]]:
        """Return the names of the meters of each guest, by the guest's id."""
        found: dict[str, set[str]] = {}
        for sample in self.samples:
            owner = sample.resource.metadata.get("instance_id")
            found.setdefault(str(owner), set()).add(sample.meter.name)
        return found


class Watched(Lane):
    """A lane on its own thread that keeps what its cycles gave of the guests of the test."""

    def __init__(self, guests: Sequence[Guest]) -> None:
        conf = options.parse([], {"libvirt.uri": "qemu:///system"})
        context = Context("here", options.values(conf))
        self.own = {guest.uuid for guest in guests}
        self.cycles: list[Cycle] = []
        self.batches: list[Batch] = []
        tracker = Tracker("s", EVERYTHING.__contains__, INTERVAL)
        super().__init__(
            "compute",
            "here",
            LibvirtDomains(context),
            LibvirtInspector(context),
            [Due("s", INTERVAL, EVERYTHING, tracker)],
            self.batches.append,
        )

    def poll(self, due: Sequence[Due]) -> None:
        self.batches.clear()
        began = time.monotonic()
        super().poll(due)
        ended = time.monotonic()
        missing = self.missing.values()
        lacks = {each.target: each.reason for each in missing if each.target in self.own}
        found = [sample for batch in self.batches for sample in batch.samples]
        own = [s for s in found if s.resource.metadata.get("instance_id") in self.own]
        self.cycles.append(Cycle(began, ended, self.fault, lacks, own))

    def since(self, moment: float) -> list[Cycle]:
        """Return the cycles that began after a moment."""
        return [cycle for cycle in list(self.cycles) if cycle.began > moment]

    def wait(self, condition: Callable[[Cycle], bool], seconds: float = 30.0) -> Cycle:
        """Wait for a cycle that begins from now on and is as wanted, and return it."""
        now = time.monotonic()
        return agent.wait_until(
            lambda: next(filter(condition, self.since(now)), None),
            seconds,
            f"no such cycle; the last: {self.cycles[-1][:4] if self.cycles else None}",
        )

    def is_whole(self, cycle: Cycle) -> bool:
        """Whether nothing is lacking of any guest of the test."""
        return cycle.fault is None and not cycle.lacking and cycle.meters().keys() == self.own


@contextlib.contextmanager
def running(guests: Sequence[Guest]) -> Iterator[Watched]:
    """A lane that polls for the length of a block."""
    made, stop = Watched(guests), threading.Event()
    thread = made.start(stop)
    try:
        yield made
    finally:
        stop.set()
        made.wake()
        thread.join(10)
        made.close()
        assert not thread.is_alive()


@pytest.fixture
def lane(guests: Sequence[Guest]) -> Iterator[Watched]:
    with running(guests) as made:
        yield made


def opened() -> float:
    """Return when a bare connection can be had."""
    end = time.monotonic() + 30
    while True:
        try:
            libvirt.openReadOnly("qemu:///system").close()
        except libvirt.libvirtError:
            assert time.monotonic() < end
            time.sleep(0.02)
        else:
            return time.monotonic()


def ask_for_all() -> None:
    """Have a bare connection give the figures of all guests.

    To ask a new libvirtd at once would hold a guest, and all listings, while it finds out what the
    host can do: the first call waits for that and holds nobody.
    """
    handle = libvirt.openReadOnly("qemu:///system")
    handle.getSecurityModel()
    assert handle.getAllDomainStats(0, 0)
    handle.close()


def kill() -> None:
    daemon.kill_libvirtd()


def check_beat(cycles: Sequence[Cycle]) -> None:
    """Each tick has its cycle, and no cycle takes longer than its deadline."""
    for cycle in cycles:
        assert cycle.ended - cycle.began < DEADLINE + SLACK, cycle[:4]
    for before, after in itertools.pairwise(cycles):
        assert after.began - before.began < INTERVAL + SLACK, (before[:4], after[:4])


def check_series(cycles: Sequence[Cycle]) -> None:
    """Every counter goes on over the gaps: no series begins anew, and no increase is invented."""
    series: dict[tuple[str, str], list[Sample]] = {}
    for cycle in cycles:
        for sample in cycle.samples:
            if sample.meter.type is SampleType.CUMULATIVE:
                series.setdefault((sample.resource.id, sample.meter.name), []).append(sample)
    assert series
    for name, samples in series.items():
        assert samples[0].previous is FIRST
        for before, after in itertools.pairwise(samples):
            previous = after.previous
            assert isinstance(previous, Previous), name
            assert previous.volume == before.volume <= after.volume, name
            assert previous.elapsed == pytest.approx(after.time - before.time, abs=0.2), name
            assert after.started == before.started, name
        if name[1] == "cpu":
            gained, seconds = samples[-1].volume - samples[0].volume, len(cycles) * INTERVAL
            assert gained <= seconds * 1e9 * (os.cpu_count() or 1), name


def held() -> tuple[int, int, int]:
    """Return the numbers of threads, descriptors and connections of this process."""
    gc.collect()
    handles = sum(isinstance(each, libvirt.virConnect) for each in gc.get_objects())
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), handles


@pytest.mark.parametrize(
    "rounds", [3, pytest.param(20, marks=[pytest.mark.long, pytest.mark.timeout(1800)])]
)
def test_every_cycle_is_complete_once_a_restarted_libvirtd_answers(
    rounds: int, guests: list[Guest], lane: Watched
) -> None:
    whole = lane.wait(lane.is_whole).meters()
    at_first = None
    for _ in range(rounds):
        time.sleep(random.uniform(0.0, INTERVAL))  # also in the middle of a cycle
        killed = time.monotonic()
        kill()
        lane.wait(lambda cycle: cycle.fault is not None)
        daemon.start_libvirtd()
        up = opened()
        complete = lane.wait(lane.is_whole)
        ask_for_all()
        lane.wait(lane.is_whole)
        for cycle in lane.since(up):
            # What libvirtd itself does not know for seconds is lacking, and nothing else.
            assert cycle.fault is None
            assert set(cycle.lacking.values()) <= {harvest.COLD}
            for owner in lane.own:
                assert whole[owner] - cycle.meters()[owner] <= LATER, owner
        for cycle in lane.since(complete.began):
            assert lane.is_whole(cycle), (cycle.fault, cycle.lacking)
        down = [str(cycle.fault) for cycle in lane.since(killed) if cycle.fault]
        assert "is libvirtd or virtqemud running?" in down[-1]
        if at_first is None:
            at_first = held()
    check_beat(lane.cycles)
    check_series(lane.cycles)
    agent.wait_until(
        lambda: all(now <= then for now, then in zip(held(), at_first or (), strict=True)),
        what=f"threads, descriptors, connections: {at_first}, then {held()}",
    )


def test_a_stopped_libvirtd_costs_no_beat_and_what_hangs_is_let_go(
    guests: list[Guest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "KEEPALIVE", (1, 2))
    monkeypatch.setattr(connection, "PATIENCE", 3.0)
    with running(guests) as lane:
        survive_a_stop(lane)


def survive_a_stop(lane: Watched) -> None:
    lane.wait(lane.is_whole)
    before = held()
    number = daemon.pid()
    assert number is not None
    os.kill(number, signal.SIGSTOP)
    try:
        # The keepalive finds the connection dead; another is opened and hangs.
        silent = lane.wait(lambda cycle: "does not answer" in (cycle.fault or ""))
        assert "is it just starting, stopped or overloaded?" in str(silent.fault)
        time.sleep(4 * INTERVAL)
        hanging = [t for t in threading.enumerate() if t.name.endswith("-open")]
        assert 0 < len(hanging) <= 4
    finally:
        os.kill(number, signal.SIGCONT)
    lane.wait(lane.is_whole)
    check_beat(lane.cycles)
    check_series(lane.cycles)
    agent.wait_until(
        lambda: all(now <= then for now, then in zip(held(), before, strict=True)),
        what=f"threads, descriptors, connections: {before}, then {held()}",
    )


def test_an_agent_that_is_connected_needs_no_socket_and_one_that_starts_says_so(
    lane: Watched, guests: list[Guest]
) -> None:
    lane.wait(lane.is_whole)
    with moved(SOCKET, SOCKET.with_name("elsewhere")):
        assert lane.is_whole(lane.wait(lambda _: True))
        late = Watched(guests)
        late.poll_all()
        assert late.cycles[0].fault is not None
        assert "the socket is not there: is libvirtd or virtqemud running?" in late.cycles[0].fault
    late.poll_all()
    assert late.is_whole(late.cycles[1])
    late.close()


def test_the_sockets_of_split_daemons_serve_as_well(guests: list[Guest]) -> None:
    """Debian's libvirt 9.0 has no virtqemud: libvirtd stands behind its socket."""
    with moved(SOCKET, SOCKET.with_name("virtqemud-sock-ro")):
        found = Watched(guests)
        found.poll_all()
        found.close()
    assert found.is_whole(found.cycles[0]), found.cycles[0].fault


@contextlib.contextmanager
def moved(path: Path, to: Path) -> Iterator[None]:
    """A socket under another name for the length of a block."""
    path.rename(to)
    try:
        yield
    finally:
        to.rename(path)
