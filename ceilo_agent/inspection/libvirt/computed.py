# SPDX-License-Identifier: Apache-2.0
"""Meters that follow from several fields of one reply; the catalogue names them in `compute`.

Each takes the reply of one guest, the prefix of the resource's fields in it, and the guest; it
returns None when the reply lacks what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ceilo_agent.discovery.libvirt.guest import Guest
from ceilo_agent.sample import Volume

KIB_PER_MIB: Final = 1024

Reply = Mapping[str, Any]
Compute = Callable[[Reply, str, Guest], Volume | None]


def cpu(reply: Reply, prefix: str, guest: Guest) -> Volume | None:  # noqa: ARG001
    """Sum time and wait over the vCPUs, as Ceilometer does.

    vCPU numbers have holes after a hot-unplug. With fewer figures than vCPUs the sum would fall,
    so the process's CPU time stands in.
    """
    total = counted = 0
    for number in range(reply.get("vcpu.maximum", 0)):
        time = reply.get(f"vcpu.{number}.time")
        wait = reply.get(f"vcpu.{number}.wait")
        if time is not None and wait is not None:
            total += time + wait
            counted += 1
    if counted and counted == reply.get("vcpu.current"):
        return total
    return reply.get("cpu.time")


def memory_usage(reply: Reply, prefix: str, guest: Guest) -> Volume | None:  # noqa: ARG001
    """What the guest uses: available less usable, or less unused with an older balloon driver."""
    available = reply.get("balloon.available")
    left = reply.get("balloon.usable", reply.get("balloon.unused"))
    if available is None or left is None:
        return None
    return float(available - left) / KIB_PER_MIB


def swap_in(reply: Reply, prefix: str, guest: Guest) -> Volume | None:  # noqa: ARG001
    """Swap read back, only when both directions are told (as Ceilometer)."""
    return _swap(reply, "balloon.swap_in")


def swap_out(reply: Reply, prefix: str, guest: Guest) -> Volume | None:  # noqa: ARG001
    """Swap written, only when both directions are told (as Ceilometer)."""
    return _swap(reply, "balloon.swap_out")


def _swap(reply: Reply, field: str) -> Volume | None:
    if "balloon.swap_in" not in reply or "balloon.swap_out" not in reply:
        return None
    return float(reply[field]) / KIB_PER_MIB


def balloon_updated(reply: Reply, prefix: str, guest: Guest) -> Volume | None:  # noqa: ARG001
    """Return when the guest last spoke; libvirt's 0 means that it never did."""
    return reply.get("balloon.last-update") or None


def halted(reply: Reply, prefix: str, guest: Guest) -> Volume | None:  # noqa: ARG001
    """Turn libvirt's boolean into 0 or 1."""
    value = reply.get(f"{prefix}halted")
    return None if value is None else int(value)


def disk_capacity(reply: Reply, prefix: str, guest: Guest) -> Volume | None:  # noqa: ARG001
    """Return the larger of capacity and physical size: libvirt rounds a cdrom's capacity down."""
    capacity = reply.get(f"{prefix}capacity")
    return None if capacity is None else max(capacity, reply.get(f"{prefix}physical", 0))


def root_size(reply: Reply, prefix: str, guest: Guest) -> Volume | None:  # noqa: ARG001
    """Return the flavor's disk less its ephemeral disk (as Ceilometer)."""
    sizes = _flavor_sizes(guest)
    if "disk" not in sizes or "ephemeral" not in sizes:
        return None
    return sizes["disk"] - sizes["ephemeral"]


def ephemeral_size(reply: Reply, prefix: str, guest: Guest) -> Volume | None:  # noqa: ARG001
    """Return the flavor's ephemeral disk."""
    return _flavor_sizes(guest).get("ephemeral")


def _flavor_sizes(guest: Guest) -> Mapping[str, int]:
    instance = guest.description.instance
    flavor = instance.flavor if instance is not None else None
    return flavor.sizes if flavor is not None else {}


FUNCTIONS: Final[Mapping[str, Compute]] = {
    function.__name__: function
    for function in (
        cpu,
        memory_usage,
        swap_in,
        swap_out,
        balloon_updated,
        halted,
        disk_capacity,
        root_size,
        ephemeral_size,
    )
}
