# SPDX-License-Identifier: Apache-2.0
"""Control groups of guests, in trees like those that systemd and libvirt make."""

from __future__ import annotations

from pathlib import Path

import pytest

from ceilo_agent.discovery.libvirt.connection import Connection
from ceilo_agent.discovery.libvirt.guest import Guest, describe
from ceilo_agent.inspection import pressure
from ceilo_agent.inspection.libvirt import cgroup
from ceilo_agent.inspection.libvirt.cgroup import ControlGroups, is_local
from ceilo_agent.inspection.libvirt.scopes import (
    Hierarchy,
    Mounts,
    directory_names,
    escaped,
    machine_names,
    mounts,
)
from ceilo_agent.meters import catalogue

PRESSURE = (
    "some avg10=1.25 avg60=1.18 avg300=2.35 total=181602\n"
    "full avg10=0.50 avg60=0.00 avg300=0.00 total=171051\n"
)
VERSION_2 = {
    "cpu.pressure": PRESSURE,
    "memory.pressure": PRESSURE,
    "io.pressure": PRESSURE,
    "cpu.stat": "usage_usec 9\nuser_usec 4\nsystem_usec 5\nnr_periods 30\nnr_throttled 2\n"
    "throttled_usec 1500\n",
    "memory.current": "41943040\n",
    "memory.swap.current": "0\n",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n",
}
WANTED = frozenset(
    f"{catalogue('compute').kinds[cgroup.KIND].fields}{entry.read}"
    for entry in catalogue("compute").meters
    if entry.kind == cgroup.KIND
)
SCOPE = r"machine-qemu\x2d7\x2dinstance\x2d0000002a.scope"


def guest_of(name: str = "instance-0000002a", run: int = 7) -> Guest:
    xml = f"<domain><name>{name}</name></domain>"
    return Guest(name, None, run, describe(xml), Connection("qemu:///system", "test"))


def plant(directory: Path, files: dict[str, str]) -> Path:
    directory.mkdir(parents=True)
    for name, text in files.items():
        (directory / name).write_text(text)
    return directory


def read(found: Mounts, guest: Guest, wanted: frozenset[str] = WANTED) -> cgroup.Fields:
    groups = ControlGroups(found)
    groups.begin({guest.uuid}, local=True)
    return groups.read(guest, wanted)


# -- Names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "machines"),
    [
        ("instance-0000002a", ["qemu-7-instance-0000002a"]),
        ("demo.", ["qemu-7-demo"]),
        ("--a..b", ["qemu-7-a.b"]),
        ("a b_c", ["qemu-7-abc"]),
        ("kot-\u010d-x", ["qemu-7-kot--x", "qemu-7-kot-x"]),
        ("x" * 80, ["qemu-7-" + "x" * 57]),
    ],
)
def test_machines_are_named_as_libvirt_names_them(name: str, machines: list[str]) -> None:
    assert machine_names(7, name) == machines


def test_scopes_are_escaped_as_systemd_wants_them() -> None:
    assert escaped("qemu-7-a.b:c_d") == r"qemu\x2d7\x2da.b:c_d"
    assert escaped(".a/b") == r"\x2ea-b"
    assert directory_names(7, "instance-0000002a") == [
        SCOPE,
        "qemu-7-instance-0000002a.libvirt-qemu",
    ]


@pytest.mark.parametrize(
    ("uri", "local"),
    [
        ("qemu:///system", True),
        ("qemu+unix:///system?socket=/run/other-sock", True),
        ("qemu+ssh://node-8/system", False),
        ("qemu+tls:///system", False),
        ("qemu://node-8/system", False),
        ("qemu:///session", False),
        ("test:///default", False),
    ],
)
def test_only_the_system_daemon_of_this_host_is_local(uri: str, local: bool) -> None:
    assert is_local(uri) is local


def test_mounts_of_both_versions_are_found(tmp_path: Path) -> None:
    plant(
        tmp_path / "self",
        {
            "mounts": "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n"
            "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0\n"
            "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n"
            "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
        },
    )
    unified, legacy = mounts(tmp_path)
    assert unified == Path("/sys/fs/cgroup/unified")
    assert legacy["cpu"] == Path("/sys/fs/cgroup/cpu,cpuacct")
    assert legacy["memory"] == Path("/sys/fs/cgroup/memory")
    assert mounts(tmp_path / "none") == (None, {})


