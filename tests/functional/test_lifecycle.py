# SPDX-License-Identifier: Apache-2.0
"""What becomes of the samples when real guests come, go and change."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import libvirt
import pytest

from ceilo_agent.discovery.libvirt import domains
from ceilo_agent.sample import FIRST, Previous
from tests.functional.cycles import Cycles, firsts, read, resource, state, volumes
from tests.guests import Guest, daemon, fleet
from tests.guests.nova import NAMESPACE

PREFIX = "ceilo-life-"
STOPPED = {"compute.report_stopped_instance_metrics": True}

OF_A_STOPPED_GUEST = {
    "power.state": 5,
    "power.state.reason": libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED,
    "vcpus": 1,
    "vcpus.maximum": 1,
    "memory": 16,
    "memory.maximum": 16,
    "disk.root.size": 1,
    "disk.ephemeral.size": 0,
}
OF_ITS_DISK = {"disk.device.capacity", "disk.device.allocation", "disk.device.usage"}


@pytest.fixture(scope="module")
def guests() -> Iterator[list[Guest]]:
    with fleet(bare=3, prefix=PREFIX) as made:
        with daemon.connection() as handle:
            handle.getSecurityModel()  # takes seconds when libvirtd was just started
        yield made


@pytest.fixture(scope="module")
def linux() -> Iterator[Guest]:
    """A guest that takes part when a device is unplugged."""
    with fleet(booted=1, prefix=f"{PREFIX}linux-") as made:
        made[0].wait_ready()
        yield made[0]


@pytest.fixture
def cycles(guests: list[Guest], quiet: None) -> Iterator[Cycles]:
    made = Cycles(guests)
    try:
        made.poll()
        yield made
    finally:
        made.close()
        running(guests)


@pytest.fixture
def stopped_too(guests: list[Guest], quiet: None) -> Iterator[Cycles]:
    made = Cycles(guests, **STOPPED)
    try:
        made.poll()
        yield made
    finally:
        made.close()
        running(guests)


SLOW = ("is slow to answer", "is busy with another job", "libvirt was just started")


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing above INFO is logged, but about guests of others that may run beside."""
    yield
    ours = re.compile(re.escape(PREFIX))
    anybody = re.compile(r"ceilo-\w+-")
    for when in ("setup", "call"):
        for record in caplog.get_records(when):
            said = record.getMessage()
            # As slow as this host is busy: a start may hold a guest for seconds, and so may a
            # libvirtd that was started for this test a moment ago.
            if any(words in said for words in SLOW):
                continue
            if record.levelno > logging.INFO and (ours.search(said) or not anybody.search(said)):
                pytest.fail(f"logged: {said}")


def running(guests: list[Guest]) -> None:
    for guest in guests:
        with contextlib.suppress(libvirt.libvirtError):  # it runs
            guest.start()


def nic(guest: Guest) -> str:
    return f"{guest.name}-{guest.uuid}-{guest.taps[0]}"


def nothing_fell(seen: dict[str, Any]) -> None:
    """No counter and nothing derived from one is below what it was, or below zero."""
    for samples in seen.values():
        for name, sample in samples.items():
            assert sample.volume >= 0 or sample.meter.unit == "", name
            if sample.meter.type == "cumulative" and isinstance(sample.previous, Previous):
                assert sample.volume >= sample.previous.volume, name


def test_a_guest_that_is_destroyed_and_started_is_gone_and_begins_anew(
    guests: list[Guest], cycles: Cycles
) -> None:
    guest = guests[0]
    before = cycles.of(guest)
    assert firsts(before) == {False}
    guest.destroy()
    assert not cycles.until(guest, lambda seen: not seen)
    assert not cycles.lane.missing
    guest.start()
    after = cycles.until(guest, bool)
    assert after.keys() == before.keys()
    assert firsts(after) == {True}
    for samples in after.values():
        for sample in samples.values():
            assert sample.started == sample.time
    assert firsts(cycles.of(guest)) == {False}


def test_a_restart_between_two_cycles_gives_no_reading_before(
    guests: list[Guest], cycles: Cycles
) -> None:
    guest = guests[0]
    guest.destroy()
    guest.start()
    seen = cycles.until(guest, bool)
    assert firsts(seen) == {True}
    assert not any(name.endswith((".delta", ".rate")) for each in seen.values() for name in each)


def test_a_guest_whose_qemu_is_killed_is_gone_and_comes_back(
    guests: list[Guest], cycles: Cycles
) -> None:
    guest = guests[1]
    os.kill(guest.pid, signal.SIGKILL)
    # Also the cycle that begins before libvirt has noticed.
    cycles.poll()
    assert not cycles.until(guest, lambda seen: not seen)
    guest.start()
    assert firsts(cycles.until(guest, bool)) == {True}


