# SPDX-License-Identifier: Apache-2.0
"""The resources of a guest: ids and metadata as Ceilometer gives them.

For a domain that Nova did not make, the display name is the domain's name and there is no project.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple

import libvirt

from ceilo_agent.discovery.libvirt.guest import Description, Guest, Interface
from ceilo_agent.discovery.libvirt.nova import Instance
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


class Part(NamedTuple):
    """A resource, and what changes when its counters begin anew."""

    resource: Resource
    incarnation: str


class GuestResources:
    """The resources of one guest, made once and shared by its samples until something changes."""

    def __init__(self, guest: Guest, host: str, state: int, reason: int, vcpus: int | None) -> None:
        self._guest = guest
        self._metadata = _metadata(guest, host, state, reason, vcpus)
        instance = guest.description.instance
        self._owner = (
            (instance.project_id, instance.user_id) if instance is not None else (None, None)
        )
        self._parts: dict[tuple[str, str], Part | None] = {}
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
        elif self._parts[key] is None and path is not None:
            self._guest.stale = True  # a medium was put in
        return self._parts[key]

    def interface(self, target: str) -> Part | None:
        """Return a network interface; None until the XML tells of it."""
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
            self._parts[key] = self._part(kind, resource_id, extra, nic.mac or "")
        return self._parts[key]

    def other(self, kind: str, name: str, extra: dict[str, Any]) -> Part:
        """Return a part that only the reply knows: an I/O thread, a cache bank, a memory node."""
        found = self._parts.get((kind, name))
        if found is None:
            resource_id = f"{self._guest.uuid}-{name}"
            found = self._parts[kind, name] = self._part(kind, resource_id, extra, "")
        return found

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
        metadata.update(_nova_metadata(instance, host))
    return metadata


def _display_name(description: Description) -> str:
    instance = description.instance
    return instance.name if instance is not None and instance.name else description.name


def _nova_metadata(instance: Instance, host: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        # How Nova hides its hosts from users (`nova.api.openstack.compute.views.servers`).
        "host": hashlib.sha224(f"{instance.project_id or ''}{host}".encode()).hexdigest(),
        "image": {"id": instance.image_ref} if instance.image_ref else None,
        "image_ref": instance.image_ref,
        "image_ref_url": None,
        "task_state": "",
    }
    if instance.created_at:
        metadata["created_at"] = instance.created_at
    if instance.image_meta is not None:
        metadata["image_meta"] = instance.image_meta
    if instance.flavor is not None:
        flavor = instance.flavor
        metadata |= {
            "flavor": flavor,
            "instance_type": flavor["name"],
            "vcpus": flavor["vcpus"],
            "memory_mb": flavor["ram"],
            "disk_gb": flavor["disk"],
            "ephemeral_gb": flavor["ephemeral"],
            "root_gb": flavor["disk"] - flavor["ephemeral"],
        }
    return metadata
