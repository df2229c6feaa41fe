# SPDX-License-Identifier: Apache-2.0
"""Samples as the agent makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ceilo_agent.sample import Meter, Resource, Sample, SampleType, Volume

NOW = 1_767_225_600.0
"""2026-01-01 00:00 UTC."""

METADATA = {
    "display_name": "web",
    "host": "node-1",
    "flavor": {"id": "f1", "name": "small"},
    "instance_id": "guest-1",
}


def guest(
    number: int | str = 1, metadata: Mapping[str, Any] = METADATA, **changes: Any
) -> Resource:
    values = {
        "id": f"guest-{number}",
        "project_id": "project",
        "user_id": "user",
        "type": "instance",
        "metadata": metadata,
    }
    return Resource(**(values | changes))


def sample(
    seconds: float = 0,
    volume: Volume = 7,
    resource: Resource | None = None,
    meter: str = "cpu",
    unit: str = "ns",
) -> Sample:
    kind = SampleType.CUMULATIVE
    return Sample(Meter(meter, unit, kind), resource or guest(), NOW + seconds, volume)