def test_a_killed_guest_is_reported_as_crashed_where_stopped_ones_are(
    guests: list[Guest], stopped_too: Cycles
) -> None:
    guest = guests[1]
    os.kill(guest.pid, signal.SIGKILL)
    seen = stopped_too.until(guest, lambda seen: state(seen, guest) == 5)
    found = resource(seen, guest.uuid).metadata
    assert (found["status"], found["state"], found["state_reason"]) == (
        "stopped",
        "shutdown",
        "crashed",
    )


def test_a_paused_guest_is_paused_and_its_series_go_on(guests: list[Guest], cycles: Cycles) -> None:
    guest = guests[0]
    started = {n: s.started for n, s in cycles.of(guest)[guest.uuid].items()}
    with guest.domain() as domain:
        domain.suspend()
        seen = cycles.until(guest, lambda seen: state(seen, guest) == 3)
        assert resource(seen, guest.uuid).metadata["status"] == "paused"
        assert resource(seen, guest.uuid).metadata["state_reason"] == "user"
        assert firsts(seen) == {False}
        nothing_fell(seen)
        # libvirt 9.0 sets it anew and minds that it is there.
        subprocess.run(["ip", "address", "flush", "dev", guest.taps[0]], check=True)
        domain.resume()
    seen = cycles.until(guest, lambda seen: state(seen, guest) == 1)
    assert resource(seen, guest.uuid).metadata["status"] == "active"
    assert firsts(seen) == {False}
    nothing_fell(seen)
    assert {n: s.started for n, s in seen[guest.uuid].items()} == started


def test_a_stopped_guest_gives_its_state_and_sizes_and_nothing_else(
    guests: list[Guest], stopped_too: Cycles
) -> None:
    guest = guests[0]
    guest.destroy()
    seen = stopped_too.until(guest, lambda seen: state(seen, guest) == 5)
    assert volumes(seen.pop(guest.uuid)) == OF_A_STOPPED_GUEST
    disk = volumes(seen.pop(f"{guest.uuid}-vda"))
    assert disk.keys() == OF_ITS_DISK
    assert disk["disk.device.capacity"] == 64 << 20
    assert disk["disk.device.allocation"] <= disk["disk.device.usage"] < 64 << 20
    assert not seen
    guest.start()
    seen = stopped_too.until(guest, lambda seen: state(seen, guest) == 1)
    assert seen[guest.uuid]["cpu"].previous is FIRST


def test_a_guest_that_is_renamed_undefined_and_defined_is_seen_so(
    guests: list[Guest], stopped_too: Cycles
) -> None:
    guest = guests[2]
    guest.destroy()
    stopped_too.until(guest, lambda seen: state(seen, guest) == 5)
    with guest.domain() as domain:
        domain.rename(f"{guest.name}-new")
        seen = stopped_too.until(
            guest, lambda seen: resource(seen, guest.uuid).metadata["name"] == f"{guest.name}-new"
        )
        assert firsts({guest.uuid: {"memory": seen[guest.uuid]["memory"]}}) == {False}
        domain.rename(guest.name)
        xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        domain.undefine()
        try:
            assert not stopped_too.until(guest, lambda seen: not seen)
        finally:
            domain.connect().defineXML(xml)
    seen = stopped_too.until(guest, bool)
    assert resource(seen, guest.uuid).metadata["name"] == guest.name
    assert firsts(seen) == {True}


def test_a_guest_without_a_definition_is_seen_while_it_runs(
    guests: list[Guest], stopped_too: Cycles
) -> None:
    guest = guests[2]
    with guest.domain() as domain:
        xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        connection = domain.connect()
        domain.undefine()
        try:
            assert firsts(stopped_too.of(guest)) == {False}
            domain.destroy()
            assert not stopped_too.until(guest, lambda seen: not seen)
        finally:
            connection.defineXML(xml)


def test_new_title_description_and_metadata_of_a_running_guest_are_taken_up(
    guests: list[Guest], cycles: Cycles
) -> None:
    guest = guests[0]
    live = libvirt.VIR_DOMAIN_AFFECT_LIVE
    instance = (
        "<instance><name>renamed</name><flavor name='m1.huge'><memory>4096</memory></flavor>"
        "<owner><user uuid='u2'>x</user><project uuid='p2'>y</project></owner></instance>"
    )
    with guest.domain() as domain:
        was = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE, live)
        domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, "a new title", None, None, live)
        text = "a new description"
        domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_DESCRIPTION, text, None, None, live)
        kind = libvirt.VIR_DOMAIN_METADATA_ELEMENT
        domain.setMetadata(kind, instance, "instance", NAMESPACE, live)
        seen = cycles.until(guest, lambda seen: resource(seen, guest.uuid).project_id == "p2")
        domain.setMetadata(kind, was, "instance", NAMESPACE, live)
    for name in (guest.uuid, f"{guest.uuid}-vda", nic(guest)):
        found = resource(seen, name)
        assert found.user_id == "u2"
        assert found.metadata["display_name"] == "renamed"
        assert found.metadata["title"] == "a new title"
        assert found.metadata["description"] == text
        assert found.metadata["instance_type"] == "m1.huge"
        assert found.metadata["memory_mb"] == 4096
    assert firsts(seen) == {False}


