# SPDX-License-Identifier: Apache-2.0
"""The host's own meters: against the real machine, and against files of the kernel made up here."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from ceilo_agent.inspection.host import interfaces as interfaces_module
from ceilo_agent.inspection.host import kernel
from ceilo_agent.inspection.host.computed import FUNCTIONS
from ceilo_agent.inspection.host.disks import disks
from ceilo_agent.inspection.host.filesystems import filesystems
from ceilo_agent.inspection.host.inspector import HostInspector
from ceilo_agent.inspection.host.interfaces import interfaces
from ceilo_agent.inspection.host.layout import layout
from ceilo_agent.inspection.host.machine import SOURCES
from ceilo_agent.meters import Catalogue, catalogue
from ceilo_agent.plugins import INSPECTOR, Context, Derivation, Observation, Snapshot, Target, load
from ceilo_agent.sample import Volume

HOST = "node-7"

MEMINFO = """\
MemTotal:        4000000 kB
MemFree:         1000000 kB
MemAvailable:    3000000 kB
Buffers:           20000 kB
Cached:           500000 kB
Shmem:              9000 kB
Active:           700000 kB
Inactive:         800000 kB
Slab:             100000 kB
SwapTotal:        100000 kB
SwapFree:          40000 kB
HugePages_Total:      12
HugePages_Free:        7
Hugepagesize:       2048 kB
"""


def everything() -> frozenset[str]:
    return frozenset(entry.name for entry in catalogue("host").meters)


def inspect(wanted: Iterable[str] | None = None, within: float = 10) -> Snapshot:
    chosen = everything() if wanted is None else frozenset(wanted)
    inspector = HostInspector(Context(HOST, {}))
    return inspector.inspect([Target(HOST)], chosen, time.monotonic() + within)


def values(observation: Observation) -> dict[str, Volume | None]:
    names = [column.meter.name for column in observation.columns]
    return dict(zip(names, observation.volumes, strict=True))


def of_host(snapshot: Snapshot) -> dict[str, Volume | None]:
    (observation,) = [each for each in snapshot.observations if each.resource.type == "host"]
    return values(observation)


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc of our own, with the files that every machine has; both readers look there."""
    root = tmp_path / "proc"
    (root / "self").mkdir(parents=True)
    (root / "meminfo").write_text(MEMINFO)
    (root / "vmstat").write_text("pgpgin 1000\npgpgout 50\npswpin 3\npswpout 5\noom_kill 0\n")
    (root / "filesystems").write_text("\text4\n")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(root))
    return root


# -- The shape of a snapshot ---------------------------------------------------------------------


def test_it_is_installed() -> None:
    assert load(INSPECTOR, "host") is HostInspector


def test_it_offers_the_meters_of_the_catalogue() -> None:
    meters = HostInspector(Context(HOST, {})).meters()
    assert {meter.name for meter in meters} == everything()
    assert len(meters) == len(everything())


def test_resources_are_named_and_described_as_in_ceilometer() -> None:
    snapshot = inspect()
    assert not snapshot.missing
    ids = [each.resource.id for each in snapshot.observations]
    assert ids[0] == HOST
    assert len(set(ids)) == len(ids)
    for each in snapshot.observations:
        metadata = each.resource.metadata
        assert metadata["resource_url"] == HOST
        assert each.owner == HOST
        if each.resource.type == "host_disk":
            assert each.resource.id == f"{HOST}.{metadata['device']}"
        elif each.resource.type == "host_network_interface":
            assert each.resource.id == f"{HOST}.{metadata['name']}"
            assert set(metadata) == {"resource_url", "name", "mac", "ip", "speed"}
        else:
            assert each.resource.type == "host"


def test_times_are_those_of_the_read() -> None:
    wall, clock = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)
    snapshot = inspect()
    later, clock_later = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)
    for each in snapshot.observations:
        assert wall <= each.time <= later
        assert clock <= each.clock <= clock_later


