# SPDX-License-Identifier: Apache-2.0
"""Definitions, targets and documents for tests of the engine."""

from __future__ import annotations

import json
import time
from typing import Any

from ceilo_agent.definition.pollsters.pollster import PollsterDef
from ceilo_agent.discovery.api.unit import Unit
from ceilo_agent.expressions.value import Value
from ceilo_agent.inspection.api.inspector import CentralInspector
from ceilo_agent.plugins import Context, Snapshot, Target
from ceilo_agent.sample import SampleType
from tests.services import faulty

_VALUES = {
    "value_attribute", "response_entries_key", "next_sample_url_attribute", "user_id_attribute",
    "project_id_attribute", "resource_id_attribute", "sub_value",
}  # fmt: skip


def pollster(name: str = "device.load", **changes: Any) -> PollsterDef:
    """Return a definition that reads `load` of each entry, with some of its keys changed."""
    for key, value in changes.items():
        if key in _VALUES and isinstance(value, str):
            changes[key] = Value.parse(value)
        elif key == "metadata_fields":
            changes[key] = {field: Value.parse(field) for field in value}
    usual: dict[str, Any] = {
        "name": name,
        "sample_type": SampleType.GAUGE,
        "unit": "load",
        "value_attribute": Value.parse("load"),
        "url_path": "devices",
        "timeout": 5,
        "retries": 0,
    }
    return PollsterDef(**usual | changes)


def target(base: str, *pollsters: PollsterDef, **more: Any) -> Target:
    """Return a target of a static resource."""
    unit = Unit(pollsters or (pollster(),), base, static=True, **more)
    return Target(f"{unit.request.method} {unit.request.url_path} {base}", unit)


def inspector(**options: Any) -> CentralInspector:
    """Return an inspector that knows no definition of its own."""
    return CentralInspector(Context("host", {f"polling.{k}": v for k, v in options.items()}))


def inspect(made: CentralInspector, *targets: Target, seconds: float = 20) -> Snapshot:
    """Read all that the targets have."""
    wanted = frozenset(p.name for each in targets for p in each.handle.pollsters)
    return made.inspect(targets, wanted, time.monotonic() + seconds)


def values(found: Snapshot) -> dict[str, Any]:
    """Return the volumes of a snapshot by resource, in order."""
    return {seen.resource.id: seen.volumes[0] for seen in found.observations}


def reasons(found: Snapshot) -> list[str]:
    """Return why something is missing."""
    return [lack.reason for lack in found.missing]


def answer(document: Any) -> faulty.Behaviour:
    """Answer with JSON; bytes are sent as they are."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return faulty.ok(body, {"Content-Type": "application/json"})


def entry(name: str, load: Any = 1, /, **more: Any) -> dict[str, Any]:
    """Return an entry of an answer."""
    return {"id": name, "load": load, "user_id": "u", "project_id": "p", **more}
