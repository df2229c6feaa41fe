# SPDX-License-Identifier: Apache-2.0
"""What `polling` and `up` share: an agent that runs until it is told to stop."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from ceilo_agent import options
from ceilo_agent.definition.pipeline import PipelineFile, SourceDef, load, unknown_meters
from ceilo_agent.definition.places import find_pipeline_file
from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.meters.catalogue import known
from ceilo_agent.pipeline.matching import Matcher
from ceilo_agent.pipeline.pipeline import Pipeline
from ceilo_agent.plugins import Context
from ceilo_agent.polling.agent import PollingAgent, Selected, lanes
from ceilo_agent.sample import Batch

LOG = logging.getLogger(__name__)

FLUSH_WITHIN: Final = 2.0
"""Seconds that publishers are given at the end; with the lanes' share it stays below 5 s."""


class Daemon:
    """A polling agent and the pipeline behind it.

    Args:
        conf: the parsed options.
        listen: sees every batch before the pipeline takes it.

    Raises:
        ConfigError: the pipeline file, or what it asks for, cannot be used.
    """

    def __init__(self, conf: Any, listen: Callable[[Batch], None] | None = None) -> None:
        self.path = find_pipeline_file(conf)
        self.file: PipelineFile = load(self.path)
        for fault in (*options.unknown(conf), *self.file.warnings):
            LOG.warning("%s", fault)
        self.context = Context(options.host(conf), options.values(conf))
        self.pipeline = Pipeline(self.file, self.context)
        self._listen = listen
        made = lanes(
            conf.polling.namespaces,
            _selected(self.file.sources, conf.polling.interval),
            self.context,
            self._deliver,
            options.state_path(conf),
        )
        if not made:
            what = f"no source polls any of {', '.join(conf.polling.namespaces)}"
            raise ConfigError([Fault(str(self.path), 0, 0, what)])
        self.agent = PollingAgent(made, unknown_meters(self.file, known()))
        self._stop = threading.Event()

    @property
    def delivered(self) -> int:
        """Samples that publishers took."""
        return sum(outlet.counters.delivered for outlet in self.pipeline.outlets.values())

    def open(self) -> None:
        """Open the publishers.

        Raises:
            ConfigError: one can never work as configured.
        """
        self.pipeline.open()

    def run(self, seconds: float | None = None, beat: Callable[[], None] | None = None) -> None:
        """Poll until SIGTERM or SIGINT, or for some seconds.

        Args:
            seconds: None for ever.
            beat: called about every second, on the main thread.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self.agent.start()
        end = None if seconds is None else time.monotonic() + seconds
        while not self._stop.wait(1.0 if end is None else min(1.0, end - time.monotonic())):
            self.pipeline.tick(time.time())
            if beat is not None:
                beat()
            if end is not None and time.monotonic() >= end:
                break

    def stop(self) -> bool:
        """End polling, deliver what waits, and return whether nothing is left behind stuck."""
        ended = self.agent.stop()
        for lane in self.agent.lanes:
            LOG.info(
                "%s: %d cycles, %d samples; %d polls missed, %d cycles failed, %d times a target "
                "without samples, %d clock steps",
                lane.name,
                *msgspec.structs.astuple(lane.counters),
            )
        self.pipeline.close(FLUSH_WITHIN)
        for outlet in self.pipeline.outlets.values():
            counters = outlet.counters
            LOG.info(
                "publisher %s: %d samples offered, %d delivered, %d refused, %d dropped",
                outlet.name,
                counters.offered,
                counters.delivered,
                counters.refused,
                counters.dropped,
            )
        return ended

    def _deliver(self, batch: Batch) -> None:
        if self._listen is not None:
            self._listen(batch)
        self.pipeline.accept(batch)

    def _on_signal(self, *_: object) -> None:
        self._stop.set()


def _selected(sources: Sequence[SourceDef], interval: int | None) -> list[Selected]:
    """Return the sources that poll; one without an interval only matches what comes by itself."""
    return [
        Selected(source.name, interval or source.interval, Matcher(source.meters), source.discovery)
        for source in sources
        if source.interval is not None
    ]
