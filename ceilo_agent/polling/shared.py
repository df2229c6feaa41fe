# SPDX-License-Identifier: Apache-2.0
"""A lane whose targets belong to no host: agents share them out among themselves.

Time is cut into slots, the same for all agents: slot n of a source begins n intervals after 1970.
In each slot a target is polled by the one agent that owns it, and its samples have the time at
which the slot began. So what two agents poll in a slot, while a target changes hands, is one point
in the store.

An agent polls what it owned when the slot began, even if it loses it meanwhile, and what it gains
meanwhile as well, at once: a target that changes hands is polled at least once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from msgspec import structs

from ceilo_agent.plugins import Listing, Target
from ceilo_agent.polling.lane import MIN_CYCLE, Due, Lane

LOG = logging.getLogger(__name__)

LONGEST_CYCLE: Final = 600.0
"""Seconds that a cycle may take at most, however long its interval."""


class View(Protocol):
    """Which part of the work was this agent's at a moment."""

    @property
    def valid(self) -> bool:
        """Whether the part may still be polled: nobody else can have been given it unnoticed."""

    @property
    def members(self) -> Sequence[str]:
        """The agents that share the work."""

    def owns(self, key: str) -> bool:
        """Return whether a target is this agent's, by the target's id."""


class Share(Protocol):
    """This agent's part of the work of a namespace."""

    @property
    def noticed_within(self) -> float:
        """Seconds within which the others see that this agent has left."""

    def start(self) -> None:
        """Ask for a part of the work."""

    def view(self) -> View:
        """Return what is this agent's now."""

    def stop(self, seconds: float) -> bool:
        """Leave the work to the others; the last view stays.

        Says whether all was told to those whom it concerns in so many seconds.
        """


class Alone:
    """The part of an agent that shares with nobody: all of it."""

    noticed_within = 0.0
    valid = True
    members = ("",)

    def start(self) -> None:
        """Nothing is to be asked for."""

    def view(self) -> Alone:
        """Return what is this agent's."""
        return self

    def owns(self, key: str) -> bool:
        """Return whether a target is this agent's."""
        del key
        return True

    def stop(self, seconds: float) -> bool:
        """Nobody is left."""
        del seconds
        return True


MakeShare = Callable[[str, Callable[[], None]], Share]
"""Makes the share of a namespace; it calls the function after each change of it."""


class SharedLane(Lane):
    """Polls what is this agent's; the arguments are those of `Lane`.

    Attributes:
        share: says what is this agent's.
    """

    def __init__(self, *args: Any, share: Share) -> None:
        self.share = share
        self._changed = threading.Event()
        self._polled: dict[str, tuple[int, set[str]]] = {}
        super().__init__(*args)

    def rebalanced(self) -> None:
        """Poll in the present slot what was gained, at once; any thread may call it."""
        self._changed.set()
        self.wake()

    def due_within(self, seconds: float) -> bool:
        """Return whether a slot begins so soon."""
        return min(super()._waits(time.time()).values()) < seconds

    def poll(self, due: Sequence[Due]) -> None:
        """Read once for all these sources what they have not read in this slot."""
        self._changed.clear()
        super().poll(due)

    def _cycle(self, due: Sequence[Due], listing: Listing, deadline: float) -> None:
        view = self.share.view()
        mine = {target.id: target for target in listing.targets if view.owns(target.id)}
        slots = {source.name: self._slot(source) for source in due}
        pending = {name: self._pending(name, slot, mine) for name, slot in slots.items()}
        targets = list({id_: mine[id_] for ids in pending.values() for id_ in ids}.values())
        self.inspector.may_read = lambda _target: view.valid
        snapshot = self.inspector.inspect(targets, self._union(due), deadline)
        if not view.valid:
            # It was stopped for so long that others have its part by now.
            LOG.warning("%s: what was read is dropped: the share is another's by now", self.name)
            return
        self._seen(listing, snapshot)
        for source in due:
            ids, slot = pending[source.name], slots[source.name]
            began = slot * source.interval
            self._polled[source.name][1].update(ids)
            self._hand_on(
                source,
                (structs.replace(o, time=began) for o in snapshot.observations if o.owner in ids),
            )
        self._keep(listing, mine.values())

    def _slot(self, source: Due) -> int:
        ticks = self._ticks[source.name]
        return ticks.slot(time.time()) if ticks.done is None else ticks.done

    def _pending(self, name: str, slot: int, mine: Mapping[str, Target]) -> set[str]:
        """Return which of the targets a source has not polled in a slot."""
        if self._polled.get(name, (None,))[0] != slot:
            self._polled[name] = (slot, set())
        return mine.keys() - self._polled[name][1]

    def _shift(self, host: str, interval: float) -> float:
        del host, interval
        return 0.0

    def _time_for(self, interval: float) -> float:
        # The next slot is to begin in time.
        return max(MIN_CYCLE, min(0.9 * interval, LONGEST_CYCLE))

    def _waits(self, wall: float) -> dict[str, float]:
        if self._changed.is_set():
            return dict.fromkeys(self._ticks, 0.0)
        return super()._waits(wall)
