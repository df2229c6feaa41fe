# SPDX-License-Identifier: Apache-2.0
"""What the log says of a publisher: when a fault comes, changes its kind and goes."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from ceilo_agent.delivery.amounts import samples
from ceilo_agent.delivery.queues import Refused

LOG = logging.getLogger(__name__)

VARYING: Final = re.compile(r"0x[0-9a-fA-F]+|[0-9]{4,}")
"""Parts of a message that differ each time: addresses of objects, ports, times."""

DIGITS: Final = re.compile(r"[0-9]+")
"""What differs in the reasons of samples that are refused alike: their times and volumes."""

TELL_EVERY: Final = 60.0
"""Seconds between two lines about samples that are refused for the same reason."""

KINDS_AT_MOST: Final = 100
"""Kinds of reasons that are remembered."""


class Untold(msgspec.Struct):
    """Samples of one fate and one kind of reason, since a line told of them.

    Attributes:
        what: became of them.
        reason: of the last one.
        count: how many are not told yet.
        told_at: when a line told of such ones last.
    """

    what: str
    reason: str = ""
    count: int = 0
    told_at: float = -math.inf


class Telling:
    """Tells of one publisher, a line for each change and not for each try.

    Args:
        name: of the publisher.
        monotonic: gives seconds.

    Attributes:
        name: may be changed.
        fault: why it cannot deliver now, None while it can.
    """

    def __init__(self, name: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.fault: str | None = None
        self._monotonic = monotonic
        self._untold: dict[str, Untold] = {}
        self._crashed: set[type[Exception]] = set()
        self._replayed = self._refused_again = 0

    def fails(self, fault: str) -> bool:
        """Tell why it cannot deliver, if that is news; return whether it is."""
        before, self.fault = self.fault, fault
        news = before is None or _kind(before) != _kind(fault)
        if news:
            LOG.warning("publisher %s: %s (tried again)", self.name, fault)
        return news

    def works(self, waited: int) -> None:
        """Tell that it delivers again, and how many samples waited for that."""
        if self.fault is not None:
            self.fault = None
            LOG.info("publisher %s: delivers again, %d samples waited", self.name, waited)

    def refuses(self, refused: Sequence[Refused], *, more: bool) -> None:
        """Tell of samples that it will never take; of those like them once a minute, with a number.

        Args:
            refused: any number of them.
            more: whether other parts of the same batch are still to come: told together.
        """
        for each in refused:
            self._note(each.reason, 1, "refused")
        if not more:
            self._tell_noted()

    def replays(self, delivered: int, refused: int) -> None:
        """Note samples that were set aside and have been sent again."""
        self._replayed += delivered
        self._refused_again += refused

    def ends_replay(self) -> None:
        """Tell of all that was sent again, once there is no more of it."""
        if self._replayed or self._refused_again:
            told = "publisher %s: replayed %s that had been set aside; refused again: %d"
            LOG.info(told, self.name, samples(self._replayed), self._refused_again)
            self._replayed = self._refused_again = 0

    def loses(self, count: int, reason: str) -> None:
        """Tell of samples that were refused without being named: nothing keeps them."""
        self._note(reason, count, "dropped")
        self._tell_noted()

    def _note(self, reason: str, count: int, what: str) -> None:
        kind = f"{what}: {DIGITS.sub('', reason)}"
        untold = self._untold.pop(kind, None) or Untold(what)
        untold.reason = reason
        untold.count += count
        self._untold[kind] = untold  # it came last now

    def _tell_noted(self) -> None:
        now = self._monotonic()
        for untold in self._untold.values():
            if untold.count and now - untold.told_at >= TELL_EVERY:
                told = "publisher %s: %s %s: %s"
                LOG.warning(told, self.name, samples(untold.count), untold.what, untold.reason)
                untold.told_at, untold.count = now, 0
        while len(self._untold) > KINDS_AT_MOST:
            del self._untold[next(iter(self._untold))]

    def crashes(self, error: Exception) -> None:
        """Tell of a mistake in the publisher's code with its traceback, once for each kind."""
        if type(error) not in self._crashed:
            self._crashed.add(type(error))
            LOG.error("publisher %s: a mistake in its code", self.name, exc_info=error)


def _kind(fault: str) -> str:
    return VARYING.sub("", fault)
