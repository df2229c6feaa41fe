# SPDX-License-Identifier: Apache-2.0
"""The parts of the shared work that are this agent's, one per namespace."""

from __future__ import annotations

import time
from collections.abc import Iterable

from ceilo_agent.polling.lane import Lane
from ceilo_agent.polling.shared import MakeShare, Share, SharedLane


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
            self._shares.pop(namespace).stop()
        self._started = needed

    def leave(self) -> None:
        """Leave all to others, and wait until they know of it if a slot begins before."""
        waits = 0.0
        for lane in self._lanes:
            share = lane.share
            if len(share.view().members) > 1 and lane.due_within(share.noticed_within):
                waits = max(waits, share.noticed_within)
        for namespace in self._started:
            self._shares[namespace].stop()
        self._started = set()
        time.sleep(waits)

    def _rebalanced(self, namespace: str) -> None:
        for lane in self._lanes:
            if lane.namespace == namespace:
                lane.rebalanced()
