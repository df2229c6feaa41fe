# SPDX-License-Identifier: Apache-2.0
"""One guest's reply, and whether its QEMU had a part in it."""

from __future__ import annotations

import enum
from typing import Any, Final, NamedTuple

import libvirt

from ceilo_agent.discovery.libvirt.guest import Guest

MONITOR_FREE: Final = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_PERF
    | getattr(libvirt, "VIR_DOMAIN_STATS_MEMORY", 0)
)
"""The groups for which libvirt takes no job and asks no QEMU: they never hang."""

ALIVE: Final = frozenset({libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_PAUSED})
"""The states of a guest that has a QEMU to ask."""


class Condition(enum.IntEnum):
    """How a guest's monitor took the last question; the values of the meter `monitor.state`."""

    ANSWERS = 0
    BUSY = 1
    HUNG = 2


class Row(NamedTuple):
    """One guest's reply.

    Attributes:
        guest: whose.
        reply: its fields, `monitor.state` and `monitor.silence` among them where they are known.
        clock: when it was read, CLOCK_BOOTTIME seconds.
        condition: of its monitor, None where nobody asked.
    """

    guest: Guest
    reply: dict[str, Any]
    clock: float
    condition: Condition | None = Condition.ANSWERS


def tells_qemu(groups: int) -> bool:
    """Whether a reply with these groups shows if QEMU had a part in it."""
    return bool(groups & (libvirt.VIR_DOMAIN_STATS_BALLOON | libvirt.VIR_DOMAIN_STATS_BLOCK))


def lacks_qemu(reply: dict[str, Any], groups: int) -> bool:
    """Whether a guest with a QEMU gave nothing of what only its QEMU tells.

    Args:
        reply: of the bulk call.
        groups: its flags.
    """
    if groups & libvirt.VIR_DOMAIN_STATS_BALLOON and "balloon.rss" not in reply:
        return reply.get("state.state") in ALIVE
    if groups & libvirt.VIR_DOMAIN_STATS_BLOCK and "block.0.rd.reqs" not in reply:
        return reply.get("block.count", 0) > 0 and reply.get("state.state") in ALIVE
    return False


def mark(row: Row, silence: float) -> None:
    """Write the condition of a row into its reply; a guest without a QEMU has none.

    Args:
        row: the one.
        silence: seconds that its monitor has not answered.
    """
    if row.condition is not None and row.reply.get("state.state") in ALIVE:
        row.reply["monitor.state"] = int(row.condition)
        row.reply["monitor.silence"] = silence
