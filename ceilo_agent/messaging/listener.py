# SPDX-License-Identifier: Apache-2.0
"""Takes notifications from a broker by oslo.messaging, and acknowledges what was taken."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from ceilo_agent.definition.secret import masked
from ceilo_agent.messaging import outages
from ceilo_agent.messaging.consumption import Consumption
from ceilo_agent.messaging.message import Message
from ceilo_agent.messaging.reasons import hosts, words
from ceilo_agent.messaging.transport import connect, durable

LOG = logging.getLogger(__name__)

PAUSE: Final = 1.0
"""Seconds before what could not be taken is offered again."""

HOLD: Final = 600.0
"""Seconds that it is offered; then it goes back to the broker, and is asked for anew. A broker ends
a connection that leaves messages unacknowledged for too long (RabbitMQ: 30 minutes)."""

TRY_EVERY: Final = (1.0, 2.0, 5.0, 10.0)
"""Seconds between two tries to reach a broker that refuses; the last goes on."""

_DEFAULTS: Final = {"rabbit_interval_max": 10, "kombu_reconnect_delay": 0.5}

Take = Callable[[Sequence[Message]], bool]
"""Takes messages, in their order; False: not now."""


class Listener:
    """Consumes some topics of one broker, in threads of its own.

    While the broker is away it tries to reach it again, for ever. What is not taken is offered
    again, and nothing that came after it: the order of a queue stays.

    Args:
        url: of the broker.
        config_files: that have oslo.messaging's options.
        targets: pairs of exchange and topic.
        take: is called with at most `batch_size` messages at a time, never twice at once.
        batch_size: messages.
        batch_timeout: seconds to wait for so many.
        prefetch: messages that the broker may hand out unacknowledged, of all topics together, but
            at least one of each.

    Raises:
        ConfigError: it is no URL of a broker.
    """

    def __init__(
        self,
        url: str,
        config_files: Sequence[str],
        targets: Sequence[tuple[str, str]],
        take: Take,
        *,
        batch_size: int,
        batch_timeout: float,
        prefetch: int,
    ) -> None:
        self.place = masked(url)
        self._take = take
        self._targets = targets
        self._batch = (batch_size, batch_timeout)
        self._way = (url, config_files)
        self._settings = {"rabbit_qos_prefetch_count": max(1, prefetch // max(1, len(targets)))}
        connect(*self._way, settings=self._settings)  # a mistake in the URL is told now
        self._stopping = threading.Event()
        self._over = threading.Event()
        self._consuming = threading.Event()
        self._taking = threading.Lock()
        self._thread = threading.Thread(
            target=self._run, name=f"{outages.LISTENING}{self.place}", daemon=True
        )

    @property
    def alive(self) -> bool:
        """Whether it consumes, or will again as soon as the broker is back."""
        return self._consuming.is_set()

    def start(self) -> None:
        """Begin to consume as soon as the broker can be reached."""
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> bool:
        """End: what is being taken is taken and acknowledged, the rest goes back to the broker.

        Returns whether that ended in time; a broker that is away may hold it up.
        """
        self._stopping.set()
        self._over.set()
        if self._consuming.is_set():
            self._thread.join(seconds)
        return not self._consuming.is_set()

    def _run(self) -> None:
        tries = 0
        while not self._stopping.is_set():
            self._over = over = threading.Event()
            begun: list[Consumption] = []
            try:
                for targets in self._groups():
                    begun.append(self._consumption(targets, over))
                    begun[-1].start()
            except Exception as error:
                outages.began(self.place, words(error))
                self._end(begun)
                self._stopping.wait(TRY_EVERY[min(tries, len(TRY_EVERY) - 1)])
                tries += 1
                continue
            tries = 0
            outages.ended(self.place, *hosts(self.place))
            self._consuming.set()
            if not self._stopping.is_set():
                over.wait()
            self._end(begun)
            self._consuming.clear()

    def _groups(self) -> list[list[tuple[str, str]]]:
        """Return the targets, those apart whose queues outlive the broker."""
        found: dict[bool, list[tuple[str, str]]] = {}
        for target in self._targets:
            found.setdefault(durable(target[0]), []).append(target)
        return list(found.values())

    def _consumption(
        self, targets: Sequence[tuple[str, str]], over: threading.Event
    ) -> Consumption:
        defaults = {**_DEFAULTS, "amqp_durable_queues": durable(targets[0][0])}
        transport = connect(*self._way, defaults=defaults, settings=self._settings)
        return Consumption(transport, targets, partial(self._offer, over), *self._batch)

    def _end(self, begun: Sequence[Consumption]) -> None:
        for each in begun:
            try:
                each.end()
            except Exception as error:
                LOG.debug("%s: the connection ended: %s", self.place, words(error))

    def _offer(self, over: threading.Event, messages: Sequence[Message]) -> bool:
        """Offer messages until they are taken, or all goes back to the broker."""
        with self._taking:
            end = time.monotonic() + HOLD
            failed = False
            while not over.is_set():
                try:
                    if self._take(messages):
                        return True
                except Exception:
                    if not failed:
                        LOG.exception("%s: messages could not be taken; they stay", self.place)
                    failed = True
                if time.monotonic() >= end:
                    over.set()
                over.wait(PAUSE)
        return False
