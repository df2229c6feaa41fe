# SPDX-License-Identifier: Apache-2.0
"""What Nova wrote about an instance into the metadata of its domain.

The format is Nova's (``nova.virt.libvirt.config.LibvirtConfigGuestMetaNovaInstance``), the
attributes and their names are those of Ceilometer's samples.
"""

from __future__ import annotations

from typing import Any, Final
from xml.etree.ElementTree import Element

import msgspec

VERSIONS: Final = (
    "{http://openstack.org/xmlns/libvirt/nova/1.1}",
    "{http://openstack.org/xmlns/libvirt/nova/1.0}",
)
"""Namespaces, the newest first."""

_IMAGE_FIELDS: Final = {
    "containerFormat": "container_format",
    "diskFormat": "disk_format",
    "minDisk": "min_disk",
    "minRam": "min_ram",
}


class Instance(msgspec.Struct, frozen=True):
    """What Nova knows of a guest; None or empty where its version does not write it."""

    name: str | None
    project_id: str | None
    user_id: str | None
    created_at: str | None
    flavor: dict[str, Any] | None
    image_ref: str | None
    image_meta: dict[str, str] | None


def parse(metadata: Element | None) -> Instance | None:
    """Return Nova's part of a domain's ``<metadata>``, None if there is none."""
    if metadata is None:
        return None
    for namespace in VERSIONS:
        node = metadata.find(f"{namespace}instance")
        if node is not None:
            return _instance(node, namespace)
    return None


def _instance(node: Element, ns: str) -> Instance:
    project = node.find(f"{ns}owner/{ns}project")
    user = node.find(f"{ns}owner/{ns}user")
    root = node.find(f"{ns}root")
    from_image = root is not None and root.get("type") == "image"
    return Instance(
        name=node.findtext(f"{ns}name"),
        project_id=project.get("uuid") if project is not None else None,
        user_id=user.get("uuid") if user is not None else None,
        created_at=node.findtext(f"{ns}creationTime"),
        flavor=_flavor(node.find(f"{ns}flavor"), ns),
        image_ref=root.get("uuid") if root is not None and from_image else None,
        image_meta=_image_meta(node.find(f"{ns}image"), ns),
    )


def _flavor(node: Element | None, ns: str) -> dict[str, Any] | None:
    if node is None:
        return None
    name = node.get("name")
    flavor: dict[str, Any] = {
        # Only Nova from 2025.2 on writes the id.
        "id": node.get("id") or name,
        "name": name,
        "vcpus": _number(node.findtext(f"{ns}vcpus")),
        "ram": _number(node.findtext(f"{ns}memory")),
        "disk": _number(node.findtext(f"{ns}disk")),
        "ephemeral": _number(node.findtext(f"{ns}ephemeral")),
        "swap": _number(node.findtext(f"{ns}swap")),
    }
    specs = node.find(f"{ns}extraSpecs")
    if specs is not None:
        flavor["extra_specs"] = {
            spec.get("name"): spec.text for spec in specs.findall(f"{ns}extraSpec")
        }
    return flavor


def _image_meta(node: Element | None, ns: str) -> dict[str, str] | None:
    if node is None:
        return None
    found: dict[str, str] = {}
    if (base := node.get("uuid")) is not None:
        found["base_image_ref"] = base
    for tag, name in _IMAGE_FIELDS.items():
        if (text := node.findtext(f"{ns}{tag}")) is not None:
            found[name] = text
    for item in node.findall(f"{ns}properties/{ns}property"):
        if (name := item.get("name") or "") and item.text is not None:
            found[name] = item.text
    return found


def _number(text: str | None) -> int:
    """Read a number that Nova leaves out when it is zero."""
    try:
        return int(text or 0)
    except ValueError:
        return 0
