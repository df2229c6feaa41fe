# SPDX-License-Identifier: Apache-2.0
"""Samples for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ceilo_agent.sample import Meter, Resource, Sample, SampleType, Volume

CPU = Meter("cpu", "ns", SampleType.CUMULATIVE)
MEMORY = Meter("memory.usage", "MB", SampleType.GAUGE)
READ = Meter("disk.device.read.bytes", "B", SampleType.CUMULATIVE)
START = 1_790_000_000.25


def guest(
    number: int = 0, metadata: Mapping[str, Any] | None = None, project: str | None = "project"
) -> Resource:
    return Resource(
        f"guest-{number}",
        project,
        None,
        "instance",
        {"display_name": f"web-{number}"} if metadata is None else metadata,
    )


def cycle(number: int, guests: int = 3, meters: tuple[Meter, ...] = (CPU, MEMORY)) -> list[Sample]:
    """Return what one poll of some guests gives: cycles are 60 s apart."""
    return [
        Sample(meter, resource, START + 60 * number + place / 1000, volume(number, place))
        for place in range(guests)
        for resource in (guest(place),)
        for meter in meters
    ]


def volume(number: int, place: int) -> Volume:
    return number * 1000 + place


def told(samples: list[Sample]) -> list[tuple[str, str, float, Volume]]:
    """Return what a test compares: who, what, when, how much."""
    return [(s.resource.id, s.meter.name, s.time, s.volume) for s in samples]
