# SPDX-License-Identifier: Apache-2.0
"""The parts of the shared work that are this agent's, one per namespace."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Final

from ceilo_agent.polling.lane import Lane
from ceilo_agent.polling.shared import MakeShare, Share, SharedLane

LOG = logging.getLogger(__name__)

LEAVE_WITHIN: Final = 2.0
"""Seconds in which a back end is to take leave of an agent; one that hangs does not hold it up."""


class Sharing:
    """Has a share for each namespace that shared lanes poll, from their start to their end.

    Args:
        make: makes them.
    """

    def __init__(self, make: MakeShare) -> None:
        self._make = make
        self._shares: dict[str, Share] = {}
        self._started: set[str] = set()
        self._lanes: list[SharedLane] = []

    def of(self, namespace: str) -> Share:
        """Return the share of a namespace; it is asked for only once a lane is at work.

        Raises:
            ConfigError: it can never be had as configured.
        """
        if namespace not in self._shares:
            self._shares[namespace] = self._make(namespace, lambda: self._rebalanced(namespace))
        return self._shares[namespace]

    def serve(self, lanes: Iterable[Lane]) -> None:
        """Ask for the shares of these lanes, and leave all others to others."""
        self._lanes = [lane for lane in lanes if isinstance(lane, SharedLane)]
        needed = {lane.namespace for lane in self._lanes}
        for namespace in needed - self._started:
            self._shares[namespace].start()
        for namespace in self._shares.keys() - needed:
            self._shares.pop(namespace).stop(LEAVE_WITHIN)
        self._started = needed

    def leave(self) -> bool:
        """Leave all to others, and wait until they know of it if a slot begins before.

        Says whether they will know; else they notice when this agent's heartbeats lack.
        """
        waits = 0.0
        for lane in self._lanes:
            share = lane.share
            if len(share.view().members) > 1 and lane.due_within(share.noticed_within):
                waits = max(waits, share.noticed_within)
        end = time.monotonic() + LEAVE_WITHIN
        left = True
        for namespace in sorted(self._started):
            if not self._shares[namespace].stop(max(0.0, end - time.monotonic())):
                left = False
                told = "%s: the back end does not answer: the others will notice that this agent "
                LOG.warning(told + "is gone when its heartbeats lack", namespace)
        self._started = set()
        if left:
            time.sleep(waits)
        return left

    def _rebalanced(self, namespace: str) -> None:
        for lane in self._lanes:
            if lane.namespace == namespace:
                lane.rebalanced()
