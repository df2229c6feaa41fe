# SPDX-License-Identifier: Apache-2.0
"""Pressure of host and guests, and what the host has promised, against kernel and libvirt.

Which part a machine can show depends on its control groups: version 2 tells pressure, throttling
and memory; version 1 throttling and memory; both mounted beside each other, all of it from two
places. A test of what is not there says so.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import libvirt
import pytest

from ceilo_agent.discovery.libvirt.domains import LibvirtDomains
from ceilo_agent.inspection.host.inspector import HostInspector
from ceilo_agent.inspection.host.sensors import SYS_CLASS
from ceilo_agent.inspection.libvirt import cgroup
from ceilo_agent.inspection.libvirt.inspector import LibvirtInspector
from ceilo_agent.meters import catalogue
from ceilo_agent.plugins import Context, Observation, Snapshot, Target
from ceilo_agent.sample import Volume
from tests.functional.agent import wait_until
from tests.functional.conftest import lacking
from tests.guests import daemon
from tests.guests.fleet import Guest

HOST = "node-7"
OPTIONS = {
    "libvirt.uri": daemon.URI,
    "libvirt.call_timeout": 2.0,
    "libvirt.metadata_refresh": 600.0,
    "compute.report_stopped_instance_metrics": True,
}
EVERYTHING = frozenset(entry.name for entry in catalogue("compute").meters)
RESOURCES = ("cpu", "memory", "io")
MIB = 1024 * 1024

Values = Mapping[str, Volume]


class Agent:
    """Discovery and inspector of guests, as a lane has them."""

    def __init__(self) -> None:
        context = Context(HOST, OPTIONS)
        self._discovery = LibvirtDomains(context)
        self._inspector = LibvirtInspector(context)

    def poll(self) -> Snapshot:
        deadline = time.monotonic() + 10
        listing = self._discovery.discover(deadline)
        return self._inspector.inspect(listing.targets, EVERYTHING, deadline)

    def read(self, resource_id: str) -> Values:
        """Return what one resource gives now, empty without."""
        seen = [each for each in self.poll().observations if each.resource.id == resource_id]
        return given(seen[0]) if seen else {}

    def close(self) -> None:
        self._inspector.close()
        self._discovery.close()


def given(observation: Observation) -> Values:
    pairs = zip(observation.columns, observation.volumes, strict=True)
    return {column.meter.name: volume for column, volume in pairs if volume is not None}


@pytest.fixture
def subject() -> Iterator[Agent]:
    made = Agent()
    yield made
    made.close()


# -- The kernel's files, found by the process and read without the code under test ---------------


def place_of(guest: Guest, controller: str) -> Path:
    """Return the control group of a guest's QEMU: of version 2 where the controller is empty."""
    line = next(
        (
            line
            for line in Path(f"/proc/{guest.pid}/cgroup").read_text().splitlines()
            if controller in line.split(":", 2)[1].split(",") and (controller or line[0] == "0")
        ),
        None,
    )
    if line is None:
        lacking(f"no control groups of {controller or 'version 2'} here")
        raise AssertionError
    inside = Path(line.split(":", 2)[2].lstrip("/"))
    while inside.name in ("emulator", "libvirt"):
        inside = inside.parent
    for entry in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, options, *_ = entry.split()
        right = kind == "cgroup" and controller in options.split(",") if controller else False
        if right or (not controller and kind == "cgroup2"):
            return Path(mount) / inside
    raise AssertionError(f"{line} is not mounted")


def totals(file: Path) -> dict[str, int]:
    """Return the stall times of a file of pressure, in us."""
    lines = [line.split() for line in file.read_text().splitlines()]
    return {words[0]: int(words[-1].removeprefix("total=")) for words in lines}


# -- Guests --------------------------------------------------------------------------------------


@pytest.mark.parametrize("resource", RESOURCES)
def test_pressure_of_a_guest_is_the_kernels(
    booted: list[Guest], subject: Agent, resource: str
) -> None:
    for guest in booted:
        file = place_of(guest, "") / f"{resource}.pressure"
        if not file.exists():
            lacking("this kernel has no pressure stall information")
        before = totals(file)
        found = subject.read(f"{guest.uuid}-cgroup")
        after = totals(file)
        for who in ("some", "full"):
            assert before[who] <= found[f"pressure.{resource}.{who}"] <= after[who]
            assert 0 <= found[f"pressure.{resource}.{who}.avg10"] <= 100


