# SPDX-License-Identifier: Apache-2.0
"""Guests and a host as the agent's inspectors describe them."""

from __future__ import annotations

import time
from typing import Any, Final

from ceilo_agent.sample import Meter, Resource, Sample, SampleType

NOW: Final = float(int(time.time()) - 60)

CPU = Meter("cpu", "ns", SampleType.CUMULATIVE)
MEMORY = Meter("memory.usage", "MiB", SampleType.GAUGE)
READ = Meter("disk.device.read.bytes", "B", SampleType.CUMULATIVE)
DELTA = Meter("network.incoming.bytes.delta", "B", SampleType.DELTA)
LOAD = Meter("hardware.cpu.load.1min", "process", SampleType.GAUGE)


def guest(number: int = 1, **more: Any) -> Resource:
    uuid = f"5a0e-{number}"
    metadata = {
        "display_name": f"web-{number}",
        "name": f"instance-{number:08}",
        "instance_id": uuid,
        "instance_host": "kvm-1",
        "flavor": {"name": "m1.small", "ram": 512},
        "image": {"id": "image-1"},
        "status": "active",
    }
    return Resource(uuid, "blue", "anna", "instance", metadata | more)


def disk(number: int = 1, device: str = "vda", **more: Any) -> Resource:
    owner = guest(number, **more)
    metadata = dict(owner.metadata) | {"disk_name": device}
    return Resource(f"{owner.id}-{device}", "blue", "anna", "instance_disk", metadata)


def nic(number: int = 1, tap: str = "tap0") -> Resource:
    owner = guest(number)
    metadata = dict(owner.metadata) | {"name": tap, "vnic_name": tap}
    kind = "instance_network_interface"
    return Resource(f"instance-{number:08}-{owner.id}-{tap}", "blue", "anna", kind, metadata)


def host(part: str = "") -> Resource:
    name = f"kvm-1.{part}" if part else "kvm-1"
    kind = "host_disk" if part else "host"
    return Resource(name, None, None, kind, {"resource_url": "kvm-1"})


def cpu(seconds: float = 0, volume: float = 10**9, resource: Resource | None = None) -> Sample:
    return Sample(CPU, resource or guest(), NOW + seconds, volume)
