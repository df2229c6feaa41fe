# SPDX-License-Identifier: Apache-2.0
"""Figures of Linux that psutil does not give, from the files that the kernel makes of them.

Each function returns what the file has, under the kernel's own names; what it lacks is absent.
The place of /proc is psutil's, so that one setting moves both.
"""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from ceilo_agent.inspection import pressure as psi


def proc() -> Path:
    """Return where /proc is mounted."""
    return Path(psutil.PROCFS_PATH)


def boot_id() -> str:
    """Return the random name of this boot (random(4)), empty where the kernel gives none."""
    try:
        return (proc() / "sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def stat() -> dict[str, int]:
    """Return the first figure of each line of /proc/stat (proc_stat(5)): of `intr` the sum."""
    return _first_figures("stat")


def meminfo() -> dict[str, int]:
    """Return /proc/meminfo (proc_meminfo(5)): KiB, or pages for HugePages_*."""
    return _first_figures("meminfo")


def vmstat() -> dict[str, int]:
    """Return /proc/vmstat (proc_vmstat(5)): pgpg* in KiB, pswp* in pages, the rest are events."""
    words = (proc() / "vmstat").read_text("ascii").split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


def _first_figures(file: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in (proc() / file).read_text("ascii").splitlines():
        # `intr` goes on with a figure for each interrupt: thousands on a large machine.
        words = line.split(None, 2)
        if len(words) > 1:
            found[words[0].rstrip(":")] = int(words[1])
    return found


def loadavg() -> dict[str, int]:
    """Return `total`, the processes and threads that exist, from /proc/loadavg."""
    # 0.20 0.18 0.12 1/80 11206: the fourth is those that run or could, of those that exist.
    entities = (proc() / "loadavg").read_text("ascii").split()[3]
    return {"total": int(entities.partition("/")[2])}


def snmp() -> dict[str, int]:
    """Return the counters of IP from /proc/net/snmp, under the names of the IP-MIB (RFC 1213)."""
    lines = (proc() / "net/snmp").read_text("ascii").splitlines()
    names, figures = (line.split()[1:] for line in lines if line.startswith("Ip:"))
    return dict(zip(names, map(int, figures), strict=True))


def pressure() -> dict[str, int | float]:
    """Return stall times as ``cpu.some``, ``io.full``, ... in us, and ``cpu.some.avg10`` in %.

    Empty where the kernel was built or booted without it.
    """
    found: dict[str, int | float] = {}
    for resource in psi.RESOURCES:
        try:
            text = (proc() / "pressure" / resource).read_bytes()
        except OSError:
            continue
        found |= {f"{resource}.{name}": figure for name, figure in psi.parse(text).items()}
    return found


def clock() -> dict[str, float]:
    """Return `boottime`: seconds since boot."""
    return {"boottime": time.clock_gettime(time.CLOCK_BOOTTIME)}