def test_columns_are_one_tuple_for_each_kind_over_resources_and_cycles() -> None:
    first, second = inspect(), inspect()
    by_kind: dict[str, set[int]] = {}
    for each in (*first.observations, *second.observations):
        by_kind.setdefault(each.resource.type, set()).add(id(each.columns))
        assert len(each.columns) == len(each.volumes)
    assert all(len(identities) == 1 for identities in by_kind.values())


def test_derived_columns_are_empty_and_bring_what_they_are_derived_from() -> None:
    (observation,) = inspect(["hardware.cpu.util"]).observations
    found = {column.meter.name: column for column in observation.columns}
    assert set(found) == {"hardware.cpu.util", "hardware.cpu.busy", "hardware.cpu.total"}
    util = found["hardware.cpu.util"]
    assert util.derive is Derivation.MEAN
    assert util.of == ("hardware.cpu.busy", "hardware.cpu.total")
    assert util.per == 0.01
    assert values(observation)["hardware.cpu.util"] is None


def test_only_what_is_wanted_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: pytest.fail("not wanted"))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: pytest.fail("not wanted"))
    snapshot = inspect(["hardware.cpu.load.1min", "hardware.disk.read.bytes"])
    assert {each.resource.type for each in snapshot.observations} <= {"host", "host_disk"}
    assert list(of_host(snapshot)) == ["hardware.cpu.load.1min"]


def test_nothing_is_read_for_meters_of_others() -> None:
    snapshot = inspect(["cpu", "disk.device.read.bytes"])
    assert not snapshot.observations
    assert not snapshot.missing


def test_the_boot_is_in_every_incarnation() -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    for each in inspect().observations:
        assert each.incarnation.partition("/")[0] == boot


def test_a_deadline_that_has_passed_leaves_the_parts_out() -> None:
    snapshot = inspect(["hardware.cpu.count", "hardware.network.up"], within=-1)
    assert [each.resource.type for each in snapshot.observations] == ["host"]


# -- The catalogue against the real replies ------------------------------------------------------


def replies() -> dict[str, Sequence[str]]:
    """The fields of each reply, by the name that the reply has in the catalogue."""
    io = psutil.disk_io_counters(perdisk=False, nowrap=False)
    return {
        "cpu_times": psutil.cpu_times()._fields,
        "cpu_stats": psutil.cpu_stats()._fields,
        "virtual_memory": psutil.virtual_memory()._fields,
        "swap_memory": psutil.swap_memory()._fields,
        "disk_io_counters": io._fields if io else (),
        "disk_partitions": psutil.disk_partitions(all=True)[0]._fields,
        "disk_usage": psutil.disk_usage("/")._fields,
        "net_io_counters": psutil.net_io_counters(pernic=False, nowrap=False)._fields,
        "net_if_stats": next(iter(psutil.net_if_stats().values()))._fields,
        "net_if_addrs": next(iter(psutil.net_if_addrs().values()))[0]._fields,
        "statvfs": [name for name in dir(os.statvfs("/")) if name.startswith("f_")],
        **{source: list(read()) for source, read in SOURCES.items()},
    }


def read_fields(found: Catalogue) -> set[str]:
    return {
        found.kinds[entry.kind].fields + field
        for entry in found.meters
        for field in (*entry.needs, *([entry.read] if entry.read else []))
    }


def test_every_field_of_every_reply_is_a_meter_or_left_out_with_a_reason() -> None:
    found = catalogue("host")
    read = read_fields(found)
    patterns = [field for left in found.left_out for field in left.fields]
    forgotten = [
        f"{source}.{field}"
        for source, fields in replies().items()
        for field in fields
        if f"{source}.{field}" not in read
        and not any(fnmatchcase(f"{source}.{field}", pattern) for pattern in patterns)
    ]
    assert not forgotten


def test_no_field_is_both_a_meter_and_left_out_by_name() -> None:
    found = catalogue("host")
    named = {field for left in found.left_out for field in left.fields if "*" not in field}
    assert not named & read_fields(found)


def test_every_field_that_a_meter_takes_comes_from_a_source_that_exists() -> None:
    parts = {"disk_io_counters", "statvfs", "net_io_counters", "sysfs_net", "hwmon", "powercap"}
    known = {*SOURCES, *parts}
    assert {field.partition(".")[0] for field in read_fields(catalogue("host"))} <= known


