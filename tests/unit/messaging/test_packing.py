# SPDX-License-Identifier: Apache-2.0
"""Samples as bytes and back."""

from types import MappingProxyType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceilo_agent.messaging.packing import pack, unpack
from ceilo_agent.sample import (
    FIRST,
    UNTRACKED,
    Meter,
    Previous,
    Resource,
    Sample,
    SampleType,
    as_document,
)

VOLUMES = st.one_of(
    st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False, allow_infinity=False)
)
METERS = st.builds(Meter, st.text(max_size=20), st.text(max_size=5), st.sampled_from(SampleType))
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.text(max_size=10)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
RESOURCES = st.builds(
    Resource,
    st.text(max_size=40),
    st.one_of(st.none(), st.text(max_size=5)),
    st.one_of(st.none(), st.text(max_size=5)),
    st.just("instance"),
    st.dictionaries(st.text(max_size=10), PLAIN, max_size=4),
)
SAMPLES = st.builds(
    Sample,
    METERS,
    RESOURCES,
    st.floats(0, 4e9),
    VOLUMES,
    st.one_of(
        st.just(UNTRACKED), st.just(FIRST), st.builds(Previous, st.floats(0.001, 1e6), VOLUMES)
    ),
    st.one_of(st.none(), st.floats(0, 4e9)),
    st.one_of(st.none(), st.text(max_size=5)),
)

METER = Meter("cpu", "ns", SampleType.CUMULATIVE)


def whole(sample):
    return (
        as_document(sample),
        sample.resource.type,
        sample.previous,
        sample.started,
        sample.source,
        type(sample.volume),
    )


@given(st.lists(SAMPLES, max_size=5))
def test_what_was_packed_comes_back(samples):
    assert list(map(whole, unpack(pack(samples)))) == list(map(whole, samples))


def test_meters_and_resources_are_shared_again():
    resource = Resource("r", None, None, "instance", {"a": 1})
    made = unpack(pack([Sample(METER, resource, float(n), n) for n in range(3)]))
    assert len({id(sample.meter) for sample in made}) == 1
    assert len({id(sample.resource) for sample in made}) == 1


def test_metadata_that_is_a_mapping_of_another_type_stays_one():
    resource = Resource("r", None, None, "instance", MappingProxyType({"a": MappingProxyType({})}))
    (sample,) = unpack(pack([Sample(METER, resource, 0.0, 1)]))
    assert sample.resource.metadata == {"a": {}}


def test_metadata_that_is_no_plain_value_becomes_text():
    resource = Resource("r", None, None, "instance", {"a": 1 + 2j})
    (sample,) = unpack(pack([Sample(METER, resource, 0.0, 1)]))
    assert sample.resource.metadata == {"a": "(1+2j)"}


def nested(levels):
    made = {}
    for _ in range(levels):
        made = {"a": made}
    return made


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (2**64, 2.0**64),
        (10**400, None),
        ("a\ud800", "a\\ud800"),
        ({"\ud800": [1, (2**70,)]}, {"\\ud800": [1, [2.0**70]]}),
    ],
)
def test_metadata_that_no_bytes_hold_is_put_as_near_as_can_be(value, kept):
    """One such sample of a foreign producer must not keep the others from the journal."""
    odd = Resource("odd", None, None, "instance", {"a": value, "b": True})
    plain = Resource("plain", None, None, "instance", {"a": 2**64 - 1})
    found = unpack(pack([Sample(METER, resource, 0.0, 1) for resource in (odd, plain)]))
    assert [sample.resource.metadata for sample in found] == [
        {"a": kept, "b": True},
        {"a": 2**64 - 1},
    ]


def test_metadata_that_is_nested_without_end_is_cut():
    for metadata in (nested(5000), endless := {}):
        endless["a"] = endless
        odd = Resource("odd", None, None, "instance", metadata)
        (sample,) = unpack(pack([Sample(METER, odd, 0.0, 1)]))
        assert sample.resource.metadata["a"]["a"]["a"]


@pytest.mark.parametrize("cut", [0, 1, 5, -1])
def test_bytes_that_are_no_samples_are_a_value_error(cut):
    data = pack([Sample(METER, Resource("r", None, None, "instance", {}), 0.0, 1)])
    with pytest.raises(ValueError, match="no samples"):
        unpack(data[:cut])


@pytest.mark.parametrize(
    "change",
    [{"volume": None}, {"volume": "7"}, {"volume": True}, {"time": None}, {"started": "now"},
     {"previous": Previous(None, 1)}, {"previous": Previous(1.0, None)}, {"source": 7},
     {"meter": Meter(7, "", SampleType.GAUGE)}, {"meter": Meter("m", None, SampleType.GAUGE)},
     {"resource": Resource(None, None, None, "host", {})},
     {"resource": Resource("r", 7, None, "host", {})},
     {"resource": Resource("r", None, None, "host", None)}],
)  # fmt: skip
def test_what_could_not_be_read_again_is_a_type_error(change):
    good = Sample(METER, Resource("r", None, None, "host", {}), 0.0, 1)
    with pytest.raises(TypeError):
        pack([good, msgspec.structs.replace(good, **change)])


def test_whole_numbers_for_times_are_read_as_such():
    made = Sample(METER, Resource("r", None, None, "host", {}), 1, 2, Previous(10, 1), 0, "s")
    (found,) = unpack(pack([made]))
    assert (found.time, found.previous, found.started) == (1.0, Previous(10.0, 1), 0.0)


COLUMNS = {
    "meter": [0], "resource": [0], "source": [0], "time": [0.0], "volume": [1],
    "elapsed": [True], "before": [0], "started": [None],
}  # fmt: skip


def columns(version=2, **changed):
    made = COLUMNS | changed
    resource = Resource("r", None, None, "host", {})
    return msgspec.msgpack.encode([version, [METER], [resource], ["s"], *made.values()])


def test_the_columns_are_those_of_a_sample():
    (sample,) = unpack(columns())
    assert (sample.meter, sample.previous, sample.source) == (METER, FIRST, "s")


@pytest.mark.parametrize("table", ["meter", "resource", "source"])
def test_a_sample_without_what_it_points_at_is_a_value_error(table):
    with pytest.raises(ValueError, match="no samples"):
        unpack(columns(**{table: [7]}))


@pytest.mark.parametrize("column", COLUMNS)
def test_columns_of_different_lengths_are_a_value_error(column):
    for length in (0, 2):
        with pytest.raises(ValueError, match="no samples: its columns differ in length"):
            unpack(columns(**{column: COLUMNS[column] * length}))


def test_a_later_version_is_a_value_error():
    with pytest.raises(ValueError, match="samples of version 3, 2 was expected"):
        unpack(columns(version=3))
