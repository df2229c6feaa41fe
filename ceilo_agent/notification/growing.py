# SPDX-License-Identifier: Apache-2.0
"""Tells of a count that should not grow."""

from __future__ import annotations

import logging
import time
from typing import Final

LOG = logging.getLogger(__name__)

TELL_EVERY: Final = 60.0
"""Seconds between two messages of one count."""


class Growing:
    """Tells how much a count grew: at once, and then once a minute.

    Args:
        words: with ``%d`` for that.
    """

    def __init__(self, words: str) -> None:
        self._words = words
        self._told = 0
        self._told_at = float("-inf")

    def tell(self, count: int, *, now: bool = False) -> None:
        """Tell if it grew; with `now` however short ago it was told."""
        moment = time.monotonic()
        if count > self._told and (now or moment - self._told_at >= TELL_EVERY):
            LOG.warning(self._words, count - self._told)
            self._told, self._told_at = count, moment
