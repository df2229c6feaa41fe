# SPDX-License-Identifier: Apache-2.0
"""Tells of counts that should not grow."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping
from typing import Final

LOG = logging.getLogger(__name__)

TELL_EVERY: Final = 60.0
"""Seconds between two messages."""


class Growing:
    """Tells how much counts grew: at once, and then once a minute.

    Args:
        words: with ``%s`` for that, such as ``3 samples``.
    """

    def __init__(self, words: str) -> None:
        self._words = words
        self._told: Counter[str] = Counter()
        self._told_at = float("-inf")

    def tell(self, counts: Mapping[str, int], *, now: bool = False) -> None:
        """Tell which grew, of all by name; with `now` however short ago it was told."""
        moment = time.monotonic()
        fresh = Counter(counts) - self._told
        if fresh and (now or moment - self._told_at >= TELL_EVERY):
            said = ", ".join(f"{count} {name}" for name, count in sorted(fresh.items()))
            LOG.warning(self._words, said)
            self._told, self._told_at = Counter(counts), moment
