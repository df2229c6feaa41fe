# SPDX-License-Identifier: Apache-2.0
"""What the page shows: the last value of each series, as long as there are new ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from ceilo_agent.publishers.prometheus.labels import Info, Labels
from ceilo_agent.publishers.prometheus.naming import Family, Names
from ceilo_agent.publishers.prometheus.rows import rows
from ceilo_agent.sample import Previous, Sample

CYCLES: Final = 3
"""Intervals without a new value after which a series is gone."""

SHORTEST, LONGEST = 30.0, 3600.0
"""Seconds that this is at least, and at most unless an interval is as long."""

UNKNOWN_INTERVAL: Final = 300.0
"""Seconds; for a series of which one value came, from a source of which no other is known."""

FORGET_EVERY: Final = 60.0
"""Seconds between two looks for what is too old where nobody reads the page."""

_Owner = tuple[str, str]
"""The kind and the id of what metadata are of."""


class Point(NamedTuple):
    """One value of a metric.

    Attributes:
        labels: of the series.
        value: in the metric's unit.
        time: when it was read, UTC seconds.
    """

    labels: Labels
    value: float
    time: float


class Shown(NamedTuple):
    """All that stands on the page at one moment.

    Attributes:
        families: metrics and their series, in the order of their names.
        infos: labels of the series with metadata, by their kind.
    """

    families: Sequence[tuple[Family, Sequence[Point]]]
    infos: Mapping[str, Sequence[Labels]]


class _Series(msgspec.Struct):
    point: Point
    info: Info | None
    seen: float
    interval: float


class _Metadata(msgspec.Struct):
    info: Info
    time: float


class Board:
    """Series by metric and labels. One thread adds, any may look.

    Args:
        names: of the metrics.
        expire: seconds after which a series without a new value is gone; None: by the interval at
            which its values come.
        monotonic: the clock that this is measured on, in seconds.
    """

    def __init__(self, names: Names, expire: float | None, monotonic: Callable[[], float]) -> None:
        self._names = names
        self._expire = expire
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._series: dict[Family, dict[Labels, _Series]] = {}
        self._metadata: dict[_Owner, _Metadata] = {}
        self._intervals: dict[str | None, float] = {}
        self._forgot = monotonic()

    def add(self, samples: Sequence[Sample]) -> Mapping[int, str]:
        """Take samples; who looks sees all of them or none.

        Returns:
            Why, by the index of each sample that cannot be shown.
        """
        refused: dict[int, str] = {}
        taken = list(rows(samples, self._names, refused))
        now = self._monotonic()
        with self._lock:
            for _, sample, family, described, value in taken:
                point = Point(described.labels, value, sample.time)
                self._take(sample, family, point, described.info, now)
                if described.info is not None:
                    self._describe(described.info, sample.time)
            if now - self._forgot >= FORGET_EVERY:
                self._forget(now)
        return refused

    def shown(self) -> Shown:
        """Return what there is now; what is too old is forgotten."""
        with self._lock:
            self._forget(self._monotonic())
            families = [
                (family, [series.point for series in found.values()])
                for family, found in self._series.items()
            ]
            infos: dict[str, list[Labels]] = {}
            for metadata in self._metadata.values():
                infos.setdefault(metadata.info.kind, []).append(metadata.info.labels)
        families.sort(key=lambda each: each[0].name)
        return Shown(families, infos)

    def _take(
        self, sample: Sample, family: Family, point: Point, info: Info | None, now: float
    ) -> None:
        found = self._series.setdefault(family, {})
        series = found.get(point.labels)
        if series is None:
            found[point.labels] = _Series(point, info, now, self._interval(sample))
            return
        before = series.point
        if point.time <= before.time:
            # It came before, or late: the page shows what is newest.
            return
        if family.adds:
            point = point._replace(value=before.value + point.value)
        series.interval = self._interval(sample, point.time - before.time)
        series.point, series.info, series.seen = point, info, now

    def _interval(self, sample: Sample, elapsed: float | None = None) -> float:
        """Return the interval at which values come: of this series, else of the same source."""
        if isinstance(sample.previous, Previous):
            elapsed = sample.previous.elapsed
        if elapsed is None:
            return self._intervals.get(sample.source, UNKNOWN_INTERVAL)
        self._intervals[sample.source] = elapsed
        return elapsed

    def _describe(self, info: Info, time: float) -> None:
        found = self._metadata.get((info.kind, info.owner))
        if found is None:
            self._metadata[info.kind, info.owner] = _Metadata(info, time)
        # A disk knows less of its guest than the guest does.
        elif time >= found.time and info.whole >= found.info.whole:
            found.info, found.time = info, time

    def _lasts(self, interval: float) -> float:
        """Return for how many seconds a value stands without a new one."""
        if self._expire is not None:
            return self._expire
        return min(max(CYCLES * interval, SHORTEST), max(LONGEST, 1.5 * interval))

    def _forget(self, now: float) -> None:
        """Drop series without new values, and metadata of what has no series."""
        self._forgot = now
        owners: dict[_Owner, bool] = {}
        for family, found in list(self._series.items()):
            for labels, series in list(found.items()):
                if now - series.seen > self._lasts(series.interval):
                    del found[labels]
                elif (info := series.info) is not None:
                    owner = info.kind, info.owner
                    owners[owner] = owners.get(owner, False) or info.whole
            if not found:
                del self._series[family]
        for owner, metadata in list(self._metadata.items()):
            if owner not in owners:
                del self._metadata[owner]
            elif metadata.info.whole and not owners[owner]:
                # The guest itself is not polled any more: its disks may speak for it.
                metadata.info = metadata.info._replace(whole=False)
