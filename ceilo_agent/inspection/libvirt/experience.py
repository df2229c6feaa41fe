# SPDX-License-Identifier: Apache-2.0
"""What is known of a hypervisor's guests from the cycles before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ceilo_agent.discovery.libvirt.guest import Guest
from ceilo_agent.inspection.libvirt.quarantine import Quarantine

PATIENCE: Final = 0.5
"""Seconds that a call may take at least before anybody looks why."""

SLOWER: Final = 2.0
"""So many times the usual time is no reason to look either."""

RISES: Final = 0.3
FALLS: Final = 0.7
"""Weight of the last call in the usual time: a slow one says less than a quick one."""


class Experience:
    """What one cycle learns for the next.

    Attributes:
        timeout: seconds that a call about a guest that does not answer may take.
        quarantine: the guests that did not answer.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.quarantine = Quarantine()
        self._without: dict[str, int] = {}
        self._pace: dict[int, float] = {}

    def begin(self, guests: Sequence[Guest], now: float) -> None:
        """Begin a cycle about these guests at `now` (CLOCK_MONOTONIC)."""
        self.quarantine.begin(guests, now)
        if self._without:
            runs = {guest.uuid: guest.run for guest in guests}
            self._without = {k: v for k, v in self._without.items() if runs.get(k) == v}

    def lacks(self, guest: Guest) -> bool:
        """Whether the guest is known never to give what QEMU tells (it may have none)."""
        return self._without.get(guest.uuid) == guest.run

    def learn_lack(self, guest: Guest) -> None:
        """Keep in mind, for its run, that the guest does not give what QEMU tells."""
        self._without[guest.uuid] = guest.run

    def unlearn_lack(self, guest: Guest) -> None:
        """Take note that the guest gave it after all."""
        self._without.pop(guest.uuid, None)

    def learn_pace(self, groups: int, guests: int, seconds: float) -> None:
        """Keep in mind what a call about so many guests took."""
        found = seconds / guests
        before = self._pace.get(groups, found)
        weight = RISES if found > before else FALLS
        self._pace[groups] = before + weight * (found - before)

    def patience(self, groups: int, guests: int) -> float:
        """Return the seconds that a call about so many guests may take before a look."""
        usual = SLOWER * self._pace.get(groups, 0.0) * guests
        return min(self.timeout, max(PATIENCE, usual))
