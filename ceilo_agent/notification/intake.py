# SPDX-License-Identifier: Apache-2.0
"""Notifications as batches of samples; what is none is a letter that cannot be delivered."""

from __future__ import annotations

import base64
import binascii
import logging
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from ceilo_agent.messaging import ceilometer, topics, wire
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.message import Message, Reason, Rejected
from ceilo_agent.sample import Batch, Sample

LOG = logging.getLogger(__name__)

AT_ONCE: Final = 20_000
"""Samples of one transaction, more or less: what a worker holds in memory at a time."""

REMEMBERED: Final = 100_000
"""Messages that are known again when they come twice."""


class Letter(NamedTuple):
    """A message, or one sample of it, that cannot be taken.

    Attributes:
        message: as it came; its payload is the sample where the others of it were taken.
        reason: to be counted by.
        words: for people.
    """

    message: Message
    reason: Reason
    words: str


class Part(NamedTuple):
    """What is accepted in one transaction.

    Attributes:
        messages: that it is of, each of which is done with it.
        batches: in their order.
        letters: what is set aside.
        ids: of the messages, to be given to `Intake.accepted` afterwards.
        sent: when the newest of them was sent, by its sender's clock, UTC seconds; None: unknown.
        repeated: samples and messages that were accepted before count here, and nowhere else.
    """

    messages: Sequence[Message]
    batches: Sequence[Batch]
    letters: Sequence[Letter]
    ids: Sequence[bytes]
    sent: float | None
    repeated: int

    @property
    def samples(self) -> int:
        """How many there are."""
        return sum(len(batch.samples) for batch in self.batches)


class Intake:
    """Reads messages.

    Args:
        keys: what they must be signed with.
        queues: how many topics this agent consumes.

    Attributes:
        keys: may be replaced while it is at work.
    """

    def __init__(self, keys: Keys, queues: int) -> None:
        self.keys = keys
        self._queues = queues
        self._accepted: OrderedDict[bytes, None] = OrderedDict()
        self._odd: set[str] = set()

    def parts(self, messages: Sequence[Message]) -> Iterator[Part]:
        """Read messages, some at a time, in their order."""
        draft = _Draft()
        for message in messages:
            self._read(message, draft)
            if draft.size >= AT_ONCE:
                yield draft.part()
                draft = _Draft()
        if draft.messages:
            yield draft.part()

    def accepted(self, part: Part) -> None:
        """Know the messages of a part again, which is accepted now."""
        for each in part.ids:
            self._accepted[each] = None
            self._accepted.move_to_end(each)
        while len(self._accepted) > REMEMBERED:
            self._accepted.popitem(last=False)

    def _read(self, message: Message, draft: _Draft) -> None:
        draft.messages.append(message)
        try:
            if message.event_type == topics.EVENT_TYPE:
                self._native(message, draft)
            elif message.event_type and not message.topic.startswith(topics.PREFIX):
                self._ceilometers(message, draft)
            else:
                words = f"nothing is known of its kind ({message.event_type:.100})"
                draft.letters.append(Letter(message, Reason.UNKNOWN, words))
        except Rejected as error:
            draft.letters.append(Letter(message, error.reason, str(error)))

    def _native(self, message: Message, draft: _Draft) -> None:
        if not isinstance(message.payload, str):
            raise Rejected(Reason.MALFORMED, "it holds no text")
        try:
            frame = base64.b64decode(message.payload, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Rejected(Reason.MALFORMED, f"it is no base64: {error}") from error
        envelope = wire.decode(frame, self.keys)
        if envelope.queues != self._queues:
            self._tell_queues(envelope)
        if self._is_new(envelope.id, draft):
            draft.sent = max(draft.sent or envelope.sent, envelope.sent)
            draft.add(envelope.source, envelope.samples)

    def _ceilometers(self, message: Message, draft: _Draft) -> None:
        # Only messages of samples come with this priority, whatever their event type is.
        decoded = ceilometer.decode(message.payload, self.keys)
        if message.id and not self._is_new(message.id.encode("utf-8", "replace"), draft):
            return
        for refused in decoded.refused:
            one = message._replace(payload=[refused.document])
            draft.letters.append(Letter(one, refused.reason, refused.words))
        if decoded.samples:
            draft.add(None, decoded.samples)

    def _is_new(self, number: bytes, draft: _Draft) -> bool:
        if number in self._accepted or number in draft.ids:
            draft.repeated += 1
            return False
        draft.ids[number] = None
        return True

    def _tell_queues(self, envelope: wire.Envelope) -> None:
        if envelope.host not in self._odd and len(self._odd) < 100:
            self._odd.add(envelope.host)
            LOG.warning(
                "host %s sends to one of %d queues, and %d are consumed here: [notification] "
                "queues must be the same everywhere",
                envelope.host,
                envelope.queues,
                self._queues,
            )


class _Draft:
    """A part in the making; samples of one source that follow one another become one batch."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.letters: list[Letter] = []
        self.ids: dict[bytes, None] = {}
        self.sent: float | None = None
        self.repeated = 0
        self.size = 0
        self._batches: list[tuple[str | None, list[Sample]]] = []

    def add(self, source: str | None, samples: Sequence[Sample]) -> None:
        self.size += len(samples)
        if self._batches and self._batches[-1][0] == source:
            self._batches[-1][1].extend(samples)
        else:
            self._batches.append((source, list(samples)))

    def part(self) -> Part:
        batches = [Batch(source, samples) for source, samples in self._batches]
        return Part(self.messages, batches, self.letters, list(self.ids), self.sent, self.repeated)


def lag(part: Part) -> float | None:
    """Return how long ago the newest message of a part was sent, seconds, never below 0."""
    return None if part.sent is None else max(0.0, time.time() - part.sent)
