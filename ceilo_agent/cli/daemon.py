# SPDX-License-Identifier: Apache-2.0
"""What `polling` and `up` share: an agent that runs until it is told to stop."""

from __future__ import annotations

import logging
import queue
import shlex
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from ceilo_agent import options
from ceilo_agent.cli.configuration import Configuration, differences, limits, read
from ceilo_agent.definition.pipeline import PipelineFile, unknown_meters
from ceilo_agent.errors import CeiloAgentError, ConfigError, Fault
from ceilo_agent.meters.catalogue import known
from ceilo_agent.meters.elsewhere import elsewhere
from ceilo_agent.pipeline.pipeline import Pipeline
from ceilo_agent.polling.agent import PollingAgent, lanes
from ceilo_agent.polling.lane import MAX_CYCLE
from ceilo_agent.sample import Batch

LOG = logging.getLogger(__name__)

AGENT: Final = "polling"
"""Its directory in ``[delivery] spool_dir``."""

WORKER: Final = "0"
"""There is one."""

FLUSH_WITHIN: Final = 2.0
"""Seconds that publishers are given at the end; with the lanes' share it stays below 5 s."""

CYCLE_WITHIN: Final = MAX_CYCLE + 2.0
"""Seconds that a reload waits for the cycles at hand to end."""


class Reloads(msgspec.Struct):
    """How often the configuration was read again.

    Attributes:
        done: times that it took the place of the one before.
        refused: times that it did not, for a mistake in it.
        late: samples of a source that a reload took away, which came after it.
    """

    done: int = 0
    refused: int = 0
    late: int = 0


