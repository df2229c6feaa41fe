# SPDX-License-Identifier: Apache-2.0
"""What Nova wrote about an instance into the metadata of its domain.

The format is Nova's (``nova.virt.libvirt.config.LibvirtConfigGuestMetaNovaInstance``), the
attributes and their names are those of Ceilometer's samples. What is not there, or cannot be read,
is absent: it costs the guest no more than that.
"""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element

import msgspec

VERSIONS: Final = (
    "{http://openstack.org/xmlns/libvirt/nova/1.1}",
    "{http://openstack.org/xmlns/libvirt/nova/1.0}",
)
"""Namespaces, the newest first."""

MOST: Final = 2**63 - 1
"""What is more than that is no size that Nova knows, and more than most stores take."""

_IMAGE_FIELDS: Final = {
    "containerFormat": "container_format",
    "diskFormat": "disk_format",
    "minDisk": "min_disk",
    "minRam": "min_ram",
}


class Flavor(msgspec.Struct, frozen=True):
    """A flavor as Nova wrote it: MiB of `ram` and `swap`, GiB of `disk` and `ephemeral`.

    Attributes:
        id: written by Nova 2025.2 and later, None before.
        extra_specs: likewise.
        sizes: vcpus, ram, disk, ephemeral, swap; 0 where Nova wrote none, without those that
            cannot be read.
    """

    id: str | None
    name: str | None
    sizes: dict[str, int]
    extra_specs: dict[str, str | None] | None


class Instance(msgspec.Struct, frozen=True):
    """What Nova knows of a guest; None or empty where its version does not write it."""

    name: str | None
    project_id: str | None
    user_id: str | None
    created_at: str | None
    flavor: Flavor | None
    image_ref: str | None
    image_meta: dict[str, str | None] | None


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
    return Instance(
        name=node.findtext(f"{ns}name") or None,
        project_id=_attribute(node.find(f"{ns}owner/{ns}project"), "uuid"),
        user_id=_attribute(node.find(f"{ns}owner/{ns}user"), "uuid"),
        created_at=node.findtext(f"{ns}creationTime") or None,
        flavor=_flavor(node.find(f"{ns}flavor"), ns),
        image_ref=_attribute(node.find(f"{ns}root[@type='image']"), "uuid"),
        image_meta=_image_meta(node.find(f"{ns}image"), ns),
    )


def _attribute(node: Element | None, name: str) -> str | None:
    return (node.get(name) or None) if node is not None else None


def _flavor(node: Element | None, ns: str) -> Flavor | None:
    if node is None:
        return None
    sizes: dict[str, int] = {}
    for name, tag in (
        ("vcpus", "vcpus"),
        ("ram", "memory"),
        ("disk", "disk"),
        ("ephemeral", "ephemeral"),
        ("swap", "swap"),
    ):
        size = _size(node.findtext(f"{ns}{tag}"))
        if size is not None:
            sizes[name] = size
    return Flavor(
        id=node.get("id") or None,
        name=node.get("name") or None,
        sizes=sizes,
        extra_specs=_named(node.find(f"{ns}extraSpecs"), f"{ns}extraSpec"),
    )


def _named(node: Element | None, tag: str) -> dict[str, str | None] | None:
    """Return the texts of elements by their attribute `name`."""
    if node is None:
        return None
    return {name: item.text for item in node.findall(tag) if (name := item.get("name"))}


def _image_meta(node: Element | None, ns: str) -> dict[str, str | None] | None:
    if node is None:
        return None
    found: dict[str, str | None] = {}
    if (base := node.get("uuid")) is not None:
        found["base_image_ref"] = base
    for tag, name in _IMAGE_FIELDS.items():
        if (item := node.find(f"{ns}{tag}")) is not None:
            found[name] = item.text
    return found | (_named(node.find(f"{ns}properties"), f"{ns}property") or {})


def _size(text: str | None) -> int | None:
    """Read a size; None if it is none."""
    try:
        size = int(text or 0)
    except ValueError:
        return None
    return size if 0 <= size <= MOST else None
