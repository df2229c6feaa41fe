# SPDX-License-Identifier: Apache-2.0
"""This agent's share of the work of a group.

The members of the group are what tooz says; what each of them owns follows from their names and
weights alone, so that all agree without another word as soon as they see the same members.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ceilo_agent.coordination.buckets import BUCKETS, bucket, owners
from ceilo_agent.coordination.member import Member, newest
from ceilo_agent.coordination.membership import ANSWER_WITHIN, BEAT, TIMEOUT, Membership
from ceilo_agent.coordination.pulse import Pulse, now
from ceilo_agent.coordination.rebalance import Rebalance
from ceilo_agent.shown import one_line

LOG = logging.getLogger(__name__)

GRACE: Final = 300.0
"""Seconds for which the last share is kept while the back end is away."""

MOST_ODD: Final = 100
"""Members of other programs that are told of."""

PREFIX: Final = "ceilo_agent."
"""Of the groups' names."""

_NOTHING: Final = bytes(BUCKETS)


class View:
    """The share as it was at a moment.

    Args:
        number: another one after each change.
        members: names of those who share.
        mine: for each bucket whether it is this agent's.
        made: when, CLOCK_BOOTTIME.
        holds: whether a share that was given at that moment is still to be believed.
    """

    def __init__(
        self,
        number: int,
        members: Sequence[str],
        mine: bytes,
        made: float,
        holds: Callable[[float], bool],
    ) -> None:
        self.number = number
        self.members = members
        self.made = made
        self._mine = mine
        self._holds = holds
        self._lost = False

    @property
    def valid(self) -> bool:
        """Whether the share may still be polled.

        It may not once this process was stopped for so long that others have it, nor when the back
        end has been away for too long.
        """
        # Whoever found it lost may have passed something over: it does not come back.
        self._lost = self._lost or not self._holds(self.made)
        return not self._lost

    @property
    def buckets(self) -> bytes:
        """For each bucket whether it is this agent's."""
        return self._mine

    def owns(self, key: str) -> bool:
        """Return whether a key is this agent's."""
        return bool(self._mine[bucket(key)])


