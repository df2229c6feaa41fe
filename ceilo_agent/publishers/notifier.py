# SPDX-License-Identifier: Apache-2.0
"""``notifier://`` sends samples over the message bus, for notification agents to take up."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from itertools import groupby
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import SplitResult, urlunsplit

import msgspec

from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.messaging import ceilometer, topics, wire
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.sender import Sender
from ceilo_agent.messaging.transport import RABBIT, connect, read_url
from ceilo_agent.plugins import Context, Promise, Publisher
from ceilo_agent.sample import Sample

_PASSED: Final = "Taken from Ceilometer's files; samples wait on disk until the broker has them."


class NotifierOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What ``notifier://user:password@host:port/vhost?...`` takes."""

    wire_format: Annotated[
        Literal["native", "ceilometer"],
        msgspec.Meta(
            description="native: our own batches, for `ceilo-agent notification`. ceilometer: "
            "Ceilometer's messages, which its notification agents read as well."
        ),
    ] = "native"
    topic: Annotated[
        str | None,
        msgspec.Meta(
            description="Where it is sent. Without it native goes to one of [notification] queues "
            "topics by the name of this host, and ceilometer to notifications."
        ),
    ] = None
    exchange: Annotated[
        str | None,
        msgspec.Meta(
            description="The exchange of the topic; without it ceilo_agent or ceilometer, by the "
            "format."
        ),
    ] = None
    driver: Annotated[
        str, msgspec.Meta(description="oslo.messaging's driver for a URL with a host.")
    ] = RABBIT
    batch_size: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=20000)],
        msgspec.Meta(description="Samples of one batch at most."),
    ] = 5000
    policy: Annotated[str | None, msgspec.Meta(description=_PASSED)] = None
    max_queue_length: Annotated[int | None, msgspec.Meta(description=_PASSED)] = None
    max_retry: Annotated[int | None, msgspec.Meta(description=_PASSED)] = None
    per_meter_topic: Annotated[
        bool,
        msgspec.Meta(description="Taken from Ceilometer's files, false only: a topic for all."),
    ] = False


class Notifier(Publisher):
    """A message broker, by oslo.messaging; its confirmation is the acknowledgement."""

    promises: ClassVar[frozenset[Promise]] = frozenset(
        {Promise.ORDERED, Promise.DURABLE, Promise.ACKED}
    )
    Options: ClassVar[type[msgspec.Struct]] = NotifierOptions

    def __init__(self, url: SplitResult, options: Any, context: Context) -> None:
        super().__init__(url, options, context)
        self._sender: Sender | None = None
        self._keys = Keys()
        native = options.wire_format == "native"
        self._queues = int(context.options.get("notification.queues") or 1)
        self._limit = int(context.options.get("publisher.max_message_bytes") or 1 << 20)
        own = topics.topic(topics.queue_of(context.host, self._queues))
        self._topic = options.topic or (own if native else topics.CEILOMETER_TOPIC)
        self._exchange = options.exchange or (
            topics.EXCHANGE if native else topics.CEILOMETER_EXCHANGE
        )

    @classmethod
    def check_options(cls, url: SplitResult, options: Any, context: Context) -> None:
        """Look whether there is a broker, and whether the secrets can be read.

        Raises:
            ConfigError: there is none, or they cannot.
        """
        if options.per_meter_topic:
            what = "per_meter_topic is not supported: all samples of a host have one topic"
            raise ConfigError([Fault("notifier://", 0, 0, what)])
        connect(_broker(url, options, context), context.config_files)
        Keys.from_options(context.options)

    def open(self) -> None:
        """Read the secrets; the broker is connected with the first batch.

        Raises:
            ConfigError: there is no broker, or its URL or a secret cannot be used.
        """
        self.check_options(self.url, self.options, self.context)
        self._keys = Keys.from_options(self.context.options)
        self._sender = Sender(
            _broker(self.url, self.options, self.context),
            self.context.config_files,
            self._exchange,
            f"ceilo_agent.{self.context.host}",
        )

    def push(self, samples: Sequence[Sample]) -> None:
        """Send the samples, those of each source together.

        Raises:
            Retryable: the broker is away, or has not confirmed. What it has by then is sent once
                more, as batches of the same ids.
            ValueError: a sample is too large for a message.
        """
        assert self._sender is not None
        native = self.options.wire_format == "native"
        for event_type, payload in self._native(samples) if native else self._ceilometers(samples):
            self._sender.send(self._topic, event_type, payload)

    def close(self) -> None:
        """Let go of the connection."""
        if self._sender is not None:
            self._sender.close()
            self._sender = None

    def _native(self, samples: Sequence[Sample]) -> list[tuple[str, Any]]:
        """Return all notifications, so that one that cannot be made is told before any is sent."""
        return [
            (topics.EVENT_TYPE, base64.b64encode(frame).decode("ascii"))
            for source, part in groupby(samples, lambda sample: sample.source)
            for frame in wire.encode(
                list(part),
                host=self.context.host,
                source=source,
                sent=time.time(),
                queues=self._queues,
                keys=self._keys,
                max_bytes=self._limit,
            )
        ]

    def _ceilometers(self, samples: Sequence[Sample]) -> list[tuple[str, Any]]:
        return [
            (topics.CEILOMETER_EVENT_TYPE, payload)
            for payload in ceilometer.encode(samples, keys=self._keys, max_bytes=self._limit)
        ]


def _broker(url: SplitResult, options: Any, context: Context) -> str:
    """Return the URL for oslo.messaging.

    Raises:
        ConfigError: there is none.
    """
    if url.netloc:
        return str(urlunsplit((options.driver, url.netloc, url.path, "", "")))
    return read_url(context.options.get("DEFAULT.transport_url") or "")
