# SPDX-License-Identifier: Apache-2.0
"""Sends notifications over oslo.messaging, and knows whether the broker has them."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from ceilo_agent.definition.secret import masked
from ceilo_agent.errors import Retryable
from ceilo_agent.messaging.outages import SENDING
from ceilo_agent.messaging.reasons import words
from ceilo_agent.messaging.transport import RABBIT, connect, durable

PRIORITY: Final = "sample"
"""Of all that we send: it is the end of the queue's name."""

CONFIRM_WITHIN: Final = 30.0
"""Seconds that a broker may take to confirm; one whose disk is full holds publishers up."""

_DEFAULTS: Final = {
    "rabbit_interval_max": 2,
    "kombu_reconnect_delay": 0.1,
}
"""It gives up at once: who sends has the samples on disk and tries again by its own back-off."""


class _Note(NamedTuple):
    topic: str
    event_type: str
    payload: Any


class _Job:
    """One notification on its way to the broker."""

    def __init__(self, note: _Note) -> None:
        self.note = note
        self.done = threading.Event()
        self.error: BaseException | None = None


class Sender:
    """Sends to one exchange, from one thread.

    oslo.messaging's Notifier logs a failure and forgets the message, so its transport is used
    below that, as its drivers do.

    Args:
        url: of the broker.
        config_files: that have oslo.messaging's options.
        exchange: its name.
        publisher_id: who says that it sends.

    Raises:
        ConfigError: it is no URL of a broker.
    """

    def __init__(
        self, url: str, config_files: Sequence[str], exchange: str, publisher_id: str
    ) -> None:
        self.place = masked(url)
        self._publisher_id = publisher_id
        self._exchange = exchange
        defaults = {**_DEFAULTS, "amqp_durable_queues": durable(exchange)}
        self._transport = connect(url, config_files, defaults=defaults)
        self._is_rabbit = url.startswith(f"{RABBIT}://")
        self._job: _Job | None = None

    def send(
        self, topic: str, event_type: str, payload: Any, timeout: float = CONFIRM_WITHIN
    ) -> None:
        """Send one notification; to return means that the broker has it.

        Args:
            topic: its name, without the priority.
            event_type: what it is.
            payload: what JSON can hold.
            timeout: seconds to wait for the broker.

        Raises:
            Retryable: the broker is away, refuses, or has not confirmed in time. In the last case
                it may have it: the same notification that is sent once more is not sent twice.
        """
        note = _Note(topic, event_type, payload)
        job = self._job
        if job is not None:
            # The last one was given up, but is still on its way.
            if not job.done.wait(timeout):
                raise self._late(timeout)
            self._job = None
            if job.error is None and job.note == note:
                return
        job = _Job(note)
        threading.Thread(target=self._run, args=(job,), name=SENDING, daemon=True).start()
        if not job.done.wait(timeout):
            self._job = job
            raise self._late(timeout)
        if job.error is not None:
            raise Retryable(f"{self.place}: {words(job.error)}") from job.error

    def close(self) -> None:
        """Let go of the connection; one that is stuck is left to itself."""
        job = self._job
        if job is not None and not job.done.is_set():
            return
        with contextlib.suppress(Exception):
            self._transport.cleanup()

    def _late(self, timeout: float) -> Retryable:
        reason = "the broker has not confirmed within %g s: it may be short of disk or memory"
        return Retryable(f"{self.place}: {reason % timeout}")

    def _run(self, job: _Job) -> None:
        try:
            self._send(job.note)
        except BaseException as error:
            job.error = error
        finally:
            job.done.set()

    def _send(self, note: _Note) -> None:
        import oslo_messaging  # noqa: PLC0415 - see transport.py

        message = {
            "message_id": str(uuid.uuid4()),
            "publisher_id": self._publisher_id,
            "event_type": note.event_type,
            "priority": PRIORITY.upper(),
            "payload": note.payload,
            "timestamp": str(datetime.now(UTC).replace(tzinfo=None)),
        }
        target = oslo_messaging.Target(topic=f"{note.topic}.{PRIORITY}", exchange=self._exchange)
        transport = self._transport
        if self._is_rabbit:
            # Else the broker would confirm what it throws away, for want of a queue.
            routed = oslo_messaging.TransportOptions(at_least_once=True)
            with contextlib.suppress(oslo_messaging.MessageUndeliverable):
                transport._send(target, {}, message, retry=0, transport_options=routed)  # noqa: SLF001
                return
        self._declare_anew()
        # As oslo.messaging's own notification drivers do.
        transport._send_notification(target, {}, message, version=2.0, retry=0)  # noqa: SLF001

    def _declare_anew(self) -> None:
        """Have the queue declared before it is published to.

        The driver does that once for each connection, and the queue may have been deleted since.
        """
        driver = self._transport._driver  # noqa: SLF001 - it has no other way
        pool = getattr(driver, "_connection_pool", None)
        for _, connection in list(getattr(pool, "_items", ())):
            getattr(connection, "_declared_queues", set()).clear()
