# SPDX-License-Identifier: Apache-2.0
"""Makes the samples that a test gives as the polling agent would: each with its last reading."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

from msgspec import UNSET
from msgspec.structs import replace

from ceilo_agent.definition.matching import Matcher
from ceilo_agent.definition.sources import SourceDef
from ceilo_agent.definition.tests import CaseDef, Given
from ceilo_agent.errors import nearest
from ceilo_agent.meters.catalogue import NAMESPACES, Entry, catalogue
from ceilo_agent.plugins import Column, Observation
from ceilo_agent.polling.tracker import Tracker
from ceilo_agent.sample import FIRST, UNTRACKED, Meter, Resource, Sample, SampleType
from ceilo_agent.shown import shown

START: Final = 1767225600.0
"""Where the clock of a test stands at 0: midnight, 2026-01-01, UTC."""

_MOST_COMPARED: Final = 20
"""Unknown meters of one test that are compared with all known ones."""


class Reading(NamedTuple):
    """A sample, when it enters, and the source whose batch it is in; None: it is in no source's."""

    at: float
    source: str | None
    sample: Sample


class Feed:
    """Makes the samples of tests.

    Args:
        sources: those of the file.
        own: meters that no catalogue has; they replace others of their name.
    """

    def __init__(self, sources: Sequence[SourceDef], own: Iterable[Entry] = ()) -> None:
        self._entries = {**_entries(), **{entry.name: entry for entry in own}}
        self._takes = {source.name: Matcher(source.meters) for source in sources}
        self._intervals = {source.name: source.interval or 0 for source in sources}

    def readings(self, case: CaseDef) -> tuple[list[Reading], list[str]]:
        """Return what enters, in order of time, and say what no source takes, and in which line."""
        polled = _Polled(self._interval, self._entries)
        found: list[Reading] = []
        refused: dict[str, int] = {}
        for given, line in sorted(zip(case.given, case.lines, strict=True), key=lambda i: i[0].at):
            source = case.source if given.source is UNSET else given.source
            if reason := self._refusal(source, given.meter):
                refused[reason] = min(line, refused.get(reason, line))
            else:
                found.append(Reading(given.at, source, polled(given, source)))
        return found, [f"line {line}: {reason}" for reason, line in refused.items()]

    def strangers(self, case: CaseDef) -> list[str]:
        """Say which given meters no catalogue has, where one of a name much like it is there."""
        given = dict.fromkeys(each.meter for each in case.given if each.meter not in self._entries)
        near = {meter: nearest(meter, self._entries) for meter in islice(given, _MOST_COMPARED)}
        return [
            f"no catalogue has the given meter '{shown(meter)}' ({hint})"
            for meter, hint in near.items()
            if hint
        ]

    def _refusal(self, source: str | None, meter: str) -> str:
        """Say why a meter is not polled, empty when it is."""
        if source is not None:
            matchers = [self._takes[source]]
            what = f"the source '{source}' does not take the meter '{shown(meter)}'"
        else:
            matchers = list(self._takes.values())
            what = f"no source takes the meter '{shown(meter)}'"
        if any(takes(meter) for takes in matchers):
            return ""
        names = {*self._entries, *(pattern for takes in matchers for pattern in takes.patterns)}
        hint = nearest(meter, sorted(n for n in names if any(takes(n) for takes in matchers)))
        return f"{what} ({hint})" if hint else what

    def _interval(self, source: str | None, meter: str) -> int:
        """Return the interval of a source; without one, the longest that the meter has."""
        if source is not None:
            return self._intervals[source]
        return max(self._intervals[name] for name, takes in self._takes.items() if takes(meter))


class _Polled:
    """Turns what one test gives into samples; remembers what the polling agent would.

    Args:
        interval: returns the seconds between two polls by a source, or None, of a meter.
        entries: the meters that are known.
    """

    def __init__(
        self, interval: Callable[[str | None, str], int], entries: Mapping[str, Entry]
    ) -> None:
        self._interval = interval
        self._entries = entries
        self._columns: dict[Meter, tuple[Column, ...]] = {}
        self._resources: dict[str, Resource] = {}
        self._trackers: dict[tuple[str | None, str], Tracker] = {}
        self._restarts: Counter[tuple[str | None, str, str]] = Counter()

    def __call__(self, given: Given, source: str | None) -> Sample:
        """Return the sample; calls come in the order of time."""
        meter, resource = self._meter(given), self._resource(given)
        time = START + given.at
        if given.untracked:
            return Sample(meter, resource, time, given.volume, UNTRACKED, None, source)
        if meter.type is SampleType.DELTA:  # it is of two readings already
            return Sample(meter, resource, time, given.volume, FIRST, None, source)
        series = (source, meter.name, resource.id)
        self._restarts[series] += given.restarted
        seen = Observation(
            resource,
            self._columns.setdefault(meter, (Column(meter),)),
            (given.volume,),
            time,
            given.at,
            resource.id,
            str(self._restarts[series]),
        )
        (sample,) = self._tracker(source, meter.name).samples([seen])
        return sample if source is not None else replace(sample, source=None)

    def _tracker(self, source: str | None, meter: str) -> Tracker:
        """Return what remembers a meter's readings: one for each, as each may restart alone."""
        key = (source, meter)
        if key not in self._trackers:
            interval = self._interval(source, meter)
            self._trackers[key] = Tracker(source or "", lambda _name: True, interval)
        return self._trackers[key]

    def _meter(self, given: Given) -> Meter:
        entry = self._entries.get(given.meter)
        unit = (entry.unit if entry else "") if given.unit is UNSET else given.unit
        default = entry.type if entry else SampleType.GAUGE
        return Meter(given.meter, unit, default if given.type is UNSET else given.type)

    def _resource(self, given: Given) -> Resource:
        """Return the resource as it was last seen, with what is given of it."""
        last = self._resources.get(given.resource)
        if last is None:
            entry = self._entries.get(given.meter)
            last = Resource(given.resource, None, None, entry.kind if entry else "generic", {})
        made = Resource(
            given.resource,
            last.project_id if given.project is UNSET else given.project,
            last.user_id if given.user is UNSET else given.user,
            last.type if given.resource_type is UNSET else given.resource_type,
            last.metadata if given.metadata is UNSET else given.metadata,
        )
        self._resources[given.resource] = made
        return made


@functools.cache
def _entries() -> Mapping[str, Entry]:
    """Return the meters of the catalogue by name."""
    return {entry.name: entry for name in NAMESPACES for entry in catalogue(name).meters}
