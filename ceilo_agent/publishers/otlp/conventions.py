# SPDX-License-Identifier: Apache-2.0
"""Resources and units under the names of OpenTelemetry.

Attributes: https://opentelemetry.io/docs/specs/semconv/resource/ (host, cloud, user, network).
Units: UCUM, https://opentelemetry.io/docs/specs/semconv/general/metrics/#instrument-units.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ceilo_agent.sample import Resource

SERVICE: Final = "ceilo_agent"

VOLATILE: Final = frozenset({"status", "state", "state_reason", "task_state"})
"""Metadata that changes in the life of a resource. The attributes of a resource are what tells its
series from others': with these among them each change would begin new ones."""

ARCHITECTURES: Final = {
    "x86_64": "amd64",
    "i686": "x86",
    "i386": "x86",
    "aarch64": "arm64",
    "armv7l": "arm32",
    "ppc64": "ppc64",
    "ppc64le": "ppc64",
    "s390x": "s390x",
}
"""libvirt's names and those of ``host.arch``."""

UNITS: Final = {
    "": "1",
    "%": "%",
    "percent": "%",
    "ns": "ns",
    "us": "us",
    "µs": "us",
    "ms": "ms",
    "s": "s",
    "second": "s",
    "min": "min",
    "h": "h",
    "d": "d",
    "B": "By",
    # Ceilometer means powers of 1024 by all of these, as do Nova and the kernel's "kB".
    "KB": "KiBy",
    "MB": "MiBy",
    "GB": "GiBy",
    "TB": "TiBy",
    "PB": "PiBy",
    "KiB": "KiBy",
    "MiB": "MiBy",
    "GiB": "GiBy",
    "TiB": "TiBy",
    "PiB": "PiBy",
    "bit": "bit",
    "kbit": "kbit",
    "Kbit": "kbit",
    "Mbit": "Mbit",
    "Gbit": "Gbit",
    "Hz": "Hz",
    "MHz": "MHz",
    "W": "W",
    "kWh": "kW.h",
    "V": "V",
    "A": "A",
    "J": "J",
    "F": "F",
    "C": "Cel",
}
"""UCUM's codes of units of measure. All other units count things: ``packet`` is ``{packet}``."""


@functools.lru_cache(maxsize=1024)
def unit(ours: str) -> str:
    """Return the UCUM code of a unit: ``MiB/s`` is ``MiBy/s``, ``packet`` is ``{packet}``."""
    return "/".join(_code(part) for part in ours.split("/"))


def _code(part: str) -> str:
    if part in UNITS:
        return UNITS[part]
    # An annotation holds printable ASCII without braces.
    word = "".join(letter for letter in part if "!" <= letter <= "~" and letter not in "{}")
    return f"{{{word}}}" if word else "1"


def attributes(resource: Resource, *, all_metadata: bool) -> dict[str, Any]:
    """Return the attributes of a resource by name.

    ``service.name`` and ``service.instance.id`` are there because Prometheus makes ``job`` and
    ``instance`` of them, and ignores the others when it tells series apart.

    Args:
        resource: of Ceilometer's kinds, or any other.
        all_metadata: with its metadata that OpenTelemetry has no name for, under ``ceilo_agent.``.
    """
    metadata = resource.metadata
    found: dict[str, Any] = {
        "service.name": SERVICE,
        "service.instance.id": resource.id,
        "ceilo_agent.resource_id": resource.id,
        "ceilo_agent.resource_type": resource.type,
        "cloud.account.id": resource.project_id,
        "user.id": resource.user_id,
    }
    if resource.type.startswith("instance"):
        found |= _instance(resource)
    elif resource.type.startswith("host"):
        found["host.name"] = metadata.get("resource_url", resource.id)
    found |= _device(resource)
    if all_metadata:
        kept = {key: value for key, value in metadata.items() if key not in VOLATILE}
        found = dict(_flat("ceilo_agent", kept)) | found
    return {name: value for name, value in found.items() if value is not None}


def _instance(resource: Resource) -> dict[str, Any]:
    """Return what tells of a guest: to OpenTelemetry it is a host."""
    metadata = resource.metadata
    image = metadata.get("image")
    architecture = metadata.get("architecture")
    return {
        "host.id": metadata.get("instance_id", resource.id),
        "host.name": metadata.get("display_name"),
        "host.type": metadata.get("instance_type"),
        "host.arch": ARCHITECTURES.get(str(architecture), architecture),
        "host.image.id": image.get("id") if isinstance(image, Mapping) else None,
    }


def _device(resource: Resource) -> dict[str, Any]:
    """Return what tells of a disk or a network interface."""
    metadata = resource.metadata
    if resource.type.endswith("_network_interface"):
        mac = metadata.get("mac")
        return {
            "network.interface.name": metadata.get("name"),
            # IEEE RA's form, as the convention demands.
            "host.mac": [str(mac).replace(":", "-").upper()] if mac else None,
        }
    if resource.type.endswith("_disk"):
        return {"system.device": metadata.get("disk_name", metadata.get("device"))}
    return {}


def _flat(prefix: str, metadata: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Yield metadata by dotted names, mappings unfolded."""
    for key, value in metadata.items():
        name = f"{prefix}.{key}"
        if isinstance(value, Mapping):
            yield from _flat(name, value)
        else:
            yield name, value
