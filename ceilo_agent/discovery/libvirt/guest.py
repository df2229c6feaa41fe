# SPDX-License-Identifier: Apache-2.0
"""What the XML of a domain says: read once per guest and again when it changed.

The elements are those of https://libvirt.org/formatdomain.html.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import msgspec

from ceilo_agent.discovery.compute_api.server import Server
from ceilo_agent.discovery.libvirt import nova
from ceilo_agent.discovery.libvirt.connection import Connection


class Disk(msgspec.Struct, frozen=True):
    """A disk: `identity` tells it from another one that is later put in its place."""

    target: str
    identity: str
    source: str | None


class Interface(msgspec.Struct, frozen=True):
    """A network interface, by the name of its device on the host.

    Attributes:
        target: the tap device.
        mac: the guest's address.
        filter: the name of its network filter, None without.
        parameters: the filter's parameters in lower case, `interfaceid` (Neutron's port) and
            `bridge`; Ceilometer's metadata.
    """

    target: str
    mac: str | None
    filter: str | None
    parameters: dict[str, str | None]


class Description(msgspec.Struct, frozen=True):
    """A guest as its XML describes it."""

    name: str
    title: str | None
    text: str | None
    os_type: str | None
    architecture: str | None
    disks: dict[str, Disk]
    interfaces: dict[str, Interface]
    instance: nova.Instance | None


class Guest(msgspec.Struct, eq=False):
    """A guest under inspection; the handle of a target.

    Attributes:
        uuid: the target's id.
        domain: the virDomain of this cycle.
        run: libvirt's id of the running domain, -1 when it is shut off. Each start and each
            incoming migration has a new one.
        description: what the XML said.
        connection: whom to ask.
        stale: set when the bulk reply shows devices that the XML did not.
        server: what Nova's API knows of it, None where it is not asked or has not answered.
    """

    uuid: str
    domain: Any
    run: int
    description: Description
    connection: Connection
    stale: bool = False
    server: Server | None = None


def describe(xml: str) -> Description:
    """Parse the XML of a domain.

    Raises:
        ValueError: it is not the XML of a domain.
    """
    try:
        root = ET.fromstring(xml)  # noqa: S314 - written by the hypervisor's own daemon
    except ET.ParseError as error:
        raise ValueError(f"not the XML of a domain: {error}") from error
    os_type = root.find("os/type")
    disks = [_disk(node) for node in root.iterfind("devices/disk")]
    interfaces = [_interface(node) for node in root.iterfind("devices/interface")]
    return Description(
        name=root.findtext("name") or "",
        title=root.findtext("title"),
        text=root.findtext("description"),
        os_type=os_type.text if os_type is not None else None,
        architecture=os_type.get("arch") if os_type is not None else None,
        disks={disk.target: disk for disk in disks if disk is not None},
        interfaces={nic.target: nic for nic in interfaces if nic is not None},
        instance=nova.parse(root.find("metadata")),
    )


def _disk(node: ET.Element) -> Disk | None:
    target = node.find("target")
    if target is None or not target.get("dev"):
        return None
    source = node.find("source")
    address = node.find("address")
    parts = [target.get("bus"), node.findtext("serial"), node.findtext("wwn")]
    if address is not None:
        parts.extend(f"{name}={value}" for name, value in sorted(address.attrib.items()))
    return Disk(
        target=target.get("dev", ""),
        identity=" ".join(part for part in parts if part),
        source=next(iter(source.attrib.values()), "") if source is not None else None,
    )


def _interface(node: ET.Element) -> Interface | None:
    target = node.find("target")
    if target is None or not target.get("dev"):
        return None
    mac = node.find("mac")
    reference = node.find("filterref")
    port = node.find("virtualport/parameters")
    source = node.find("source")
    parameters: dict[str, str | None] = {
        item.get("name", "").lower(): item.get("value")
        for item in node.iterfind("filterref/parameter")
    }
    parameters["interfaceid"] = port.get("interfaceid") if port is not None else None
    parameters["bridge"] = source.get("bridge") if source is not None else None
    return Interface(
        target=target.get("dev", ""),
        mac=mac.get("address") if mac is not None else None,
        filter=reference.get("filter") if reference is not None else None,
        parameters=parameters,
    )
