# SPDX-License-Identifier: Apache-2.0
"""Takes notifications from a broker by oslo.messaging, and acknowledges what was taken."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from ceilo_agent.messaging.message import Message
from ceilo_agent.messaging.sender import PRIORITY
from ceilo_agent.messaging.transport import connect, masked, words

LOG = logging.getLogger(__name__)

PAUSE: Final = 1.0
"""Seconds before what could not be taken goes back to the broker, which hands it out at once."""

TRY_EVERY: Final = (1.0, 2.0, 5.0, 10.0)
"""Seconds between two tries to reach a broker; the last goes on."""

Take = Callable[[Sequence[Message]], bool]
"""Takes messages, in their order; False: not now, they go back to the broker."""


class Listener:
    """Consumes some topics of one broker, in one thread of its own.

    While the broker is away it tries to reach it again, for ever.

    Args:
        url: of the broker.
        config_files: that have oslo.messaging's options.
        targets: pairs of exchange and topic.
        take: is called with at most `batch_size` messages at a time, never twice at once.
        batch_size: messages.
        batch_timeout: seconds to wait for so many.
        prefetch: messages that the broker may hand out unacknowledged.

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
        self._batch = (min(batch_size, prefetch), batch_timeout)
        settings = {
            "rabbit_qos_prefetch_count": prefetch,
            "rabbit_interval_max": 10,
            "kombu_reconnect_delay": 0.5,
        }
        self._way = (url, config_files, settings)
        connect(*self._way)  # a mistake in the URL is told now
        self._stopping = threading.Event()
        self._listening = threading.Event()
        self._server: Any = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="bus-listen", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether it consumes, or will again as soon as the broker is back."""
        return self._listening.is_set()

    def start(self) -> None:
        """Begin to consume as soon as the broker can be reached."""
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> bool:
        """End: what is being taken is taken and acknowledged, the rest goes back to the broker.

        Returns whether that ended in time; a broker that is away may hold it up.
        """
        self._stopping.set()
        with self._lock:
            server, self._server = self._server, None
        if server is None:
            return True
        ending = threading.Thread(target=_end, args=(server,), name="bus-end", daemon=True)
        ending.start()
        ending.join(seconds)
        return not ending.is_alive()

    def dispatch(self, incoming: Sequence[Any]) -> Collection[Any]:
        """Take what oslo.messaging has read; return what goes back. It calls this."""
        if self._stopping.is_set():
            return set(incoming)
        try:
            taken = self._take([_message(one) for one in incoming])
        except Exception:
            LOG.exception("%s: messages could not be taken; they stay at the broker", self.place)
            taken = False
        if taken:
            return ()
        self._stopping.wait(PAUSE)
        return set(incoming)

    @property
    def supported_priorities(self) -> Collection[str]:
        """What ends the names of the queues; oslo.messaging asks."""
        return [PRIORITY]

    def _run(self) -> None:
        tries = 0
        while not self._stopping.is_set():
            try:
                self._begin()
            except Exception as error:
                if not tries:
                    LOG.warning("%s; it is tried again", words(error, self.place))
                self._stopping.wait(TRY_EVERY[min(tries, len(TRY_EVERY) - 1)])
                tries += 1
            else:
                if tries:
                    LOG.info("%s: the broker is there", self.place)
                return

    def _begin(self) -> None:
        """Connect and consume; it waits for a broker that is away.

        Raises:
            Exception: the broker refuses.
        """
        import oslo_messaging  # noqa: PLC0415 - see transport.py
        from oslo_messaging.notify.listener import BatchNotificationServer  # noqa: PLC0415

        targets = [oslo_messaging.Target(exchange=each, topic=name) for each, name in self._targets]
        server = BatchNotificationServer(
            connect(*self._way), targets, self, "threading", True, None, *self._batch
        )
        # One thread: the order of a queue is the order in which it is taken.
        server.start(override_pool_size=1)
        with self._lock:
            if not self._stopping.is_set():
                self._server = server
                self._listening.set()
                return
        _end(server)


def _end(server: Any) -> None:
    server.stop()
    server.wait()
    server.transport.cleanup()


def _message(incoming: Any) -> Message:
    """Return what came as it can be told apart; what is no notification has no type."""
    body = incoming.message
    place = getattr(getattr(body, "_raw_message", None), "delivery_info", None) or {}
    topic = str(place.get("routing_key", "")).removesuffix(f".{PRIORITY}")
    event_type = body.get("event_type")
    if not isinstance(event_type, str) or "payload" not in body:
        return Message(topic, "", "", dict(body))
    return Message(
        topic,
        _text(body.get("publisher_id")),
        event_type,
        body["payload"],
        _text(body.get("message_id")),
        _text(body.get("timestamp")),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
