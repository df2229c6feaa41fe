# SPDX-License-Identifier: Apache-2.0
"""``notifier://`` sends samples over the message bus, for notification agents to take up."""

from __future__ import annotations

import base64
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import SplitResult, urlunsplit

import msgspec

from ceilo_agent.errors import ConfigError, Fault, Permanent, Retryable
from ceilo_agent.messaging import ceilometer, topics, wire
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.message import Unsendable
from ceilo_agent.messaging.sender import Sender
from ceilo_agent.messaging.transport import RABBIT, connect, read_url
from ceilo_agent.plugins import Context, Promise, Publisher
from ceilo_agent.sample import Sample

NATIVE_BATCH: Final = 5000
CEILOMETER_BATCH: Final = 1000
"""Samples that are pushed at most, where the options do not say: JSON takes more memory."""

CYCLE: Final = 0.9
"""Seconds that the samples of a batch may be apart: polls are at least one second apart."""

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
        refused: why, by the index of each sample that no message can hold.
    """

    samples: Sequence[Sample]
    notes: deque[tuple[str, Any]]
    refused: dict[int, str]


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
            Permanent: no message can hold some of them.
        """
        assert self._sender is not None
        begun = self._begin(samples)
        try:
            while begun.notes:
                self._sender.send(self._topic, *begun.notes[0])
                begun.notes.popleft()
        except Retryable:
            self._read_again()
            raise
        self._begun = None
        if begun.refused:
            raise Permanent(next(iter(begun.refused.values())), begun.refused)

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

    def _begin(self, samples: Sequence[Sample]) -> _Begun:
        """Return what is to be sent; of samples that a push before began with, the rest."""
        begun = self._begun
        if begun is None or not _begins_with(samples, begun.samples):
            begun = _Begun((), deque(), {})
        place = len(begun.samples)
        fresh = samples[place:]
        native = self.options.wire_format == "native"
        for part in cycles(fresh) if native else [fresh]:
            try:
                notes = self._batches(part) if native else self._payloads(part)
            except Unsendable as error:
                notes = error.made
                begun.refused |= {place + n: why for n, why in error.refused.items()}
            place += len(part)
            begun.notes.extend(_note(each) for each in notes)
        begun.samples = samples
        self._begun = begun
        return begun

    def _batches(self, samples: Sequence[Sample]) -> Sequence[Any]:
        return wire.encode(
            samples,
            host=self.context.host,
            source=samples[0].source,
            sent=time.time(),
            queues=self._queues,
            keys=self._keys,
            max_bytes=self._limit,
        )

    def _payloads(self, samples: Sequence[Sample]) -> Sequence[Any]:
        return ceilometer.encode(samples, keys=self._keys, max_bytes=self._limit)


def _note(made: Any) -> tuple[str, Any]:
    """Return the event type and the payload of a frame, or of a message of Ceilometer."""
    if isinstance(made, bytes):
        return topics.EVENT_TYPE, base64.b64encode(made).decode("ascii")
    return topics.CEILOMETER_EVENT_TYPE, made


def _begins_with(samples: Sequence[Sample], first: Sequence[Sample]) -> bool:
    """Return whether samples begin with others, though they may have been read from disk again."""
    return len(samples) >= len(first) and all(
        (one.time, one.volume, one.meter.name, one.resource.id, one.source)
        == (other.time, other.volume, other.meter.name, other.resource.id, other.source)
        for one, other in zip(samples, first, strict=False)
    )


def cycles(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """Yield the samples in parts that no cycle of polling shares with another.

    So what is sent after a restart is cut as it was before, whatever waits behind it, and readers
    know a batch that they have. A part ends where the source or the kind of machine changes, where
    a series comes again, and after CYCLE seconds.
    """
    part: list[Sample] = []
    seen: set[tuple[str, str]] = set()
    begun = None
    for sample in samples:
        series = (sample.meter.name, sample.resource.id)
        now = (sample.source, sample.resource.type.partition("_")[0])
        if part and (now != begun or series in seen or sample.time >= part[0].time + CYCLE):
            yield part
            part = []
            seen.clear()
        begun = now
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
