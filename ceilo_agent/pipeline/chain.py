# SPDX-License-Identifier: Apache-2.0
"""The transformers of one sink, one after another."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ceilo_agent.plugins import StatefulTransformer, Transformer
from ceilo_agent.sample import Sample

LOG = logging.getLogger(__name__)


class Chain:
    """Passes samples through transformers in their order.

    A transformer that fails costs the batch at hand, counted in `lost`, never the batches after it.
    """

    def __init__(self, sink: str, transformers: Sequence[tuple[str, Transformer]]) -> None:
        self.lost = 0
        self._sink = sink
        self._transformers = transformers
        self.stateful = any(isinstance(t, StatefulTransformer) for _, t in transformers)

    def __call__(self, samples: Sequence[Sample], first: int = 0) -> Sequence[Sample]:
        """Return what the samples become from the transformer number `first` on."""
        for name, transformer in self._transformers[first:]:
            if not samples:
                break
            try:
                samples = transformer(samples)
            except Exception:
                self.lost += len(samples)
                LOG.exception(
                    "sink %s: transformer %s failed, %d samples lost",
                    self._sink,
                    name,
                    len(samples),
                )
                return []
        return samples

    def tick(self, now: float) -> list[Sample]:
        """Move time to `now` and return what became due, passed through the rest of the chain."""
        due: list[Sample] = []
        for number, (name, transformer) in enumerate(self._transformers):
            if isinstance(transformer, StatefulTransformer):
                try:
                    ripe = transformer.tick(now)
                except Exception:
                    LOG.exception("sink %s: transformer %s failed on its timer", self._sink, name)
                    continue
                due.extend(self(ripe, number + 1))
        return due
