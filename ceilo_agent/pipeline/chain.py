# SPDX-License-Identifier: Apache-2.0
"""The transformers of one sink, one after another."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from ceilo_agent import plugins
from ceilo_agent.definition.sinks import SinkDef
from ceilo_agent.pipeline.matching import Matcher
from ceilo_agent.plugins import StatefulTransformer, Transformer
from ceilo_agent.sample import Sample

LOG = logging.getLogger(__name__)


class Step(msgspec.Struct, frozen=True, eq=False):
    """One transformer at its place in a chain.

    Attributes:
        name: of the transformer.
        transformer: the one.
        takes: says of a meter's name whether it gets the sample; None: it gets all.
        keep_original: whether what it gets goes on beside what it makes of it.
        identity: the same for the same step of the same sink in another load of the file.
    """

    name: str
    transformer: Transformer
    takes: Callable[[str], bool] | None = None
    keep_original: bool = False
    identity: str = ""

    def __call__(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Return what the samples become, after those that pass it by."""
        passing: list[Sample] = []
        if self.takes is not None:
            takes = self.takes
            passing = [sample for sample in samples if not takes(sample.meter.name)]
            if passing:
                samples = [sample for sample in samples if takes(sample.meter.name)]
        made = self.transformer(samples) if samples else samples
        if self.keep_original:
            passing.extend(samples)
        if not passing:
            return made
        passing.extend(made)
        return passing


class Chain:
    """Passes samples through transformers in their order.

    A transformer that fails costs the batch at hand, counted in `lost`, never the batches after it.
    """

    def __init__(self, sink: str, steps: Sequence[Step]) -> None:
        self.lost = 0
        self.steps = steps
        self.stateful = any(isinstance(step.transformer, StatefulTransformer) for step in steps)
        self._sink = sink

    def __call__(self, samples: Sequence[Sample], first: int = 0) -> Sequence[Sample]:
        """Return what the samples become from the step number `first` on."""
        for step in self.steps[first:]:
            if not samples:
                break
            try:
                samples = step(samples)
            except Exception:
                self.lost += len(samples)
                LOG.exception(
                    "sink %s: transformer %s failed, %d samples lost",
                    self._sink,
                    step.name,
                    len(samples),
                )
                return []
        return samples

    def tick(self, now: float) -> list[Sample]:
        """Move time to `now` and return what became due, passed through the rest of the chain."""
        due: list[Sample] = []
        for number, step in enumerate(self.steps):
            if isinstance(step.transformer, StatefulTransformer):
                try:
                    ripe = step.transformer.tick(now)
                except Exception:
                    LOG.exception(
                        "sink %s: transformer %s failed on its timer", self._sink, step.name
                    )
                    continue
                due.extend(self(ripe, number + 1))
        return due


def build(sink: SinkDef) -> Chain:
    """Make the chain of a sink.

    Raises:
        PluginError: a transformer cannot be loaded.
    """
    seen: Counter[str] = Counter()
    steps = []
    for definition in sink.transformers:
        made: Transformer = plugins.load(plugins.TRANSFORMER, definition.name)(
            definition.parameters
        )
        what = msgspec.json.encode(
            (
                sink.name,
                definition.name,
                definition.written,
                definition.meters,
                definition.keep_original,
            ),
            order="sorted",
        )
        digest = hashlib.sha256(what).hexdigest()[:32]
        seen[digest] += 1
        takes = Matcher(definition.meters) if definition.meters else None
        identity = f"{digest}-{seen[digest]}"
        steps.append(Step(definition.name, made, takes, definition.keep_original, identity))
    return Chain(sink.name, steps)
