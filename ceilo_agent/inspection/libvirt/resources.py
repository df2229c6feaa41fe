# SPDX-License-Identifier: Apache-2.0
"""The resources of a guest: ids and metadata as Ceilometer gives them.

For a domain that Nova did not make, the display name is the domain's name and there is no project.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from typing import Any, Final, NamedTuple

import libvirt

from ceilo_agent.discovery.libvirt.guest import Description, Guest, Interface
from ceilo_agent.inspection.libvirt.nova_metadata import metadata_of, owner_of
from ceilo_agent.sample import Resource

POWER_STATES: Final = {
    libvirt.VIR_DOMAIN_NOSTATE: "pending",
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "running",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "shutdown",
    libvirt.VIR_DOMAIN_SHUTOFF: "shutdown",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "suspended",
}
"""Nova's names of the states (`nova.compute.power_state`)."""

STATUSES: Final = {
    libvirt.VIR_DOMAIN_NOSTATE: "building",
    libvirt.VIR_DOMAIN_RUNNING: "active",
    libvirt.VIR_DOMAIN_BLOCKED: "active",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "stopped",
    libvirt.VIR_DOMAIN_SHUTOFF: "stopped",
    libvirt.VIR_DOMAIN_CRASHED: "error",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "suspended",
}
"""Nova's names of what a user sees of them."""


def _reasons() -> dict[tuple[int, int], str]:
    """Read the names of all reasons off libvirt's constants: ``VIR_DOMAIN_PAUSED_IOERROR``."""
    found: dict[tuple[int, int], str] = {}
    states = ("RUNNING", "BLOCKED", "PAUSED", "SHUTDOWN", "SHUTOFF", "CRASHED", "PMSUSPENDED")
    for state in states:
        prefix = f"VIR_DOMAIN_{state}_"
        for name in dir(libvirt):
            if name.startswith(prefix) and not name.endswith("_LAST"):
                number = getattr(libvirt, f"VIR_DOMAIN_{state}")
                found[number, getattr(libvirt, name)] = name.removeprefix(prefix).lower()
    return found


REASONS: Final = _reasons()


_losses: Final = itertools.count(1)


class Part(NamedTuple):
    """A resource, and what changes when its counters begin anew."""

    resource: Resource
    incarnation: str


class GuestResources:
    """The resources of one guest, made once and shared by its samples until something changes.

    Attributes:
        taken: the guest's network devices that another guest has now.
    """

    def __init__(self, guest: Guest, host: str, state: int, reason: int, vcpus: int | None) -> None:
        self._guest = guest
        self._metadata = _metadata(guest, host, state, reason, vcpus)
        self._owner = owner_of(guest.description.instance, guest.server)
        self._parts: dict[tuple[str, str], Part | None] = {}
        self._lost: dict[str, int] = {}
        self._absent: set[str] = set()
        self.taken: Collection[str] = ()
        self.instance = self._part("instance", guest.uuid, {}, "")

    def vcpu(self, number: int) -> Part:
        """Return a virtual CPU."""
        found = self._parts.get(("vcpu", str(number)))
        if found is None:
            found = self._parts["vcpu", str(number)] = self._part(
                "instance_vcpu", f"{self._guest.uuid}-vcpu{number}", {"vcpu_number": number}, ""
            )
        return found

    def disk(self, target: str, path: str | None) -> Part | None:
        """Return a disk; None for a drive without a medium, and until the XML tells of it."""
        key = ("disk", target)
        if key not in self._parts:
            disk = self._guest.description.disks.get(target)
            if disk is None or (disk.source is None and path is not None):
                self._guest.stale = True
                return None
            if disk.source is None:
                self._parts[key] = None
            else:
                extra = {"disk_name": target, "disk_source": path or disk.source}
                resource_id = f"{self._guest.uuid}-{target}"
                self._parts[key] = self._part("instance_disk", resource_id, extra, disk.identity)
        elif path is not None and path != self._path(key):
            # A medium was put in, or a snapshot or a block job put another file in its place.
            self._guest.stale = True
        return self._parts[key]

    def interface(self, target: str) -> Part | None:
        """Return a network interface; None until the XML tells of it, or if it is taken."""
        if target in self.taken:
            self.lose(target)
            return None
        key = ("nic", target)
        if key not in self._parts:
            nic = self._guest.description.interfaces.get(target)
            if nic is None:
                self._guest.stale = True
                return None
            extra = {
                "name": nic.target,
                "mac": nic.mac,
                "fref": nic.filter,
                "parameters": nic.parameters,
                "vnic_name": self._vnic_name(nic),
            }
            resource_id = self._interface_id(nic)
            kind = "instance_network_interface"
            device = f"{nic.mac or ''} {self._lost.get(target, '')}".strip()
            self._parts[key] = self._part(kind, resource_id, extra, device)
            self._absent.discard(target)
        return self._parts[key]

    def lose(self, target: str) -> None:
        """Take note that the device of an interface is gone: another one of its name is new."""
        self._parts.pop(("nic", target), None)
        if target not in self._guest.description.interfaces:
            self._guest.stale = True
        if target not in self._absent:
            self._absent.add(target)
            self._lost[target] = next(_losses)

    def other(self, kind: str, name: str, extra: dict[str, Any]) -> Part:
        """Return a part that only the reply knows: an I/O thread, a cache bank, a memory node."""
        found = self._parts.get((kind, name))
        if found is None:
            resource_id = f"{self._guest.uuid}-{name}"
            found = self._parts[kind, name] = self._part(kind, resource_id, extra, "")
        return found

    def _path(self, key: tuple[str, str]) -> str | None:
        part = self._parts[key]
        return part.resource.metadata["disk_source"] if part is not None else None

    def _part(self, kind: str, resource_id: str, extra: dict[str, Any], device: str) -> Part:
        metadata = self._metadata | extra if extra else self._metadata
        project_id, user_id = self._owner
        resource = Resource(resource_id, project_id, user_id, kind, metadata)
        return Part(resource, f"{self._guest.run} {device}" if device else str(self._guest.run))

    def _vnic_name(self, nic: Interface) -> str:
        return nic.filter if nic.filter is not None else nic.target

    def _interface_id(self, nic: Interface) -> str:
        # Nova's filters are one per interface, so Ceilometer takes their name for the id. A plain
        # domain's filter (`clean-traffic`) is shared by many and would mix their series.
        if nic.filter is not None and self._guest.description.instance is not None:
            return nic.filter
        return f"{self._guest.description.name}-{self._guest.uuid}-{nic.target}"


def _metadata(
    guest: Guest, host: str, state: int, reason: int, vcpus: int | None
) -> dict[str, Any]:
    description, instance = guest.description, guest.description.instance
    metadata: dict[str, Any] = {
        "display_name": _display_name(description),
        "name": description.name,
        "instance_id": guest.uuid,
        "instance_host": host,
        "host": host,
        "status": STATUSES.get(state, "unknown"),
        "state": POWER_STATES.get(state, "unknown"),
        "state_reason": REASONS.get((state, reason), "unknown"),
        "architecture": description.architecture,
        "os_type": description.os_type,
    }
    if vcpus is not None:
        metadata["cpu_number"] = vcpus
    if description.title:
        metadata["title"] = description.title
    if description.text:
        metadata["description"] = description.text
    if instance is not None:
        metadata |= metadata_of(instance, guest.server, host, metadata)
    return metadata


def _display_name(description: Description) -> str:
    instance = description.instance
    return instance.name if instance is not None and instance.name else description.name
