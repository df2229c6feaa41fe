# SPDX-License-Identifier: Apache-2.0
"""Metadata that takes further requests: `extra_metadata_fields`, from a cache where it can be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ceilo_agent.definition.pollsters.pollster import PollsterDef
from ceilo_agent.discovery.api.unit import Unit
from ceilo_agent.errors import Unavailable
from ceilo_agent.inspection.api.answer import Unanswered
from ceilo_agent.inspection.api.cache import Cache
from ceilo_agent.inspection.api.entries import Unread, entries_of
from ceilo_agent.inspection.api.pages import Page, Source
from ceilo_agent.inspection.api.reading import Extractor, Found


class Enrichment:
    """Makes further requests for entries. Several threads may ask.

    Args:
        source: gets pages.
        seen: told of each page that was fetched, with whose it is and what went wrong.
    """

    def __init__(
        self, source: Source, seen: Callable[[PollsterDef, Page | None, str], None]
    ) -> None:
        self._source = source
        self._seen = seen
        self._cache = Cache()
        self._extractors: dict[int, Extractor] = {}
        self._lock = threading.Lock()

    def of(
        self,
        pollster: PollsterDef,
        found: Found,
        metadata: Mapping[str, Any],
        unit: Unit,
        deadline: float,
    ) -> tuple[Mapping[str, Any], Sequence[str]]:
        """Return further metadata of an entry, and what went wrong.

        Args:
            pollster: whose entry it is.
            found: what it says.
            metadata: that it has already.
            unit: where it was read.
            deadline: CLOCK_MONOTONIC seconds.
        """
        captured: dict[str, Any] = {}
        by_name: dict[str, Any] = {}
        sample = found.entry
        if isinstance(sample, dict):
            # As in Ceilometer after value_mapping; a list of values for several meters has none.
            value = found.value if pollster.sub_meter else found.volumes[0][1]
            sample = {**sample, "value": value, "metadata": metadata}
        names = {
            **unit.names,
            "sample": sample,
            "extra_metadata_captured": captured,
            "extra_metadata_by_name": by_name,
        }
        faults: list[str] = []
        for field in pollster.extra_metadata_fields:
            if any(skip and _covers(skip, sample) for skip in field.extra_metadata_fields_skip):
                continue
            try:
                for value, told in self._samples(field, unit, names, deadline):
                    captured[field.name] = value
                    captured.update(
                        (k, v) for k, v in told.items() if v is not None or k not in captured
                    )
                    by_name[field.name] = {"value": value, "metadata": told}
            except (Unanswered, Unread, Unavailable) as error:
                faults.append(f"extra_metadata_fields '{field.name}': {error}")
        return captured, faults

    def _samples(
        self, field: PollsterDef, unit: Unit, names: Mapping[str, Any], deadline: float
    ) -> Iterator[tuple[Any, Mapping[str, Any]]]:
        """Yield the value and the metadata of each entry that a further request gives."""
        extractor = self._extractor(field)
        for place in self._places(field, unit):
            for handler, document in self._documents(field, place, names, deadline):
                for entry in entries_of(field, handler, document, names):
                    found = extractor.find(entry, place, names)
                    if found is not None:
                        value = found.volumes[0][1] if found.volumes else None
                        yield value, extractor.metadata(found.entry, names)

    def _places(self, field: PollsterDef, unit: Unit) -> list[Unit]:
        """Return whom to ask: the endpoints of a service of its own, else the unit's own base."""
        if not field.endpoint_type or field.endpoint_type == unit.request.endpoint_type:
            return [unit]
        if unit.cloud is None:
            raise Unread(f"its endpoint_type {field.endpoint_type} is of no cloud")
        return [
            Unit((field,), base, unit.project, cloud=unit.cloud)
            for base in unit.cloud.endpoints(field.endpoint_type)
        ]

    def _documents(
        self, field: PollsterDef, unit: Unit, names: Mapping[str, Any], deadline: float
    ) -> list[tuple[str, Any]]:
        """Return what a request gives, all of its pages.

        Raises:
            Unanswered: it gives nothing.
        """

        def make() -> tuple[list[tuple[str, Any]], int]:
            documents = []
            size = 0
            try:
                for page in self._source.pages(field, unit, names, deadline):
                    size += page.size
                    self._seen(field, page, "")
                    documents.append((page.handler, page.document))
            except Unanswered as error:
                self._seen(field, None, str(error))
                raise
            return documents, size

        if field.host_command:
            what = "\0".join(field.host_command)
        else:
            what = self._source.first_url(field, unit, names)
        key = (id(field), unit.base, what)
        seconds = field.extra_metadata_fields_cache_seconds
        documents: list[tuple[str, Any]] = self._cache.get(key, seconds, make, deadline)
        return documents

    def _extractor(self, field: PollsterDef) -> Extractor:
        with self._lock:
            found = self._extractors.get(id(field))
            if found is None:
                found = self._extractors[id(field)] = Extractor(field)
            return found


def _covers(skip: Any, sample: Any) -> bool:
    """Return whether an entry has all that a pattern says."""
    if skip == sample:
        return True
    if not isinstance(skip, dict) or not isinstance(sample, dict):
        return False
    return all(key in sample and _covers(value, sample[key]) for key, value in skip.items())
