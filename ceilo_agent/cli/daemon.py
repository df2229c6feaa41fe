# SPDX-License-Identifier: Apache-2.0
"""What `polling` and `up` share: an agent that polls."""

from __future__ import annotations

import functools
import logging
import signal
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ceilo_agent import options
from ceilo_agent.cli import hangup
from ceilo_agent.cli.agent import Agent, warn
from ceilo_agent.cli.configuration import Configuration, limits, read
from ceilo_agent.cli.shares import share_of
from ceilo_agent.definition.pipeline import unknown_meters
from ceilo_agent.definition.roles import Role
from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.meters.catalogue import known
from ceilo_agent.meters.elsewhere import elsewhere
from ceilo_agent.polling.agent import PollingAgent
from ceilo_agent.polling.lane import MAX_CYCLE
from ceilo_agent.polling.making import Making
from ceilo_agent.polling.sharing import Sharing
from ceilo_agent.sample import Batch

LOG = logging.getLogger(__name__)

CYCLE_WITHIN: Final = MAX_CYCLE + 2.0
"""Seconds that a reload waits for the cycles at hand to end."""


class Daemon(Agent):
    """A polling agent and the pipeline behind it.

    From its construction on SIGHUP asks for a reload.

    Args:
        conf: the parsed options.
        listen: sees every batch before the pipeline takes it.
        hangup_ends: SIGHUP ends it: the terminal that it shows itself on is gone.

    Raises:
        ConfigError: the pipeline file, or what it asks for, cannot be used.
    """

    def __init__(
        self,
        conf: Any,
        listen: Callable[[Batch], None] | None = None,
        *,
        hangup_ends: bool = False,
    ) -> None:
        configuration = read(conf)
        super().__init__(configuration, Role.POLLING)
        self._hangup_ends = hangup_ends
        signal.signal(signal.SIGHUP, self._on_signal)
        hangup.take()
        self._listen = listen
        warn(configuration)
        self._state = options.state_path(conf)
        selected = configuration.selected
        self._sources = frozenset(source.name for source in selected)
        self._sharing = Sharing(functools.partial(share_of, conf))
        made = self._making(configuration).plan(conf.polling.namespaces, selected).fresh
        if not made:
            raise _nothing_polls(configuration)
        self.agent = PollingAgent(made, _unknown(configuration), self._sharing)

    @property
    def stores(self) -> frozenset[str]:
        """Names of the publishers that write the embedded store."""
        publishers = [p for sink in self.file.sinks for p in sink.publishers]
        return frozenset(p.name for p in publishers if p.scheme == "local")

    def open(self) -> None:
        """Open the publishers, and take up what waits for them; see `Agent.open`."""
        super().open()
        if self._configuration.to_bus:
            what = "its sinks, transformers and publishers are not used here"
            LOG.info("samples go to the bus; of %s only the sources count: %s", self.path, what)

    def stop(self) -> bool:
        """End polling, deliver what waits, and return whether nothing is left behind stuck."""
        ended = self.agent.stop()
        for lane in (*self.agent.lanes, *self.agent.left.values()):
            LOG.info(
                "%s: %d cycles, %d samples; %d polls missed, %d cycles failed, %d times a target "
                "without samples, %d clock steps",
                lane.name,
                *msgspec.structs.astuple(lane.counters),
            )
        self._close()
        return ended

    def _start(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self.agent.start()

    def _read(self, conf: Any) -> Configuration:
        return read(conf)

    def _reloaded(self) -> None:
        self.agent.tell_unknown(_unknown(self._configuration))

    def _replace(self, configuration: Configuration) -> None:
        context, selected = configuration.context, configuration.selected
        namespaces = configuration.conf.polling.namespaces
        plan = self._making(configuration).plan(namespaces, selected, self.agent.lanes)
        if not plan.kept and not plan.fresh:
            raise _nothing_polls(configuration)
        try:
            draft = self.pipeline.prepare(configuration.file, context, lambda: self._stopping)
        except BaseException:
            self.agent.discard(plan)
            raise
        # From here on nothing can be refused.
        with self.agent.between_cycles(CYCLE_WITHIN, lambda: self._stopping) as idle:
            if not idle:
                LOG.warning("a cycle runs on over the reload: what it reads goes to the new sinks")
            self._sources = frozenset(source.name for source in selected)
            self.pipeline.replace(draft)
            self.pipeline.limit(limits(configuration.conf))
            self.agent.replace(plan)
            self._configuration = configuration

    def _making(self, configuration: Configuration) -> Making:
        return Making(configuration.context, self._deliver, self._state, self._sharing.of)

    def _deliver(self, batch: Batch) -> None:
        if batch.source not in self._sources:
            # Only after a cycle that ran on over a reload.
            self.reloads.late += len(batch.samples)
            return
        if self._listen is not None:
            self._listen(batch)
        self.pipeline.accept(batch)

    def _on_signal(self, number: int, _frame: object) -> None:
        self.ask(signal.SIGTERM if number == signal.SIGHUP and self._hangup_ends else number)


def _unknown(configuration: Configuration) -> list[Fault]:
    meters = known().keys() | configuration.pollsters
    return unknown_meters(configuration.files.polling, meters, elsewhere)


def _nothing_polls(configuration: Configuration) -> ConfigError:
    what = f"no source polls any of {', '.join(configuration.conf.polling.namespaces)}"
    return ConfigError([Fault(str(configuration.files.polling.path), 0, 0, what)])
