# SPDX-License-Identifier: Apache-2.0
"""Sensors of a machine, from trees of files like those that drivers make below /sys/class."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from ceilo_agent.inspection.host import inspector as inspector_module
from ceilo_agent.inspection.host.inspector import HostInspector
from ceilo_agent.inspection.host.part import Part
from ceilo_agent.inspection.host.sensors import sensors, zones
from ceilo_agent.meters import catalogue
from ceilo_agent.plugins import Context, Observation, Target
from ceilo_agent.sample import Volume

HOST = "node-7"


def plant(directory: Path, files: Mapping[str, str]) -> Path:
    directory.mkdir(parents=True)
    for name, text in files.items():
        (directory / name).write_text(f"{text}\n")
    return directory


def chip(root: Path, number: int, device: str | None, files: Mapping[str, str]) -> Path:
    directory = plant(root / "hwmon" / f"hwmon{number}", files)
    if device is not None:
        (root / "devices" / device).mkdir(parents=True)
        (directory / "device").symlink_to(root / "devices" / device)
    return directory


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """Two disks with chips of one name, a processor, a fan and a power meter."""
    disk = {"name": "nvme", "temp1_input": "38850", "temp1_label": "Composite"}
    chip(tmp_path, 0, "nvme0", {**disk, "temp1_crit": "84850"})
    chip(tmp_path, 1, "nvme1", {**disk, "temp1_input": "41850"})
    cores = {"name": "coretemp", "temp1_input": "-5000", "temp1_label": "Package id 0"}
    chip(tmp_path, 2, "coretemp.0", cores)
    chip(tmp_path, 3, "nct6775.656", {"name": "nct6798", "fan1_input": "1200", "fan2_input": "0"})
    chip(tmp_path, 4, None, {"name": "power_meter", "power1_average": "213000000"})
    return tmp_path


def by_name(parts: list[Part]) -> dict[str, Part]:
    found = {part.name: part for part in parts}
    assert len(found) == len(parts), "two sensors would be one series"
    return found


def test_sensors_are_named_after_the_device_not_after_a_number(server: Path) -> None:
    found = by_name(list(sensors(server)))
    assert set(found) == {
        "nvme-nvme0.temp1",
        "nvme-nvme1.temp1",
        "coretemp-coretemp.0.temp1",
        "nct6798-nct6775.656.fan1",
        "nct6798-nct6775.656.fan2",
        "power_meter.power1",
    }
    assert found["nvme-nvme0.temp1"].metadata == {
        "chip": "nvme",
        "device": "nvme0",
        "sensor": "temp1",
        "label": "Composite",
    }


def test_chips_without_a_device_and_of_one_name_stay_apart(tmp_path: Path) -> None:
    for number in (0, 1):
        chip(tmp_path, number, None, {"name": "acpitz", "temp1_input": "30000"})
    assert set(by_name(list(sensors(tmp_path)))) == {"acpitz.temp1", "acpitz+.temp1"}


def test_a_sensor_that_does_not_answer_costs_only_itself(server: Path) -> None:
    broken = server / "hwmon" / "hwmon3" / "fan2_input"
    broken.unlink()
    broken.mkdir()  # reading it fails, as a driver's EIO does
    (server / "hwmon" / "hwmon1" / "temp1_input").write_text("\n")
    names = set(by_name(list(sensors(server))))
    assert "nct6798-nct6775.656.fan1" in names
    assert not {"nct6798-nct6775.656.fan2", "nvme-nvme1.temp1"} & names


def test_thermal_zones_stand_in_where_no_chip_tells_a_temperature(tmp_path: Path) -> None:
    plant(tmp_path / "thermal" / "thermal_zone0", {"type": "cpu-thermal", "temp": "48312"})
    chip(tmp_path, 0, None, {"name": "pwmfan", "fan1_input": "900"})
    assert set(by_name(list(sensors(tmp_path)))) == {"pwmfan.fan1", "thermal.zone0"}
    chip(tmp_path, 1, None, {"name": "soc", "temp1_input": "48000"})
    assert set(by_name(list(sensors(tmp_path)))) == {"pwmfan.fan1", "soc.temp1"}


def test_a_machine_without_sensors_is_fine(tmp_path: Path) -> None:
    assert list(sensors(tmp_path)) == []
    assert list(zones(tmp_path)) == []


@pytest.fixture
def processors(tmp_path: Path) -> Path:
    powercap = tmp_path / "powercap"
    plant(powercap / "intel-rapl", {"enabled": "1"})
    plant(powercap / "intel-rapl:0", {"name": "package-0", "energy_uj": "262143000000"})
    plant(powercap / "intel-rapl:0:0", {"name": "dram", "energy_uj": "1500000"})
    plant(powercap / "intel-rapl-mmio:0", {"name": "package-0", "energy_uj": "262143000000"})
    return tmp_path


def test_energy_is_read_once_of_each_zone(processors: Path) -> None:
    found = by_name(list(zones(processors)))
    assert set(found) == {"rapl-0.package-0", "rapl-0-0.dram"}
    assert found["rapl-0-0.dram"].readings == {"powercap": {"energy_uj": 1_500_000}}


def test_energy_that_only_root_may_read_is_absent(processors: Path) -> None:
    file = processors / "powercap" / "intel-rapl:0" / "energy_uj"
    file.unlink()
    file.mkdir()  # reading it fails for root, too
    assert set(by_name(list(zones(processors)))) == {"rapl-0-0.dram"}


def test_volumes_have_the_units_of_the_catalogue(
    server: Path, processors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server == processors
    here = {"sensors": lambda: sensors(server), "energy of processors": lambda: zones(server)}
    groups = tuple(
        group._replace(read=here.get(group.name, group.read)) for group in inspector_module._GROUPS
    )
    monkeypatch.setattr(inspector_module, "_GROUPS", groups)
    wanted = frozenset(e.name for e in catalogue("host").meters if e.kind == "host_sensor")
    inspector = HostInspector(Context(HOST, {}))
    snapshot = inspector.inspect([Target(HOST)], wanted, time.monotonic() + 10)
    found = {
        each.resource.id.removeprefix(f"{HOST}."): given(each) for each in snapshot.observations
    }
    assert found == {
        "nvme-nvme0.temp1": {
            "hardware.temperature": 38.85,
            "hardware.temperature.critical": 84.85,
        },
        "nvme-nvme1.temp1": {"hardware.temperature": 41.85},
        "coretemp-coretemp.0.temp1": {"hardware.temperature": -5},
        "nct6798-nct6775.656.fan1": {"hardware.fan.speed": 1200},
        "nct6798-nct6775.656.fan2": {"hardware.fan.speed": 0},
        "power_meter.power1": {"hardware.power": 213},
        "rapl-0.package-0": {"hardware.energy": 262143},
        "rapl-0-0.dram": {"hardware.energy": 1.5},
    }


def given(observation: Observation) -> dict[str, Volume]:
    pairs = zip(observation.columns, observation.volumes, strict=True)
    return {column.meter.name: volume for column, volume in pairs if volume is not None}