class Share:
    """This agent's share of the work of a group; nothing before it is a member.

    Args:
        url: of the back end, as tooz writes it.
        group: of the agents that share.
        name: this agent's; two that are called the same cannot share.
        weight: this agent's part against 1 of others.
        grace: seconds for which the share is kept while the back end is away.
        timeout: seconds after which a member that is not heard of is none any more.
        changed: called after each change, on a thread of the membership.
        told: gets each change.
        beat: seconds between heartbeats.

    Raises:
        ConfigError: there is no driver for the URL.
    """

    def __init__(
        self,
        url: str,
        group: str,
        name: str,
        *,
        weight: int = 1,
        grace: float = GRACE,
        timeout: float = TIMEOUT,
        changed: Callable[[], None] = lambda: None,
        told: Callable[[Rebalance], None] = lambda _: None,
        beat: float = BEAT,
    ) -> None:
        self._group = group
        self._me = Member.new(name, weight)
        self._membership = Membership(url, group, str(self._me), timeout, beat, self._look)
        # Longer than after what the membership itself loses what it has: then it joins anew.
        limit = self._membership.timeout - self._membership.beat
        self._pulse = Pulse(limit, self._membership.beat / 2)
        self._grace = grace
        self._changed = changed
        self._told = told
        self._lock = threading.Lock()
        self._view = View(0, (), _NOTHING, now(), _always)
        self._weights: tuple[tuple[str, int], ...] = ()
        self._left = False
        self._second = False
        self._seen: dict[str, float] = {}
        self._odd: set[str] = set()

    @property
    def noticed_within(self) -> float:
        """Seconds within which the others see that this agent has left."""
        return 2 * self._membership.beat

    def start(self) -> None:
        """Join as soon as the back end can be reached."""
        self._left = False
        self._pulse.start()
        self._membership.start()

    def stop(self, seconds: float = ANSWER_WITHIN) -> bool:
        """Leave the group, the last view stays; say whether that was done in so many seconds."""
        self._left = True
        left = self._membership.stop(seconds)
        self._pulse.stop()
        return left

    def view(self) -> View:
        """Return what is this agent's now."""
        with self._lock:
            if self._view.members and not self._view.valid:
                why = "the back end has been away for too long"
                if not self._pulse.steady_since(self._view.made):
                    why = "this process was stopped, and others have its share"
                LOG.warning("%s: nothing that is shared is polled: %s", self._group, why)
                self._put({}, _NOTHING, why)
            return self._view

    def _look(self, found: Sequence[str]) -> None:
        """See who is there, after each heartbeat; on the membership's thread."""
        if self._left:
            return
        members = [member for each in found if (member := self._parsed(each)) is not None]
        weights = {} if self._is_second(members) else newest(members)
        with self._lock:
            if tuple(weights.items()) == self._weights and self._view.valid:
                return
            if not weights:
                self._put(weights, _NOTHING, "another agent has its name")
            else:
                mine = bytes(owner == self._me.name for owner in owners(weights))
                self._put(weights, mine, _reason(dict(self._weights), weights))
        self._changed()

    def _is_second(self, members: Sequence[Member]) -> bool:
        """Return whether an agent of this name has been there before this one, and lives.

        One that was killed is a member for the timeout as well.
        """
        older = {each.run for each in members if each.name == self._me.name} - {self._me.run}
        older = {run for run in older if run < self._me.run}
        self._seen = {run: self._seen.get(run, now()) for run in older}
        dead_by = self._membership.timeout + self.noticed_within
        second = any(now() - since > dead_by for since in self._seen.values())
        if second and not self._second:
            what = "%s: another agent is called %s: this one polls nothing that is shared; give it "
            LOG.error(what + "another [DEFAULT] host", self._group, self._me.name)
        self._second = second
        return second

    def _parsed(self, text: str) -> Member | None:
        try:
            return Member.parse(text)
        except ValueError:
            if text not in self._odd and len(self._odd) < MOST_ODD:
                self._odd.add(text)
                LOG.warning(
                    "%s: a member is no agent of ours, and is passed over: %s",
                    self._group,
                    one_line(text[:100]),
                )
            return None

    def _holds(self, made: float) -> bool:
        if not self._pulse.steady_since(made):
            return False
        heard = self._membership.heard
        return self._left or self._membership.sure or now() - heard < self._grace

    def _put(self, weights: Mapping[str, int], mine: bytes, reason: str) -> None:
        before = self._view
        pairs = list(zip(before.buckets, mine, strict=True))
        gained, lost = pairs.count((0, 1)), pairs.count((1, 0))
        self._weights = tuple(weights.items())
        holds = self._holds if weights else _always  # nothing can be lost of nothing
        self._view = View(before.number + 1, tuple(weights), mine, now(), holds)
        if weights:
            LOG.info(
                "%s: %s: %d of %d buckets (+%d -%d); agents: %s",
                self._group,
                reason,
                sum(mine),
                BUCKETS,
                gained,
                lost,
                ", ".join(weights),
            )
        self._told(
            Rebalance(
                time.time(),
                self._group,
                self._me.name,
                reason,
                weights,
                sum(mine),
                gained,
                lost,
            )
        )


def group_of(namespace: str, prefix: str | None) -> str:
    """Return the name of the group that shares a namespace's work."""
    return PREFIX + (f"{prefix}-{namespace}" if prefix else namespace)


def _always(made: float) -> bool:
    del made
    return True


def _reason(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """Say what has changed."""
    if not before:
        return "this agent is a member"
    joined, left = after.keys() - before.keys(), before.keys() - after.keys()
    said = []
    if joined:
        said.append(f"{', '.join(sorted(joined))} joined")
    if left:
        said.append(f"{', '.join(sorted(left))} left")
    if any(before[name] != after[name] for name in after.keys() & before.keys()):
        said.append("weights changed")
    return "; ".join(said) or "the share is valid again"
