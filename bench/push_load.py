# SPDX-License-Identifier: Apache-2.0
"""What both sides push in `bench.gnocchi`.

Only the standard library: Ceilometer's environment has nothing of ours.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

NOW = 1_767_225_600
"""2026-01-01 00:00 UTC: when the first cycle was read."""

METERS = (
    ("memory", "gauge", "MB"),
    ("memory.available", "gauge", "MB"),
    ("memory.usage", "gauge", "MB"),
    ("memory.resident", "gauge", "MB"),
    ("memory.swap.in", "cumulative", "MB"),
    ("memory.swap.out", "cumulative", "MB"),
    ("vcpus", "gauge", "vcpu"),
    ("power.state", "gauge", "state"),
    ("cpu", "cumulative", "ns"),
    ("disk.root.size", "gauge", "GB"),
    ("disk.ephemeral.size", "gauge", "GB"),
    ("disk.latency", "gauge", "ms"),
    ("disk.iops", "gauge", "count/s"),
    ("disk.capacity", "gauge", "B"),
    ("disk.allocation", "gauge", "B"),
    ("disk.usage", "gauge", "B"),
    ("perf.cpu.cycles", "gauge", "cycle"),
    ("perf.instructions", "gauge", "instruction"),
    ("perf.cache.references", "gauge", "count"),
    ("perf.cache.misses", "gauge", "count"),
)
"""Twenty of the type `instance`: name, type, unit."""


class Load(NamedTuple):
    """One cycle.

    Attributes:
        number: of the cycle, from 0; they are 300 s apart, a block of the archive policy.
        resources: their ids.
    """

    number: int
    resources: list[str]

    @property
    def time(self) -> int:
        """When it was read, UTC seconds."""
        return NOW + 300 * self.number

    @property
    def timestamp(self) -> str:
        """The same as ISO 8601."""
        return datetime.fromtimestamp(self.time, UTC).isoformat()

    def volume(self, resource: int, meter: int) -> int:
        """Return what was read of a meter of a resource, by their numbers."""
        return 1_000_000 * (self.number + 1) + 100 * resource + meter


def ids(name: str, count: int) -> list[str]:
    """Return the ids of some resources."""
    return [str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}-{number}")) for number in range(count)]


def metadata(resource: int) -> dict[str, Any]:
    """Return a guest's, as Ceilometer's polling has it."""
    return {
        "display_name": f"guest-{resource}",
        "name": f"instance-{resource:08x}",
        "instance_id": f"{resource:036d}",
        "instance_type": "m1.small",
        "host": "4f1c54e5d2a84b7c8b9e1a2b3c4d5e6f",
        "instance_host": "node-17.example.org",
        "flavor": {
            "id": "4f1c54e5-d2a8-4b7c-8b9e-1a2b3c4d5e6f",
            "name": "m1.small",
            "vcpus": 2,
            "ram": 2048,
            "disk": 20,
            "ephemeral": 0,
            "swap": 0,
        },
        "status": "active",
        "state": "running",
        "task_state": "",
        "image": {"id": "0e1c54e5-d2a8-4b7c-8b9e-1a2b3c4d5e6f"},
        "image_ref": "0e1c54e5-d2a8-4b7c-8b9e-1a2b3c4d5e6f",
        "image_ref_url": None,
        "architecture": "x86_64",
        "OS-EXT-AZ:availability_zone": "nova",
        "vcpus": 2,
        "memory_mb": 2048,
        "disk_gb": 20,
        "ephemeral_gb": 0,
        "root_gb": 20,
    }


Make = Callable[[Load], list[Any]]
"""Returns the samples of a cycle, in a side's own form."""
Push = Callable[[list[Any]], None]
"""Pushes a batch of them."""


def serve(begin: Callable[[], tuple[Make, Push]]) -> None:
    """Push a cycle for each line and answer as `bench.contender.Cost` says.

    A line is ``NUMBER SIZE NAME COUNT``: of the cycle, of a batch, and whose resources, how many.

    Only the pushing is measured; the samples are there before it begins.

    Args:
        begin: called once, to get ready.
    """
    # What others print (logs, warnings) must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    make, push = begin()
    for line in sys.stdin:
        number, size, name, count = line.split()
        samples = make(Load(int(number), ids(name, int(count))))
        began = time.perf_counter(), time.process_time()
        for start in range(0, len(samples), int(size)):
            push(samples[start : start + int(size)])
        ended = time.perf_counter(), time.process_time()
        answer = {
            "wall": ended[0] - began[0],
            "client": ended[1] - began[1],
            "daemon": 0.0,
            "samples": len(samples),
            "resident": 0.0,
            "peak": 0.0,
        }
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
