# SPDX-License-Identifier: Apache-2.0
"""Which resources of each kind a guest's reply speaks of, and where their fields begin in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ceilo_agent.inspection.libvirt.resources import GuestResources, Part

COUNTERS: Final = ("rx.bytes", "tx.bytes", "rx.pkts", "tx.pkts")
"""libvirt gives none of them where the host has no such device (any more)."""

Reply = Mapping[str, Any]
Found = Iterator[tuple[str, Part]]


def _instance(_reply: Reply, resources: GuestResources) -> Found:
    yield "", resources.instance


def _vcpus(reply: Reply, resources: GuestResources) -> Found:
    for number in range(reply.get("vcpu.maximum", 0)):
        # The numbers have holes after a hot-unplug.
        if f"vcpu.{number}.state" in reply:
            yield f"vcpu.{number}.", resources.vcpu(number)


def _disks(reply: Reply, resources: GuestResources) -> Found:
    for number in range(reply.get("block.count", 0)):
        prefix = f"block.{number}."
        disk = resources.disk(reply.get(f"{prefix}name", ""), reply.get(f"{prefix}path"))
        if disk is not None:
            yield prefix, disk


def _interfaces(reply: Reply, resources: GuestResources) -> Found:
    seen = set()
    for number in range(reply.get("net.count", 0)):
        name = reply.get(f"net.{number}.name", "")
        # Two devices of one name would be one series: the first has it.
        if name and name not in seen:
            seen.add(name)
            if not any(f"net.{number}.{field}" in reply for field in COUNTERS):
                resources.lose(name)
                continue
            interface = resources.interface(name)
            if interface is not None:
                yield f"net.{number}.", interface


def _iothreads(reply: Reply, resources: GuestResources) -> Found:
    if reply.get("iothread.count"):
        # Numbered by their ids, which need not follow one another.
        ids = {int(field.split(".")[1]) for field in reply if field.endswith(".poll-max-ns")}
        for number in sorted(ids):
            extra = {"iothread_id": number}
            part = resources.other("instance_iothread", f"iothread{number}", extra)
            yield f"iothread.{number}.", part


def _cache_banks(reply: Reply, resources: GuestResources) -> Found:
    return _monitored(reply, resources, "cpu.cache.monitor", ("bank", "cache"))


def _memory_nodes(reply: Reply, resources: GuestResources) -> Found:
    return _monitored(reply, resources, "memory.bandwidth.monitor", ("node", "node"))


def _energy_packages(reply: Reply, resources: GuestResources) -> Found:
    return _monitored(reply, resources, "cpu.energy.monitor", ("pkg", "package"))


_MONITORED: Final = {
    "bank": "instance_cache_bank",
    "node": "instance_memory_node",
    "pkg": "instance_energy_package",
}


def _monitored(
    reply: Reply, resources: GuestResources, field: str, names: tuple[str, str]
) -> Found:
    """Yield the parts of each resource monitor (RDT): `names` in the reply and in our ids."""
    part_name, own_name = names
    kind = _MONITORED[part_name]
    for monitor in range(reply.get(f"{field}.count", 0)):
        prefix = f"{field}.{monitor}."
        label = reply.get(f"{prefix}name", str(monitor))
        for index in range(reply.get(f"{prefix}{part_name}.count", 0)):
            number = reply.get(f"{prefix}{part_name}.{index}.id", index)
            extra = {
                "monitor": label,
                "monitored_vcpus": reply.get(f"{prefix}vcpus"),
                f"{own_name}_id": number,
            }
            part = resources.other(kind, f"{label}-{own_name}{number}", extra)
            yield f"{prefix}{part_name}.{index}.", part


PARTS: Final[Mapping[str, Callable[[Reply, GuestResources], Found]]] = {
    "instance": _instance,
    "instance_vcpu": _vcpus,
    "instance_disk": _disks,
    "instance_network_interface": _interfaces,
    "instance_iothread": _iothreads,
    "instance_cache_bank": _cache_banks,
    "instance_memory_node": _memory_nodes,
    "instance_energy_package": _energy_packages,
}
"""By the kinds of the catalogue that are read from the reply."""
