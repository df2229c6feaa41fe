# SPDX-License-Identifier: Apache-2.0
"""Which sinks get which samples."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from ceilo_agent.definition.matching import Matcher
from ceilo_agent.definition.sources import SourceDef
from ceilo_agent.sample import Batch, Sample

LOG = logging.getLogger(__name__)


class Routes:
    """The way from sources to sinks.

    Attributes:
        unmatched: samples that no source takes.
        strangers: batches that named a source which the file does not have.
    """

    def __init__(self, sources: Sequence[SourceDef]) -> None:
        self.unmatched = 0
        self.strangers = 0
        self._sinks = {source.name: source.sinks for source in sources}
        self._matchers = [(Matcher(source.meters), source.sinks) for source in sources]
        self._told: set[str] = set()

    def __call__(self, batch: Batch) -> Iterator[tuple[str, Sequence[Sample]]]:
        """Yield sinks' names with the samples for each; a sink gets a sample once.

        The sinks of the batch's source; without one, or with one that the file does not have,
        those of every source that takes the meter.
        """
        if batch.source in self._sinks:
            for sink in self._sinks[batch.source]:
                yield sink, batch.samples
            return
        if batch.source is not None:
            self._tell(batch.source)
        found: dict[str, dict[int, Sample]] = {}
        taken: set[int] = set()
        for takes, sinks in self._matchers:
            chosen = {n: s for n, s in enumerate(batch.samples) if takes(s.meter.name)}
            taken |= chosen.keys()
            for sink in sinks:
                found.setdefault(sink, {}).update(chosen)
        self.unmatched += len(batch.samples) - len(taken)
        for sink, samples in found.items():
            if samples:
                yield sink, [samples[number] for number in sorted(samples)]

    def _tell(self, source: str) -> None:
        """Count a batch of an unknown source, and tell of it once."""
        self.strangers += 1
        if source not in self._told and len(self._told) < 100:
            self._told.add(source)
            LOG.warning("no source is named '%s': its samples are matched by their meters", source)
