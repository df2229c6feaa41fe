# SPDX-License-Identifier: Apache-2.0
"""One connection that consumes, until it ends: oslo.messaging's server with our own dispatcher.

oslo.messaging's dispatcher fails on notifications without a proper priority, and hands them out
again at once, for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from ceilo_agent.messaging.message import Message
from ceilo_agent.messaging.sender import PRIORITY
from ceilo_agent.messaging.undecoded import UNDECODED


class Consumption:
    """Consumes; messages are offered in one thread.

    Args:
        transport: as `connect` gives it.
        targets: pairs of exchange and topic.
        offer: says whether messages are done; else they go back to the broker.
        batch_size: messages that are offered together.
        batch_timeout: seconds to wait for so many.
    """

    def __init__(
        self,
        transport: Any,
        targets: Sequence[tuple[str, str]],
        offer: Callable[[Sequence[Message]], bool],
        batch_size: int,
        batch_timeout: float,
    ) -> None:
        import oslo_messaging  # noqa: PLC0415 - see transport.py
        from oslo_messaging.notify.listener import BatchNotificationServer  # noqa: PLC0415

        self._offer = offer
        self._transport = transport
        found = [oslo_messaging.Target(exchange=each, topic=topic) for each, topic in targets]
        self._server = BatchNotificationServer(
            transport, found, self, "threading", True, None, batch_size, batch_timeout
        )

    def start(self) -> None:
        """Connect and consume; a broker that is away is waited for.

        Raises:
            Exception: the broker refuses.
        """
        # One thread: the order of a queue is the order in which it is offered.
        self._server.start(override_pool_size=1)

    def end(self) -> None:
        """Let what is being offered end, and give the rest back."""
        self._server.stop()
        self._server.wait()
        self._transport.cleanup()

    def dispatch(self, incoming: Sequence[Any]) -> Collection[Any]:
        """Return what goes back; oslo.messaging calls this."""
        return () if self._offer([_message(one.message) for one in incoming]) else set(incoming)

    @property
    def supported_priorities(self) -> Collection[str]:
        """What ends the names of the queues; oslo.messaging asks."""
        return [PRIORITY]


def _message(body: Any) -> Message:
    """Return what came as it can be told apart; what is no notification has no type."""
    place = getattr(getattr(body, "_raw_message", None), "delivery_info", None) or {}
    topic = str(place.get("routing_key", "")).removesuffix(f".{PRIORITY}")
    if UNDECODED in body:
        return Message(topic, "", "", body[UNDECODED])
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
