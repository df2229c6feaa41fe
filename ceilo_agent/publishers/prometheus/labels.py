# SPDX-License-Identifier: Apache-2.0
"""The labels of a resource: those of its series never change, metadata have a series of their own.

A series is its labels: one that changed would be another series. So series have only what names
the resource. What may change (name, owner, flavor, host) stands once per guest in
``ceilo_instance_info``, to be joined by ``instance_id``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from ceilo_agent.publishers.prometheus.naming import HOST, INSTANCE, RESOURCE
from ceilo_agent.sample import Resource

Labels = tuple[tuple[str, str], ...]
"""Names and values, sorted by name; no value is empty."""

RESERVED: Final = frozenset(("resource_id", "instance_id", "device", "host"))
"""The names of the labels of series."""

OF_INFOS: Final = frozenset(
    ("name", "project_id", "user_id", "flavor", "image_id", "architecture", "os_type", "type")
)
"""Those that series with metadata have besides."""


class Info(NamedTuple):
    """The series with metadata of a resource.

    Attributes:
        kind: one of naming.INFOS.
        owner: the id of what the metadata are of: the guest, for its disk.
        whole: whether the resource is that itself, not a part of it.
        labels: of the series.
    """

    kind: str
    owner: str
    whole: bool
    labels: Labels


class Described(NamedTuple):
    """What Prometheus is told of a resource."""

    labels: Labels
    info: Info | None


def describe(resource: Resource) -> Described:
    """Return the labels of a resource's series, and those of its metadata."""
    metadata = resource.metadata
    if resource.type == "instance":
        whole, key = resource.id, "instance_id"
    elif isinstance(guest := metadata.get("instance_id"), str) and guest:
        whole, key = guest, "instance_id"
    elif resource.type.startswith("host"):
        host = metadata.get("resource_url")
        whole, key = host if isinstance(host, str) and host else resource.id, "host"
    else:
        return Described(_labels({"resource_id": resource.id}), _info_of_other(resource))
    names = {"resource_id": resource.id, key: whole}
    if resource.id != whole:
        names["device"] = _device(resource, whole)
    labels = _labels(names)
    if key == "host":
        info = _labels({"resource_id": whole, "host": whole})
        return Described(labels, Info(HOST, whole, True, info))
    more = dict(_metadata_of_guest(resource))
    info = _labels({"resource_id": whole, "instance_id": whole, **more})
    return Described(labels, Info(INSTANCE, whole, resource.id == whole, info))


def _device(resource: Resource, whole: str) -> str:
    """Return what a part is called on the whole: its id goes on with it, or ends in it."""
    _, found, device = resource.id.partition(whole)
    if found and device:
        return device[1:]
    for key in ("disk_name", "vnic_name", "name", "device"):
        if name := _text(resource.metadata.get(key)):
            return name
    return resource.id


def _metadata_of_guest(resource: Resource) -> Iterator[tuple[str, str]]:
    metadata = resource.metadata
    flavor = metadata.get("flavor")
    image = metadata.get("image")
    yield "name", _text(metadata.get("display_name"))
    yield "project_id", resource.project_id or ""
    yield "user_id", resource.user_id or ""
    yield "flavor", _within(flavor, "name") or _text(metadata.get("instance_type"))
    yield "image_id", _within(image, "id") or _text(metadata.get("image_ref"))
    yield "host", _text(metadata.get("instance_host"))
    yield "architecture", _text(metadata.get("architecture"))
    yield "os_type", _text(metadata.get("os_type"))


def _info_of_other(resource: Resource) -> Info | None:
    metadata = resource.metadata
    more = {
        "name": _text(metadata.get("display_name")) or _text(metadata.get("name")),
        "project_id": resource.project_id or "",
        "user_id": resource.user_id or "",
    }
    if not any(more.values()):
        return None
    labels = _labels({"resource_id": resource.id, "type": resource.type, **more})
    return Info(RESOURCE, resource.id, True, labels)


def _within(value: Any, key: str) -> str:
    return _text(value.get(key)) if isinstance(value, Mapping) else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _labels(values: Mapping[str, str]) -> Labels:
    return tuple(sorted((name, clean(value)) for name, value in values.items() if value))


def clean(text: str) -> str:
    """Return a text that UTF-8 can hold: lone surrogates come from names that are no text."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
