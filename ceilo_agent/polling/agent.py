# SPDX-License-Identifier: Apache-2.0
"""The polling agent: a lane per namespace, over the sources of a pipeline file."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ceilo_agent import plugins
from ceilo_agent.errors import Fault
from ceilo_agent.plugins import Context
from ceilo_agent.polling.lane import Due, Lane
from ceilo_agent.polling.saved import SavedReadings
from ceilo_agent.polling.tracker import Tracker
from ceilo_agent.sample import Batch

LOG = logging.getLogger(__name__)

STOP_WITHIN: Final = 2.0
"""Seconds that a lane is given to end its cycle; a stuck call goes on without us."""


class Selected(NamedTuple):
    """A source as far as polling knows it.

    Attributes:
        name: goes with its samples.
        interval: seconds between two polls.
        takes: whether it wants a meter, by the meter's name.
        discovery: the discoveries it is limited to, empty for any.
    """

    name: str
    interval: float
    takes: Callable[[str], bool]
    discovery: Sequence[str] = ()


def lanes(
    namespaces: Sequence[str],
    sources: Sequence[Selected],
    context: Context,
    deliver: Callable[[Batch], None],
    state: Path | None = None,
) -> list[Lane]:
    """Make the lanes of some namespaces; one that no source asks for is left out.

    Args:
        namespaces: names of inspectors.
        sources: what is polled.
        context: where this agent runs.
        deliver: takes the batches.
        state: the directory for last readings, None to keep none.

    Raises:
        PluginError: an inspector or a discovery is not there or cannot be loaded.
    """
    made = []
    for namespace in dict.fromkeys(namespaces):
        inspector = plugins.load(plugins.INSPECTOR, namespace)(context)
        known = [meter.name for meter in inspector.meters()]
        due = []
        for name, interval, takes, limits in sources:
            wanted = frozenset(filter(takes, known))
            if wanted and (not limits or inspector.discovery in limits):
                due.append(Due(name, interval, wanted, Tracker(name, takes, interval)))
        if not due:
            LOG.info("%s: no source asks for its meters", namespace)
            continue
        discovery = plugins.load(plugins.DISCOVERY, inspector.discovery)(context)
        saved = SavedReadings(state / f"readings-{namespace}.msgpack") if state else None
        made.append(Lane(namespace, context.host, discovery, inspector, due, deliver, saved))
    return made


class PollingAgent:
    """Runs lanes until it is told to stop."""

    def __init__(self, lanes: Sequence[Lane], unknown: Sequence[Fault] = ()) -> None:
        self.lanes = lanes
        self.unknown = len(unknown)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        for fault in unknown:
            LOG.warning("%s", fault)

    def start(self) -> None:
        """Begin to poll, on threads of the lanes."""
        self._threads = [lane.start(self._stop) for lane in self.lanes]

    def stop(self) -> bool:
        """Stop polling and return whether every lane ended in time."""
        self._stop.set()
        deadline = time.monotonic() + STOP_WITHIN
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for lane in self.lanes:
            lane.close()
        return not any(thread.is_alive() for thread in self._threads)