def test_every_function_is_used_and_exists() -> None:
    used = {entry.compute for entry in catalogue("host").meters if entry.compute}
    assert used == set(FUNCTIONS)


# -- What a machine does not give ----------------------------------------------------------------


def test_figures_come_in_the_units_of_the_catalogue(proc: Path) -> None:
    found = of_host(inspect(name for name in everything() if ".memory." in name or ".io." in name))
    assert found["hardware.memory.total"] == 4_000_000
    assert found["hardware.memory.used"] == 3_000_000  # total less free, as Ceilometer
    assert found["hardware.memory.available"] == 3_000_000
    assert found["hardware.memory.buffer"] == 20_000
    assert found["hardware.memory.swap.avail"] == 40_000
    assert found["hardware.memory.swap.used"] == 60_000
    assert found["hardware.memory.swap.out"] == 5 * os.sysconf("SC_PAGE_SIZE") // 1024
    assert found["hardware.memory.hugepages.free"] == 7
    assert found["hardware.system_stats.io.incoming.blocks"] == 2000
    assert all(type(value) is int for value in found.values() if value is not None)


def test_what_the_kernel_does_not_tell_is_absent_never_zero(proc: Path) -> None:
    lacking = ("Buffers", "Slab", "Shmem", "Active", "Inactive", "HugePages", "Hugepagesize")
    lines = [line for line in MEMINFO.splitlines() if not line.startswith(lacking)]
    (proc / "meminfo").write_text("\n".join(lines))
    (proc / "vmstat").write_text("pgpgin 1000\npgpgout 50\n")
    with pytest.warns(RuntimeWarning, match="set to 0"):  # psutil's
        found = of_host(inspect(name for name in everything() if ".memory." in name))
    assert found["hardware.memory.total"] == 4_000_000
    assert found["hardware.memory.swap.total"] == 100_000
    for name in ("buffer", "slab", "shared", "active", "swap.in", "swap.out", "oom_kills"):
        assert found[f"hardware.memory.{name}"] is None
    for name in ("total", "free", "size", "surplus"):
        assert found[f"hardware.memory.hugepages.{name}"] is None


def test_a_cpu_mode_that_the_kernel_lacks_is_absent_and_adds_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = {"user": 1.5, "nice": 0.0, "system": 0.5, "idle": 8.0, "iowait": 0.25}
    monkeypatch.setitem(SOURCES, "cpu_times", lambda: old)
    found = of_host(inspect(name for name in everything() if ".cpu." in name))
    second = os.sysconf("SC_CLK_TCK")
    assert found["hardware.cpu.user"] == 1.5 * second
    assert found["hardware.cpu.busy"] == 2 * second
    assert found["hardware.cpu.total"] == 10.25 * second
    assert found["hardware.cpu.steal"] is None
    assert found["hardware.cpu.guest"] is None


def test_a_source_that_fails_costs_its_own_values_and_is_told_once(
    proc: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (proc / "vmstat").unlink()
    inspector = HostInspector(Context(HOST, {}))
    wanted = frozenset(["hardware.memory.total", "hardware.memory.oom_kills"])

    def read() -> dict[str, Volume | None]:
        return of_host(inspector.inspect([Target(HOST)], wanted, time.monotonic() + 10))

    with caplog.at_level(logging.WARNING):
        assert read() == {"hardware.memory.total": 4_000_000, "hardware.memory.oom_kills": None}
        read()
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "cannot read vmstat of this host"
    ]
    (proc / "vmstat").write_text("oom_kill 2\n")
    assert read()["hardware.memory.oom_kills"] == 2
    (proc / "vmstat").write_text("oom_kill two\n")
    assert read()["hardware.memory.oom_kills"] is None
    assert len(caplog.records) == 2


def test_a_host_that_gives_nothing_is_missing(proc: Path) -> None:
    (proc / "vmstat").unlink()
    snapshot = inspect(["hardware.memory.oom_kills"])
    assert not snapshot.observations
    assert [each.target for each in snapshot.missing] == [HOST]


