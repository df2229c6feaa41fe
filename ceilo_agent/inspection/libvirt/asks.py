# SPDX-License-Identifier: Apache-2.0
"""The calls of one cycle: about whom, how, and when to look whether they hang."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Final

import libvirt

from ceilo_agent.discovery.libvirt.calls import Call
from ceilo_agent.discovery.libvirt.guest import Guest
from ceilo_agent.inspection.libvirt.control import Controls
from ceilo_agent.inspection.libvirt.lines import Line

NOWAIT: Final = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT

FEW: Final = 8
"""Guests that are not worth another call."""

NEVER: Final = float("inf")


class Kind(enum.Enum):
    """Why a call is made."""

    SWEEP = enum.auto()
    """About many guests that answered last time; those whose job is held are passed over."""
    AGAIN = enum.auto()
    """About guests that gave only a part although nobody held their job when that was looked at."""
    PASSED_OVER = enum.auto()
    """About guests whose job is held: what libvirt knows without their QEMU."""
    ALONE = enum.auto()
    """About one guest, waiting for its job."""
    MONITOR_FREE = enum.auto()
    """About guests that must not be asked: only what needs neither job nor QEMU."""


SUSPECTS: Final = frozenset({Kind.PASSED_OVER, Kind.ALONE})
"""Calls about guests that may hang."""


class Ask:
    """One bulk call.

    Attributes:
        kind: why it is made.
        guests: about whom.
        again: whether it is made anew, after a call that failed or that hangs.
        line: over which it goes.
        call: under way.
        began: CLOCK_MONOTONIC.
        look_at: when to look whether it hangs.
        ends: when nobody waits for it any longer.
        culprits: whom it hangs on.
    """

    def __init__(self, kind: Kind, guests: Sequence[Guest], *, again: bool = False) -> None:
        self.kind = kind
        self.guests = guests
        self.again = again
        self.line: Line
        self.call: Call
        self.began = 0.0
        self.look_at = NEVER
        self.ends = NEVER
        self.culprits: Sequence[Guest] = ()

    @property
    def apart(self) -> bool:
        """Whether it goes over a line of its own."""
        return self.again or self.kind in SUSPECTS

    @property
    def flags(self) -> int:
        """Of the bulk call."""
        return 0 if self.kind is Kind.ALONE else NOWAIT


class Look:
    """A look at the control of some guests.

    Attributes:
        call: under way.
        ends: when nobody waits for it any longer, CLOCK_MONOTONIC.
        then: takes what was found, nothing at all if it did not return.
    """

    def __init__(self, call: Call, ends: float, then: Callable[[Controls], None]) -> None:
        self.call = call
        self.ends = ends
        self.then = then


def split(
    kind: Kind, guests: Sequence[Guest], most: int, few: int = FEW, *, again: bool = False
) -> list[Ask]:
    """Divide guests into calls of about one size, at most `most`, none for less than `few`."""
    if not guests:
        return []
    parts = max(1, min(most, -(-len(guests) // few)))
    size = -(-len(guests) // parts)
    return [Ask(kind, guests[at : at + size], again=again) for at in range(0, len(guests), size)]
