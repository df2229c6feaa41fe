# SPDX-License-Identifier: Apache-2.0
"""The machine as a whole: CPU, memory, load, the kernel's work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import psutil

from ceilo_agent.inspection.host import kernel

_LINES: Final = {
    "buffers": "Buffers",
    "cached": "Cached",
    "active": "Active",
    "inactive": "Inactive",
    "shared": "Shmem",
    "slab": "Slab",
}
"""The line of /proc/meminfo without which psutil gives 0 for a field of virtual_memory."""


def _virtual_memory() -> Mapping[str, Any]:
    lines = kernel.meminfo()
    fields = psutil.virtual_memory()._asdict()
    return {
        name: value for name, value in fields.items() if name not in _LINES or _LINES[name] in lines
    }


SOURCES: Final[dict[str, Callable[[], Mapping[str, Any]]]] = {
    "clock": kernel.clock,
    "cpu_count": lambda: {"logical": psutil.cpu_count()},
    "cpu_times": lambda: psutil.cpu_times()._asdict(),
    "getloadavg": lambda: dict(zip(("1min", "5min", "15min"), psutil.getloadavg(), strict=True)),
    "loadavg": kernel.loadavg,
    "meminfo": kernel.meminfo,
    "pressure": kernel.pressure,
    "snmp": kernel.snmp,
    "stat": kernel.stat,
    "swap_memory": lambda: psutil.swap_memory()._asdict(),
    "virtual_memory": _virtual_memory,
    "vmstat": kernel.vmstat,
}
"""Reads the fields of one source of the machine; raises what psutil and open() raise."""
