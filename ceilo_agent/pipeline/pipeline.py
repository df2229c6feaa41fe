# SPDX-License-Identifier: Apache-2.0
"""A pipeline file at work: batches in, through the sinks of their source, out to the publishers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ceilo_agent.definition.pipeline import PipelineFile
from ceilo_agent.delivery.outlet import Counters, Outlet, never
from ceilo_agent.delivery.outlets import Change, Outlets
from ceilo_agent.pipeline.chain import Chain, build
from ceilo_agent.pipeline.journal import Journal
from ceilo_agent.pipeline.replay import Kept
from ceilo_agent.pipeline.routing import Routes
from ceilo_agent.pipeline.volumes import is_volume
from ceilo_agent.plugins import Context, StatefulTransformer, Transformer
from ceilo_agent.sample import Batch, Sample


class Sink(NamedTuple):
    """A chain of transformers and the publishers behind it."""

    name: str
    chain: Chain
    outlets: Sequence[Outlet]


class Draft(NamedTuple):
    """What the next file needs, made and not yet at work."""

    sinks: Mapping[str, Sink]
    routes: Routes
    change: Change


class _Made(NamedTuple):
    """What came out of a sink, and the part of it that nothing else could give once more."""

    sink: Sink
    samples: Sequence[Sample]
    own: Sequence[Sample]


class Pipeline:
    """All sinks of a file. Batches may come from several threads.

    Args:
        file: the checked definition.
        context: where this agent runs.
        state: the file that keeps what stateful steps remember, and what came of it until it is
            delivered; None to keep it in memory only.

    Attributes:
        invalid: samples whose volume was no number.

    Raises:
        PluginError: a transformer or publisher cannot be loaded.
    """

    def __init__(self, file: PipelineFile, context: Context, state: Path | None = None) -> None:
        self.invalid = 0
        self.sinks: Mapping[str, Sink] = {}
        self.routes = Routes(())
        self.outlets: Mapping[str, Outlet] = {}
        self.journal = None if state is None else Journal(state)
        self._all = Outlets()
        self._lock = threading.Lock()
        draft = self._draft(file, context)
        self._first = draft.change
        self._take(draft)

    @property
    def counters(self) -> Mapping[str, Counters]:
        """What became of the samples, by publisher; also of those that are gone from the file."""
        return self._all.counters

    def open(self) -> None:
        """Open every publisher and take up what the steps knew.

        Raises:
            ConfigError: one can never work as configured.
        """
        self._first.open()
        self._first.commit()
        if self.journal is None:
            return
        with self._lock:
            self.journal.adopt(self._kept(), self.outlets)
            for number, name, samples in self.journal.waiting():
                if name in self.outlets:
                    self._offer(self.outlets[name], samples, number)

    def accept(self, batch: Batch) -> None:
        """Take a batch: the sinks of its source, or those that match each of its meters."""
        with self._lock:
            valid = [sample for sample in batch.samples if is_volume(sample.volume)]
            if len(valid) < len(batch.samples):
                self.invalid += len(batch.samples) - len(valid)
                batch = Batch(batch.source, valid)
            self._hand_on([self._through(name, samples) for name, samples in self.routes(batch)])

    def tick(self, now: float) -> None:
        """Let windows close that are due at `now` (UTC seconds)."""
        with self._lock:
            made = []
            for sink in self.sinks.values():
                if sink.chain.stateful:
                    samples = sink.chain.tick(now)
                    made.append(_Made(sink, samples, samples))
            self._hand_on(made)

    def prepare(
        self, file: PipelineFile, context: Context, hurry: Callable[[], bool] = never
    ) -> Draft:
        """Make what another file needs and open its publishers; what is at work goes on.

        Args:
            file: the checked definition.
            context: where this agent runs.
            hurry: says whether to wait for nothing any more.

        Raises:
            ConfigError: a publisher can never work as configured.
            PluginError: a transformer or publisher cannot be loaded.
        """
        draft = self._draft(file, context)
        draft.change.open(hurry)
        return draft

    def replace(self, draft: Draft) -> None:
        """Go on with another file, between two batches.

        Steps that are the same keep their state, publishers that are the same what waits for them.
        """
        with self._lock:
            self._take(draft)
            draft.change.commit()
            if self.journal is not None:
                self.journal.adopt(self._kept(), self.outlets, draft.change.renamed)

    def discard(self, draft: Draft) -> None:
        """Close what was opened for another file."""
        draft.change.undo()

    def close(self, seconds: float) -> None:
        """Deliver what waits, for at most that long, then let go of the publishers."""
        self._all.close(time.monotonic() + seconds)
        if self.journal is not None:
            with self._lock:
                self.journal.close()

    def _draft(self, file: PipelineFile, context: Context) -> Draft:
        known: dict[str, Transformer] = {
            step.identity: step.transformer
            for sink in self.sinks.values()
            for step in sink.chain.steps
        }
        chains = {sink.name: build(sink, known, self.journal) for sink in file.sinks}
        change = self._all.plan((p for sink in file.sinks for p in sink.publishers), context)
        outlets = change.outlets
        sinks = {
            sink.name: Sink(
                sink.name, chains[sink.name], [outlets[p.name] for p in sink.publishers]
            )
            for sink in file.sinks
        }
        return Draft(sinks, Routes(file.sources), change)

    def _take(self, draft: Draft) -> None:
        """Put a draft in the place of what is at work; counters go on."""
        for name, sink in draft.sinks.items():
            if name in self.sinks:
                sink.chain.lost = self.sinks[name].chain.lost
        draft.routes.unmatched = self.routes.unmatched
        draft.routes.strangers = self.routes.strangers
        self.sinks, self.routes = draft.sinks, draft.routes
        self.outlets = draft.change.outlets

    def _kept(self) -> dict[str, Kept]:
        """Return the steps whose state is kept, by identity."""
        return {
            step.identity: Kept(f"{step.name} in sink {sink.name}", step.transformer)
            for sink in self.sinks.values()
            for step in sink.chain.steps
            if isinstance(step.transformer, StatefulTransformer)
        }

    def _through(self, name: str, samples: Sequence[Sample]) -> _Made:
        """Pass samples through a sink."""
        sink, journal = self.sinks[name], self.journal
        before = 0 if journal is None else journal.noted
        made = sink.chain(samples)
        own: Sequence[Sample] = ()
        if journal is not None and journal.noted > before:
            # What went through as it came is not the journal's: it would come again with its batch.
            given = set(map(id, samples))
            own = [sample for sample in made if id(sample) not in given]
        return _Made(sink, made, own)

    def _hand_on(self, made: Sequence[_Made]) -> None:
        """Write down what must not be lost, and then offer all of it to the publishers."""
        numbers: Iterator[int] = iter(())
        if self.journal is not None:
            outputs = [(o.name, m.own) for m in made for o in m.sink.outlets if m.own]
            numbers = iter(self.journal.commit(outputs) or ())
        for sink, samples, own in made:
            for outlet in sink.outlets if samples else ():
                self._offer(outlet, samples, next(numbers, None) if own else None)

    def _offer(self, outlet: Outlet, samples: Sequence[Sample], number: int | None) -> None:
        mark = outlet.offer(samples)
        if number is not None and self.journal is not None:
            self.journal.watch(number, partial(outlet.settled, mark))
