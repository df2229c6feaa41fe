# SPDX-License-Identifier: Apache-2.0
"""A pipeline file at work: batches in, through the sinks of their source, out to the publishers."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

from ceilo_agent import plugins
from ceilo_agent.definition.pipeline import PipelineFile, SinkDef
from ceilo_agent.delivery.outlet import Outlet
from ceilo_agent.pipeline.chain import Chain
from ceilo_agent.pipeline.matching import Matcher
from ceilo_agent.plugins import Context
from ceilo_agent.sample import Batch, Sample


class Sink:
    """A chain of transformers and the publishers behind it."""

    def __init__(self, definition: SinkDef, outlets: Sequence[Outlet]) -> None:
        self.name = definition.name
        self.outlets = outlets
        self.chain = Chain(
            definition.name,
            [
                (step.name, plugins.load(plugins.TRANSFORMER, step.name)(step.parameters))
                for step in definition.transformers
            ],
        )

    def accept(self, samples: Sequence[Sample]) -> None:
        """Transform the samples and offer them to every publisher."""
        self.publish(self.chain(samples))

    def publish(self, samples: Sequence[Sample]) -> None:
        """Offer transformed samples to every publisher."""
        if samples:
            for outlet in self.outlets:
                outlet.offer(samples)


class Pipeline:
    """All sinks of a file. Batches may come from several threads.

    Args:
        file: the checked definition.
        context: where this agent runs.

    Raises:
        PluginError: a transformer or publisher cannot be loaded.
    """

    def __init__(self, file: PipelineFile, context: Context) -> None:
        self.unmatched = 0
        self.outlets = _outlets(file, context)
        self.sinks: Mapping[str, Sink] = {
            sink.name: Sink(sink, [self.outlets[p.name] for p in sink.publishers])
            for sink in file.sinks
        }
        self._by_source = {
            source.name: [self.sinks[name] for name in source.sinks] for source in file.sources
        }
        self._matchers = [(Matcher(source.meters), source.name) for source in file.sources]
        self._lock = threading.Lock()

    def open(self) -> None:
        """Open every publisher.

        Raises:
            ConfigError: one can never work as configured.
        """
        for outlet in self.outlets.values():
            outlet.open()

    def accept(self, batch: Batch) -> None:
        """Take a batch: the sinks of its source, or those that match each of its meters."""
        with self._lock:
            sinks = self._by_source.get(batch.source) if batch.source is not None else None
            if sinks is not None:
                for sink in sinks:
                    sink.accept(batch.samples)
                return
            taken: set[int] = set()
            for matcher, name in self._matchers:
                chosen = [s for s in batch.samples if matcher(s.meter.name)]
                taken.update(map(id, chosen))
                for sink in self._by_source[name]:
                    sink.accept(chosen)
            self.unmatched += len(batch.samples) - len(taken)

    def tick(self, now: float) -> None:
        """Let windows close that are due at `now` (UTC seconds)."""
        with self._lock:
            for sink in self.sinks.values():
                if sink.chain.stateful:
                    sink.publish(sink.chain.tick(now))

    def close(self, seconds: float) -> None:
        """Deliver what waits, for at most that long, then let go of the publishers."""
        deadline = time.monotonic() + seconds
        for outlet in self.outlets.values():
            outlet.close(deadline)


def _outlets(file: PipelineFile, context: Context) -> dict[str, Outlet]:
    """Make one outlet per publisher, shared by the sinks that name it."""
    found: dict[str, Outlet] = {}
    for sink in file.sinks:
        for publisher in sink.publishers:
            if publisher.name not in found:
                made = plugins.load(plugins.PUBLISHER, publisher.scheme)
                found[publisher.name] = Outlet(
                    publisher.name, made(publisher.url, publisher.options, context)
                )
    return found
