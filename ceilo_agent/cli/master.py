# SPDX-License-Identifier: Apache-2.0
"""The notification agent's processes: a master that opens nothing, and its workers (cotyledon)."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import sys
import threading
from typing import Any, Final

import cotyledon

from ceilo_agent import options
from ceilo_agent.cli import hangup, logs
from ceilo_agent.cli.configuration import Configuration, read_notification
from ceilo_agent.cli.consumer import Consumer
from ceilo_agent.errors import CeiloAgentError
from ceilo_agent.messaging.keys import Keys

LOG = logging.getLogger(__name__)

REFUSED: Final = 78
"""The exit code of a worker that cannot work as it is configured (EX_CONFIG of sysexits.h)."""

WRONG_USE: Final = 2
"""That of the agent then."""

STOP_WITHIN: Final = 30
"""Seconds that a worker may take to end."""

_FORK: Final = multiprocessing.get_context("fork")


class InForce:
    """What a worker is started with; it is forked, and has what was there then.

    Attributes:
        configuration: that the master found no mistake in.
        begun: which of the first workers ever were at work, shared by all processes.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.begun = _FORK.Array("b", configuration.conf.notification.workers, lock=False)

    def starting(self, number: int) -> bool:
        """Return whether the agent starts, and not only one of its workers."""
        return number < len(self.begun) and not self.begun[number]


class Master:
    """Starts workers, starts those anew that die, and passes signals on.

    Args:
        configuration: of the role notification.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._in_force = InForce(configuration)
        self._refused = False
        self._reading = _between_forks()
        self._manager = _Manager(
            graceful_shutdown_timeout=STOP_WITHIN + 10,
            mp_context=_FORK,
        )
        self._workers = configuration.conf.notification.workers
        self._service = self._manager.add(Worker, workers=self._workers, args=(self._in_force,))
        self._manager.register_hooks(on_reload=self._reload, on_dead_worker=self._died)
        hangup.take()

    def run(self) -> int:
        """Work until told to stop; return the exit code."""
        try:
            self._manager.run()
        except SystemExit as error:
            return WRONG_USE if self._refused else int(error.code or 0)
        return 0

    def _reload(self) -> None:
        """Have more workers if there are to be more; one too many gives up its queues itself."""
        try:
            with self._reading:
                self._in_force.configuration = read_again(self._in_force.configuration)
        except CeiloAgentError:
            return  # the workers tell
        wanted = self._in_force.configuration.conf.notification.workers
        if wanted > self._workers:
            self._workers = wanted
            self._manager.reconfigure(self._service, wanted)
            # It looks how many there are when one ends, and now.
            os.kill(os.getpid(), signal.SIGCHLD)

    def _died(self, _service: object, number: int, code: int) -> None:
        if code == REFUSED and self._in_force.starting(number):
            self._refused = True
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            LOG.error("worker %d ended with %d: it is started again", number, code)


SWITCH_EVERY: Final = 0.0005
"""Seconds after which a thread that computes lets another on: one that has written to a file or
asked the broker comes back to find the other at work each time, and waits so long."""


COLLECT_AFTER: Final = 10_000
"""Objects more than before that have Python look for cycles. A message of Ceilometer is a few
hundred mappings, which live for a moment: with 700, its default, every second one has it look."""


class _Manager(cotyledon.ServiceManager):
    """Ends in order when somebody types Ctrl-C, too."""

    def _on_signal_received(self, number: int) -> None:
        super()._on_signal_received(signal.SIGTERM if number == signal.SIGINT else number)


class Worker(cotyledon.Service):
    """One worker's process."""

    name = "ceilo-agent-notification"
    graceful_shutdown_timeout = STOP_WITHIN

    def __init__(self, number: Any, in_force: InForce) -> None:
        super().__init__(number)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the master tells when to end
        self._number = number
        self._in_force = in_force
        self._consumer: Any = None
        self._again = False
        self._ended = threading.Event()

    def run(self) -> None:
        """Work until told to stop; cotyledon calls it on a thread of its own."""
        logs.number(self._number)
        sys.setswitchinterval(SWITCH_EVERY)
        gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
        try:
            consumer = Consumer(self._configuration(), self._number)
            consumer.open()
        except CeiloAgentError as error:
            _tell(error)
            logging.shutdown()
            os._exit(REFUSED)
        self._consumer = consumer
        if self._number < len(self._in_force.begun):
            self._in_force.begun[self._number] = True
        if self._again:
            consumer.ask(signal.SIGHUP)
        try:
            consumer.run()
        finally:
            consumer.stop()
            self._ended.set()

    def reload(self) -> None:
        """Go on with what the configuration says now."""
        self._again = True
        if self._consumer is not None:
            self._consumer.ask(signal.SIGHUP)

    def terminate(self) -> None:
        """End: what is at hand is accepted, what waits is delivered or stays on disk."""
        if self._consumer is not None:
            self._consumer.ask(signal.SIGTERM)
            self._ended.wait(STOP_WITHIN - 2)

    def _configuration(self) -> Configuration:
        """Return what the files say now; if there is a mistake in it, what is in force."""
        before = self._in_force.configuration
        try:
            return read_again(before)
        except CeiloAgentError as error:
            _tell(error)
            LOG.error("configuration %s stays in force", before.digest)  # noqa: TRY400
            return before


def _between_forks() -> threading.Lock:
    """Return a lock during which nothing is forked: a worker would never see other locks freed."""
    made = threading.Lock()
    os.register_at_fork(
        before=made.acquire, after_in_parent=made.release, after_in_child=made.release
    )
    return made


def read_again(configuration: Configuration) -> Configuration:
    """Return what the same files say now.

    Raises:
        CeiloAgentError: there is a mistake in it.
    """
    again = read_notification(options.reread(configuration.conf).conf)
    Keys.from_options(again.context.options)
    return again


def _tell(error: CeiloAgentError) -> None:
    for fault in getattr(error, "faults", None) or [error]:
        LOG.error("%s", fault)