def test_without_events_the_refresh_takes_changes_up(
    guests: list[Guest], quiet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(domains, "CHANGES", ())
    guest = guests[1]
    cycles = Cycles(guests, **{"libvirt.metadata_refresh": 10})
    live = libvirt.VIR_DOMAIN_AFFECT_LIVE
    try:
        read = time.monotonic()
        cycles.poll()
        with guest.domain() as domain:
            kind = libvirt.VIR_DOMAIN_METADATA_TITLE
            domain.setMetadata(kind, "nobody told", None, None, live)
        time.sleep(0.5)
        assert resource(cycles.of(guest), guest.uuid).metadata["title"] != "nobody told"
        # As if the time had passed.
        for known in cycles.discovery._known.values():
            known.read = read - 10
        seen = cycles.of(guest)
        assert resource(seen, guest.uuid).metadata["title"] == "nobody told"
        assert firsts(seen) == {False}
    finally:
        cycles.close()


def test_a_disk_that_is_resized_live_has_its_new_size(guests: list[Guest], cycles: Cycles) -> None:
    guest = guests[0]
    with guest.domain() as domain:
        domain.blockResize("vda", 96 << 20, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
    seen = cycles.of(guest)
    assert seen[f"{guest.uuid}-vda"]["disk.device.capacity"].volume == 96 << 20
    assert firsts(seen) == {False}


def test_a_disk_under_a_block_job_goes_on_and_moves_to_its_copy(
    guests: list[Guest], cycles: Cycles
) -> None:
    guest = guests[0]
    disk = f"{guest.uuid}-vda"
    before = cycles.of(guest)
    copy = guest.disk.with_name("copy.qcow2")
    xml = f"<disk type='file'><driver type='qcow2'/><source file='{copy}'/></disk>"
    with guest.domain() as domain:
        domain.blockCopy("vda", xml, {}, libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB)
        during = cycles.of(guest)
        assert read(during) == read(before)
        assert firsts(during) == {False}
        while (info := domain.blockJobInfo("vda")) and info["cur"] != info["end"]:
            time.sleep(0.1)
        domain.blockJobAbort("vda", libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
    seen = cycles.until(
        guest, lambda seen: resource(seen, disk).metadata["disk_source"] == str(copy)
    )
    assert read(seen) == read(before)
    nothing_fell(seen)
    # The next start takes the disk of the definition again.
    guest.destroy()


def test_plugged_disks_and_nics_are_seen_and_unplugged_ones_are_not(
    linux: Guest, quiet: None
) -> None:
    cycles = Cycles([linux])
    disk_file = linux.disk.with_name("plugged.raw")
    with disk_file.open("wb") as file:
        file.truncate(8 << 20)
    mac = "fa:16:3e:00:00:77"
    disk_xml = (
        f"<disk type='file'><driver name='qemu' type='raw'/><source file='{disk_file}'/>"
        "<target dev='vdb' bus='virtio'/><serial>plugged</serial></disk>"
    )
    nic_xml = (
        "<interface type='ethernet'><target dev='ceilo-plugged'/>"
        f"<mac address='{mac}'/><model type='virtio'/></interface>"
    )
    disk = f"{linux.uuid}-vdb"
    interface = f"{linux.name}-{linux.uuid}-ceilo-plugged"
    try:
        before = cycles.of(linux)
        assert disk not in before
        with linux.domain() as domain:
            domain.attachDevice(disk_xml)
            domain.attachDevice(nic_xml)
            seen = cycles.until(linux, lambda seen: disk in seen and interface in seen)
            assert seen[disk]["disk.device.capacity"].volume == 8 << 20
            assert seen[disk]["disk.device.read.bytes"].previous is FIRST
            assert resource(seen, interface).metadata["mac"] == mac
            assert firsts({linux.uuid: {"cpu": seen[linux.uuid]["cpu"]}}) == {False}
            domain.detachDevice(disk_xml)
            domain.detachDevice(nic_xml)
            seen = cycles.until(
                linux, lambda seen: disk not in seen and interface not in seen, cycles=20
            )
            assert seen.keys() == before.keys()
            # Another disk in its place is another series.
            domain.attachDevice(disk_xml.replace("<serial>plugged", "<serial>second"))
            seen = cycles.until(linux, lambda seen: disk in seen)
            assert seen[disk]["disk.device.read.bytes"].previous is FIRST
            domain.detachDevice(disk_xml.replace("<serial>plugged", "<serial>second"))
            cycles.until(linux, lambda seen: disk not in seen, cycles=20)
    finally:
        cycles.close()


def test_a_guest_that_vanishes_between_listing_and_reading_is_no_fault(
    guests: list[Guest], cycles: Cycles
) -> None:
    guest = guests[0]
    deadline = time.monotonic() + 5
    listing = cycles.discovery.discover(deadline)
    with guest.domain() as domain:
        xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        domain.destroy()
        domain.undefine()
        try:
            snapshot = cycles.inspector.inspect(listing.targets, frozenset({"cpu"}), deadline)
        finally:
            domain.connect().defineXML(xml)
    assert guest.uuid not in {seen.owner for seen in snapshot.observations}
    assert guest.uuid not in {lack.target for lack in snapshot.missing}


def test_a_guest_that_vanishes_before_its_description_is_read_is_no_fault(
    guests: list[Guest], quiet: None
) -> None:
    guest = guests[0]
    cycles = Cycles(guests)
    try:
        handle = cycles.discovery._connection.get(time.monotonic() + 5)
        listed = handle.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
        with guest.domain() as domain:
            xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
            domain.destroy()
            domain.undefine()
            try:
                found = cycles.discovery._listing(listed, time.monotonic() + 5)
            finally:
                domain.connect().defineXML(xml)
        assert guest.uuid not in {target.id for target in found.targets}
        assert found.complete, "what is known to be gone is not missing"
    finally:
        cycles.close()
        running(guests)


def test_a_removed_tap_takes_only_its_own_samples_away(guests: list[Guest], cycles: Cycles) -> None:
    guest = guests[0]
    before = cycles.of(guest)
    assert nic(guest) in before
    subprocess.run(["ip", "link", "del", guest.taps[0]], check=True)
    try:
        for _ in range(2):
            seen = cycles.of(guest)
            assert nic(guest) not in seen
            assert read(seen) == {n: v for n, v in read(before).items() if n != nic(guest)}
            assert firsts(seen) == {False}
        # Another device of the same name does not go on with the counters of the old one.
        subprocess.run(["ip", "tuntap", "add", guest.taps[0], "mode", "tap"], check=True)
        seen = cycles.of(guest)
        assert firsts({nic(guest): seen[nic(guest)]}) == {True}
        seen = cycles.of(guest)
        assert firsts(seen) == {False}
    finally:
        subprocess.run(["ip", "link", "del", guest.taps[0]], capture_output=True, check=False)
        guest.destroy()


def test_a_tap_that_a_running_guest_takes_over_is_never_the_other_ones_series(
    guests: list[Guest], cycles: Cycles
) -> None:
    old, new = guests[:2]
    name = old.taps[0]
    before = cycles.of(old)
    assert before[nic(old)]["network.incoming.packets"].previous is not FIRST
    subprocess.run(["ip", "link", "del", name], check=True)
    taken = f"{new.name}-{new.uuid}-{name}"
    with new.domain() as domain:
        domain.attachDevice(
            f"<interface type='ethernet'><target dev='{name}'/>"
            "<mac address='fa:16:3e:00:00:78'/><model type='virtio'/></interface>"
        )
    try:
        seen = {}
        for _ in range(4):
            time.sleep(0.3)
            seen = cycles.poll()
            assert nic(old) not in seen[old.uuid], "it would be the other guest's traffic"
            if taken in seen[new.uuid]:
                break
        assert seen[new.uuid][taken]["network.incoming.bytes"].previous is FIRST
        assert resource(seen[new.uuid], taken).metadata["mac"] == "fa:16:3e:00:00:78"
        assert seen[new.uuid][nic(new)]["network.incoming.bytes"].previous is not FIRST
        seen = cycles.poll()
        assert nic(old) not in seen[old.uuid]
        assert seen[new.uuid][taken]["network.incoming.bytes"].previous is not FIRST
    finally:
        old.destroy()
        new.destroy()


def test_a_tap_of_a_stopped_guest_that_another_is_started_with_is_another_series(
    guests: list[Guest], cycles: Cycles
) -> None:
    old, new = guests[:2]
    assert cycles.of(old)[nic(old)]
    old.destroy()
    new.destroy()
    with new.domain() as domain:
        xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        connection = domain.connect()
        connection.defineXML(xml.replace(new.taps[0], old.taps[0]))
        try:
            domain.create()
            seen = cycles.until(new, bool)
            taken = f"{new.name}-{new.uuid}-{old.taps[0]}"
            assert firsts({taken: seen[taken]}) == {True}
        finally:
            domain.destroy()
            connection.defineXML(xml)
