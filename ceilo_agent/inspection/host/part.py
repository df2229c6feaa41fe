# SPDX-License-Identifier: Apache-2.0
"""A part of the host that is a resource of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Part(NamedTuple):
    """A disk, a file system or a network interface, and what was read of it.

    Attributes:
        name: what follows the host in the resource's id.
        metadata: what is known of it, under Ceilometer's names.
        device: changes when another device has taken the name.
        readings: the fields that were read, by source; what was not given is absent.
    """

    name: str
    metadata: Mapping[str, Any]
    device: str
    readings: Mapping[str, Mapping[str, Any]]