def test_memory_of_a_guest_is_what_its_control_group_holds(
    booted: list[Guest], subject: Agent
) -> None:
    guest = booted[0]
    found = subject.read(f"{guest.uuid}-cgroup")
    unified = place_of(guest, "") / "memory.current"
    file = unified
    if not unified.exists():
        file = place_of(guest, "memory") / "memory.usage_in_bytes"
    assert found["memory.charged"] == pytest.approx(int(file.read_text()) / MIB, rel=0.1, abs=4)
    assert found["memory.oom_kills"] == 0


def test_a_quota_shows_as_throttling_and_as_pressure(booted: list[Guest], subject: Agent) -> None:
    guest = booted[0]
    before = subject.read(f"{guest.uuid}-cgroup")
    if "cpu.quota.throttled" not in before:
        lacking("no control groups of the CPU controller here")
    with guest.domain() as domain:
        domain.setSchedulerParameters({"vcpu_period": 10_000, "vcpu_quota": 1_000})
        try:

            def squeezed() -> Values:
                found = subject.read(f"{guest.uuid}-cgroup")
                names = ("cpu.quota.throttled", "cpu.quota.throttled.time", "cpu.quota.periods")
                # The first reading may have missed a group of threads: each name has to rise.
                return found if all(found[n] > before[n] for n in names) else {}

            found = wait_until(squeezed, 30, "a guest with a tenth of a CPU was not throttled")
        finally:
            domain.setSchedulerParameters({"vcpu_period": 100_000, "vcpu_quota": -1})
    assert found["cpu.quota.throttled"] <= found["cpu.quota.periods"]
    if "pressure.cpu.some" not in found:
        lacking("no control groups of version 2 with pressure here")
    assert found["pressure.cpu.some"] > before["pressure.cpu.some"]


