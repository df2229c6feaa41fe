# SPDX-License-Identifier: Apache-2.0
"""A memory that forgets what nobody touched for long, and the oldest when it is full."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Aging(Generic[K, V]):
    """Values by key, in the order of their last change.

    Time comes with the ticks: what changes between two of them changes at the first.

    Args:
        limit: entries kept; the oldest go first.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: dict[K, tuple[float, V]] = {}
        self._now: float | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """Return the value of a key, None when there is none."""
        found = self._entries.get(key)
        return None if found is None else found[1]

    def put(self, key: K, value: V, time: float) -> None:
        """Set the value of a key, which is the newest now.

        Args:
            key: the key.
            value: its value.
            time: when that was, if no tick has said it yet.
        """
        self._entries.pop(key, None)
        self._entries[key] = (time if self._now is None else self._now, value)
        if len(self._entries) > self._limit:
            self.oldest()

    def pop(self, key: K) -> V | None:
        """Forget a key and return its value."""
        found = self._entries.pop(key, None)
        return None if found is None else found[1]

    def oldest(self) -> V:
        """Forget the key that was not changed for the longest time, and return its value."""
        return self._entries.pop(next(iter(self._entries)))[1]

    def tick(self, now: float, age: float) -> list[V]:
        """Move time to `now`; forget and return what was not changed for `age` seconds."""
        if self._now is not None and now < self._now:
            # The clock was set back: nothing can have changed later than now.
            self._entries = {
                key: (min(stamp, now), value) for key, (stamp, value) in self._entries.items()
            }
        self._now = now
        old = []
        for key, (stamp, _) in self._entries.items():
            if now - stamp < age:
                break
            old.append(key)
        return [self._entries.pop(key)[1] for key in old]

    def resume(self, now: float) -> None:
        """Take what changed since the last tick as changed at `now`."""
        before = self._now
        self._entries = {
            key: (now if before is None or stamp >= before else stamp, value)
            for key, (stamp, value) in self._entries.items()
        }

    def rows(self) -> Iterator[tuple[K, V, float]]:
        """Yield key, value and the time of the last change, from the oldest on."""
        for key, (stamp, value) in self._entries.items():
            yield key, value, stamp

    def restore(self, rows: Iterable[tuple[K, V, float]], now: float | None) -> None:
        """Take up what `rows` gave at the time `now`."""
        self._entries = {key: (stamp, value) for key, value, stamp in rows}
        self._now = now
