# SPDX-License-Identifier: Apache-2.0
"""The one data model: what a reading is, of which meter, of which resource.

Nothing here does input or output. Meters and resources are shared objects: a sample points at them
and never copies metadata.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

Volume = int | float
"""What a meter measured. Unsigned 64-bit counters stay integers from the read to the store."""


class SampleType(enum.StrEnum):
    """How the volumes of a meter follow one another (the terms are Ceilometer's)."""

    GAUGE = "gauge"
    """A state at one moment: it may rise and fall."""
    CUMULATIVE = "cumulative"
    """A counter: it rises until it starts again."""
    DELTA = "delta"
    """What was added since the reading before."""


class Meter(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """What is measured; one object per meter."""

    name: str
    unit: str
    type: SampleType


class Resource(msgspec.Struct, frozen=True, gc=False, eq=False):
    """Whose reading it is; one object per resource and cycle, never changed after it was made.

    Attributes:
        id: the stable name of the resource, the same as Ceilometer's for the same thing.
        project_id: the owner's project, None outside a cloud.
        user_id: the owner, None outside a cloud.
        type: the kind of the resource (``instance``, ``instance_disk``, ``host``, ...): the name of
            the resource type in Gnocchi.
        metadata: what else is known of it, under Ceilometer's names.
    """

    id: str
    project_id: str | None
    user_id: str | None
    type: str
    metadata: Mapping[str, Any]


class Previous(msgspec.Struct, frozen=True, gc=False):
    """The same series at its last reading for the same source.

    Attributes:
        elapsed: seconds between the two reads on CLOCK_BOOTTIME, above 0; never from wall clocks.
        volume: what was read then.
    """

    elapsed: float
    volume: Volume


class History(enum.Enum):
    """What is known of the reading before, where that is not a pair."""

    UNTRACKED = "untracked"
    """A foreign producer: nobody kept the last reading. The pipeline may keep state of its own."""
    FIRST = "first"
    """The first reading since the series began: no rate, and no state is touched."""


UNTRACKED: Final = History.UNTRACKED
FIRST: Final = History.FIRST


class Sample(msgspec.Struct, frozen=True, gc=False, eq=True):
    """One reading of one meter of one resource.

    Attributes:
        meter: what was measured.
        resource: of what.
        time: UTC seconds since 1970. For a resource that belongs to one host, when the value was
            read; for a shared one, the time of the slot.
        volume: what was read, in the meter's unit.
        previous: the pair of the reading before, or why there is none.
        started: when the counter began or was first seen, in the terms of `time`. When it changes,
            `previous` is FIRST.
        source: the name of the source that polled it, None from a foreign producer.
    """

    meter: Meter
    resource: Resource
    time: float
    volume: Volume
    previous: Previous | Literal[History.UNTRACKED, History.FIRST] = UNTRACKED
    started: float | None = None
    source: str | None = None


class Batch(msgspec.Struct, frozen=True, gc=False):
    """Samples that travel together.

    Attributes:
        source: the source whose sinks they go to; None: each is matched by its meter.
        samples: in order of time per series.
    """

    source: str | None
    samples: Sequence[Sample]


def microseconds(time: float) -> int:
    """Return UTC seconds as whole microseconds, rounded as `isotime` rounds them."""
    # The fraction alone: a product of the whole has no digit left to round by.
    whole = int(time)
    return whole * 1_000_000 + round((time - whole) * 1e6)


def isotime(time: float) -> str:
    """Render UTC seconds as ISO 8601 with microseconds: ``2026-01-31T12:00:00.000000+00:00``."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="microseconds")


def as_document(sample: Sample) -> dict[str, Any]:
    """Return the JSON form of a sample, under Ceilometer's names.

    The one form that `poll --output json`, the file publisher and `query` share.
    """
    meter, resource = sample.meter, sample.resource
    return {
        "name": meter.name,
        "type": meter.type.value,
        "unit": meter.unit,
        "volume": sample.volume,
        "resource_id": resource.id,
        "project_id": resource.project_id,
        "user_id": resource.user_id,
        "timestamp": isotime(sample.time),
        "resource_metadata": resource.metadata,
    }
