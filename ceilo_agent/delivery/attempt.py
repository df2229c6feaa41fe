# SPDX-License-Identifier: Apache-2.0
"""One try to deliver: what was refused, how large the next one is, and when it comes."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from ceilo_agent.delivery.queues import Refused, Taken
from ceilo_agent.errors import CeiloAgentError, Permanent
from ceilo_agent.plugins import Publisher
from ceilo_agent.sample import Sample

FIRST_PAUSE: Final = 1.0
"""Seconds that the first pause takes at most; each one after it may be twice as long."""

LONGEST_PAUSE: Final = 60.0
"""Seconds that a pause takes at most when the other side did not ask for one."""

LONGEST_ASKED: Final = 3600.0
"""Seconds that the other side can ask for at most."""


class Outcome(NamedTuple):
    """What became of samples that were pushed; those that are not in it have arrived.

    Attributes:
        refused: those that the publisher will never take.
        lost: how many more it refused, without saying which.
        message: what it said of the lost.
    """

    refused: Sequence[Refused]
    lost: int = 0
    message: str = ""


def push(publisher: Publisher, taken: Taken) -> Outcome:
    """Hand samples to a publisher.

    Raises:
        Retryable: the same samples may succeed later.
        Exception: any other: one of the samples is at fault, and it is not known which.
    """
    samples = taken.samples
    refused: list[Refused] = []
    if taken.again:
        outdated = publisher.outdated(samples)
        refused = _named(samples, outdated)
        samples = [each for number, each in enumerate(samples) if number not in outdated]
        if not samples:
            return Outcome(refused)
    try:
        publisher.push(samples)
    except Permanent as error:
        named = _named(samples, error.refused or {})
        lost = min(error.lost, len(samples) - len(named))
        if not named and not lost:
            raise
        return Outcome([*refused, *named], lost, str(error))
    return Outcome(refused)


def _named(samples: Sequence[Sample], reasons: Mapping[int, str]) -> list[Refused]:
    return [Refused(each, reasons[n]) for n, each in enumerate(samples) if n in reasons]


def reason_of(error: Exception) -> str:
    """Return what is told of an error: the words of ours, else with the type of the exception."""
    if isinstance(error, CeiloAgentError):
        return str(error)
    return f"{type(error).__name__}: {error}"


class Parts:
    """How many samples to take: a refused batch is halved until the bad samples stand alone.

    Each half is taken from the queue like a batch, in order: what arrived is done at once.
    """

    def __init__(self) -> None:
        self._sizes: list[int] = []

    @property
    def splitting(self) -> bool:
        """Whether parts of a refused batch are still to be sent."""
        return bool(self._sizes)

    def size(self, whole: int) -> int:
        """Return how many to take where a whole batch has so many."""
        return min(self._sizes[-1], whole) if self._sizes else whole

    def halve(self, count: int) -> None:
        """Send so many samples, refused together, in two halves."""
        self._pass(count)
        self._sizes += [count // 2, count - count // 2]

    def passed(self, count: int) -> None:
        """Go on behind so many samples."""
        self._pass(count)

    def _pass(self, count: int) -> None:
        while self._sizes and count > 0:
            count -= self._sizes[-1]
            if count >= 0:
                self._sizes.pop()
            else:
                self._sizes[-1] = -count


class Backoff:
    """Pauses between tries: exponential with full jitter; what the other side asks for wins.

    So many agents that lost one store do not come back to it at the same moment
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """

    def __init__(self, chance: random.Random | None = None) -> None:
        self._chance = chance or random.Random()  # noqa: S311 - no secret
        self._longest = FIRST_PAUSE

    def pause(self, asked: float | None) -> float:
        """Return the seconds to wait after one more failure.

        Args:
            asked: seconds that the other side asked to wait, None when it said nothing.
        """
        longest, self._longest = self._longest, min(2 * self._longest, LONGEST_PAUSE)
        if asked is not None and asked > 0:
            return min(asked, LONGEST_ASKED)
        return self._chance.uniform(0, longest)

    def reset(self) -> None:
        """Begin anew: a try succeeded."""
        self._longest = FIRST_PAUSE
