# SPDX-License-Identifier: Apache-2.0
"""The last reading of each series whose producer does not send the one before.

Only samples that are UNTRACKED come here. Readings live in two generations: what is read or new is
in the young one; from time to time the young one becomes the old one, and the old one is forgotten.
So nothing is searched for what expired, and memory is bounded.
"""

from __future__ import annotations

import logging
from typing import Final

import msgspec

from ceilo_agent.sample import Sample, Volume

LOG = logging.getLogger(__name__)

VERSION: Final = 1

SERIES: Final = 1_000_000
"""Series in one generation, some 150 to 280 bytes each."""

Group = tuple[str | None, str]
"""The source and the name of a meter: what many series share is kept once."""


class Reading(msgspec.Struct, array_like=True, gc=False):
    """What was read last: the sample's time (UTC seconds) and its volume."""

    time: float
    volume: Volume


Generation = dict[Group, dict[str, Reading]]
"""Readings by resource id in their group."""


class _Dump(msgspec.Struct, array_like=True):
    version: int
    turned: float | None
    young: list[tuple[str | None, str, dict[str, Reading]]]
    old: list[tuple[str | None, str, dict[str, Reading]]]


_DECODER: Final = msgspec.msgpack.Decoder(_Dump)


class LastSeen:
    """Remembers the last reading per source, resource id and meter name.

    Args:
        retention: seconds; a reading is kept for that long, and for less than twice as long.
        series: how many are kept in a generation.
    """

    def __init__(self, retention: float, series: int = SERIES) -> None:
        self._retention = retention
        self._series = series
        self._young: Generation = {}
        self._old: Generation = {}
        self._count = 0
        self._turned: float | None = None
        self._told = False

    def __len__(self) -> int:
        return self._count + sum(map(len, self._old.values()))

    def replace(self, sample: Sample, volume: Volume) -> tuple[float, Volume] | None:
        """Remember a sample's volume, and return what is known of the reading before.

        Returns:
            Seconds since the reading before, by the samples' times, and its volume; None if there
            is none. Unless the seconds are above 0, the reading before stays the last one.
        """
        group, resource = (sample.source, sample.meter.name), sample.resource.id
        series = self._young.get(group)
        known = None if series is None else series.get(resource)
        if known is not None:
            elapsed = sample.time - known.time
            before = known.volume
            if elapsed > 0:
                known.time, known.volume = sample.time, volume
            return elapsed, before
        older = self._old.get(group)
        known = None if older is None else older.get(resource)
        if known is None or older is None:
            self._add(group, resource, Reading(sample.time, volume))
            return None
        elapsed = sample.time - known.time
        if elapsed > 0:
            del older[resource]
            self._add(group, resource, Reading(sample.time, volume))
        # A reading that is not replaced expires where it is: one time far in the future does not
        # silence its series for ever.
        return elapsed, known.volume

    def tick(self, now: float) -> None:
        """Move time to `now` (UTC seconds) and forget what is too old."""
        if self._turned is None or now < self._turned:
            self._turned = now
        elif now - self._turned >= self._retention:
            self._turned = now
            self._turn()

    def dump(self) -> bytes:
        """Return everything that is remembered (MessagePack)."""
        young, old = (
            [(*group, readings) for group, readings in generation.items() if readings]
            for generation in (self._young, self._old)
        )
        return msgspec.msgpack.encode(_Dump(VERSION, self._turned, young, old))

    def load(self, state: bytes) -> None:
        """Take up what `dump` returned.

        Raises:
            ValueError: these bytes are no readings, or of a later version.
        """
        try:
            found = _DECODER.decode(state)
        except msgspec.DecodeError as error:
            raise ValueError(f"no readings: {error}") from error
        if found.version != VERSION:
            raise ValueError(f"readings of version {found.version}, {VERSION} was expected")
        self._turned = found.turned
        self._young, self._old = (
            {(source, name): readings for source, name, readings in generation}
            for generation in (found.young, found.old)
        )
        self._count = sum(map(len, self._young.values()))

    def _add(self, group: Group, resource: str, reading: Reading) -> None:
        if self._count >= self._series:
            if any(self._old.values()) and not self._told:
                self._told = True
                LOG.warning(
                    "more than %d series come without their previous reading: those not seen for "
                    "longest are forgotten",
                    self._series,
                )
            self._turn()
        self._young.setdefault(group, {})[resource] = reading
        self._count += 1

    def _turn(self) -> None:
        self._old, self._young, self._count = self._young, {}, 0
