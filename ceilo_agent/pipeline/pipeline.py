# SPDX-License-Identifier: Apache-2.0
"""A pipeline file at work: batches in, through the sinks of their source, out to the publishers."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

from ceilo_agent import plugins
from ceilo_agent.definition.pipeline import PipelineFile, SinkDef
from ceilo_agent.delivery.outlet import Outlet
from ceilo_agent.pipeline.chain import build
from ceilo_agent.pipeline.routing import Routes
from ceilo_agent.pipeline.volumes import is_volume
from ceilo_agent.plugins import Context
from ceilo_agent.sample import Batch, Sample


class Sink:
    """A chain of transformers and the publishers behind it."""

    def __init__(self, definition: SinkDef, outlets: Sequence[Outlet]) -> None:
        self.name = definition.name
        self.outlets = outlets
        self.chain = build(definition)

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

    Attributes:
        invalid: samples whose volume was no number.

    Raises:
        PluginError: a transformer or publisher cannot be loaded.
    """

    def __init__(self, file: PipelineFile, context: Context) -> None:
        self.invalid = 0
        self.outlets = _outlets(file, context)
        self.sinks: Mapping[str, Sink] = {
            sink.name: Sink(sink, [self.outlets[p.name] for p in sink.publishers])
            for sink in file.sinks
        }
        self.routes = Routes(file.sources)
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
            valid = [sample for sample in batch.samples if is_volume(sample.volume)]
            if len(valid) < len(batch.samples):
                self.invalid += len(batch.samples) - len(valid)
                batch = Batch(batch.source, valid)
            for name, samples in self.routes(batch):
                sink = self.sinks[name]
                sink.publish(sink.chain(samples))

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
