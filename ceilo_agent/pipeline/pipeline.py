# SPDX-License-Identifier: Apache-2.0
"""A pipeline file at work: batches in, through the sinks of their source, out to the publishers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ceilo_agent.definition.pipeline import PipelineFile
from ceilo_agent.delivery.log import Limits, Log, Offer
from ceilo_agent.delivery.memory import MemoryQueue
from ceilo_agent.delivery.outlet import Outlet, never
from ceilo_agent.delivery.outlets import Change, Outlets
from ceilo_agent.delivery.queues import Counters
from ceilo_agent.pipeline.chain import Chain, build
from ceilo_agent.pipeline.journal import Journal
from ceilo_agent.pipeline.replay import Kept
from ceilo_agent.pipeline.routing import Routes
from ceilo_agent.plugins import Context, StatefulTransformer, Transformer
from ceilo_agent.sample import Batch, Sample
from ceilo_agent.volumes import is_volume

LOG = logging.getLogger(__name__)


class Sink(NamedTuple):
    """A chain of transformers and the publishers behind it.

    Attributes:
        name: of the sink.
        chain: of its transformers.
        durable: publishers whose samples wait in the log.
        memory: those whose samples wait in memory.
    """

    name: str
    chain: Chain
    durable: Sequence[Outlet]
    memory: Sequence[Outlet]


class Draft(NamedTuple):
    """What the next file needs, made and not yet at work.

    Attributes:
        sinks: by name.
        routes: to them.
        change: of the publishers.
    """

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
        spool: the directory of what waits for durable publishers and of what stateful steps
            remember, of this process alone; None to keep all in memory.
        limits: bounds of what waits there.
        workers: processes whose directories stand side by side, this one's among them.
        fsync: what was accepted outlives a loss of power, not only the end of the process.

    Attributes:
        invalid: samples whose volume was no number.

    Raises:
        PluginError: a transformer or publisher cannot be loaded.
    """

    def __init__(
        self,
        file: PipelineFile,
        context: Context,
        spool: Path | None = None,
        *,
        limits: Limits | None = None,
        workers: int = 1,
        fsync: bool = False,
    ) -> None:
        self.invalid = 0
        self._workers = workers
        self.sinks: Mapping[str, Sink] = {}
        self.routes = Routes(())
        self.outlets: Mapping[str, Outlet] = {}
        self.log = None if spool is None else Log(spool, limits or Limits(), fsync=fsync)
        self.journal = None if self.log is None else Journal(self.log)
        self._logging = False
        self._adopted = False
        self._held_up = False
        self._all = Outlets(self.log)
        self._lock = threading.Lock()
        draft = self._draft(file, context)
        self._first = draft
        self._take(draft)

    @property
    def counters(self) -> Mapping[str, Counters]:
        """What became of the samples, by publisher; also of those that are gone from the file.

        Those of durable publishers go on over restarts.
        """
        return self._all.counters

    @property
    def orphans(self) -> Mapping[str, Counters]:
        """What became of the samples of publishers that are gone, and that some are kept of."""
        return self._all.orphans

    def open(self) -> None:
        """Open every publisher, and take up what waits for them and what the steps knew.

        Raises:
            ConfigError: one can never work as configured, or another process holds the directory.
        """
        draft = self._first
        self._begin(draft)
        try:
            draft.change.open()
        except BaseException:
            if self._logging and self.log is not None:
                self.log.close()
            raise
        with self._lock:
            draft.change.commit()
            self._adopt(draft)

    @property
    def stored(self) -> bool:
        """Whether all that was accepted and must wait on disk is there."""
        if not self._logging or self.log is None or self.journal is None:
            return True
        with self._lock:
            return self.log.stored and not self.journal.behind

    def accept(self, *batches: Batch) -> None:
        """Take batches, in one transaction: the sinks of their source, or those of each meter."""
        with self._lock:
            made = []
            for batch in batches:
                valid = [sample for sample in batch.samples if is_volume(sample.volume)]
                self.invalid += len(batch.samples) - len(valid)
                passed = batch if len(valid) == len(batch.samples) else Batch(batch.source, valid)
                made += [self._through(name, samples) for name, samples in self.routes(passed)]
            self._hand_on(made)

    def tick(self, now: float | None) -> None:
        """Let windows close that are due at `now` (UTC seconds), and the log do its rounds.

        With None time stands still: windows wait, and what comes meanwhile counts as come at the
        next moment that is told.
        """
        with self._lock:
            self._close_windows(now)
        if self._logging and self.log is not None:
            self.log.tick()

    def _close_windows(self, now: float | None) -> None:
        if now is None:
            self._held_up = True
        else:
            made = []
            if self._held_up:
                for sink in self.sinks.values():
                    sink.chain.resume(now)
                if self.journal is not None:
                    self.journal.changed()
                self._held_up = False
            for sink in self.sinks.values():
                if sink.chain.stateful:
                    samples = sink.chain.tick(now)
                    made.append(_Made(sink, samples, samples))
            self._hand_on(made)

    def limit(self, limits: Limits) -> None:
        """Set other bounds of what waits on disk."""
        if self.log is not None:
            self.log.limits = limits

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
        try:
            self._begin(draft)
        except BaseException:
            draft.change.undo()
            raise
        draft.change.open(hurry)
        return draft

    def replace(self, draft: Draft) -> None:
        """Go on with another file, between two batches.

        Steps that are the same keep their state, publishers that are the same what waits for them.
        """
        with self._lock:
            self._take(draft)
            draft.change.commit()
            self._adopt(draft)

    def discard(self, draft: Draft) -> None:
        """Close what was opened for another file."""
        draft.change.undo()

    def close(self, seconds: float) -> None:
        """Deliver what waits, for at most that long, then let go of the publishers.

        What waits on disk stays there.
        """
        self._all.close(time.monotonic() + seconds)
        if not self._logging or self.log is None or self.journal is None:
            return
        with self._lock:
            self.journal.close()
            if lost := self.log.close():
                LOG.error("%s: %d samples could not be written", self.log.directory, lost)

    def _begin(self, draft: Draft) -> None:
        """Open the log if there is something to keep.

        Raises:
            ConfigError: another process holds it, or it cannot be used.
        """
        if self._logging or self.log is None:
            return
        stateful = any(sink.chain.stateful for sink in draft.sinks.values())
        durable = any(sink.durable for sink in draft.sinks.values())
        if stateful or durable or self.log.exists:
            self.log.open(self._workers)
            self._logging = True

    def _adopt(self, draft: Draft) -> None:
        """Let the steps know what they knew, and publishers have what was for them."""
        if not self._logging or self.journal is None or self.log is None:
            return
        self.journal.adopt(self._kept(), self.outlets, draft.change.renamed)
        if self._adopted:
            return
        self._adopted = True
        offers = []
        for number, name, samples in self.journal.waiting():
            outlet = self.outlets.get(name)
            if outlet is None:
                continue
            if isinstance(outlet.queue, MemoryQueue):
                self._offer(outlet.queue, samples, number)
            else:
                # It waited in memory before, and now waits on disk: in one transaction.
                offers.append(Offer([name], samples))
                self.journal.watch(number, _true)
        self.log.offer(offers, self.journal)

    def _draft(self, file: PipelineFile, context: Context) -> Draft:
        known: dict[str, Transformer] = {
            step.identity: step.transformer
            for sink in self.sinks.values()
            for step in sink.chain.steps
        }
        chains = {sink.name: build(sink, known, self.journal) for sink in file.sinks}
        change = self._all.plan((p for sink in file.sinks for p in sink.publishers), context)
        sinks = {}
        for sink in file.sinks:
            placed = [change.after[publisher.name] for publisher in sink.publishers]
            durable = [each.outlet for each in placed if each.durable]
            memory = [each.outlet for each in placed if not each.durable]
            sinks[sink.name] = Sink(sink.name, chains[sink.name], durable, memory)
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
        """Write down what must not be lost, in one transaction, and then offer the rest.

        With its commit the batch is accepted: what is for durable publishers waits on disk, and so
        does what stateful steps remember and what they gave for the others.
        """
        if self._logging and self.log is not None and self.journal is not None:
            outputs = [(o.name, m.own) for m in made for o in m.sink.memory if m.own]
            numbers = iter(self.journal.put(outputs))
            offers = _offers(made)
            if offers or self.journal.pending:
                self.log.offer(offers, self.journal)
        else:
            numbers = iter(())
        for sink, samples, own in made:
            for outlet in sink.memory if samples else ():
                assert isinstance(outlet.queue, MemoryQueue)
                self._offer(outlet.queue, samples, next(numbers, None) if own else None)

    def _offer(self, queue: MemoryQueue, samples: Sequence[Sample], number: int | None) -> None:
        mark = queue.offer(samples)
        if number is not None and self.journal is not None:
            self.journal.watch(number, partial(queue.settled, mark))


def _offers(made: Sequence[_Made]) -> list[Offer]:
    """Return what durable publishers are offered: the same samples once, for all of them."""
    offers: list[Offer] = []
    for sink, samples, _ in made:
        names = [outlet.name for outlet in sink.durable]
        if not names or not samples:
            continue
        last = offers[-1] if offers else None
        if last is not None and last.samples is samples and not {*names} & {*last.publishers}:
            offers[-1] = Offer([*last.publishers, *names], samples)
        else:
            offers.append(Offer(names, samples))
    return offers


def _true() -> bool:
    return True
