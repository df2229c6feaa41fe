# SPDX-License-Identifier: Apache-2.0
"""From an answer to observations: its entries, for each pollster that shares it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from ceilo_agent.discovery.api.unit import Unit
from ceilo_agent.inspection.api.crew import Crew
from ceilo_agent.inspection.api.enrichment import Enrichment
from ceilo_agent.inspection.api.entries import Unread, entries_of
from ceilo_agent.inspection.api.large import Large
from ceilo_agent.inspection.api.outcome import Reading
from ceilo_agent.inspection.api.pages import Page
from ceilo_agent.inspection.api.reading import Extractor, Found, Moment
from ceilo_agent.inspection.api.steps import MOST_SHOWN, Shown, Step

FURTHER_AT_A_TIME: Final = 16
"""Further requests for the entries of one answer."""


class _Known(NamedTuple):
    """An entry as far as it was read."""

    found: Found
    metadata: Mapping[str, Any]
    shown: Shown


class Observing:
    """Makes observations of answers. Several threads may use it.

    Args:
        crew: makes further requests.
        enrichment: says which.
        large: lets few answers be large at a time.
    """

    def __init__(self, crew: Crew, enrichment: Enrichment, large: Large) -> None:
        self._crew = crew
        self._enrichment = enrichment
        self._large = large

    def page(
        self,
        reading: Reading,
        unit: Unit,
        extractors: Sequence[Extractor],
        page: Page,
        deadline: float,
        step: Step,
    ) -> None:
        """Add to a reading what one answer gives.

        Args:
            reading: of the target.
            unit: of the target.
            extractors: of the pollsters that are wanted.
            page: the answer.
            deadline: CLOCK_MONOTONIC seconds, for further requests.
            step: is told of the first entries.
        """
        moment = Moment(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))
        for extractor in extractors:
            pollster = extractor.pollster
            whose = f"{pollster.name}: " if len(extractors) > 1 else ""
            try:
                entries = entries_of(pollster, page.handler, page.document, unit.names)
            except Unread as error:
                reading.lacks(f"{whose}{error}")
                step.faults.append(f"{pollster.name}: {error}")
                continue
            step.entries[pollster.name] = len(entries)
            shown = [Shown(pollster.name) for _ in entries[:MOST_SHOWN]]
            step.shown += shown
            found = list(_found(reading, unit, extractor, entries, shown, whose))
            extras = self._extras(extractor, found, unit, deadline)
            for known, (extra, faults) in zip(found, extras, strict=True):
                for fault in faults:
                    reading.lacks(f"{whose}{fault}")
                known.shown.faults = faults
                whole = {**extra, **known.metadata}
                if pollster.value_of is not None:
                    revalued = extractor.revalued(known.found, whole.pop(pollster.value_of, None))
                    known = known._replace(found=revalued)  # noqa: PLW2901
                _observe(reading, extractor, known, whole, moment, whose)

    def _extras(
        self, extractor: Extractor, found: Sequence[_Known], unit: Unit, deadline: float
    ) -> Sequence[tuple[Mapping[str, Any], Sequence[str]]]:
        """Return further metadata of each entry, and what went wrong with it."""
        pollster = extractor.pollster
        if not pollster.extra_metadata_fields:
            return [({}, ())] * len(found)
        late = "extra_metadata_fields: no time was left"
        extras: list[tuple[Mapping[str, Any], Sequence[str]]] = [({}, (late,))] * len(found)

        def further(number: int) -> None:
            known = found[number]
            with self._large.held(further=True):
                extras[number] = self._enrichment.of(
                    pollster, known.found, known.metadata, unit, deadline
                )

        calls = [partial(further, number) for number in range(len(found))]
        self._crew.spread(calls, FURTHER_AT_A_TIME, deadline)
        return list(extras)


def _found(
    reading: Reading,
    unit: Unit,
    extractor: Extractor,
    entries: Sequence[Any],
    shown: Sequence[Shown],
    whose: str,
) -> Iterator[_Known]:
    """Yield what the entries say, but for those that say nothing that can be used."""
    names = unit.names
    nobody = Shown("")
    for number, entry in enumerate(entries):
        told = shown[number] if number < len(shown) else nobody
        try:
            found = extractor.find(entry, unit, names)
            if found is None:
                told.skipped = "its value is one of skip_sample_values"
                continue
            told.resource, told.value = found.resource, found.value
            yield _Known(found, extractor.metadata(found.entry, names), told)
        except Unread as error:
            reading.lacks(f"{whose}{error}")
            told.skipped = str(error)


def _observe(
    reading: Reading,
    extractor: Extractor,
    known: _Known,
    metadata: Mapping[str, Any],
    moment: Moment,
    whose: str,
) -> None:
    """Add the observations of one entry."""
    shown = known.shown
    shown.metadata = metadata
    shown.volumes = {}
    try:
        made = extractor.observations(known.found, metadata, moment, reading.target.id)
        for seen in made:
            reading.observations.append(seen)
            shown.volumes[seen.columns[0].meter.name] = seen.volumes[0]
    except Unread as error:
        reading.lacks(f"{whose}{error}")
        shown.skipped = str(error)
        return
    if not shown.volumes:
        shown.skipped = "its value is null"
