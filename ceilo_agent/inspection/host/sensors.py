# SPDX-License-Identifier: Apache-2.0
"""Temperatures, fans, power and energy, from the files that the kernel's drivers make.

The files of hwmon are those of Documentation/hwmon/sysfs-interface.rst, of thermal zones those of
Documentation/driver-api/thermal/sysfs-api.rst, of energy those of
Documentation/power/powercap/powercap.rst. psutil reads hwmon, too, but gives two chips of one
name (two NVMe disks) under one name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ceilo_agent.inspection.host.part import Part

SYS_CLASS: Final = Path("/sys/class")

_READING: Final = re.compile(r"((temp|fan|power)\d+)_(input|average)")
"""The files of a sensor's reading; a power meter that has no present value has an average."""

_OTHERS: Final = {"temp": ("crit",), "fan": (), "power": ()}
"""What else is read of a sensor, by its kind."""


def sensors(sys_class: Path = SYS_CLASS) -> Iterator[Part]:
    """Read each sensor of each chip; without any temperature among them the thermal zones.

    A sensor that does not answer is left out (a disk asleep, a fan that is not there).
    """
    temperatures = False
    for part in _hwmon(sys_class / "hwmon"):
        temperatures = temperatures or "temp_input" in part.readings["hwmon"]
        yield part
    if not temperatures:
        yield from _thermal(sys_class / "thermal")


def zones(sys_class: Path = SYS_CLASS) -> Iterator[Part]:
    """Read the energy of each zone of the processors; zones that this user may not read are none.

    A package's zone holds those below it. Zones of a control type that measures the same through
    another door (`intel-rapl-mmio`) are left out.
    """
    for directory in _directories(sys_class / "powercap", "intel-rapl:*"):
        energy = _number(directory / "energy_uj")
        if energy is None:
            continue
        # intel-rapl:0 is the package-0, intel-rapl:0:2 the dram in it.
        number = directory.name.partition(":")[2].replace(":", "-")
        label = _text(directory / "name") or number
        yield Part(
            name=f"rapl-{number}.{label}",
            metadata={"chip": "rapl", "device": directory.name, "sensor": label, "label": label},
            device="",
            readings={"powercap": {"energy_uj": energy}},
        )


def _hwmon(hwmon: Path) -> Iterator[Part]:
    taken: set[str] = set()
    for directory in _directories(hwmon, "hwmon*"):
        chip = _text(directory / "name")
        if chip is None:
            continue
        # The number in hwmon3 is another after each boot; the device behind it is the same.
        device = _device(directory)
        place = f"{chip}-{device}" if device and device != chip else chip
        while place in taken:
            place += "+"
        taken.add(place)
        for sensor, readings in sorted(_readings(directory).items()):
            yield Part(
                name=f"{place}.{sensor}",
                metadata={
                    "chip": chip,
                    "device": device,
                    "sensor": sensor,
                    "label": _text(directory / f"{sensor}_label"),
                },
                device="",
                readings={"hwmon": readings},
            )


def _readings(directory: Path) -> dict[str, dict[str, int]]:
    """Return what the sensors of a chip say, by the sensor's name (temp1) and the file's kind."""
    found: dict[str, dict[str, int]] = {}
    for file in directory.iterdir():
        match = _READING.fullmatch(file.name)
        if match is None:
            continue
        sensor, kind, what = match.groups()
        value = _number(file)
        if value is not None:
            found.setdefault(sensor, {})[f"{kind}_{what}"] = value
            for other in _OTHERS[kind]:
                limit = _number(directory / f"{sensor}_{other}")
                if limit is not None:
                    found[sensor][f"{kind}_{other}"] = limit
    return found


def _thermal(thermal: Path) -> Iterator[Part]:
    for directory in _directories(thermal, "thermal_zone*"):
        value = _number(directory / "temp")
        if value is None:
            continue
        label = _text(directory / "type")
        yield Part(
            name=f"thermal.{directory.name.removeprefix('thermal_')}",
            metadata={"chip": "thermal", "device": None, "sensor": directory.name, "label": label},
            device=label or "",
            readings={"hwmon": {"temp_input": value}},
        )


def _directories(parent: Path, pattern: str) -> list[Path]:
    return sorted(parent.glob(pattern))


def _device(directory: Path) -> str | None:
    """Return the name of the device behind a chip (coretemp.0, 0000:01:00.0, nvme0)."""
    try:
        return (directory / "device").resolve(strict=True).name
    except OSError:
        return None


def _text(file: Path) -> str | None:
    try:
        return file.read_text("utf-8", "replace").strip() or None
    except OSError:
        return None


def _number(file: Path) -> int | None:
    """Return what a file says; None where the driver answers with an error, or with no number."""
    text = _text(file)
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None
