# SPDX-License-Identifier: Apache-2.0
"""What became of Ceilometer's meters: which this agent has, which it has under another name."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import Final

from ceilo_agent.definition.meters import unknown
from ceilo_agent.meters.catalogue import NAMESPACES, Entry, catalogue, known
from ceilo_agent.pipeline.matching import Matcher

SHOWN: Final = 3
"""Names that stand for a longer list."""

RENAMED: Final = {"cpu_l3_cache": "perf.cache.occupancy"}
"""Ceilometer's names of meters that have another one here; unit and type are the same."""

_API: Final = "it comes from an OpenStack API, which this agent does not poll"
_REASONS: Final = (
    ("cpu_util", "a rate_of_change of 'cpu' makes it"),
    ("cpu.delta", "a delta of 'cpu' makes it"),
    ("disk.*.rate", "a rate_of_change of the meter without '.rate' makes it"),
    ("disk.device.iops", "disk.device.read.requests.rate and disk.device.write.requests.rate"),
    ("disk.device.latency", "disk.device.read.latency.mean and disk.device.write.latency.mean"),
    ("disk.read.*", "disk.device.read.* is the same for each disk"),
    ("disk.write.*", "disk.device.write.* is the same for each disk"),
    ("disk.capacity", "disk.device.capacity is the same for each disk"),
    ("disk.allocation", "disk.device.allocation is the same for each disk"),
    ("disk.usage", "disk.device.usage is the same for each disk"),
    ("instance*", "power.state tells which guests there are"),
    ("hardware.ipmi.*", "sensors of IPMI are not read"),
    *(
        (family, _API)
        for family in (
            "image", "image.*", "volume.*", "storage.*", "radosgw.*", "ip.floating*",
            "network.services.*", "loadbalancer.*", "dns.*", "manila.*", "alarm.*", "identity.*",
            "switch*", "port*", "energy", "power",
        )
    ),
)  # fmt: skip

_CHANGED: Final = {
    "memory.bandwidth.total": "perf.memory.bandwidth.total",
    "memory.bandwidth.local": "perf.memory.bandwidth.local",
}
"""Names that mean something else here, and where to find what Ceilometer read."""


def without(patterns: Sequence[str]) -> dict[int, str]:
    """Return the indexes of the patterns that match no meter of this agent, each with a hint."""
    return {
        index: _reason(patterns[index].removeprefix("!")) or nearest
        for index, nearest in _unknown(tuple(patterns))
    }


@functools.lru_cache(maxsize=256)
def _unknown(patterns: tuple[str, ...]) -> list[tuple[int, str]]:
    return unknown(patterns, known())


def _reason(pattern: str) -> str:
    return next((reason for name, reason in _REASONS if fnmatchcase(pattern, name)), "")


def changed(pattern: str) -> str:
    """Return where to find what Ceilometer read under a name, empty where it is the same."""
    return _CHANGED.get(pattern, "")


def taken(patterns: Collection[str]) -> list[str]:
    """Return the meters of this agent that the patterns take, in the catalogue's order."""
    return list(_taken(tuple(patterns)))


@functools.lru_cache(maxsize=256)
def _taken(patterns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(filter(Matcher(patterns), known()))


def added(patterns: Collection[str]) -> list[str]:
    """Return the meters that globs and exclusions take here and that Ceilometer does not have."""
    entries = _entries()
    return [n for n in taken(patterns) if not entries[n].ceilometer and n not in patterns]


def of_this_host(patterns: Collection[str]) -> list[str]:
    """Return the meters of the host itself that are listed by name or by a pattern of their own."""
    listed = [pattern for pattern in patterns if pattern.startswith("hardware.")]
    return [name for name in taken(listed) if known()[name] == "host"]


@functools.cache
def _entries() -> dict[str, Entry]:
    return {entry.name: entry for name in NAMESPACES for entry in catalogue(name).meters}


def shortened(names: Sequence[str]) -> str:
    """Return names for a message: the first few and the number of the others."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
