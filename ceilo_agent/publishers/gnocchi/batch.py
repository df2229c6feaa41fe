# SPDX-License-Identifier: Apache-2.0
"""Samples as the body of one request: by resource and metric, what Gnocchi would refuse left out.

Of a request that holds one thing wrong Gnocchi refuses all, and what its database cannot take it
answers with 500, time and again. So what it takes is checked here.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from ceilo_agent.publishers.gnocchi.client import canonical
from ceilo_agent.sample import Meter, Resource, Sample, Volume

GENERIC: Final = "generic"
"""The type of resources that every Gnocchi has; it has no attributes of its own."""

NAME_AT_MOST: Final = 255
UNIT_AT_MOST: Final = 31
ID_AT_MOST: Final = 289
"""Letters that Gnocchi's columns take."""

TIME_AT_MOST: Final = 9_223_372_036.0
"""Seconds since 1970 that fit its 64 bits of nanoseconds."""

EXACT: Final = 2**53
"""Up to here integers are what they were after Gnocchi made doubles of them."""

METERS_AT_MOST: Final = 10_000
"""Meters whose way is kept in memory."""


class Measure(msgspec.Struct, gc=False):
    """One point of a metric; `timestamp` is ISO 8601 in UTC, which Gnocchi takes for granted."""

    timestamp: str
    value: Volume


class Metric(msgspec.Struct, gc=False, omit_defaults=True):
    """The points of one metric, and how to create it if it does not exist."""

    archive_policy_name: str
    measures: list[Measure]
    unit: str | None = None


class Owner(msgspec.Struct, eq=False):
    """A resource and what is said of it in one batch.

    Attributes:
        id: as Gnocchi is told.
        kind: the name of its resource type.
        sample: the newest one of it that its type maps.
        metrics: by name.
        places: indexes of its samples in the batch.
    """

    id: str
    kind: str
    sample: Sample
    metrics: dict[str, Metric]
    places: list[int]

    @property
    def resource(self) -> Resource:
        """The resource as the newest sample shows it."""
        return self.sample.resource


class Route(NamedTuple):
    """Where the samples of a meter go.

    Attributes:
        kind: the resource type, None where none maps the meter.
        policy: the archive policy of the metric.
    """

    kind: str | None
    policy: str


class _Way(NamedTuple):
    """A route, and what Gnocchi says of the meter itself."""

    route: Route
    unit: str | None
    refusal: str | None


class Batch(msgspec.Struct, eq=False):
    """What one push comes to.

    Attributes:
        owners: by their canonical ids.
        refused: why, by index.
        left_out: samples that an operator does not want there, by meter.
    """

    owners: dict[str, Owner]
    refused: dict[int, str]
    left_out: Counter[str]

    def refuse(self, name: str, reason: str) -> None:
        """Take a resource out, with all its samples."""
        owner = self.owners.pop(name)
        self.refused.update(dict.fromkeys(owner.places, reason))

    def body(self) -> dict[str, dict[str, Metric]]:
        """Return the measures by resource id and metric."""
        return {owner.id: owner.metrics for owner in self.owners.values()}