class Daemon:
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
        self.reloads = Reloads()
        # Its put() may be called by a signal's handler whatever the thread is at; an event's
        # set() may not.
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._stopping = False
        self._crashed: set[type[Exception]] = set()
        self._hangup_ends = hangup_ends
        signal.signal(signal.SIGHUP, self._on_signal)
        self._listen = listen
        self._configuration = configuration = read(conf)
        _warn(configuration)
        self._state = options.state_path(conf)
        context = configuration.context
        self.pipeline = Pipeline(
            configuration.file,
            context,
            options.spool_path(conf) / AGENT / WORKER,
            limits=limits(conf),
            fsync=conf.delivery.fsync == "always",
        )
        self._delivered = 0
        selected = configuration.selected
        self._sources = frozenset(source.name for source in selected)
        namespaces = conf.polling.namespaces
        made = lanes(namespaces, selected, context, self._deliver, self._state)
        if not made:
            raise _nothing_polls(configuration)
        self.agent = PollingAgent(made, _unknown(configuration))

    @property
    def path(self) -> Path:
        """The pipeline file."""
        return self.file.path

    @property
    def file(self) -> PipelineFile:
        """What is in force."""
        return self._configuration.file

    @property
    def stores(self) -> frozenset[str]:
        """Names of the publishers that write the embedded store."""
        publishers = [p for sink in self.file.sinks for p in sink.publishers]
        return frozenset(p.name for p in publishers if p.scheme == "local")

    @property
    def delivered(self) -> int:
        """Samples that publishers took since `open`."""
        total = sum(counters.delivered for counters in self.pipeline.counters.values())
        return total - self._delivered

    def open(self) -> None:
        """Open the publishers, and take up what waits for them.

        Raises:
            ConfigError: one can never work as configured, or another agent holds what waits.
        """
        self.pipeline.open()
        # Counters of the log go on over restarts.
        self._delivered = self.delivered
        for name, counters in self.pipeline.orphans.items():
            told = (
                "publisher %s is not in the pipeline file: %d samples wait on disk for it, %d are "
                "set aside (ceilo-agent spool discard %s drops them)"
            )
            LOG.warning(told, name, counters.waiting, counters.set_aside, shlex.quote(name))
        LOG.info("configuration %s: %s", self._configuration.digest, self.path)
        if self._configuration.to_bus:
            LOG.info("samples go to the bus: sinks, transformers and publishers are not used here")

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
        while not self._stopping:
            if self._signalled(1.0 if end is None else min(1.0, end - time.monotonic())):
                self.reload()
            if self._stopping:
                break
            self._tick()
            if beat is not None:
                beat()
            if end is not None and time.monotonic() >= end:
                break

    def _tick(self) -> None:
        """Let the pipeline do what time brings: a mistake in it must not end the agent."""
        try:
            self.pipeline.tick(time.time())
        except Exception as error:
            if type(error) not in self._crashed:
                self._crashed.add(type(error))
                LOG.exception("the pipeline's rounds failed, they go on")

    def reload(self) -> bool:
        """Go on with what the configuration says now, if there is no mistake in it.

        What stays the same goes on as it is. Returns whether it was taken.
        """
        before = self._configuration
        try:
            again = options.reread(before.conf)
            after = read(again.conf)
            self._replace(after)
        except ConfigError as error:
            return self._refused(error.faults)
        except CeiloAgentError as error:
            return self._refused([error])
        except Exception as error:
            LOG.exception("the reload failed")
            return self._refused([error])
        self.reloads.done += 1
        if "DEFAULT.debug" in again.changed:
            logging.getLogger().setLevel(logging.DEBUG if after.conf.debug else logging.INFO)
        for name in again.fixed:
            LOG.warning("%s changed: it takes effect after a restart", _option(name))
        _warn(after)
        self.agent.tell_unknown(_unknown(after))
        said = [differences(before.files, after.files)]
        if again.changed:
            said.append(f"options {', '.join(map(_option, again.changed))}")
        what = ", ".join(filter(None, said)) or "nothing changed"
        LOG.info("reloaded: configuration %s -> %s: %s", before.digest, after.digest, what)
        return True

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
        self.pipeline.close(FLUSH_WITHIN)
        for name, counters in self.pipeline.counters.items():
            LOG.info(
                "publisher %s: %d samples offered, %d delivered, %d waiting, %d set aside, "
                "%d dropped",
                name,
                counters.offered,
                counters.delivered,
                counters.waiting,
                counters.set_aside,
                counters.dropped,
            )
        counted = msgspec.structs.astuple(self.reloads)
        if any(counted):
            LOG.info("%d reloads, %d refused; %d samples came too late", *counted)
        return ended

    def _refused(self, reasons: Sequence[object]) -> bool:
        """Tell why a reload is refused."""
        self.reloads.refused += 1
        for reason in reasons:
            LOG.error("%s", reason)
        LOG.error("reload refused: configuration %s stays in force", self._configuration.digest)
        return False

    def _replace(self, configuration: Configuration) -> None:
        """Put a configuration in the place of the one in force, whole or not at all.

        Raises:
            CeiloAgentError: what it asks for cannot be had; nothing has changed.
        """
        context, selected = configuration.context, configuration.selected
        namespaces = configuration.conf.polling.namespaces
        plan = self.agent.plan(namespaces, selected, context, self._deliver, self._state)
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

    def _deliver(self, batch: Batch) -> None:
        if batch.source not in self._sources:
            # Only after a cycle that ran on over a reload.
            self.reloads.late += len(batch.samples)
            return
        if self._listen is not None:
            self._listen(batch)
        self.pipeline.accept(batch)

    def _signalled(self, seconds: float) -> bool:
        """Wait so long for a reload to be asked for; return whether it was."""
        found = set()
        try:
            found.add(self._signals.get(timeout=max(0.0, seconds)))
            while True:
                found.add(self._signals.get_nowait())  # several at once are one
        except queue.Empty:
            return signal.SIGHUP in found and not self._stopping

    def _on_signal(self, number: int, _frame: object) -> None:
        self._stopping |= number != signal.SIGHUP or self._hangup_ends
        self._signals.put(number)


def _option(name: str) -> str:
    """Return how an option is written, ``[section] name``."""
    section, _, name = name.partition(".")
    return f"[{section}] {name}"


def _warn(configuration: Configuration) -> None:
    """Tell of what works but should not stay."""
    for fault in (*options.unknown(configuration.conf), *configuration.files.warnings):
        LOG.warning("%s", fault)


def _unknown(configuration: Configuration) -> list[Fault]:
    return unknown_meters(configuration.files.polling, known(), elsewhere)


def _nothing_polls(configuration: Configuration) -> ConfigError:
    what = f"no source polls any of {', '.join(configuration.conf.polling.namespaces)}"
    return ConfigError([Fault(str(configuration.files.polling.path), 0, 0, what)])
