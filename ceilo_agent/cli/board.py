# SPDX-License-Identifier: Apache-2.0
"""The figures of guests and host that a person wants to see first."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any, Final

from ceilo_agent.sample import Batch, Previous, Sample

MIB: Final = 1 << 20

HEADER: Final = (
    "guest", "state", ">cpu %", ">memory MiB", ">of", ">read MiB/s", ">written MiB/s",
    ">in KiB/s", ">out KiB/s",
)  # fmt: skip

_NUMBER: Final = re.compile(r"([0-9]+)")


class Figures:
    """What is shown of one guest or of the host; sums over its disks and interfaces."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = ""
        self.gauges: dict[str, float] = {}
        self.rates: dict[str, dict[str, float]] = {}

    def rate(self, meter: str) -> float | None:
        """Return what the resources of the meter gain per second together."""
        found = self.rates.get(meter)
        return sum(found.values()) if found else None


class Board:
    """Keeps the latest figures; fed on the lanes' threads, read on the main one."""

    def __init__(self) -> None:
        self.samples = 0
        self.time = 0.0
        self._lock = threading.Lock()
        self._guests: dict[str, Figures] = {}
        self._host = Figures("")
        self._sources: dict[str, set[str]] = {}

    def update(self, batch: Batch) -> None:
        """Take in a batch; guests that its source no longer tells of vanish."""
        with self._lock:
            self.samples += len(batch.samples)
            seen: set[str] = set()
            begun: set[tuple[int, str]] = set()
            for sample in batch.samples:
                metadata = sample.resource.metadata
                guest = metadata.get("instance_id")
                if guest is not None:
                    seen.add(guest)
                    figures = self._figures(guest, metadata)
                else:
                    figures = self._host
                meter = (id(figures), sample.meter.name)
                if meter not in begun:
                    # Devices that are gone, and rates from before a restart, count no more.
                    begun.add(meter)
                    figures.rates.pop(sample.meter.name, None)
                _take(figures, sample)
                self.time = max(self.time, sample.time)
            if seen or not batch.samples:
                for gone in self._sources.get(batch.source or "", set()) - seen:
                    self._guests.pop(gone, None)
                self._sources[batch.source or ""] = seen

    def rows(self, most: int | None = None) -> list[tuple[str, ...]]:
        """Return a row per guest under HEADER, by name; the busiest if there are more than `most`.

        A last row counts those that are left out.
        """
        with self._lock:
            guests = list(self._guests.values())
        left = 0
        if most is not None and len(guests) > most:
            left = len(guests) - most + 1
            guests = sorted(guests, key=lambda guest: guest.rate("cpu") or 0.0)[left:]
        rows = [_row(guest) for guest in sorted(guests, key=lambda guest: _natural(guest.name))]
        if left:
            rows.append((f"... and {left} less busy", *[""] * (len(HEADER) - 1)))
        return rows

    def host(self) -> str:
        """Return the host's figures in a line, empty while there are none."""
        with self._lock:
            gauges = self._host.gauges
            parts = []
            if "hardware.cpu.load.1min" in gauges:
                parts.append(f"load {gauges['hardware.cpu.load.1min']:.2f}")
            if {"hardware.memory.used", "hardware.memory.total"} <= gauges.keys():
                used, total = gauges["hardware.memory.used"], gauges["hardware.memory.total"]
                parts.append(f"memory {used / MIB:.1f} of {total / MIB:.1f} GiB")
            return ", ".join(parts)

    def _figures(self, guest: str, metadata: Mapping[str, Any]) -> Figures:
        figures = self._guests.get(guest)
        if figures is None:
            figures = self._guests[guest] = Figures(metadata.get("display_name") or guest)
        figures.state = metadata.get("state", "")
        return figures


def _take(figures: Figures, sample: Sample) -> None:
    name = sample.meter.name
    figures.gauges[name] = sample.volume
    if isinstance(sample.previous, Previous):
        gained = sample.volume - sample.previous.volume
        rates = figures.rates.setdefault(name, {})
        rates[sample.resource.id] = gained / sample.previous.elapsed


def _row(guest: Figures) -> tuple[str, ...]:
    cpu = guest.rate("cpu")
    return (
        guest.name,
        guest.state,
        _figure(cpu, 1e7),
        _figure(guest.gauges.get("memory.usage"), 1, 0),
        _figure(guest.gauges.get("memory"), 1, 0),
        _figure(guest.rate("disk.device.read.bytes"), MIB),
        _figure(guest.rate("disk.device.write.bytes"), MIB),
        _figure(guest.rate("network.incoming.bytes"), 1024),
        _figure(guest.rate("network.outgoing.bytes"), 1024),
    )


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort numbers in names by their value: web-2 before web-10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in _NUMBER.split(name)]


def _figure(value: float | None, per: float, digits: int = 1) -> str:
    return "-" if value is None else f"{value / per:.{digits}f}"