def test_a_kernel_without_pressure_information_gives_none(proc: Path) -> None:
    assert kernel.pressure() == {}
    (proc / "pressure").mkdir()
    (proc / "pressure" / "io").write_text(
        "some avg10=0.00 avg60=0.00 avg300=0.00 total=42\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
    )
    assert kernel.pressure() == {
        "io.some": 42,
        "io.some.avg10": 0.0,
        "io.full": 7,
        "io.full.avg10": 0.0,
    }


def test_pressure_fills_its_meters(proc: Path) -> None:
    (proc / "pressure").mkdir()
    for number, name in enumerate(("cpu", "memory", "io"), start=1):
        (proc / "pressure" / name).write_text(
            f"some avg10={number}.50 avg60=8.00 avg300=9.00 total={number}000\n"
            f"full avg10=0.{number}0 avg60=8.00 avg300=9.00 total={number}00\n"
        )
    (proc / "pressure" / "irq").write_text("full avg10=7.25 avg60=8.00 avg300=9.00 total=70\n")
    found = of_host(inspect(name for name in everything() if ".pressure." in name))
    assert found == {
        "hardware.pressure.cpu.some": 1000,
        "hardware.pressure.cpu.some.avg10": 1.5,
        "hardware.pressure.memory.some": 2000,
        "hardware.pressure.memory.some.avg10": 2.5,
        "hardware.pressure.memory.full": 200,
        "hardware.pressure.memory.full.avg10": 0.2,
        "hardware.pressure.io.some": 3000,
        "hardware.pressure.io.some.avg10": 3.5,
        "hardware.pressure.io.full": 300,
        "hardware.pressure.io.full.avg10": 0.3,
        "hardware.pressure.irq.full": 70,
        "hardware.pressure.irq.full.avg10": 7.25,
    }


def test_ip_counters_are_found_by_name(proc: Path) -> None:
    (proc / "net").mkdir()
    (proc / "net" / "snmp").write_text(
        "Ip: Forwarding InReceives OutRequests\nIp: 1 18446744073709551615 6\n"
        "Icmp: InMsgs\nIcmp: 3\n"
    )
    assert kernel.snmp() == {"Forwarding": 1, "InReceives": 2**64 - 1, "OutRequests": 6}


# -- Disks ---------------------------------------------------------------------------------------


def diskstats(proc: Path, sys_block: Path, *names: str, partitions: Sequence[str] = ()) -> None:
    lines = []
    for number, name in enumerate((*names, *partitions)):
        figures = " ".join(str(number * 100 + field) for field in range(1, 18))
        lines.append(f" 8 {number} {name} {figures}\n")
    (proc / "diskstats").write_text("".join(lines))
    for number, name in enumerate(names):
        entry = sys_block / name.replace("/", "!")
        entry.mkdir(parents=True)
        (entry / "dev").write_text(f"8:{number}\n")


def test_whole_disks_are_read_and_nothing_else(proc: Path, tmp_path: Path) -> None:
    sys_block = tmp_path / "block"
    left_out = ["loop3", "ram0", "zram0", "dm-4", "sr0", "fd0", "nbd12", "nvme0c1n1"]
    kept = ["sda", "nvme0n1", "vdb", "md127", "cciss/c0d0", "loopy"]
    diskstats(proc, sys_block, *kept, *left_out, partitions=["sda1", "nvme0n1p2", "md127p1"])
    assert [part.name for part in disks(sys_block)] == kept


def test_a_disk_is_told_from_the_next_of_its_name(proc: Path, tmp_path: Path) -> None:
    sys_block = tmp_path / "block"
    diskstats(proc, sys_block, "sda")
    assert [part.device for part in disks(sys_block)] == ["8:0"]  # before Linux 5.15
    (sys_block / "sda" / "diskseq").write_text("9\n")
    assert [part.device for part in disks(sys_block)] == ["9"]


def test_a_machine_without_disks_is_fine(proc: Path, tmp_path: Path) -> None:
    (proc / "diskstats").write_text("")
    (tmp_path / "block").mkdir()
    assert list(disks(tmp_path / "block")) == []


