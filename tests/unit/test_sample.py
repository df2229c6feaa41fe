# SPDX-License-Identifier: Apache-2.0
"""The data model."""

import json
from datetime import UTC, datetime, timedelta
from random import Random

import msgspec
import pytest

from ceilo_agent.sample import (
    FIRST,
    UNTRACKED,
    Meter,
    Previous,
    Resource,
    Sample,
    SampleType,
    as_document,
    isotime,
    microseconds,
)

METER = Meter("cpu", "ns", SampleType.CUMULATIVE)
RESOURCE = Resource("1", "p", "u", "instance", {"näme": "日本"})


def test_a_sample_of_a_foreign_producer_is_untracked():
    sample = Sample(METER, RESOURCE, 0.0, 1)
    assert sample.previous is UNTRACKED
    assert (sample.started, sample.source) == (None, None)


def test_samples_point_at_their_resource_and_cannot_be_changed():
    sample = Sample(METER, RESOURCE, 0.0, 1, FIRST)
    assert sample.resource is RESOURCE
    for name in ("volume", "resource"):
        with pytest.raises(AttributeError):
            setattr(sample, name, None)
    changed = msgspec.structs.replace(sample, volume=2)
    assert (changed.volume, sample.volume) == (2, 1)
    assert changed.resource is RESOURCE


def test_the_document_has_the_names_of_ceilometer_and_keeps_64_bits():
    sample = Sample(METER, RESOURCE, 1.5, 2**64 - 2, Previous(1.0, 1), 0.5, "s")
    document = as_document(sample)
    assert list(document) == [
        "name",
        "type",
        "unit",
        "volume",
        "resource_id",
        "project_id",
        "user_id",
        "timestamp",
        "resource_metadata",
    ]
    assert document["volume"] == 2**64 - 2
    assert document["type"] == "cumulative"
    assert document["timestamp"] == "1970-01-01T00:00:01.500000+00:00"
    assert json.loads(msgspec.json.encode(document)) == document


def test_time_is_shown_in_utc_with_microseconds():
    assert isotime(1795356935.000001) == "2026-11-22T14:15:35.000001+00:00"


def test_whole_microseconds_are_those_of_the_text() -> None:
    random = Random(7)
    times = [random.uniform(-1e9, 4e9) for _ in range(20_000)]
    times += [1_700_000_000 + number / 2e6 for number in range(1000)]
    for time in times:
        text = datetime.fromisoformat(isotime(time))
        assert (text - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) == (
            microseconds(time)
        )
