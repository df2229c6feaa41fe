# SPDX-License-Identifier: Apache-2.0
"""Input and output of whole disks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from ceilo_agent.inspection.host.part import Part

SYS_BLOCK: Final = Path("/sys/block")

_NO_DISK: Final = re.compile(r"(loop|ram|zram|fd|sr|nbd|dm-)\d+|nvme\d+c\d+n\d+")
"""Block devices that hold no data of their own (loop, nbd; dm-: their disks are counted, and the
volumes of guests have the guests' meters), RAM, removable media, paths of an NVMe multipath disk.
"""


def disks(sys_block: Path = SYS_BLOCK) -> Iterator[Part]:
    """Read the counters of each whole disk.

    Raises:
        OSError, NotImplementedError, ValueError: the kernel tells of no disks, or in an unknown
            form.
    """
    # sysfs lists whole disks here and writes ! where a name has a slash (cciss/c0d0).
    whole = {entry.name for entry in sys_block.iterdir()}
    for name, counters in psutil.disk_io_counters(perdisk=True, nowrap=False).items():
        entry = name.replace("/", "!")
        if entry in whole and not _NO_DISK.fullmatch(name):
            yield Part(
                name=name,
                metadata={"device": name},
                device=_instance(sys_block / entry),
                readings={"disk_io_counters": counters._asdict()},
            )


def _instance(disk: Path) -> str:
    """Return what changes when another disk gets the name.

    That is the kernel's sequence number of disks; before Linux 5.15 only the device number.
    """
    for attribute in ("diskseq", "dev"):
        try:
            return (disk / attribute).read_text("ascii").strip()
        except OSError:
            continue
    return ""
