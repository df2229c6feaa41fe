# SPDX-License-Identifier: Apache-2.0
"""Samples as frames of our own format, and back."""

from __future__ import annotations

import base64
import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceilo_agent.messaging import wire
from ceilo_agent.messaging.frame import MAX_BODY, MAX_FRAME
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.message import Unsendable
from ceilo_agent.messaging.wire import decode
from ceilo_agent.sample import (
    FIRST,
    UNTRACKED,
    Meter,
    Previous,
    Resource,
    Sample,
    SampleType,
)
from tests.unit.messaging.frames import METER, NO_KEYS, RESOURCE, SENT, encoded, series
from tests.unit.messaging.test_packing import SAMPLES, nested, whole


def sent(samples: Sequence[Sample]) -> list[Sample]:
    """Return samples as they come out at the other end, all of one frame."""
    (frame,) = encoded(list(samples))
    return list(decode(frame, NO_KEYS).samples)


def sample(**changed: Any) -> Sample:
    made = Sample(METER, RESOURCE, 1e9, 7, Previous(60.0, 5), 9e8, "s")
    return msgspec.structs.replace(made, **changed)


@given(st.lists(SAMPLES, min_size=1, max_size=5))
def test_what_was_encoded_comes_back(samples: list[Sample]) -> None:
    samples = [msgspec.structs.replace(each, source="s") for each in samples]
    assert list(map(whole, sent(samples))) == list(map(whole, samples))


def test_an_envelope_says_who_polled_and_when() -> None:
    (frame,) = encoded(series(3))
    found = decode(frame, NO_KEYS)
    assert (found.host, found.sent, found.queues, found.source) == ("h", SENT, 10, "s")
    assert len(found.id) == 16


def test_samples_of_no_source_stay_so() -> None:
    (frame,) = wire.encode(
        series(1), host="h", source=None, sent=SENT, queues=1, keys=NO_KEYS, max_bytes=1 << 20
    )
    found = decode(frame, NO_KEYS)
    assert found.source is None
    assert found.samples[0].source is None


def test_meters_and_resources_are_shared_again() -> None:
    found = sent(series(100))
    assert len({id(each.meter) for each in found}) == 1
    assert len({id(each.resource) for each in found}) == 1


EXTREMES = (
    0, 1, 2**63 - 1, 2**63, 2**64 - 1, -1, -(2**63), 0.0, -0.0, 1.5, 2.0**70, -1e300, 5e-324,
)  # fmt: skip


@pytest.mark.parametrize("before", EXTREMES)
@pytest.mark.parametrize("volume", EXTREMES)
def test_a_volume_and_the_one_before_are_exact(volume: float, before: float) -> None:
    """Whatever their gain is: beyond 64 bits, of a float and an integer, or either way round."""
    odd = sample(volume=volume, previous=Previous(1.0, before))
    found = sent([odd, *series(2)])[0]
    assert isinstance(found.previous, Previous)
    assert [(type(each), repr(each)) for each in (found.volume, found.previous.volume)] == [
        (type(each), repr(each)) for each in (volume, before)
    ]


def test_counters_of_64_bits_keep_every_bit_over_cycles() -> None:
    chance = random.Random(1)
    made = []
    for _ in range(500):
        before = chance.randrange(2**64)
        volume = min(2**64 - 1, before + chance.randrange(2**40))
        made.append(sample(volume=volume, previous=Previous(60.0, before)))
    assert [(each.volume, each.previous) for each in sent(made)] == [
        (each.volume, each.previous) for each in made
    ]


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_volumes_that_are_no_finite_number_travel(value: float) -> None:
    made = sample(volume=value, previous=Previous(1.0, value))
    (found,) = sent([made])
    assert isinstance(found.previous, Previous)
    assert repr((found.volume, found.previous.volume)) == repr((value, value))


def test_whole_numbers_for_times_are_read_as_such() -> None:
    (found,) = sent([sample(time=1, started=0, previous=Previous(10, 1))])
    assert (found.time, found.started, found.previous) == (1.0, 0.0, Previous(10.0, 1))


