# SPDX-License-Identifier: Apache-2.0
"""What is on the bus: one notification of oslo.messaging, and why it is not taken."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ceilo_agent.errors import CeiloAgentError


class Message(NamedTuple):
    """A notification as it came.

    Attributes:
        topic: that it was read from; empty where that is not known.
        publisher_id: who says that it sent it.
        event_type: what it says that it is.
        payload: what JSON can hold.
        id: of the notification, given by the sender's oslo.messaging.
        timestamp: when it says that it was sent, as text.
    """

    topic: str
    publisher_id: str
    event_type: str
    payload: Any
    id: str = ""
    timestamp: str = ""


class Reason(enum.StrEnum):
    """Why a message is not taken."""

    MALFORMED = "malformed"
    """It is no batch, or a broken one."""
    SIGNATURE = "signature"
    """It is not signed, or not with a secret that is known."""
    VERSION = "version"
    """It is of a version that this reader does not understand."""
    TOO_LARGE = "too-large"
    """It is, or claims to be, larger than any that is sent."""
    UNKNOWN = "unknown"
    """It is a notification of another kind."""


class Rejected(CeiloAgentError, ValueError):
    """A message that is set aside.

    Args:
        reason: one of few, to be counted by.
        words: for people.
    """

    def __init__(self, reason: Reason, words: str) -> None:
        super().__init__(words)
        self.reason = reason


class Unsendable(CeiloAgentError, ValueError):
    """Some samples can be put in no message, or in none that is small enough.

    Attributes:
        refused: why, by the index of the sample.
        made: of all others, in their order: frames, or payloads.
    """

    def __init__(self, refused: Mapping[int, str], made: Sequence[Any]) -> None:
        self.refused = refused
        self.made = made
        number, reason = next(iter(refused.items()))
        super().__init__(f"{len(refused)} samples cannot be sent; number {number}: {reason}")