# -- File systems --------------------------------------------------------------------------------


def mounts(proc: Path, *lines: tuple[Any, str, str]) -> None:
    text = "".join(f"{device} {path} {fstype} rw 0 0\n" for path, fstype, device in lines)
    (proc / "self" / "mounts").write_text(text)


def found_paths() -> dict[str, str]:
    return {part.name: part.metadata["path"] for part in filesystems()}


def test_local_file_systems_are_read_once_for_each_device(proc: Path, tmp_path: Path) -> None:
    for name in ("data", "bind", "tank", "snap"):
        (tmp_path / name).mkdir()
    mounts(
        proc,
        ("/", "ext4", "/dev/sda1"),
        ("/proc", "proc", "proc"),
        (tmp_path / "data", "xfs", "/dev/sdb"),
        (tmp_path / "bind", "xfs", "/dev/sdb"),
        (tmp_path / "tank", "zfs", "tank/vm"),
        (tmp_path / "snap", "squashfs", "/dev/loop3"),
    )
    assert found_paths() == {
        "/dev/sda1": "/",
        "/dev/sdb": str(tmp_path / "data"),
        "tank/vm": str(tmp_path / "tank"),
    }


def test_what_could_hang_is_never_asked(
    proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the server dead, statvfs() on these does not return, nor on a path through them."""
    below = tmp_path / "share" / "deep" / "local"
    remote = ["nfs", "nfs4", "cifs", "ceph", "fuse.sshfs", "fuseblk", "gfs2", "autofs", "9p"]
    mounts(
        proc,
        *((tmp_path / f"r{n}", fstype, f"srv:{n}") for n, fstype in enumerate(remote)),
        (tmp_path / "share", "nfs4", "server:/export"),
        (below, "ext4", "/dev/sdc1"),
        (f"{tmp_path}/shared", "ext4", "/dev/sdd1"),
    )
    asked = []

    def statvfs(path: str) -> os.statvfs_result:
        asked.append(path)
        raise OSError("not there")

    monkeypatch.setattr(os, "statvfs", statvfs)
    assert found_paths() == {}
    assert asked == [f"{tmp_path}/shared"]


def test_a_mount_under_another_is_not_taken_for_it(proc: Path, tmp_path: Path) -> None:
    """Both say the same path; statvfs() answers for the upper one."""
    mounts(proc, (tmp_path, "ext4", "/dev/sda1"), (tmp_path, "xfs", "/dev/sdb1"))
    assert found_paths() == {"/dev/sdb1": str(tmp_path)}
    mounts(proc, (tmp_path, "ext4", "/dev/sda1"), (tmp_path, "tmpfs", "tmpfs"))
    assert found_paths() == {}


def test_one_that_cannot_be_asked_costs_only_itself(proc: Path, tmp_path: Path) -> None:
    mounts(proc, (tmp_path / "gone", "ext4", "/dev/sda1"), (tmp_path, "xfs", "/dev/sdb1"))
    assert list(found_paths()) == ["/dev/sdb1"]


def test_a_file_system_without_a_limit_of_inodes_has_none(
    proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs(tmp_path)
    fields = {name: getattr(real, name) for name in dir(real) if name.startswith("f_")}
    fields |= {"f_blocks": 1000, "f_bfree": 400, "f_bavail": 300, "f_frsize": 4096}
    fields |= {"f_files": 0, "f_ffree": 0, "f_favail": 0, "f_flag": os.ST_RDONLY}
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(**fields))
    mounts(proc, (tmp_path, "btrfs", "/dev/sda1"))
    wanted = [n for n in everything() if n.startswith(("hardware.disk.size", "hardware.filesys"))]
    (observation,) = inspect(wanted).observations
    assert observation.resource.id == f"{HOST}./dev/sda1"
    assert values(observation) == {
        "hardware.disk.size.total": 4000,
        "hardware.disk.size.used": 2400,
        "hardware.disk.size.available": 1200,
        "hardware.filesystem.inodes.total": None,
        "hardware.filesystem.inodes.used": None,
        "hardware.filesystem.inodes.available": None,
        "hardware.filesystem.readonly": 1,
    }


# -- Network interfaces --------------------------------------------------------------------------


def net_dev(proc: Path, *names: str) -> None:
    (proc / "net").mkdir(exist_ok=True)
    lines = ["Inter-|   Receive  |  Transmit\n", " face |bytes packets|bytes packets\n"]
    lines += [f"{name}: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n" for name in names]
    (proc / "net" / "dev").write_text("".join(lines))


def test_the_ends_of_guests_interfaces_are_left_out(proc: Path, tmp_path: Path) -> None:
    kept = ["enp1s0", "bond0", "br-ex", "ovs-system", "vlan10", "virbr0", "wg0"]
    left_out = ["lo", "tap1f2e3d4c-5b", "vnet12", "macvtap0", "veth1a2b", "qbr1", "qvb1", "qvo1"]
    net_dev(proc, *kept, *left_out, "cali123", "lxc123")
    assert [part.name for part in interfaces(tmp_path)] == kept


def test_figures_of_an_interface_stand_where_they_belong(
    proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net_dev(proc, "enp1s0")
    card = tmp_path / "sys" / "enp1s0"
    card.mkdir(parents=True)
    for attribute, text in {
        "operstate": "up",
        "speed": "10000",
        "address": "02:00:00:00:00:01",
    }.items():
        (card / attribute).write_text(f"{text}\n")
    (part,) = interfaces(tmp_path / "sys")
    kind = layout(everything())["host_network_interface"]
    names = [column.meter.name.removeprefix("hardware.network.") for column in kind.columns]
    assert dict(zip(names, kind.volumes(part.readings), strict=True)) == {
        "incoming.bytes": 1,
        "incoming.packets": 2,
        "incoming.errors": 3,
        "incoming.drop": 4,
        "outgoing.bytes": 5,
        "outgoing.packets": 6,
        "outgoing.errors": 7,
        "outgoing.drop": 8,
        "speed": 10_000,
        "up": 1,
    }
    assert part.metadata == {
        "name": "enp1s0",
        "mac": "02:00:00:00:00:01",
        "ip": None,
        "speed": 1_250_000_000,  # B/s
    }


@pytest.mark.parametrize("speed", ["-1", "0", None])
def test_a_link_whose_speed_is_not_known_has_none(
    proc: Path, tmp_path: Path, speed: str | None
) -> None:
    net_dev(proc, "enp1s0")
    (tmp_path / "enp1s0").mkdir()
    (tmp_path / "enp1s0" / "operstate").write_text("down\n")
    if speed is not None:
        (tmp_path / "enp1s0" / "speed").write_text(f"{speed}\n")
    (part,) = interfaces(tmp_path)
    assert part.readings["sysfs_net"] == {"operstate": "down"}
    assert part.metadata["speed"] is None


def test_an_interface_that_has_gone_meanwhile_keeps_its_counters(
    proc: Path, tmp_path: Path
) -> None:
    net_dev(proc, "gone0")
    (part,) = interfaces(tmp_path)
    assert part.readings["net_io_counters"]["bytes_recv"] == 1
    assert part.readings["sysfs_net"] == {}
    assert part.device == ""


def test_the_address_is_the_real_one() -> None:
    for name, addresses in psutil.net_if_addrs().items():
        if name.startswith(interfaces_module._OF_GUESTS):
            continue  # they come and go with the guests of other tests
        own = [address.address for address in addresses if address.family == 2]
        with interfaces_module.socket.socket() as asked:
            assert interfaces_module._ip(asked, name) == (own[0] if own else None)


# -- Large and odd values ------------------------------------------------------------------------


def test_an_unsigned_64_bit_counter_survives() -> None:
    kinds = layout(frozenset(["hardware.disk.read.bytes", "hardware.memory.total"]))
    huge = 2**64 - 2
    reply = {"disk_io_counters": {"read_bytes": huge}}
    assert kinds["host_disk"].volumes(reply) == [huge]
    assert kinds["host"].volumes({"virtual_memory": {"total": 2**63}}) == [2**53]
    assert kinds["host"].volumes({"virtual_memory": {"total": 512}}) == [0.5]
