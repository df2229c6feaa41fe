# SPDX-License-Identifier: Apache-2.0
"""What a batch of samples is in remote write: values of series, and of those with metadata."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from ceilo_agent.publishers.prometheus.labels import Info, Labels
from ceilo_agent.publishers.prometheus.naming import Family, Names
from ceilo_agent.publishers.prometheus.rows import rows
from ceilo_agent.publishers.prometheus.wire import Write
from ceilo_agent.sample import Sample, microseconds

AHEAD_AT_MOST: Final = 600.0
"""Seconds that a value may lie in the future, as in Prometheus's own scrapes: one that lies further
would shut out all values before it."""

INFO_EVERY: Final = 60.0
"""Seconds between two values of the same metadata: a series is seen for 5 minutes after one."""

STALE: Final = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
"""The NaN that ends a series (``model/value`` in Prometheus's source)."""

MANY: Final = 20_000
"""Guests whose metadata are remembered until those that are gone are forgotten."""

_Owner = tuple[str, str]
"""The kind and the id of what metadata are of."""


class Point(NamedTuple):
    """A value to write.

    Attributes:
        write: the series, the time and the value.
        family: its metric, None for metadata.
        sample: the index of its sample in the batch, None for metadata.
    """

    write: Write
    family: Family | None
    sample: int | None


class _Moment(NamedTuple):
    """Metadata, whether the resource that has them is the whole one, and when (milliseconds)."""

    whole: bool
    time: int
    info: Info


class Translation:
    """Turns samples into values to write.

    Args:
        names: of the metrics.
        labels: of all series.
    """

    def __init__(self, names: Names, labels: Labels) -> None:
        self._names = names
        self._labels = labels
        self._infos: dict[_Owner, tuple[Write, bool]] = {}
        self._told: dict[_Owner, tuple[Write, bool]] = {}

    def points(self, samples: Sequence[Sample]) -> tuple[list[Point], dict[int, str]]:
        """Return the values to write, and why others cannot be, by the index of the sample."""
        refused: dict[int, str] = {}
        points, infos = self._points(samples, refused)
        self._told = {}
        points += self._metadata(infos)
        return points, refused

    def written(self) -> None:
        """Remember that the last points have been written."""
        self._infos |= self._told
        if len(self._infos) > MANY:
            newest = max(write.time for write, _ in self._infos.values())
            self._infos = {
                key: (write, whole)
                for key, (write, whole) in self._infos.items()
                if newest - write.time < 10 * INFO_EVERY * 1000
            }

    def _points(
        self, samples: Sequence[Sample], refused: dict[int, str]
    ) -> tuple[list[Point], dict[tuple[int, _Owner], _Moment]]:
        """Return the values of the samples, and the newest metadata of each minute."""
        latest = time.time() + AHEAD_AT_MOST
        infos: dict[tuple[int, _Owner], _Moment] = {}
        points = []
        for index, sample, family, described, value in rows(samples, self._names, refused):
            if sample.time > latest:
                refused[index] = "its time lies in the future, it would shut out all others"
                continue
            # From whole microseconds, as every other store has them.
            stamp = round(microseconds(sample.time) / 1000)
            write = Write(self._named(family.name, described.labels), stamp, value)
            points.append(Point(write, family, index))
            if (info := described.info) is not None:
                key = stamp // 60_000, (info.kind, info.owner)
                moment = _Moment(info.whole, stamp, info)
                if key not in infos or moment[:2] >= infos[key][:2]:
                    infos[key] = moment
        return points, infos

    def _metadata(self, infos: Mapping[tuple[int, _Owner], _Moment]) -> Iterator[Point]:
        """Yield values of the series with metadata that are new, or were not written for long."""
        for (_, owner), (whole, stamp, info) in sorted(infos.items(), key=_minute):
            name = f"{self._names.info(info.kind)}_info"
            write = Write(self._named(name, info.labels), stamp, 1.0)
            known = self._told.get(owner) or self._infos.get(owner)
            if known is not None:
                last, from_whole = known
                age = (stamp - last.time) / 1000
                # A disk knows less of its guest than the guest does.
                if age <= 0 or (from_whole and not whole and age < 5 * INFO_EVERY):
                    continue
                if write.labels != last.labels:
                    yield Point(last._replace(time=stamp, value=STALE), None, None)
                elif age < INFO_EVERY:
                    continue
            yield Point(write, None, None)
            self._told[owner] = write, whole

    def _named(self, name: str, labels: Labels) -> Labels:
        return tuple(sorted((("__name__", name), *self._labels, *labels)))


def _minute(one: tuple[tuple[int, _Owner], _Moment]) -> int:
    return one[0][0]