# -- Places --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    [
        f"machine.slice/{SCOPE}",
        "machine/qemu-7-instance-0000002a.libvirt-qemu",
        f"machine.slice/machine-gold.slice/{SCOPE}",
        f"production.slice/{SCOPE}",
        "machine/gold.partition/qemu-7-instance-0000002a.libvirt-qemu",
    ],
)
def test_a_guest_is_found_in_every_layout(tmp_path: Path, place: str) -> None:
    made = plant(tmp_path / place, {})
    plant(tmp_path / "system.slice" / "libvirtd.service", {})
    assert Hierarchy(tmp_path).find(7, "instance-0000002a") == made
    assert Hierarchy(tmp_path).find(8, "instance-0000002a") is None
    assert Hierarchy(tmp_path).find(7, "instance-0000002b") is None


# -- What is read --------------------------------------------------------------------------------


def test_version_2_gives_pressure_throttling_and_memory(tmp_path: Path) -> None:
    plant(tmp_path / "machine.slice" / SCOPE, VERSION_2)
    found = read(Mounts(tmp_path, {}), guest_of())
    assert {name: found[name] for name in WANTED & found.keys()} == {
        **{f"cgroup.pressure.{name}.some": 181602 for name in ("cpu", "memory", "io")},
        **{f"cgroup.pressure.{name}.full": 171051 for name in ("cpu", "memory", "io")},
        **{f"cgroup.pressure.{name}.some.avg10": 1.25 for name in ("cpu", "memory", "io")},
        **{f"cgroup.pressure.{name}.full.avg10": 0.5 for name in ("cpu", "memory", "io")},
        "cgroup.cpu.nr_periods": 30,
        "cgroup.cpu.nr_throttled": 2,
        "cgroup.cpu.throttled_time": 1_500_000,
        "cgroup.memory.current": 41943040,
        "cgroup.memory.swap": 0,
        "cgroup.memory.events.oom_kill": 1,
    }


def test_version_1_gives_throttling_and_memory_and_version_2_beside_it_pressure(
    tmp_path: Path,
) -> None:
    name = "machine/qemu-7-instance-0000002a.libvirt-qemu"
    cpu = "nr_periods 5\nnr_throttled 4\nthrottled_time 777\nnr_bursts 0\n"
    plant(tmp_path / "cpu" / name, {"cpu.stat": cpu})
    memory = {
        "memory.usage_in_bytes": "1048576\n",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    }
    plant(tmp_path / "memory" / name, memory)
    bare = {"cpu.pressure": PRESSURE, "cpu.stat": "usage_usec 9\nuser_usec 4\nsystem_usec 5\n"}
    plant(tmp_path / "unified" / name, bare)
    legacy = {"cpu": tmp_path / "cpu", "memory": tmp_path / "memory", "rw": tmp_path}
    expected = {
        "cgroup.cpu.nr_periods": 5,
        "cgroup.cpu.nr_throttled": 4,
        "cgroup.cpu.throttled_time": 777,
        "cgroup.memory.current": 1048576,
        "cgroup.memory.events.oom_kill": 2,
    }
    found = read(Mounts(None, legacy), guest_of())
    assert {name: found[name] for name in WANTED & found.keys()} == expected
    found = read(Mounts(tmp_path / "unified", legacy), guest_of())
    assert {name: found[name] for name in WANTED & found.keys()} == expected | {
        "cgroup.pressure.cpu.some": 181602,
        "cgroup.pressure.cpu.full": 171051,
        "cgroup.pressure.cpu.some.avg10": 1.25,
        "cgroup.pressure.cpu.full.avg10": 0.5,
    }


def test_only_the_files_that_are_needed_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path / "machine.slice" / SCOPE, VERSION_2)
    opened: list[str] = []
    real = cgroup._content

    def content(path: str) -> bytes:
        opened.append(path)
        return real(path)

    monkeypatch.setattr(cgroup, "_content", content)
    read(Mounts(tmp_path, {}), guest_of(), frozenset({"cgroup.pressure.cpu.some"}))
    assert [Path(path).name for path in opened] == ["cpu.pressure"]
    opened.clear()
    assert read(Mounts(tmp_path, {}), guest_of(), frozenset()) == {}
    assert opened == []


