# SPDX-License-Identifier: Apache-2.0
"""Which queues a worker consumes: its share, as far as no other worker holds a part of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Final

from ceilo_agent.notification.claims import Claims

LOG = logging.getLogger(__name__)

CEILOMETER: Final = "ceilometer"
"""Stands for all topics of Ceilometer: they are consumed by one worker."""


def queue_names(queues: int, *, ceilometer: bool) -> list[str]:
    """Return the names of all that is consumed: numbers of topics, and Ceilometer's."""
    return [*map(str, range(queues)), *([CEILOMETER] if ceilometer else ())]


def share(queues: Sequence[str], members: Sequence[str], member: str) -> frozenset[str]:
    """Return the queues of a member: every n-th of them, so that shares differ by one at most.

    Args:
        queues: in an order that all know.
        members: likewise.
        member: one of them; another has none.
    """
    if member not in members:
        return frozenset()
    return frozenset(queues[list(members).index(member) :: len(members)])


class Ownership:
    """Takes and gives up queues as shares change.

    Args:
        wanted: returns this worker's share now.
        claims: what another worker holds cannot be taken.
        consume: is called with the queues to consume from now on. When it returns, nothing of
            others is under way any more.
    """

    def __init__(
        self,
        wanted: Callable[[], Collection[str]],
        claims: Claims,
        consume: Callable[[frozenset[str]], None],
    ) -> None:
        self.owned: frozenset[str] = frozenset()
        self._wanted = wanted
        self._claims = claims
        self._consume = consume

    def tick(self) -> None:
        """Look what is to change, about every second."""
        if self.owned and not self._claims.valid():
            LOG.warning("the claim on queues %s is lost: nothing is consumed", _named(self.owned))
            self._set(frozenset())
            self._claims.close()
            return
        wanted = frozenset(self._wanted())
        if given_up := self.owned - wanted:
            self._set(self.owned - given_up)
            for queue in given_up:
                self._claims.release(queue)
        taken = frozenset(q for q in sorted(wanted - self.owned) if self._claims.take(q))
        if taken:
            self._set(self.owned | taken)

    def close(self) -> None:
        """Give up all."""
        self._set(frozenset())
        self._claims.close()

    def _set(self, owned: frozenset[str]) -> None:
        if owned != self.owned:
            self.owned = owned
            self._consume(owned)
            LOG.info("queues consumed: %s", _named(owned) or "none")


def _named(queues: Collection[str]) -> str:
    return ", ".join(sorted(queues, key=lambda name: (len(name), name)))
