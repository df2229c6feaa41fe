# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of a pipeline file: through its routes and transformers, to no publisher.

A test has a clock of its own, which moves from one given sample to the next, and on to `until`.
The timer that closes windows runs every second of it, before the samples of that second, and once
more at the end. In a test longer than an hour it runs at most 3,600 times, at whole seconds equally
far apart, and at the second before each sample.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec import UNSET

from ceilo_agent import plugins
from ceilo_agent.definition.matching import Matcher
from ceilo_agent.definition.pipeline import PipelineFile, SinkDef
from ceilo_agent.definition.tests import LATEST, CaseDef
from ceilo_agent.meters.catalogue import Entry
from ceilo_agent.pipeline.chain import Chain, build
from ceilo_agent.pipeline.counted import CountedChain, CountedStep
from ceilo_agent.pipeline.differences import Difference, Document, compare, document
from ceilo_agent.pipeline.feed import START, Feed, Reading
from ceilo_agent.pipeline.routing import Routes
from ceilo_agent.sample import Batch, Sample

MOST_TICKS: Final = 3600
"""Of one test, beside those before its samples."""
_DAY: Final = 86400


class Result(msgspec.Struct, frozen=True):
    """What came of one test.

    Attributes:
        case: the test.
        differences: between what it expects and what came out.
        failures: given samples that no source takes; transformers that failed, with the error.
        dropped: samples on their way that were left out, and why.
        hints: what the operator may have forgotten.
        notes: where the samples stayed, when something expected did not come.
    """

    case: CaseDef
    differences: tuple[Difference, ...]
    failures: tuple[str, ...]
    dropped: tuple[str, ...]
    hints: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all is as the test expects."""
        return not self.differences and not self.failures


class Runner:
    """Runs tests of one file, each from a fresh start.

    Args:
        file: the file.
        own: meters of the operator, beside those of the catalogues.
    """

    def __init__(self, file: PipelineFile, own: Iterable[Entry] = ()) -> None:
        self._file = file
        self._feed = Feed(file.sources, own)
        self._built: dict[str, Chain] = {}
        self._makers: dict[str, Callable[..., Any]] = {}

    def run(self, case: CaseDef) -> Result:
        """Run one test.

        Raises:
            PluginError: a transformer cannot be loaded.
        """
        readings, refused = self._feed.readings(case)
        end = max([case.until or 0, *(given.at for given in case.given)])
        bench = _Bench(Routes(self._file.sources), self._chains(case))
        takes = Matcher(case.meters or ("*",))
        with _failures() as found:
            came = [each for each in bench.run(readings, end) if takes(each["meter"])]
            failures, dropped = (*refused, *found), tuple(bench.dropped())
            differences = compare(case.expect, came)
            missing = any(difference.missing for difference in differences)
            notes = tuple(bench.notes()) if missing else ()
            late = bench.later(end, takes) if missing else ""
        hints = [late] if late else []
        if differences or failures:
            hints += self._feed.strangers(case)
        return Result(case, tuple(differences), failures, dropped, tuple(hints), notes)

    def _chains(self, case: CaseDef) -> dict[str, Chain]:
        """Return new chains of the sinks that samples of a test may reach."""
        named = {case.source if given.source is UNSET else given.source for given in case.given}
        reached = {
            sink
            for source in self._file.sources
            for sink in source.sinks
            if None in named or source.name in named
        }
        return {sink.name: self._chain(sink) for sink in self._file.sinks if sink.name in reached}

    def _chain(self, sink: SinkDef) -> Chain:
        """Return a new chain; plugins are looked up once for all tests, which takes the time."""
        if sink.name not in self._built:
            self._built[sink.name] = build(sink)
            for step in sink.transformers:
                self._makers[step.name] = plugins.load(plugins.TRANSFORMER, step.name)
        steps = [
            CountedStep(
                step.name,
                self._makers[written.name](written.parameters),
                step.takes,
                step.keep_original,
            )
            for step, written in zip(self._built[sink.name].steps, sink.transformers, strict=True)
        ]
        return CountedChain(sink.name, steps)


class _Bench:
    """The sinks of one test."""

    def __init__(self, routes: Routes, chains: Mapping[str, Chain]) -> None:
        self._routes = routes
        self._chains = chains

    def run(self, readings: Sequence[Reading], end: float) -> list[Document]:
        """Let samples in at their time and the clock go on to the end; return what comes out."""
        came: list[Document] = []
        ticks = deque(_ticks(readings, end))
        for (at, source), group in groupby(readings, key=attrgetter("at", "source")):
            while ticks and ticks[0] <= at:
                came += self._tick(ticks.popleft())
            batch = Batch(source, [reading.sample for reading in group])
            for sink, samples in self._routes(batch):
                came += _documents(sink, self._chains[sink](samples))
        for tick in (*(tick for tick in ticks if tick < end), end):
            came += self._tick(tick)
        return came

    def later(self, end: float, takes: Callable[[str], bool]) -> str:
        """Say what the timer gives first after the end, and when; empty if it gives nothing.

        It runs every second of an hour, then every minute of a day, then when everything is due.
        """
        start = math.floor(end)
        for after in (*range(1, 3600), *range(3600, _DAY + 1, 60), LATEST):
            if came := sum(takes(each["meter"]) for each in self._tick(start + after)):
                how = "see 'until'" if after == LATEST else f"write 'until: {start + after}'"
                return f"{came} more by the timer after the test's end at {end:.12g}: {how}"
        return ""

    def notes(self) -> Iterator[str]:
        """Say of each step that gave fewer samples than it got how many these were."""
        for sink, chain in self._chains.items():
            for number, step in enumerate(chain.steps, 1):
                assert isinstance(step, CountedStep)
                if told := step.counts.told(step.name):
                    yield f"in the sink '{sink}', step {number} ({step.name}): {told}"

    def dropped(self) -> list[str]:
        """Say what the transformers dropped, and why."""
        return [
            f"{count} in the sink '{sink}', step {number} ({step.name}): {reason}"
            for sink, chain in self._chains.items()
            for number, step in enumerate(chain.steps, 1)
            for reason, count in step.transformer.dropped.items()
        ]

    def _tick(self, at: float) -> list[Document]:
        return [
            each
            for sink, chain in self._chains.items()
            if chain.stateful
            for each in _documents(sink, chain.tick(START + at))
        ]


def _documents(sink: str, samples: Sequence[Sample]) -> list[Document]:
    return [document(sample, sink, START) for sample in samples]


def _ticks(readings: Sequence[Reading], end: float) -> list[int]:
    """Return when the timer runs, in whole seconds of the test's clock."""
    step = max(1, math.ceil(end / MOST_TICKS))
    before = {math.floor(reading.at) for reading in readings}
    return sorted(before.union(range(0, math.floor(end) + 1, step)))


class _Failures(logging.Handler):
    """Keeps what a chain tells of transformers that fail; other messages are of no use here."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: dict[str, None] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Note one message with its error, once."""
        error = record.exc_info[1] if record.exc_info else None
        reason = f": {type(error).__name__}: {error}" if error is not None else ""
        self.found[" ".join((record.getMessage() + reason).split())] = None


@contextlib.contextmanager
def _failures() -> Iterator[dict[str, None]]:
    """Collect the failures of transformers while the context lasts, and keep the log silent."""
    logger = logging.getLogger("ceilo_agent")
    handler = _Failures()
    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield handler.found
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagated
