# SPDX-License-Identifier: Apache-2.0
"""``notifier://`` sends samples over the message bus, for notification agents to take up."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import SplitResult, urlunsplit

import msgspec

from ceilo_agent.errors import ConfigError, Fault, Permanent, Retryable
from ceilo_agent.messaging import ceilometer, topics, wire
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.sender import Sender
from ceilo_agent.messaging.transport import RABBIT, connect, read_url
from ceilo_agent.plugins import Context, Promise, Publisher
from ceilo_agent.sample import Sample

NATIVE_BATCH: Final = 5000
CEILOMETER_BATCH: Final = 1000
"""Samples that are pushed at most, where the options do not say: JSON takes more memory."""

_PASSED: Final = "Taken from Ceilometer's files; samples wait on disk until the broker has them."


_TRANSPORT_URL: Final = "DEFAULT.transport_url"


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
        Annotated[int, msgspec.Meta(ge=1, le=20000)] | None,
        msgspec.Meta(
            description="Samples that are sent together at most; what waits is kept until the "
            f"broker has all of them. Without it {NATIVE_BATCH}, or {CEILOMETER_BATCH} of "
            "Ceilometer's messages."
        ),
    ] = None
    policy: Annotated[str | None, msgspec.Meta(description=_PASSED)] = None
    max_queue_length: Annotated[int | None, msgspec.Meta(description=_PASSED)] = None
    max_retry: Annotated[int | None, msgspec.Meta(description=_PASSED)] = None
    retry: Annotated[int | None, msgspec.Meta(description=_PASSED)] = None
    per_meter_topic: Annotated[
        bool,
        msgspec.Meta(description="Taken from Ceilometer's files, false only: a topic for all."),
    ] = False


class _Begun(msgspec.Struct):
    """A push that is not done.

    Attributes:
        samples: it was given.
        notes: event types and payloads that are to be sent.
        sent: how many of them the broker has.
    """

    samples: Sequence[Sample]
    notes: list[tuple[str, Any]]
    sent: int = 0


class Notifier(Publisher):
    """A message broker, by oslo.messaging; its confirmation is the acknowledgement."""

    promises: ClassVar[frozenset[Promise]] = frozenset(
        {Promise.ORDERED, Promise.DURABLE, Promise.ACKED}
    )
    Options: ClassVar[type[msgspec.Struct]] = NotifierOptions

    def __init__(self, url: SplitResult, options: Any, context: Context) -> None:
        super().__init__(url, options, context)
        self._sender: Sender | None = None
        self._broker = ""
        self._keys = Keys()
        native = options.wire_format == "native"
        self.batch_size = NATIVE_BATCH if native else CEILOMETER_BATCH  # type: ignore[misc]
        self._begun: _Begun | None = None
        self._queues = int(context.options.get("notification.queues") or 1)
        self._limit = int(context.options.get("publisher.max_message_bytes") or 1 << 20)
        own = topics.topic(topics.queue_of(context.host, self._queues))
        self._topic = options.topic or (own if native else topics.CEILOMETER_TOPIC)
        self._exchange = options.exchange or (
            topics.EXCHANGE if native else topics.CEILOMETER_EXCHANGE
        )

    @classmethod
    def check_options(cls, url: SplitResult, options: Any, context: Context) -> None:
        """Look whether there is a broker, as far as no file has its URL.

        Raises:
            ConfigError: there is none, or what is no URL of one.
        """
        if options.per_meter_topic:
            what = "per_meter_topic is not supported: all samples of a host have one topic"
            raise ConfigError([Fault("notifier://", 0, 0, what)])
        if url.netloc or not str(context.options.get(_TRANSPORT_URL)).startswith("file:"):
            connect(_broker(url, options, context), context.config_files)

    def open(self) -> None:
        """Read the secrets; the broker is connected with the first batch.

        Raises:
            ConfigError: there is no broker, or its URL or a secret cannot be used.
        """
        self.check_options(self.url, self.options, self.context)
        self._keys = Keys.from_options(self.context.options)
        self._connect(_broker(self.url, self.options, self.context))

    def _connect(self, broker: str) -> None:
        name = f"ceilo_agent.{self.context.host}"
        self._broker = broker
        self._sender = Sender(broker, self.context.config_files, self._exchange, name)

    def push(self, samples: Sequence[Sample]) -> None:
        """Send the samples, those of each source and cycle together.

        A push that failed comes again, perhaps with more samples behind: what the broker has
        already is not sent again, and the rest in the same batches.

        Raises:
            Retryable: the broker is away, or has not confirmed.
            Permanent: a sample is too large for a message; nothing was sent.
        """
        assert self._sender is not None
        begun = self._begun
        known = len(begun.samples) if begun is not None else 0
        if begun is not None and list(samples[:known]) == list(begun.samples):
            notes = [*begun.notes[begun.sent :], *self._notes(samples[known:])]
        else:
            notes = self._notes(samples)
        self._begun = begun = _Begun(samples, notes)
        try:
            for event_type, payload in notes:
                self._sender.send(self._topic, event_type, payload)
                begun.sent += 1
        except Retryable:
            self._read_again()
            raise
        self._begun = None

    def close(self) -> None:
        """Let go of the connection."""
        if self._sender is not None:
            self._sender.close()
            self._sender = None

    def _read_again(self) -> None:
        """Go by the URL as it is now, where a file has it: passwords change."""
        try:
            broker = _broker(self.url, self.options, self.context)
            if broker != self._broker:
                self.close()
                self._connect(broker)
        except ConfigError:
            pass  # the one before goes on

    def _notes(self, samples: Sequence[Sample]) -> list[tuple[str, Any]]:
        """Return all notifications, so that one that cannot be made is told before any is sent.

        Raises:
            Permanent: a sample is too large for one.
        """
        try:
            if self.options.wire_format == "native":
                return [(topics.EVENT_TYPE, batch) for batch in self._batches(samples)]
            return [
                (topics.CEILOMETER_EVENT_TYPE, payload)
                for payload in ceilometer.encode(samples, keys=self._keys, max_bytes=self._limit)
            ]
        except ValueError as error:
            raise Permanent(str(error)) from error

    def _batches(self, samples: Sequence[Sample]) -> Iterator[str]:
        for part in cycles(samples):
            for frame in wire.encode(
                part,
                host=self.context.host,
                source=part[0].source,
                sent=time.time(),
                queues=self._queues,
                keys=self._keys,
                max_bytes=self._limit,
            ):
                yield base64.b64encode(frame).decode("ascii")


def cycles(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """Yield the samples in parts that end where the source changes or a series comes again.

    So what is sent after a restart is cut as it was before, whatever waits behind it, and readers
    know a batch that they have.
    """
    part: list[Sample] = []
    seen: set[tuple[str, str]] = set()
    for sample in samples:
        series = (sample.meter.name, sample.resource.id)
        if series in seen or (part and sample.source != part[0].source):
            yield part
            part = []
            seen.clear()
        seen.add(series)
        part.append(sample)
    if part:
        yield part


def _broker(url: SplitResult, options: Any, context: Context) -> str:
    """Return the URL for oslo.messaging.

    Raises:
        ConfigError: there is none.
    """
    if url.netloc:
        return str(urlunsplit((options.driver, url.netloc, url.path, "", "")))
    return read_url(context.options.get(_TRANSPORT_URL))
