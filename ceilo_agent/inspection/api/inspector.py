# SPDX-License-Identifier: Apache-2.0
"""The inspector `central`: what pollsters' definitions read of HTTP APIs."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from ceilo_agent.definition.pollsters.pollster import PollsterDef
from ceilo_agent.discovery.api.definitions import definitions
from ceilo_agent.discovery.api.unit import Unit
from ceilo_agent.inspection.api.answer import Tls, Unanswered, origin_of
from ceilo_agent.inspection.api.crew import Crew, Job, Outcome
from ceilo_agent.inspection.api.enrichment import Enrichment
from ceilo_agent.inspection.api.fetch import Fetcher
from ceilo_agent.inspection.api.observing import Observing
from ceilo_agent.inspection.api.outcome import Reading
from ceilo_agent.inspection.api.pages import Page, Source
from ceilo_agent.inspection.api.reading import Extractor
from ceilo_agent.inspection.api.steps import Step, Trace
from ceilo_agent.plugins import Context, Inspector, Missing, Snapshot, Target
from ceilo_agent.sample import Meter


class CentralInspector(Inspector):
    """Asks HTTP APIs, many at a time; one that fails or hangs costs nobody else.

    Attributes:
        trace: told of each request and of what became of its answer; None: nobody is.
    """

    discovery = "api"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.trace: Trace | None = None
        self._pollsters = definitions(context)
        self.digest = hashlib.sha256("\n".join(map(repr, self._pollsters)).encode()).hexdigest()
        option = context.options.get
        cloud_tls = Tls(
            option("service_credentials.cafile"),
            option("service_credentials.certfile"),
            option("service_credentials.keyfile"),
            bool(option("service_credentials.insecure")),
        )
        self._fetcher = Fetcher()
        self._source = Source(
            self._fetcher, cloud_tls, commands=bool(option("polling.host_commands"))
        )
        self._enrichment = Enrichment(self._source, self._saw_further)
        self._crew = Crew()
        self._observing = Observing(self._crew, self._enrichment, self._fetcher.large)
        self._extractors: dict[str, Extractor] = {}

    def meters(self) -> Collection[Meter]:
        """Return the meters of all definitions; one of many meters counts by its pattern."""
        return [Meter(each.name, each.unit, each.sample_type) for each in self._pollsters]

    def inspect(
        self, targets: Sequence[Target], wanted: frozenset[str], deadline: float
    ) -> Snapshot:
        """Read the wanted meters of the targets before `deadline` (CLOCK_MONOTONIC seconds)."""
        now = time.monotonic()
        # Those that are waited for say themselves what they waited for.
        own = deadline - min(0.5, 0.05 * max(0.0, deadline - now))
        done: dict[str, Reading] = {}
        jobs = [
            job for target in targets if (job := self._job(target, wanted, own, done)) is not None
        ]
        self._crew.run(jobs, deadline)
        done = dict(done)  # what is late from here on is dropped
        observations = [seen for reading in done.values() for seen in reading.observations]
        missing = [lack for reading in done.values() if (lack := reading.missing) is not None]
        asked = {job.target.id: job.target for job in jobs}
        late = "it was not read before the cycle's end"
        missing += [Missing(id_, id_, late) for id_ in asked.keys() - done.keys()]
        return Snapshot(observations, missing)

    def close(self) -> None:
        """Close the connections."""
        self._fetcher.close()

    def _job(
        self, target: Target, wanted: frozenset[str], deadline: float, done: dict[str, Reading]
    ) -> Job | None:
        unit: Unit = target.handle
        extractors = [self._extractor(p) for p in unit.pollsters if p.name in wanted]
        if not extractors:
            return None
        request = unit.request
        endpoint: Any = request.name
        reason = ""
        if not request.host_command:
            try:
                url = self._source.first_url(request, unit, unit.names)
                endpoint = origin_of(url, self._source.tls(request, unit))
            except Unanswered as error:
                reason = str(error)

        def give_up() -> None:
            done[target.id] = _lacking(target, "not asked in this cycle: nobody is there")

        def do() -> Outcome:
            reading = _lacking(target, reason) if reason else Reading(target)
            if not reason and self.may_read(target):
                self._read(reading, unit, extractors, deadline)
            done[target.id] = reading
            return reading.outcome

        return Job(target, endpoint, request.concurrency, do, give_up)

    def _read(
        self, reading: Reading, unit: Unit, extractors: Sequence[Extractor], deadline: float
    ) -> None:
        """Read a target, all of its pages."""
        target = reading.target
        pollsters = tuple(each.pollster.name for each in extractors)
        pages = self._source.pages(
            unit.request, unit, unit.names, deadline, go_on=partial(self.may_read, target)
        )
        try:
            with self._fetcher.large.held():
                for page in pages:
                    step = _step(pollsters, page)
                    self._observing.page(reading, unit, extractors, page, deadline, step)
                    self._tell(step)
        except Unanswered as error:
            reading.lacks(str(error))
            if error.dead:
                reading.outcome = Outcome.NOBODY
            elif error.late or error.again:
                reading.outcome = Outcome.FAILED
            self._tell(Step(pollsters, target.id, faults=[str(error)]))

    def _extractor(self, pollster: PollsterDef) -> Extractor:
        found = self._extractors.get(pollster.name)
        if found is None or found.pollster is not pollster:
            found = self._extractors[pollster.name] = Extractor(pollster)
        return found

    def _saw_further(self, pollster: PollsterDef, page: Page | None, fault: str) -> None:
        if self.trace is None:
            return
        if page is None:
            self._tell(Step((pollster.name,), "(further metadata)", faults=[fault]))
        else:
            self._tell(_step((pollster.name,), page))

    def _tell(self, step: Step) -> None:
        if self.trace is not None:
            self.trace(step)


def _lacking(target: Target, reason: str) -> Reading:
    reading = Reading(target)
    reading.lacks(reason)
    return reading


def _step(pollsters: tuple[str, ...], page: Page) -> Step:
    return Step(pollsters, page.asked, page.status, page.size, page.seconds, page.handler)
