# SPDX-License-Identifier: Apache-2.0
"""The host's meters against what the kernel itself says before and after the read."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ceilo_agent.inspection.host.inspector import HostInspector
from ceilo_agent.meters import catalogue
from ceilo_agent.plugins import Context, Observation, Target
from ceilo_agent.sample import Volume

HOST = "node-7"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes a device: needs root")

Values = Mapping[str, Volume | None]


def observe() -> dict[str, Observation]:
    """Read everything; observations by resource id."""
    wanted = frozenset(entry.name for entry in catalogue("host").meters)
    inspector = HostInspector(Context(HOST, {}))
    snapshot = inspector.inspect([Target(HOST)], wanted, time.monotonic() + 10)
    assert not snapshot.missing
    return {each.resource.id: each for each in snapshot.observations}


def values(observation: Observation) -> Values:
    names = [column.meter.name for column in observation.columns]
    return dict(zip(names, observation.volumes, strict=True))


def between(before: Mapping[str, Volume], found: Values, after: Mapping[str, Volume]) -> None:
    """Check that each counter was read between two readings of the kernel's own file."""
    wrong = {
        name: (first, found[name], after[name])
        for name, first in before.items()
        if not first <= (-1 if (value := found[name]) is None else value) <= after[name]
    }
    assert not wrong


# -- The kernel's files, read without the code under test ----------------------------------------


def machine() -> dict[str, int]:
    stat = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    by_name = {words[0]: words[1:] for words in stat}
    user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice = map(
        int, by_name["cpu"]
    )
    vmstat = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    names, figures = [
        line.split()
        for line in Path("/proc/net/snmp").read_text().splitlines()
        if line.startswith("Ip:")
    ]
    ip = dict(zip(names, figures, strict=True))
    page = os.sysconf("SC_PAGE_SIZE") // 1024
    return {
        "hardware.cpu.user": user,
        "hardware.cpu.nice": nice,
        "hardware.cpu.system": system,
        "hardware.cpu.kernel": system,
        "hardware.cpu.interrupt": irq,
        "hardware.cpu.softirq": softirq,
        "hardware.cpu.steal": steal,
        "hardware.cpu.guest": guest,
        "hardware.cpu.guest_nice": guest_nice,
        "hardware.cpu.busy": user + nice + system + irq + softirq + steal,
        "hardware.cpu.total": user + nice + system + irq + softirq + steal + idle + iowait,
        "hardware.system_stats.context_switches": int(by_name["ctxt"][0]),
        "hardware.system_stats.interrupts": int(by_name["intr"][0]),
        "hardware.system_stats.soft_interrupts": int(by_name["softirq"][0]),
        "hardware.system_stats.processes.created": int(by_name["processes"][0]),
        "hardware.system_stats.io.incoming.blocks": int(vmstat["pgpgin"]) * 2,
        "hardware.system_stats.io.outgoing.blocks": int(vmstat["pgpgout"]) * 2,
        "hardware.memory.faults.major": int(vmstat["pgmajfault"]),
        "hardware.memory.oom_kills": int(vmstat["oom_kill"]),
        "hardware.memory.swap.in": int(vmstat["pswpin"]) * page,
        "hardware.memory.swap.out": int(vmstat["pswpout"]) * page,
        "hardware.network.ip.incoming.datagrams": int(ip["InReceives"]),
        "hardware.network.ip.outgoing.datagrams": int(ip["OutRequests"]),
    }


def fixed() -> dict[str, int]:
    """Return figures that stay the same while the test runs."""
    lines = [line.split() for line in Path("/proc/meminfo").read_text().splitlines()]
    meminfo = {words[0].rstrip(":"): int(words[1]) for words in lines}
    return {
        "hardware.memory.total": meminfo["MemTotal"],
        "hardware.memory.swap.total": meminfo["SwapTotal"],
        "hardware.memory.hugepages.size": meminfo["Hugepagesize"],
        "hardware.cpu.count": os.sysconf("SC_NPROCESSORS_ONLN"),
    }


def disk_counters() -> dict[str, dict[str, int]]:
    found = {}
    for line in Path("/proc/diskstats").read_text().splitlines():
        _, _, name, *figures = line.split()
        reads, read_merged, sectors_read, read_ms = map(int, figures[:4])
        writes, write_merged, sectors_written, write_ms = map(int, figures[4:8])
        found[name] = {
            "hardware.disk.read.requests": reads,
            "hardware.disk.read.merged": read_merged,
            "hardware.disk.read.bytes": sectors_read * 512,
            "hardware.disk.read.time": read_ms,
            "hardware.disk.write.requests": writes,
            "hardware.disk.write.merged": write_merged,
            "hardware.disk.write.bytes": sectors_written * 512,
            "hardware.disk.write.time": write_ms,
            "hardware.disk.io.time": int(figures[9]),
        }
    return found


def interface_counters() -> dict[str, dict[str, int]]:
    root = Path("/sys/class/net")
    return {
        name: {
            f"hardware.network.{ours}": int((root / name / "statistics" / theirs).read_text())
            for ours, theirs in {
                "incoming.bytes": "rx_bytes",
                "incoming.packets": "rx_packets",
                "incoming.errors": "rx_errors",
                "outgoing.bytes": "tx_bytes",
                "outgoing.packets": "tx_packets",
                "outgoing.errors": "tx_errors",
                "outgoing.drop": "tx_dropped",
            }.items()
        }
        for name in ("eth0", "ens3", "enp1s0")
        if (root / name).exists()
    }


# -- The tests -----------------------------------------------------------------------------------


def test_the_machine_agrees_with_the_kernel() -> None:
    before = machine()
    found = values(observe()[HOST])
    between(before, found, machine())
    assert {name: found[name] for name in fixed()} == fixed()
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert found["hardware.uptime"] == pytest.approx(uptime, abs=1)
    boot, now = found["hardware.boot_time"], time.time()
    assert boot is not None
    assert now - boot == pytest.approx(uptime, abs=2)
    memory = {name: found[f"hardware.memory.{name}"] for name in ("total", "used", "free")}
    assert memory["used"] == (memory["total"] or 0) - (memory["free"] or 0)


def test_disks_agree_with_the_kernel() -> None:
    before = disk_counters()
    observed = observe()
    after = disk_counters()
    checked = 0
    for name, counters in before.items():
        if f"{HOST}.{name}" in observed:
            between(counters, values(observed[f"{HOST}.{name}"]), after[name])
            checked += 1
    if not checked:
        pytest.skip("this machine has no disk of its own")


def test_interfaces_agree_with_the_kernel() -> None:
    before = interface_counters()
    if not before:
        pytest.skip("this machine has no interface of a usual name")
    observed = observe()
    after = interface_counters()
    for name, counters in before.items():
        between(counters, values(observed[f"{HOST}.{name}"]), after[name])


def test_work_shows() -> None:
    before = values(observe()[HOST])
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    after = values(observe()[HOST])
    ticks = os.sysconf("SC_CLK_TCK")
    assert gained("hardware.cpu.busy", before, after) >= 0.25 * ticks
    assert gained("hardware.uptime", before, after) >= 0.3
    busy, total = (gained(f"hardware.cpu.{name}", before, after) for name in ("busy", "total"))
    assert 0 < busy <= total


def gained(name: str, before: Values, after: Values) -> Volume:
    first, second = before[name], after[name]
    assert first is not None
    assert second is not None
    return second - first


def pair(name: str) -> list[str]:
    return ["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p"]


@pytest.fixture
def card() -> Iterator[str]:
    """An interface with a link to nowhere: made and removed here."""
    name = "ceilo-test0"
    if shutil.which("ip") is None:
        pytest.skip("needs iproute2")
    made = subprocess.run(pair(name), capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"the kernel makes no interface: {made.stderr.strip()}")
    subprocess.run(["ip", "address", "add", "198.51.100.1/24", "dev", name], check=True)
    for end in (name, f"{name}p"):
        subprocess.run(["ip", "link", "set", end, "up"], check=True)
    yield name
    subprocess.run(["ip", "link", "delete", name], check=False)


@needs_root
def test_traffic_shows_and_a_new_interface_of_the_same_name_is_another(card: str) -> None:
    first = observe()[f"{HOST}.{card}"]
    assert first.resource.metadata["ip"] == "198.51.100.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for _ in range(10):
            sender.sendto(bytes(100), ("198.51.100.255", 9))
    second = observe()[f"{HOST}.{card}"]
    assert second.incarnation == first.incarnation
    before, after = values(first), values(second)
    assert gained("hardware.network.outgoing.packets", before, after) >= 10
    assert gained("hardware.network.outgoing.bytes", before, after) >= 1000
    assert after["hardware.network.up"] == 1

    subprocess.run(["ip", "link", "set", card, "down"], check=True)
    assert values(observe()[f"{HOST}.{card}"])["hardware.network.up"] == 0

    subprocess.run(["ip", "link", "delete", card], check=True)
    assert f"{HOST}.{card}" not in observe()
    subprocess.run(pair(card), check=True)
    third = observe()[f"{HOST}.{card}"]
    assert third.incarnation != first.incarnation
    assert values(third)["hardware.network.outgoing.packets"] == 0


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A small ext4 in a file: made, mounted and unmounted here."""
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("needs mkfs.ext4")
    image, place = tmp_path / "image", tmp_path / "place"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    place.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    done = subprocess.run(
        ["mount", "-o", "loop", image, place], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no loop mount here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


@needs_root
def test_files_show_in_their_file_system(mounted: Path) -> None:
    def found() -> Observation:
        paths = {each.resource.metadata.get("path"): each for each in observe().values()}
        return paths[str(mounted)]

    first = found()
    device = first.resource.metadata["device"]
    assert first.resource.id == f"{HOST}.{device}"
    assert first.resource.metadata["fstype"] == "ext4"
    before = values(first)
    shown = subprocess.run(
        ["df", "-k", "--output=size,used,avail,itotal,iused,iavail", mounted],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    size, used, available, itotal, iused, iavailable = map(int, shown.stdout.split()[-6:])
    assert {name: value for name, value in before.items() if value is not None} == {
        "hardware.disk.size.total": size,
        "hardware.disk.size.used": used,
        "hardware.disk.size.available": available,
        "hardware.filesystem.inodes.total": itotal,
        "hardware.filesystem.inodes.used": iused,
        "hardware.filesystem.inodes.available": iavailable,
        "hardware.filesystem.readonly": 0,
    }
    (mounted / "file").write_bytes(bytes(1 << 20))
    os.sync()
    after = values(found())
    assert gained("hardware.disk.size.used", before, after) >= 1024
    assert gained("hardware.filesystem.inodes.used", before, after) == 1
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    assert values(found())["hardware.filesystem.readonly"] == 1
