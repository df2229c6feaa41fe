# SPDX-License-Identifier: Apache-2.0
"""A server as Nova's API shows it, as far as its domain's XML does not.

The fields are those of ``GET /servers/detail``, version 2.1
(https://docs.openstack.org/api-ref/compute/#list-servers-detailed).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


class Reserved(msgspec.Struct, frozen=True):
    """Which of a server's own metadata go into samples, under Ceilometer's options.

    Attributes:
        prefixes: of keys; they are taken off.
        keys: taken as well, whole.
        length: letters of a value that are kept.
    """

    prefixes: Sequence[str]
    keys: Sequence[str]
    length: int

    def of(self, metadata: Mapping[str, Any]) -> dict[str, str]:
        """Return what samples show as `user_metadata`; dots in names become underscores."""
        found: dict[str, str] = {}
        for prefix in self.prefixes:
            for key, text in metadata.items():
                if key.startswith(prefix):
                    found[key.removeprefix(prefix).replace(".", "_")] = text
        for key in self.keys:
            if key in metadata:
                found[key.replace(".", "_")] = metadata[key]
        return {name: str(text)[: self.length] for name, text in found.items()}


class Server(msgspec.Struct, frozen=True):
    """What is taken from a server.

    Attributes:
        user_metadata: of the server's own metadata what is reserved for metering.
        image: `id` and `links`; None for one that boots from a volume.
        launched_at: as Nova writes it, UTC.
    """

    id: str
    project_id: str | None
    user_id: str | None
    flavor_id: str | None
    image: dict[str, Any] | None
    availability_zone: str | None
    launched_at: str | None
    user_metadata: dict[str, str]


def is_deleted(shown: Mapping[str, Any]) -> bool:
    """Tell whether a server is gone: Nova lists those, too, when asked what changed."""
    return shown.get("status") in {"DELETED", "SOFT_DELETED"}


def parse(shown: Any, reserved: Reserved) -> Server | None:
    """Return a server, None if it has no id; of what is not as documented nothing is taken."""
    if not isinstance(shown, dict) or not _text(shown.get("id")):
        return None
    flavor = shown.get("flavor")
    metadata = shown.get("metadata")
    return Server(
        id=shown["id"],
        project_id=_text(shown.get("tenant_id")),
        user_id=_text(shown.get("user_id")),
        flavor_id=_text(flavor.get("id")) if isinstance(flavor, dict) else None,
        image=_image(shown.get("image")),
        availability_zone=_text(shown.get("OS-EXT-AZ:availability_zone")),
        launched_at=_text(shown.get("OS-SRV-USG:launched_at")),
        user_metadata=reserved.of(metadata) if isinstance(metadata, dict) else {},
    )


def _image(shown: Any) -> dict[str, Any] | None:
    if not isinstance(shown, dict) or not _text(shown.get("id")):
        return None  # an empty text where there is no image
    links = shown.get("links")
    whole = [
        link
        for link in (links if isinstance(links, list) else [])
        if isinstance(link, dict) and _text(link.get("href"))
    ]
    return {"id": shown["id"], "links": whole}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
