# SPDX-License-Identifier: Apache-2.0
"""Network interfaces of the host itself."""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psutil

from ceilo_agent.inspection.host.part import Part

SYS_NET: Final = Path("/sys/class/net")

_OF_GUESTS: Final = ("cali", "lxc", "macvtap", "qbr", "qvb", "qvo", "tap", "veth", "vnet")
"""How the host's ends of guests' and containers' interfaces begin: many, and theirs to report."""

_BYTES_PER_MBIT: Final = 125_000
_SIOCGIFADDR: Final = 0x8915


def interfaces(sys_net: Path = SYS_NET) -> Iterator[Part]:
    """Read the counters and the state of each interface of the host's own.

    What is not in psutil's table of counters is asked for each interface alone: its other tables
    cost several system calls for each interface there is, and a host of guests has hundreds.

    Raises:
        OSError: the kernel tells of no interfaces.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for name, counters in psutil.net_io_counters(pernic=True, nowrap=False).items():
            if name == "lo" or name.startswith(_OF_GUESTS):
                continue
            state = _state(sys_net / name)
            speed = state.get("speed")
            yield Part(
                name=name,
                metadata={
                    "name": name,
                    "mac": _attribute(sys_net / name / "address"),
                    "ip": _ip(asked, name),
                    # Ceilometer's is in B/s.
                    "speed": None if speed is None else speed * _BYTES_PER_MBIT,
                },
                device=_index(name),
                readings={"net_io_counters": counters._asdict(), "sysfs_net": state},
            )


def _state(directory: Path) -> dict[str, Any]:
    """Return `operstate` and, where the link has one, `speed` in Mbit/s."""
    found: dict[str, Any] = {}
    operstate = _attribute(directory / "operstate")
    if operstate is not None:
        found["operstate"] = operstate
    speed = _attribute(directory / "speed")
    if speed is not None and int(speed) > 0:  # -1: the driver does not know
        found["speed"] = int(speed)
    return found


def _attribute(file: Path) -> str | None:
    """Return what sysfs says, None where it says nothing (EINVAL: no speed without a link)."""
    try:
        return file.read_text("ascii").strip() or None
    except OSError:
        return None


def _ip(asked: socket.socket, name: str) -> str | None:
    """Return the interface's first IPv4 address (netdevice(7): SIOCGIFADDR)."""
    try:
        reply = fcntl.ioctl(asked, _SIOCGIFADDR, struct.pack("256s", name.encode()))
    except OSError:
        return None
    return socket.inet_ntoa(reply[20:24])  # ifr_name (16), sin_family and sin_port (2 + 2)


def _index(name: str) -> str:
    """Return the interface's index: one that is made anew, even of the same name, gets another."""
    try:
        return str(socket.if_nametoindex(name))
    except OSError:
        return ""