@pytest.mark.parametrize("below", ["", "libvirt/"])
def test_throttling_is_summed_over_the_groups_of_threads(tmp_path: Path, below: str) -> None:
    """A quota of a vCPU is throttled where it is set, and not told by the guest's own group."""
    place = tmp_path / "machine.slice" / SCOPE
    plant(place, {"cpu.stat": "usage_usec 9\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n"})
    for number, name in enumerate(("emulator", "vcpu0", "vcpu1", "iothread1")):
        stat = f"usage_usec 1\nnr_periods {number}0\nnr_throttled {number}\nthrottled_usec 2\n"
        plant(place / f"{below}{name}", {"cpu.stat": stat})
    groups = ControlGroups(Mounts(tmp_path, {}))
    groups.begin({"instance-0000002a"}, local=True)
    found = groups.read(guest_of(), WANTED)
    assert found["cgroup.cpu.nr_periods"] == 0 + 10 + 20 + 30
    assert found["cgroup.cpu.nr_throttled"] == 0 + 1 + 2 + 3
    assert found["cgroup.cpu.throttled_time"] == 3 * 2000  # the emulator's threads have none

    (place / f"{below}vcpu1" / "cpu.stat").unlink()  # unplugged
    assert groups.read(guest_of(), WANTED) == {}
    assert groups.read(guest_of(), WANTED)["cgroup.cpu.nr_throttled"] == 0 + 1 + 3
    plugged = "usage_usec 1\nnr_periods 100\nnr_throttled 100\nthrottled_usec 0\n"
    plant(place / f"{below}vcpu2", {"cpu.stat": plugged})
    for _ in range(cgroup.LOCATE_EVERY):
        found = groups.read(guest_of(), WANTED)
    assert found["cgroup.cpu.nr_throttled"] == 0 + 1 + 3 + 100


def test_a_file_that_is_switched_off_costs_only_its_own_fields(tmp_path: Path) -> None:
    place = plant(tmp_path / "machine.slice" / SCOPE, VERSION_2)
    (place / "cpu.pressure").unlink()
    (place / "cpu.pressure").mkdir()  # reading it fails, as with EOPNOTSUPP
    (place / "memory.current").write_text("")
    found = read(Mounts(tmp_path, {}), guest_of())
    assert "cgroup.pressure.io.some" in found
    assert not {"cgroup.pressure.cpu.some", "cgroup.memory.current"} & found.keys()


def test_a_new_run_is_looked_for_anew_and_one_that_ended_gives_nothing(tmp_path: Path) -> None:
    old = plant(tmp_path / "machine" / "qemu-7-instance-0000002a.libvirt-qemu", VERSION_2)
    groups = ControlGroups(Mounts(tmp_path, {}))
    groups.begin({"instance-0000002a"}, local=True)
    assert groups.read(guest_of(), WANTED)
    for file in old.iterdir():
        file.unlink()
    old.rmdir()
    assert groups.read(guest_of(), WANTED) == {}
    later = {"memory.current": "5\n"}
    plant(tmp_path / "machine" / "qemu-8-instance-0000002a.libvirt-qemu", later)
    assert groups.read(guest_of(run=8), WANTED) == {"cgroup.memory.current": 5}
    assert groups.read(guest_of(run=-1), WANTED) == {}


def test_guests_of_another_host_have_none_here(tmp_path: Path) -> None:
    plant(tmp_path / "machine.slice" / SCOPE, VERSION_2)
    groups = ControlGroups(Mounts(tmp_path, {}))
    groups.begin({"instance-0000002a"}, local=False)
    assert groups.read(guest_of(), WANTED) == {}


@pytest.mark.parametrize("text", [b"some total=1\n", b"some avg10=x avg60=0 avg300=0 total=1\n"])
def test_another_format_of_pressure_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="no pressure: 'some"):
        pressure.parse(text)
