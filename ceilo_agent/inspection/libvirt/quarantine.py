# SPDX-License-Identifier: Apache-2.0
"""Guests whose QEMU did not answer: who, since when, and when to ask again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from ceilo_agent.discovery.libvirt.guest import Guest
from ceilo_agent.inspection.libvirt.control import Controls
from ceilo_agent.inspection.libvirt.rows import Condition

LONGEST_REST: Final = 300.0
"""Seconds."""


STALLED: Final = 0.25
"""Seconds that a monitor command waits only where QEMU hangs: healthy ones take milliseconds."""


class Held(msgspec.Struct):
    """One guest in quarantine.

    Attributes:
        run: of the guest; another run is another guest.
        since: when the call began that it did not answer, CLOCK_MONOTONIC.
        condition: busy or hung.
        times: how many calls it did not answer.
        rest: seconds of its last rest.
        until: when it may be asked again, CLOCK_MONOTONIC.
    """

    run: int
    since: float
    condition: Condition
    times: int = 1
    rest: float = 0.0
    until: float = 0.0


class Sorted(NamedTuple):
    """What to do with those in quarantine.

    Attributes:
        held: somebody holds the job, so a NOWAIT call passes them over at once.
        ready: to be asked, each alone.
        resting: nobody holds the job, so a call might hang: only monitor-free groups.
    """

    held: list[Guest]
    ready: list[Guest]
    resting: list[Guest]


class Quarantine:
    """The guests that are not asked together with the others."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}
        self._began: float | None = None
        self._interval = 0.0

    def __len__(self) -> int:
        return len(self._held)

    def begin(self, guests: Iterable[Guest], now: float) -> None:
        """Begin a cycle: forget those that are gone or run anew."""
        if self._began is not None:
            self._interval = now - self._began
        self._began = now
        if self._held:
            runs = {guest.uuid: guest.run for guest in guests}
            self._held = {k: v for k, v in self._held.items() if runs.get(k) == v.run}

    def find(self, guest: Guest) -> Held | None:
        """Return what is known of a guest in quarantine, None of others."""
        return self._held.get(guest.uuid)

    def hold(self, guest: Guest, since: float, condition: Condition, now: float) -> None:
        """Keep a guest that did not answer; once more, and it rests for longer.

        The first time it is asked again as soon as nobody holds its job.
        """
        held = self._held.get(guest.uuid)
        if held is None:
            self._held[guest.uuid] = Held(guest.run, since, condition)
            return
        held.condition = condition
        held.times += 1
        held.rest = min(LONGEST_REST, held.rest * 2 or self._interval)
        held.until = now + held.rest

    def release(self, guest: Guest) -> None:
        """Let go of a guest that answered."""
        self._held.pop(guest.uuid, None)

    def sort(self, guests: Iterable[Guest], controls: Controls, now: float) -> Sorted:
        """Tell what to do with guests in quarantine.

        Args:
            guests: in quarantine.
            controls: theirs, as far as libvirt told.
            now: CLOCK_MONOTONIC.
        """
        sorted_ = Sorted([], [], [])
        for guest in guests:
            control, held = controls.get(guest.uuid), self._held[guest.uuid]
            if control is not None and not control.ready:
                sorted_.held.append(guest)
                if control.waits >= STALLED:  # until it answers: it does not become busy again
                    held.condition = Condition.HUNG
            elif control is not None and now >= held.until:
                sorted_.ready.append(guest)
            else:
                sorted_.resting.append(guest)
        return sorted_
