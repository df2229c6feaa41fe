# SPDX-License-Identifier: Apache-2.0
"""Which lanes some sources need: one per namespace, and in a shared one also one per source that
has resources of its own.
"""  # noqa: D205

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ceilo_agent import plugins
from ceilo_agent.plugins import Context, Discovery, Inspector
from ceilo_agent.polling.lane import Due, Lane
from ceilo_agent.polling.saved import SavedReadings
from ceilo_agent.polling.shared import Alone, Share, SharedLane
from ceilo_agent.polling.tracker import Tracker
from ceilo_agent.sample import Batch

LOG = logging.getLogger(__name__)


class Selected(NamedTuple):
    """A source as far as polling knows it.

    Attributes:
        name: goes with its samples.
        interval: seconds between two polls.
        takes: whether it wants a meter, by the meter's name.
        discovery: the discoveries it is limited to, empty for any.
        resources: static resources; only a shared discovery makes something of them.
    """

    name: str
    interval: float
    takes: Callable[[str], bool]
    discovery: Sequence[str] = ()
    resources: tuple[str, ...] = ()


class Asked(NamedTuple):
    """A lane that is needed.

    Attributes:
        name: of the lane; one of the same name and namespace can take its place.
        namespace: of its inspector.
        due: its sources.
        file: what its last readings are kept in.
    """

    name: str
    namespace: str
    due: Sequence[Due]
    file: str


def asked(namespace: str, inspector: Inspector, sources: Sequence[Selected]) -> list[Asked]:
    """Return the lanes that sources need of a namespace; none if they ask for nothing of it."""
    shared = _discovery(inspector).shared
    known = [meter.name for meter in inspector.meters()]
    common: list[Due] = []
    own: list[Asked] = []
    for source in sources:
        wanted = frozenset(filter(source.takes, known))
        if not wanted or (source.discovery and inspector.discovery not in source.discovery):
            continue
        tracker = Tracker(source.name, source.takes, source.interval, by_owner=shared)
        resources = source.resources if shared else ()
        due = Due(source.name, source.interval, wanted, tracker, resources)
        if resources:
            digest = hashlib.sha256(source.name.encode()).hexdigest()[:16]
            file = f"readings-{namespace}-{digest}.msgpack"
            own.append(Asked(f"{namespace}:{source.name}", namespace, [due], file))
        else:
            common.append(due)
    if common:
        own.insert(0, Asked(namespace, namespace, common, f"readings-{namespace}.msgpack"))
    return own


class Plan(NamedTuple):
    """What is polled next.

    Attributes:
        kept: lanes that go on, and with which sources.
        fresh: lanes that are new.
    """

    kept: Sequence[tuple[Lane, Sequence[Due]]]
    fresh: Sequence[Lane]


class Making(NamedTuple):
    """What lanes are made with.

    Attributes:
        context: where this agent runs.
        deliver: takes the batches.
        state: the directory for last readings, None to keep none.
        share: gives this agent's part of a namespace's work.
    """

    context: Context
    deliver: Callable[[Batch], None]
    state: Path | None = None
    share: Callable[[str], Share] = lambda _: Alone()

    def plan(
        self,
        namespaces: Sequence[str],
        sources: Sequence[Selected],
        running: Sequence[Lane] = (),
    ) -> Plan:
        """Make the lanes that sources need and that do not run; what nothing asks for is left out.

        Args:
            namespaces: names of inspectors.
            sources: what is polled.
            running: lanes that may go on.

        Raises:
            PluginError: an inspector or a discovery is not there or cannot be loaded.
            ConfigError: one cannot work as configured.
        """
        kept: list[tuple[Lane, Sequence[Due]]] = []
        fresh: list[Lane] = []
        with contextlib.ExitStack() as failing:
            for namespace in dict.fromkeys(namespaces):
                lanes = {lane.name: lane for lane in running if lane.namespace == namespace}
                spare = self._spare(namespace, lanes.values())
                known = spare[0] if spare else next(iter(lanes.values())).inspector
                if any(known.digest != lane.inspector.digest for lane in lanes.values()):
                    lanes = {}
                wishes = asked(namespace, known, sources)
                if not wishes:
                    LOG.info("%s: no source asks for its meters", namespace)
                for wish in wishes:
                    if wish.name in lanes:
                        kept.append((lanes[wish.name], wish.due))
                        continue
                    inspector = spare.pop() if spare else self._inspector(namespace)
                    failing.callback(inspector.close)
                    discovery = _discovery(inspector)(self.context)
                    failing.callback(discovery.close)
                    fresh.append(self._lane(wish, discovery, inspector))
                for inspector in spare:
                    inspector.close()
            failing.pop_all()
        return Plan(kept, fresh)

    def _inspector(self, namespace: str) -> Inspector:
        made: Inspector = plugins.load(plugins.INSPECTOR, namespace)(self.context)
        return made

    def _spare(self, namespace: str, running: Collection[Lane]) -> list[Inspector]:
        """Return a new inspector, unless one that runs knows all that a new one would."""
        if running and not any(isinstance(lane, SharedLane) for lane in running):
            return []
        return [self._inspector(namespace)]

    def _lane(self, wish: Asked, discovery: Discovery, inspector: Inspector) -> Lane:
        saved = SavedReadings(self.state / wish.file) if self.state else None
        host = self.context.host
        arguments = (wish.name, host, discovery, inspector, wish.due, self.deliver, saved)
        if discovery.shared:
            return SharedLane(*arguments, share=self.share(wish.namespace))
        return Lane(*arguments)


def _discovery(inspector: Inspector) -> type[Discovery]:
    found: Any = plugins.load(plugins.DISCOVERY, inspector.discovery)
    made: type[Discovery] = found
    return made