def test_nobody_needs_a_privilege_to_read_them(
    booted: list[Guest], subject: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: set[Path] = set()
    real = cgroup._content

    def content(path: str) -> bytes:
        opened.add(Path(path))
        return real(path)

    monkeypatch.setattr(cgroup, "_content", content)
    assert subject.read(f"{booted[0].uuid}-cgroup")
    assert opened
    assert [path for path in opened if not path.stat().st_mode & stat.S_IROTH] == []
    folders = {parent for path in opened for parent in path.parents}
    assert [path for path in folders if not path.stat().st_mode & stat.S_IXOTH] == []


def test_a_guest_that_stopped_has_no_control_group_and_a_new_run_begins_anew(
    booted: list[Guest], subject: Agent
) -> None:
    guest = booted[1]

    def incarnation() -> str | None:
        name = f"{guest.uuid}-cgroup"
        seen = [each for each in subject.poll().observations if each.resource.id == name]
        return seen[0].incarnation if seen else None

    first = incarnation()
    assert first is not None
    guest.destroy()
    try:
        assert incarnation() is None
    finally:
        guest.start()
    assert incarnation() not in (None, first)


# -- What the host has promised ------------------------------------------------------------------


def promised() -> tuple[int, int, dict[int, int]]:
    """Return vCPUs, KiB and the states of all guests, as libvirt tells them."""
    vcpus = memory = 0
    states: dict[int, int] = {}
    with daemon.connection() as connection:
        flags = libvirt.VIR_DOMAIN_STATS_STATE
        groups = flags | libvirt.VIR_DOMAIN_STATS_VCPU | libvirt.VIR_DOMAIN_STATS_BALLOON
        for _, reply in connection.getAllDomainStats(groups):
            state = reply["state.state"]
            states[state] = states.get(state, 0) + 1
            if state != libvirt.VIR_DOMAIN_SHUTOFF:
                vcpus += reply["vcpu.current"]
                memory += reply["balloon.maximum"]
    return vcpus, memory, states


def test_what_is_promised_is_the_sum_over_all_guests(booted: list[Guest], subject: Agent) -> None:
    booted[1].destroy()
    with booted[1].domain() as domain:
        # Not by a suspend: libvirt 9.0 cannot resume a guest whose tap device has an address.
        domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    try:

        def steady() -> tuple[Values, tuple[int, int, dict[int, int]]] | None:
            before = promised()
            found = subject.read(f"{HOST}.hypervisor")
            # Others may start and stop guests of this libvirtd in between.
            return (found, before) if promised() == before else None

        found, (vcpus, memory, states) = wait_until(steady, 30, "the guests never stood still")
    finally:
        booted[1].destroy()
        booted[1].start()
    assert found["hypervisor.vcpus.allocated"] == vcpus >= 3
    assert found["hypervisor.memory.allocated"] == memory / 1024
    assert found["hypervisor.guests.running"] == states.get(libvirt.VIR_DOMAIN_RUNNING, 0)
    assert found["hypervisor.guests.paused"] == states.get(libvirt.VIR_DOMAIN_PAUSED, 0) >= 1
    assert found["hypervisor.guests.stopped"] == states.get(libvirt.VIR_DOMAIN_SHUTOFF, 0)
    with daemon.connection() as connection:
        processors = connection.getInfo()[2]
        # Not that of getInfo: it leaves out memory that no NUMA node has.
        every = libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS
        present = connection.getMemoryStats(every)["total"] // 1024
    assert found["hypervisor.vcpus.present"] == processors == os.sysconf("SC_NPROCESSORS_ONLN")
    assert found["hypervisor.memory.present"] == present
    assert found["hypervisor.vcpus.ratio"] == vcpus / processors
    assert found["hypervisor.memory.ratio"] == pytest.approx(memory / 1024 / present)


def test_a_hung_guest_is_counted_and_keeps_its_part_and_its_pressure(
    booted: list[Guest], subject: Agent
) -> None:
    guest = booted[1]
    before = subject.read(f"{HOST}.hypervisor")
    assert "hypervisor.vcpus.allocated" in before
    guest.stop_process()
    try:

        def hung() -> Mapping[str, Values]:
            seen = {each.resource.id: given(each) for each in subject.poll().observations}
            found = seen[f"{HOST}.hypervisor"]
            bad = found["hypervisor.guests.hung"] + found["hypervisor.guests.unread"]
            return seen if bad >= 1 else {}

        seen = wait_until(hung, 30, "the guest was not told to hang")
    finally:
        guest.cont_process()
    assert seen[f"{HOST}.hypervisor"]["hypervisor.vcpus.allocated"] >= 3
    assert "pressure.cpu.some" in seen.get(f"{guest.uuid}-cgroup", {"pressure.cpu.some": 0})


# -- The host ------------------------------------------------------------------------------------


def read_host() -> dict[str, Values]:
    wanted = frozenset(entry.name for entry in catalogue("host").meters)
    snapshot = HostInspector(Context(HOST, {})).inspect(
        [Target(HOST)], wanted, time.monotonic() + 10
    )
    return {each.resource.id: given(each) for each in snapshot.observations}


def test_pressure_of_the_host_is_the_kernels() -> None:
    files = {path.name: path for path in Path("/proc/pressure").glob("*")}
    if not files:
        lacking("this kernel has no pressure stall information")
    before = {name: totals(path) for name, path in files.items()}
    found = read_host()[HOST]
    after = {name: totals(path) for name, path in files.items()}
    checked = 0
    for name in files:
        for who, first in before[name].items():
            if (name, who) == ("cpu", "full"):  # not defined for a whole machine
                continue
            assert first <= found[f"hardware.pressure.{name}.{who}"] <= after[name][who]
            assert 0 <= found[f"hardware.pressure.{name}.{who}.avg10"] <= 100
            checked += 1
    assert checked >= 5


def test_sensors_of_this_machine_are_within_reason() -> None:
    kinds = {e.name for e in catalogue("host").meters if e.kind == "host_sensor"}
    found = [values for values in read_host().values() if kinds & values.keys()]
    if not found:
        pytest.skip(f"LEFT OUT: no sensor below {SYS_CLASS}; unit tests read recorded ones")
    for values in found:
        assert -60 < values.get("hardware.temperature", 0) < 200
        assert values.get("hardware.fan.speed", 0) >= 0
