# SPDX-License-Identifier: Apache-2.0
"""What all daemons share: a pipeline that runs until it is told to stop, and reloads."""

from __future__ import annotations

import logging
import queue
import shlex
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from ceilo_agent import options
from ceilo_agent.cli.configuration import Configuration, differences, limits
from ceilo_agent.definition.pipeline import PipelineFile
from ceilo_agent.definition.roles import Role
from ceilo_agent.errors import CeiloAgentError, ConfigError
from ceilo_agent.pipeline.pipeline import Pipeline

LOG = logging.getLogger(__name__)

FLUSH_WITHIN: Final = 2.0
"""Seconds that publishers are given at the end; with the lanes' share it stays below 5 s."""


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


class Agent(ABC):
    """A pipeline, what feeds it, and the configuration of both.

    Args:
        configuration: what is in force.
        role: names the agent's directory in ``[delivery] spool_dir``; `worker` is the one in that.
        workers: how many of them there are.
    """

    def __init__(
        self, configuration: Configuration, role: Role, worker: int = 0, workers: int = 1
    ) -> None:
        self.reloads = Reloads()
        # Its put() may be called by a signal's handler whatever the thread is at; an event's
        # set() may not.
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._stopping = False
        self._crashed: set[type[Exception]] = set()
        self._configuration = configuration
        conf = configuration.conf
        self.pipeline = Pipeline(
            configuration.file,
            configuration.context,
            options.spool_path(conf) / role / str(worker),
            limits=limits(conf),
            workers=workers,
            fsync=conf.delivery.fsync == "always",
        )
        self._delivered = 0

    @property
    def path(self) -> Path:
        """The pipeline file."""
        return self.file.path

    @property
    def file(self) -> PipelineFile:
        """What is in force."""
        return self._configuration.file

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

    def run(self, seconds: float | None = None, beat: Callable[[], None] | None = None) -> None:
        """Work until it is told to stop, or for some seconds.

        Args:
            seconds: None for ever.
            beat: called about every second, on this thread.
        """
        self._start()
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
        """Do what is due about every second."""
        self._safely(lambda: self.pipeline.tick(time.time()))

    def _safely(self, work: Callable[[], None]) -> None:
        """Do something in which a mistake must not end the agent; each kind is told once."""
        try:
            work()
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
            after = self._read(again.conf)
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
        warn(after)
        self._reloaded()
        said = [differences(before.files, after.files)]
        if again.changed:
            said.append(f"options {', '.join(map(_option, again.changed))}")
        what = ", ".join(filter(None, said)) or "nothing changed"
        LOG.info("reloaded: configuration %s -> %s: %s", before.digest, after.digest, what)
        return True

    def ask(self, number: int) -> None:
        """Take a signal: SIGHUP asks for a reload, any other to stop. A handler may call it."""
        self._stopping |= number != signal.SIGHUP
        self._signals.put(number)

    def _close(self) -> None:
        """Deliver what waits, and tell what became of all samples."""
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

    @abstractmethod
    def _start(self) -> None:
        """Begin to feed the pipeline."""

    @abstractmethod
    def _read(self, conf: Any) -> Configuration:
        """Read the files that the options name.

        Raises:
            ConfigError: every mistake in them.
        """

    @abstractmethod
    def _replace(self, configuration: Configuration) -> None:
        """Put a configuration in the place of the one in force, whole or not at all.

        Raises:
            CeiloAgentError: what it asks for cannot be had; nothing has changed.
        """

    def _reloaded(self) -> None:  # noqa: B027 - most have nothing to add
        """Go on after a reload."""

    def _refused(self, reasons: Sequence[object]) -> bool:
        """Tell why a reload is refused."""
        self.reloads.refused += 1
        for reason in reasons:
            LOG.error("%s", reason)
        LOG.error("reload refused: configuration %s stays in force", self._configuration.digest)
        return False

    def _signalled(self, seconds: float) -> bool:
        """Wait so long for a reload to be asked for; return whether it was."""
        found = set()
        try:
            found.add(self._signals.get(timeout=max(0.0, seconds)))
            while True:
                found.add(self._signals.get_nowait())  # several at once are one
        except queue.Empty:
            return signal.SIGHUP in found and not self._stopping


def _option(name: str) -> str:
    """Return how an option is written, ``[section] name``."""
    section, _, name = name.partition(".")
    return f"[{section}] {name}"


def warn(configuration: Configuration) -> None:
    """Tell of what works but should not stay."""
    for fault in (*options.unknown(configuration.conf), *configuration.files.warnings):
        LOG.warning("%s", fault)