@pytest.mark.parametrize("history", [FIRST, UNTRACKED])
def test_readings_without_one_before_stay_so(history: Any) -> None:
    assert [each.previous for each in sent([sample(previous=history), sample()])] == [
        history,
        Previous(60.0, 5),
    ]


# -- metadata --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (2**64, 2.0**64),
        ("a\ud800", "a\\ud800"),
        ({"\ud800": [1, (2**70,)]}, {"\\ud800": [1, [2.0**70]]}),
        (1 + 2j, "(1+2j)"),
        (b"x\xff", "x\\xff"),
        (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31 12:00:00+00:00"),
        ({7: {None: 1}}, {"7": {"None": 1}}),
        (MappingProxyType({"a": MappingProxyType({})}), {"a": {}}),
        ([[[[[["deep"]]]]]], [[[[[["deep"]]]]]]),
        ({"a": {"b": {"c": {"d": {"e": [{"f": None}]}}}}},) * 2,
    ],
)
def test_metadata_come_as_near_as_bytes_can(value: Any, kept: Any) -> None:
    odd = Resource("odd", None, None, "instance", {"a": value, "b": True})
    found = sent([sample(resource=odd), sample()])
    assert [each.resource.metadata for each in found] == [{"a": kept, "b": True}, RESOURCE.metadata]


def test_metadata_that_are_nested_without_end_are_cut() -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless
    for metadata in (nested(100), nested(5000), endless):
        odd = Resource("odd", None, None, "instance", metadata)
        (found,) = sent([sample(resource=odd)])
        assert found.resource.metadata["a"]["a"]["a"]


def test_a_host_whose_name_is_broken_text_can_still_send() -> None:
    (frame,) = wire.encode(
        series(1), host="h\udcff", source="s", sent=SENT, queues=1, keys=NO_KEYS, max_bytes=1 << 20
    )
    assert decode(frame, NO_KEYS).host == "h\\udcff"


# -- limits ----------------------------------------------------------------------------------------