class Sorter:
    """Makes batches.

    Args:
        route: says where the samples of a meter go.
        kinds: the resource types that the definition file has.
        drop: whether samples of meters that no type maps are left out.
    """

    def __init__(
        self, route: Callable[[str], Route], kinds: Collection[str], *, drop: bool
    ) -> None:
        self._route = route
        self._kinds = kinds
        self._drop = drop
        self._ways: dict[Meter, _Way] = {}
        self.project: str | None = None
        """The id of a project whose samples are left out."""

    def sort(self, samples: Sequence[Sample]) -> Batch:
        """Return the batch that these samples make."""
        batch = Batch({}, {}, Counter())
        stamps: dict[float, str | None] = {}
        resource: Resource | None = None
        name = refusal = ""
        for place, sample in enumerate(samples):
            if sample.resource is not resource:
                resource = sample.resource
                name, refusal = _named(resource.id)
            way = self._ways.get(sample.meter) or self._way(sample.meter)
            time = sample.time
            stamp = stamps[time] if time in stamps else stamps.setdefault(time, _stamp(time))
            value = _value(sample.volume)
            if self._unwanted(sample, way):
                batch.left_out[sample.meter.name] += 1
                continue
            if refusal or way.refusal or stamp is None or value is None:
                batch.refused[place] = refusal or way.refusal or _wrong(sample, stamp)
                continue
            self._add(batch, name, place, sample, way, Measure(stamp, value))
        return batch

    def _unwanted(self, sample: Sample, way: _Way) -> bool:
        if way.route.kind is None and self._drop:
            return True
        project = self.project
        # A Swift account has the id of its project.
        return project is not None and project in (sample.resource.project_id, sample.resource.id)

    def _add(
        self, batch: Batch, name: str, place: int, sample: Sample, way: _Way, measure: Measure
    ) -> None:
        owner = batch.owners.get(name)
        mapped = way.route.kind
        if owner is None:
            kind = mapped or self._own_kind(sample.resource)
            text = sample.resource.id.replace("/", "_")
            owner = batch.owners[name] = Owner(text, kind, sample, {}, [])
        elif mapped is not None and owner.kind == GENERIC != mapped:
            owner.kind, owner.sample = mapped, sample
        elif mapped in (None, owner.kind) and sample.time >= owner.sample.time:
            owner.sample = sample
        owner.places.append(place)
        metric = owner.metrics.get(sample.meter.name)
        if metric is None:
            metric = Metric(way.route.policy, [measure], way.unit)
            owner.metrics[sample.meter.name] = metric
        else:
            _append(metric.measures, measure)

    def _own_kind(self, resource: Resource) -> str:
        """Return the type of a resource that is known by meters of no type."""
        return resource.type if resource.type in self._kinds else GENERIC

    def _way(self, meter: Meter) -> _Way:
        if len(self._ways) >= METERS_AT_MOST:
            self._ways.clear()
        unit = meter.unit[:UNIT_AT_MOST] if storable(meter.unit) else None
        way = _Way(self._route(meter.name), unit or None, _refusal_of_name(meter.name))
        self._ways[meter] = way
        return way


def storable(text: str) -> bool:
    """Return whether Gnocchi's database can hold a text: in UTF-8, and without NUL (PostgreSQL)."""
    if text.isascii():
        return "\0" not in text
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def _append(measures: list[Measure], measure: Measure) -> None:
    """Add a point in order of time; of several of one time Gnocchi would keep the first."""
    if measure.timestamp > measures[-1].timestamp:
        measures.append(measure)
        return
    place = bisect.bisect_left(measures, measure.timestamp, key=lambda each: each.timestamp)
    if measures[place].timestamp == measure.timestamp:
        measures[place] = measure
    else:
        measures.insert(place, measure)


def _named(text: str) -> tuple[str, str]:
    """Return what a resource is known by, and why Gnocchi takes no such id, empty if it does."""
    # '/' would end the id in a URL; Ceilometer puts '_' there, and dashboards know those ids.
    name = text.replace("/", "_")
    if not name:
        return "", "Gnocchi takes no empty resource id"
    if len(name) > ID_AT_MOST:
        return "", f"Gnocchi takes no resource id above {ID_AT_MOST} letters"
    if not storable(name):
        return "", "Gnocchi takes no NUL and no lone surrogate in a resource id"
    return canonical(name), ""


def _refusal_of_name(name: str) -> str | None:
    if not name:
        return "Gnocchi takes no empty metric name"
    if "/" in name:
        return "Gnocchi takes no '/' in a metric's name"
    if len(name) > NAME_AT_MOST:
        return f"Gnocchi takes no metric name above {NAME_AT_MOST} letters"
    if not storable(name):
        return "Gnocchi takes no NUL and no lone surrogate in a metric's name"
    return None


def _stamp(time: float) -> str | None:
    """Return a time as Gnocchi reads it without loss; None if it cannot."""
    if not 0 <= time < TIME_AT_MOST:
        return None
    text = datetime.fromtimestamp(time, UTC).isoformat(timespec="microseconds")
    return text.removesuffix("+00:00")


def _value(volume: Volume) -> Volume | None:
    """Return a volume as a double holds it; None if none can."""
    if isinstance(volume, int):
        if -EXACT <= volume <= EXACT:
            return volume
        try:
            return float(volume)
        except OverflowError:
            return None
    return volume if math.isfinite(volume) else None


def _wrong(sample: Sample, stamp: str | None) -> str:
    if stamp is None:
        return f"Gnocchi takes no time of {sample.time:g} s since 1970"
    return f"Gnocchi takes no value of {str(sample.volume)[:20]}"
