# SPDX-License-Identifier: Apache-2.0
"""The transformers of one sink, one after another."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec

from ceilo_agent import plugins
from ceilo_agent.definition.matching import Matcher
from ceilo_agent.definition.sinks import SinkDef
from ceilo_agent.pipeline.journal import Journal
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

    def __call__(
        self, samples: Sequence[Sample], journal: Journal | None = None
    ) -> Sequence[Sample]:
        """Return what the samples become, after those that pass it by.

        Args:
            samples: what the step before gives.
            journal: writes down what a stateful transformer gets, and lets no sample go in twice.
        """
        passing: list[Sample] = []
        if self.takes is not None:
            takes = self.takes
            passing = [sample for sample in samples if not takes(sample.meter.name)]
            if passing:
                samples = [sample for sample in samples if takes(sample.meter.name)]
        given = samples
        if journal is not None and isinstance(self.transformer, StatefulTransformer):
            given = journal.record(self.identity, self.transformer, samples)
        made = self.transformer(given) if given else given
        if self.keep_original:
            passing.extend(samples)
        if not passing:
            return made
        passing.extend(made)
        return passing


class Chain:
    """Passes samples through transformers in their order.

    A transformer that fails costs the batch at hand, counted in `lost`, never the batches after it.

    Args:
        sink: the name of the sink.
        steps: in their order.
        journal: keeps what they remember over a restart; None: nothing does.
    """

    def __init__(self, sink: str, steps: Sequence[Step], journal: Journal | None = None) -> None:
        self.lost = 0
        self.steps = steps
        self.stateful = any(isinstance(step.transformer, StatefulTransformer) for step in steps)
        self._sink = sink
        self._journal = journal

    def __call__(self, samples: Sequence[Sample], first: int = 0) -> Sequence[Sample]:
        """Return what the samples become from the step number `first` on."""
        for step in self.steps[first:]:
            if not samples:
                break
            try:
                samples = step(samples, self._journal)
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

    def resume(self, now: float) -> None:
        """Tell the steps that what came while their ticks were held up came at `now`."""
        for step in self.steps:
            if isinstance(step.transformer, StatefulTransformer):
                try:
                    step.transformer.resume(now)
                except Exception:
                    LOG.exception("sink %s: transformer %s failed to go on", self._sink, step.name)

    def tick(self, now: float) -> list[Sample]:
        """Move time to `now` and return what became due, passed through the rest of the chain."""
        due: list[Sample] = []
        for number, step in enumerate(self.steps):
            if isinstance(step.transformer, StatefulTransformer):
                if self._journal is not None:
                    self._journal.ticked(step.identity, now)
                try:
                    ripe = step.transformer.tick(now)
                except Exception:
                    LOG.exception(
                        "sink %s: transformer %s failed on its timer", self._sink, step.name
                    )
                    continue
                due.extend(self(ripe, number + 1))
        return due


def build(
    sink: SinkDef,
    known: Mapping[str, Transformer] | None = None,
    journal: Journal | None = None,
) -> Chain:
    """Make the chain of a sink.

    Args:
        sink: the sink.
        known: transformers at work by the identity of their step; those are taken as they are.
        journal: keeps what the steps remember over a restart.

    Raises:
        PluginError: a transformer cannot be loaded.
    """
    seen: Counter[str] = Counter()
    steps = []
    for definition in sink.transformers:
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
        identity = f"{digest}-{seen[digest]}"
        made = (known or {}).get(identity)
        if made is None:
            made = plugins.load(plugins.TRANSFORMER, definition.name)(definition.parameters)
        takes = Matcher(definition.meters) if definition.meters else None
        steps.append(Step(definition.name, made, takes, definition.keep_original, identity))
    return Chain(sink.name, steps, journal)