def crowd(count: int, size: int = 300) -> list[Sample]:
    """Return samples of resources whose metadata cannot be compressed."""
    chance = random.Random(2)
    return [
        sample(
            volume=number,
            resource=Resource(
                f"r{number}", None, None, "host", {"a": chance.randbytes(size).hex()}
            ),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("limit", [1 << 12, 1 << 14, 1 << 16])
def test_what_is_over_the_limit_is_split_in_order(limit: int) -> None:
    samples = crowd(200)
    frames = encoded(samples, limit=limit)
    assert len(frames) > 1
    assert max(len(base64.b64encode(each)) for each in frames) <= limit
    read = [decode(each, NO_KEYS) for each in frames]
    assert [each.volume for one in read for each in one.samples] == list(range(200))
    assert len({each.id for each in read}) == len(frames)
    assert len(frames) < 4 * (sum(map(len, frames)) * 4 / 3 / limit + 1), "needlessly many"


def test_a_batch_that_just_fits_is_one_frame() -> None:
    samples = crowd(50)
    (frame,) = encoded(samples)
    size = len(base64.b64encode(frame))
    assert len(encoded(samples, limit=size)) == 1
    assert len(encoded(samples, limit=size - 1)) > 1


def test_what_is_larger_in_memory_than_readers_take_is_split() -> None:
    """However well it is compressed: one text of 100,000 bytes a hundred times."""
    text = "x" * 100_000
    samples = [
        sample(resource=Resource(str(n), None, None, "host", {"a": text})) for n in range(100)
    ]
    frames = encoded(samples)
    assert len(frames) > 1
    read = [each.resource.id for one in frames for each in decode(one, NO_KEYS).samples]
    assert read == [str(n) for n in range(100)]


def test_more_samples_than_readers_take_are_split() -> None:
    samples = series(1) * (wire.MAX_SAMPLES + 1)
    frames = encoded(samples, limit=1 << 27)
    assert len(frames) > 1
    assert sum(len(decode(each, NO_KEYS).samples) for each in frames) == len(samples)


def test_the_largest_body_that_cannot_be_compressed_is_taken() -> None:
    noise = random.Random(3).randbytes(MAX_BODY // 2 - 1000).hex()
    odd = sample(resource=Resource("r", None, None, "host", {"a": noise}))
    (frame,) = encoded([odd], limit=1 << 27)
    assert len(frame) < MAX_FRAME
    assert decode(frame, NO_KEYS).samples[0].resource.metadata == {"a": noise}


def test_no_samples_are_no_frames() -> None:
    assert encoded([]) == []


def test_what_is_too_large_alone_is_named_and_the_others_are_sent() -> None:
    samples = crowd(40)
    samples[7:7] = crowd(1, size=20_000)
    samples[30:30] = crowd(1, size=9_000)
    with pytest.raises(Unsendable) as caught:
        encoded(samples, limit=1 << 13)
    assert list(caught.value.refused) == [7, 30]
    words = "cpu of r0: its metadata are too large for a message of 8192 bytes"
    assert set(caught.value.refused.values()) == {words}
    found = [each.volume for one in caught.value.made for each in decode(one, NO_KEYS).samples]
    assert found == list(range(40))
    assert all(len(base64.b64encode(each)) <= 1 << 13 for each in caught.value.made)


@pytest.mark.parametrize(
    "change",
    [{"volume": None}, {"volume": "7"}, {"volume": True}, {"volume": 2**64}, {"volume": -(2**70)},
     {"time": None}, {"time": math.nan}, {"time": math.inf}, {"time": -1.0},
     {"time": 253402300800.0}, {"time": True},
     {"started": "now"}, {"started": math.nan}, {"started": -5e9},
     {"previous": Previous(None, 1)},  # type: ignore[arg-type]
     {"previous": Previous(0.0, 1)}, {"previous": Previous(-1.0, 1)},
     {"previous": Previous(math.nan, 1)}, {"previous": Previous(math.inf, 1)},
     {"previous": Previous(1.0, None)}, {"previous": Previous(1.0, "5")},  # type: ignore[arg-type]
     {"previous": Previous(1.0, 2**64)},
     {"meter": Meter(7, "", SampleType.GAUGE)},  # type: ignore[arg-type]
     {"meter": Meter("m", "", "none")},  # type: ignore[arg-type]
     {"meter": Meter("\ud800", "", SampleType.GAUGE)},
     {"resource": Resource(None, None, None, "host", {})},  # type: ignore[arg-type]
     {"resource": Resource("r\udcff", None, None, "host", {})},
     {"resource": Resource("r", None, None, "host", None)}],  # type: ignore[arg-type]
    ids=repr,
)  # fmt: skip
def test_what_no_reader_would_take_is_named_and_the_others_are_sent(change: dict[str, Any]) -> None:
    samples = [*series(3), sample(**change), *series(2)]
    with pytest.raises(Unsendable, match="1 samples cannot be sent; number 3: ") as caught:
        encoded(samples)
    assert list(caught.value.refused) == [3]
    (frame,) = caught.value.made
    assert len(decode(frame, NO_KEYS).samples) == 5


def test_what_is_unfit_and_what_is_too_large_are_named_together() -> None:
    samples = [sample(volume="no"), *crowd(3), *crowd(1, size=20_000), sample(time=math.nan)]
    with pytest.raises(Unsendable) as caught:
        encoded(samples, limit=1 << 13)
    assert list(caught.value.refused) == [0, 4, 5]
    assert sum(len(decode(each, NO_KEYS).samples) for each in caught.value.made) == 3


def test_the_same_samples_have_the_same_id_and_others_another() -> None:
    """Who sends them once more, for want of an answer, must not make two of them."""
    first, again, other = (
        wire.encode(each, host="h", source="s", sent=moment, queues=1, keys=keys, max_bytes=1 << 20)
        for each, moment, keys in (
            (series(5), 1.0, NO_KEYS),
            (series(5), 2.0, Keys(b"k")),
            (series(6), 1.0, NO_KEYS),
        )
    )
    ids = [decode(each[0], NO_KEYS).id for each in (first, again, other)]
    assert ids[0] == ids[1] != ids[2]
