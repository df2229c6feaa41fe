# SPDX-License-Identifier: Apache-2.0
"""The metadata of an instance's samples: Ceilometer's attributes, under Ceilometer's names.

They come from the domain's XML; what that lacks, from Nova's API where it is asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any, Final

from ceilo_agent.discovery.compute_api.server import Server
from ceilo_agent.discovery.libvirt.nova import Flavor, Instance

OURS: Final = frozenset({"state_reason", "cpu_number", "title", "description", "created_at"})
"""Names that Ceilometer's samples do not have: a user's own key may be called so."""

SIZES: Final = {
    "vcpus": "vcpus",
    "memory_mb": "ram",
    "disk_gb": "disk",
    "ephemeral_gb": "ephemeral",
}


def owner_of(instance: Instance | None, server: Server | None) -> tuple[str | None, str | None]:
    """Return the ids of the project and of the user, None where nobody tells them."""
    if instance is None:
        return None, None
    project, user = instance.project_id, instance.user_id
    if server is not None:
        project, user = project or server.project_id, user or server.user_id
    return project, user


def metadata_of(
    instance: Instance, server: Server | None, host: str, taken: Collection[str]
) -> dict[str, Any]:
    """Return the metadata that only an instance of Nova has.

    Args:
        instance: from the XML.
        server: from Nova's API, None as long as that has not told.
        host: this host's name.
        taken: names that the guest's metadata have already.
    """
    project, _ = owner_of(instance, server)
    metadata: dict[str, Any] = {
        # How Nova hides its hosts from users (`nova.api.openstack.compute.views.servers`).
        "host": hashlib.sha224(f"{project or ''}{host}".encode()).hexdigest(),
        **_image(instance, server),
        "task_state": "",
    }
    if instance.image_meta:
        metadata["image_meta"] = instance.image_meta
    if instance.flavor is not None:
        metadata |= _flavor(instance.flavor, server)
    if server is not None:
        if server.availability_zone:
            metadata["OS-EXT-AZ:availability_zone"] = server.availability_zone
        names = {*taken, *metadata} - OURS
        own = {name: text for name, text in server.user_metadata.items() if name not in names}
        if own:
            metadata["user_metadata"] = own
        if server.launched_at:
            metadata["launched_at"] = server.launched_at
    if instance.created_at:
        metadata["created_at"] = instance.created_at
    return metadata


def _image(instance: Instance, server: Server | None) -> dict[str, Any]:
    found: dict[str, Any] = {"image": None, "image_ref": None, "image_ref_url": None}
    if instance.image_ref:
        found["image"] = {"id": instance.image_ref}
        found["image_ref"] = instance.image_ref
    elif server is not None and server.image is not None:
        found["image"] = server.image
        found["image_ref"] = server.image["id"]
        if server.image.get("links"):
            found["image_ref_url"] = server.image["links"][0]["href"]
    return found


def _flavor(flavor: Flavor, server: Server | None) -> dict[str, Any]:
    known = server.flavor_id if server is not None else None
    shown: dict[str, Any] = {
        "id": flavor.id or known or flavor.name,
        "name": flavor.name,
        **flavor.sizes,
    }
    if flavor.extra_specs is not None:
        shown["extra_specs"] = flavor.extra_specs
    found: dict[str, Any] = {"flavor": shown, "instance_type": flavor.name}
    found |= {name: flavor.sizes[size] for name, size in SIZES.items() if size in flavor.sizes}
    if "disk" in flavor.sizes and "ephemeral" in flavor.sizes:
        found["root_gb"] = flavor.sizes["disk"] - flavor.sizes["ephemeral"]
    return found
