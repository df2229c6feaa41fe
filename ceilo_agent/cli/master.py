# SPDX-License-Identifier: Apache-2.0
"""The notification agent's processes: a master that opens nothing, and its workers (cotyledon)."""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import Any, Final

import cotyledon

from ceilo_agent import options
from ceilo_agent.cli import logs
from ceilo_agent.cli.configuration import read_notification
from ceilo_agent.cli.consumer import Consumer
from ceilo_agent.errors import CeiloAgentError, ConfigError

LOG = logging.getLogger(__name__)

REFUSED: Final = 2
"""The exit code of a worker, and then of the agent, that cannot work as it is configured."""

STOP_WITHIN: Final = 30
"""Seconds that a worker may take to end."""


class Master:
    """Starts workers, starts those anew that die, and passes signals on."""

    def __init__(self, conf: Any) -> None:
        self._conf = conf
        self._refused = False
        self._manager = cotyledon.ServiceManager(graceful_shutdown_timeout=STOP_WITHIN + 10)
        self._workers = conf.notification.workers
        self._service = self._manager.add(Worker, workers=self._workers, args=(conf,))
        self._manager.register_hooks(on_reload=self._reload, on_dead_worker=self._died)

    def run(self) -> int:
        """Work until told to stop; return the exit code."""
        try:
            self._manager.run()
        except SystemExit as error:
            return REFUSED if self._refused else int(error.code or 0)
        return 0

    def _reload(self) -> None:
        """Have more workers if there are to be more; one too many gives up its queues itself."""
        try:
            self._conf = options.reread(self._conf).conf
        except ConfigError:
            return  # the workers tell
        wanted = self._conf.notification.workers
        if wanted > self._workers:
            self._workers = wanted
            self._manager.reconfigure(self._service, wanted)
            # It looks how many there are when one ends, and now.
            os.kill(os.getpid(), signal.SIGCHLD)

    def _died(self, _service: object, number: int, code: int) -> None:
        if code == REFUSED:
            self._refused = True
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            LOG.error("worker %d ended with %d: it is started again", number, code)


class Worker(cotyledon.Service):
    """One worker's process."""

    name = "ceilo-agent-notification"
    graceful_shutdown_timeout = STOP_WITHIN

    def __init__(self, number: Any, conf: Any) -> None:
        super().__init__(number)
        self._number = number
        self._conf = conf
        self._consumer: Any = None
        self._ended = threading.Event()

    def run(self) -> None:
        """Work until told to stop; cotyledon calls it on a thread of its own."""
        logs.number(self._number)
        try:
            # Anew: another start may have come after a reload.
            conf = options.reread(self._conf).conf
            consumer = Consumer(read_notification(conf), self._number)
            consumer.open()
        except CeiloAgentError as error:
            for fault in getattr(error, "faults", None) or [error]:
                LOG.error("%s", fault)  # noqa: TRY400 - an operator's mistake
            logging.shutdown()
            os._exit(REFUSED)
        self._consumer = consumer
        try:
            consumer.run()
        finally:
            consumer.stop()
            self._ended.set()

    def reload(self) -> None:
        """Go on with what the configuration says now."""
        if self._consumer is not None:
            self._consumer.ask(signal.SIGHUP)

    def terminate(self) -> None:
        """End: what is at hand is accepted, what waits is delivered or stays on disk."""
        if self._consumer is not None:
            self._consumer.ask(signal.SIGTERM)
            self._ended.wait(STOP_WITHIN - 2)
