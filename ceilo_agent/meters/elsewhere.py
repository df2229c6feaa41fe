# SPDX-License-Identifier: Apache-2.0
"""Meters of Ceilometer that this agent does not poll, and where to find what they said.

They are the first that an operator types who comes from there.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

RENAMED: Final = {"cpu_l3_cache": "perf.cache.occupancy"}
"""Ceilometer's names of meters that have another one here; unit and type are the same."""

CHANGED: Final = {
    "memory.bandwidth.total": "perf.memory.bandwidth.total",
    "memory.bandwidth.local": "perf.memory.bandwidth.local",
}
"""Names that mean something else here, and where to find what Ceilometer read."""

_API: Final = "it comes from an OpenStack API, which this agent does not poll"
_ELSEWHERE: Final = (
    ("cpu_util", "a rate_of_change of 'cpu' makes it"),
    ("cpu.delta", "a delta of 'cpu' makes it"),
    ("disk.read.*.rate", "disk.device.read.*.rate is the same for each disk"),
    ("disk.write.*.rate", "disk.device.write.*.rate is the same for each disk"),
    ("disk.device.iops", "disk.device.read.requests.rate and disk.device.write.requests.rate"),
    ("disk.device.latency", "disk.device.read.latency.mean and disk.device.write.latency.mean"),
    ("disk.read.*", "disk.device.read.* is the same for each disk"),
    ("disk.write.*", "disk.device.write.* is the same for each disk"),
    ("disk.capacity", "disk.device.capacity is the same for each disk"),
    ("disk.allocation", "disk.device.allocation is the same for each disk"),
    ("disk.usage", "disk.device.usage is the same for each disk"),
    ("instance", "power.state tells which guests there are"),
    ("instance:*", "power.state tells which guests there are"),
    ("hardware.ipmi.*", "sensors of IPMI are not read"),
    ("radosgw.usage", "its samples are called 'radosgw.api.request', in Ceilometer too"),
    *((name, f"this agent calls it '{now}'") for name, now in RENAMED.items()),
    *(
        (family, _API)
        for family in (
            "identity.*", "switch", "switch.*", "port", "port.*", "energy", "power",
        )
    ),
)  # fmt: skip
"""Patterns of names, the first that matches counts, and what to do instead."""


def elsewhere(name: str) -> str:
    """Return where a meter of Ceilometer's comes from, empty for all that was none of it.

    Args:
        name: of a meter that this agent does not have, or a pattern of such names.
    """
    return next((hint for pattern, hint in _ELSEWHERE if fnmatchcase(name, pattern)), "")
