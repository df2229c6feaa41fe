# SPDX-License-Identifier: Apache-2.0
"""One worker of the notification agent: from the queues that it owns through the pipeline."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from ceilo_agent import options
from ceilo_agent.cli.agent import Agent
from ceilo_agent.cli.configuration import Configuration, limits, read_notification
from ceilo_agent.cli.letters.inherit import inherit
from ceilo_agent.coordination.membership import Membership
from ceilo_agent.definition.roles import Role
from ceilo_agent.messaging import topics
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.listener import Listener
from ceilo_agent.messaging.message import Message
from ceilo_agent.messaging.sender import PRIORITY
from ceilo_agent.messaging.transport import connect, read_url
from ceilo_agent.notification.backlog import Backlog
from ceilo_agent.notification.claims import Claims, FileClaims, SharedClaims
from ceilo_agent.notification.clock import Clock
from ceilo_agent.notification.growing import Growing
from ceilo_agent.notification.intake import Intake
from ceilo_agent.notification.letters import Letters
from ceilo_agent.notification.own_meters import Figures, OwnMeters
from ceilo_agent.notification.ownership import CEILOMETER, Ownership, queue_names, share
from ceilo_agent.notification.receiver import Receiver
from ceilo_agent.sample import Batch

LOG = logging.getLogger(__name__)

STOP_WITHIN: Final = 10.0
"""Seconds that what is being taken may take when consuming ends."""

DRAIN_WITHIN: Final = 10.0
"""Seconds that publishers are given before another worker takes a queue over: order holds."""

LOOK_EVERY: Final = 0.1


def urls(conf: Any) -> list[str]:
    """Return the brokers to consume from.

    Raises:
        ConfigError: there is none, or a file that has one cannot be read.
    """
    given = conf.notification.messaging_urls
    named = [(url, "[notification] messaging_urls") for url in given]
    return [read_url(*each) for each in named or [(conf.transport_url, "[DEFAULT] transport_url")]]


class Consumer(Agent):
    """One worker.

    Args:
        configuration: of the role notification.
        number: of the worker, from 0.

    Raises:
        ConfigError: the pipeline, a broker's URL or a secret cannot be used.
    """

    def __init__(self, configuration: Configuration, number: int) -> None:
        conf = configuration.conf
        super().__init__(configuration, Role.NOTIFICATION, number, conf.notification.workers)
        self._number = number
        context = configuration.context
        directory = options.spool_path(conf) / Role.NOTIFICATION
        told = conf.notification
        self._urls = urls(conf)
        self._files = context.config_files
        self._queues = queue_names(told.queues, ceilometer=bool(told.ceilometer_topics))
        self.receiver = Receiver(
            Intake(Keys.from_options(context.options), told.queues),
            Letters(
                directory / str(number),
                told.dead_letters_max_bytes,
                fsync=conf.delivery.fsync == "always",
            ),
            self.pipeline.accept,
            lambda: self.pipeline.stored,
        )
        for url in self._urls:
            connect(url, self._files)  # a mistake in one is told now
        self._listeners: list[Listener] = []
        self._membership = self._joined(conf, context.host)
        claims: Claims = FileClaims(directory)
        if self._membership is not None:
            claims = SharedClaims(self._membership)
        self.ownership = Ownership(self._share, claims, self._consume)
        self._backlog = Backlog(self._urls, self._files, self._owned_queues, self._looked)
        self._clock = Clock(
            asks=self._backlog.asks,
            in_hand=told.prefetch * len(self._urls),
            # Ceilometer's topics have a connection of their own.
            batch_size=0 if told.ceilometer_topics or self._urls[1:] else told.batch_size,
            batch_timeout=told.batch_timeout,
        )
        self._unmatched = Growing("%s came that no source takes: they go nowhere")
        self._own = OwnMeters(
            context.host, number, told.meters_interval, self._figures, time.time()
        )

    def open(self) -> None:
        """Open the publishers, and take over what workers that are no more left; see `Agent`."""
        super().open()
        conf = self._configuration.conf
        directory = options.spool_path(conf) / Role.NOTIFICATION / str(self._number)
        if directory.parent.is_dir():
            inherit(self.receiver.letters, directory, conf.notification.workers)

    def stop(self) -> None:
        """Give up the queues, deliver what waits, and let go of everything."""
        # Who waits for a disk that is full gets no more time than the others.
        ending = threading.Timer(STOP_WITHIN / 3, self.receiver.stop)
        ending.daemon = True
        ending.start()
        self.ownership.close()
        if self._membership is not None:
            self._membership.stop()
        self.receiver.stop()
        self._backlog.stop()
        self.receiver.tell(now=True)
        self._unmatched.tell({"samples": self.pipeline.routes.unmatched}, now=True)
        self.receiver.letters.close()
        counted = self.receiver.counters
        LOG.info(
            "worker %d: %d messages, %d samples accepted, %d messages repeated, %d set aside; "
            "%d samples that no source takes, %d batches of a source that is not in the file",
            self._number,
            counted.messages,
            counted.samples,
            counted.repeated,
            counted.letters.total(),
            self.pipeline.routes.unmatched,
            self.pipeline.routes.strangers,
        )
        self._close()

    # -- what is consumed ------------------------------------------------------------------------

    def _joined(self, conf: Any, host: str) -> Membership | None:
        """Return the group of all workers of all agents; None: this agent is the only one.

        Raises:
            ConfigError: there is no driver for the back end.
        """
        url = conf.coordination.backend_url
        if not url:
            return None
        # No two may have one name, whatever their hosts are called.
        self._member = f"{host}-{self._number}-{uuid.uuid4().hex[:8]}"
        return Membership(url, f"ceilo_agent-{Role.NOTIFICATION}", self._member)

    def _share(self) -> Collection[str]:
        workers = self._configuration.conf.notification.workers
        if self._membership is None:
            return share(self._queues, [str(each) for each in range(workers)], str(self._number))
        if self._number >= workers:
            # One too many: others get its share when it is a member no more.
            if not self.ownership.owned:
                self._membership.stop()
            return ()
        self._membership.start()
        if not self._membership.members:
            # The back end is away: what is held stays as long as nobody else can have it.
            return self.ownership.owned
        return share(self._queues, self._membership.members, self._member)

    def _targets(self, queues: Collection[str]) -> list[tuple[str, str]]:
        """Return exchanges and topics of queues."""
        told = self._configuration.conf.notification
        found = []
        for name in sorted(queues):
            if name == CEILOMETER:
                found += [
                    (exchange, topic)
                    for exchange in told.ceilometer_exchanges
                    for topic in told.ceilometer_topics
                ]
            else:
                found.append((topics.EXCHANGE, topics.topic(int(name))))
        return found

    def _consume(self, queues: frozenset[str]) -> None:
        """Consume these queues from now on, and no others."""
        began = bool(self._listeners)
        self._end_listeners()
        lost = set(self._clock.queues) - self._named(queues)
        if began and lost:
            self._drain()
        self._clock.lost(lost)
        self._clock.gained(self._named(queues) - set(self._clock.queues))
        if not queues:
            return
        told = self._configuration.conf.notification
        self._listeners = [
            Listener(
                url,
                self._files,
                self._targets(queues),
                self._take,
                batch_size=told.batch_size,
                batch_timeout=told.batch_timeout,
                prefetch=told.prefetch,
            )
            for url in self._urls
        ]
        for listener in self._listeners:
            listener.start()

    def _end_listeners(self) -> None:
        """End all at once: of those whose broker is away each may take as long as it is given."""
        with ThreadPoolExecutor(max_workers=max(1, len(self._listeners))) as pool:
            ended = list(pool.map(lambda each: each.stop(STOP_WITHIN), self._listeners))
        for listener, in_time in zip(self._listeners, ended, strict=True):
            if not in_time:
                LOG.warning("%s: what it has handed out may come twice", listener.place)
        self._listeners = []

    def _drain(self) -> None:
        """Let publishers deliver what was taken, before others deliver what comes after it."""
        end = time.monotonic() + DRAIN_WITHIN
        while self._waiting() and time.monotonic() < end and not self._stopping:
            time.sleep(LOOK_EVERY)

    def _take(self, messages: Sequence[Message]) -> bool:
        self._clock.taking()
        done = False
        try:
            done = self.receiver.take(messages)
        finally:
            self._clock.taken([f"{each.topic}.{PRIORITY}" for each in messages], done=done)
        return done

    def _named(self, queues: Collection[str]) -> set[str]:
        """Return queues as brokers name them."""
        return {f"{topic}.{PRIORITY}" for _, topic in self._targets(queues)}

    def _owned_queues(self) -> Collection[str]:
        return self._clock.queues

    def _looked(self, when: float, found: Any) -> None:
        self._clock.looked(when, found)

    # -- what time brings ------------------------------------------------------------------------

    def _start(self) -> None:
        self._backlog.start()

    def _tick(self) -> None:
        self._safely(self.ownership.tick)
        self._safely(self._say)
        self._safely(lambda: self.pipeline.tick(self._clock.now()))

    def _say(self) -> None:
        """Try again what operators marked, tell of what was set aside, and sample ourselves."""
        self.receiver.replay()
        self.receiver.tell()
        self._unmatched.tell({"samples": self.pipeline.routes.unmatched})
        batch = self._own.batch(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))
        if batch is not None:
            # What no source takes counts nowhere: nobody sent it.
            wanted = [each for each in batch.samples if self._configuration.takes(each.meter.name)]
            if wanted:
                self.pipeline.accept(Batch(None, wanted))

    def _figures(self) -> Figures:
        counted = self.receiver.counters
        return Figures(
            backlog=self._backlog.waiting,
            lag=self.receiver.lag,
            messages=counted.messages,
            samples=counted.samples,
            repeated=counted.repeated,
            letters=counted.letters.total(),
            waiting=self._waiting(),
        )

    def _waiting(self) -> int:
        return sum(counters.waiting for counters in self.pipeline.counters.values())

    # -- the configuration -----------------------------------------------------------------------

    def _read(self, conf: Any) -> Configuration:
        return read_notification(conf)

    def _replace(self, configuration: Configuration) -> None:
        keys = Keys.from_options(configuration.context.options)
        draft = self.pipeline.prepare(
            configuration.file, configuration.context, lambda: self._stopping
        )
        self.pipeline.replace(draft)
        self.pipeline.limit(limits(configuration.conf))
        self.receiver.intake.keys = keys
        self._configuration = configuration
