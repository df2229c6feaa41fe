# SPDX-License-Identifier: Apache-2.0
"""Takes what is on a bus, as a notification agent does, and keeps it."""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Iterator, Sequence

from ceilo_agent.messaging import topics, wire
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.listener import Listener
from ceilo_agent.messaging.message import Message
from ceilo_agent.sample import Sample


class Inbox:
    """What came.

    Attributes:
        messages: all, in order.
        refusing: nothing is taken while it is set.
    """

    def __init__(self, url: str, targets: Sequence[tuple[str, str]], **how: int) -> None:
        self.messages: list[Message] = []
        self.refusing = threading.Event()
        settings = {"batch_size": 10, "batch_timeout": 0.1, "prefetch": 20, **how}
        self.listener = Listener(url, (), targets, self._take, **settings)

    def _take(self, messages: Sequence[Message]) -> bool:
        if self.refusing.is_set():
            return False
        self.messages += messages
        return True

    @property
    def batches(self) -> dict[bytes, Sequence[Sample]]:
        """The batches by id, in the order in which they came first."""
        found: dict[bytes, Sequence[Sample]] = {}
        for message in list(self.messages):
            assert message.event_type == topics.EVENT_TYPE, message
            made = wire.decode(base64.b64decode(message.payload), Keys())
            found.setdefault(made.id, made.samples)
        return found

    @property
    def samples(self) -> list[Sample]:
        return [sample for batch in self.batches.values() for sample in batch]

    @property
    def names(self) -> list[object]:
        """Payloads, for messages that hold no batches."""
        return [message.payload for message in list(self.messages)]


@contextlib.contextmanager
def taking(url: str, *targets: tuple[str, str], **how: int) -> Iterator[Inbox]:
    """Take for the length of a block."""
    inbox = Inbox(url, targets, **how)
    inbox.listener.start()
    try:
        yield inbox
    finally:
        inbox.listener.stop()
