# SPDX-License-Identifier: Apache-2.0
"""Ceilometer's sample messages, read and written."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import strategies as st

from ceilo_agent.messaging.ceilometer import Decoded, decode, encode
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.message import Reason, Rejected, Unsendable
from ceilo_agent.messaging.packing import pack, unpack
from ceilo_agent.messaging.signature import Signer, Text
from ceilo_agent.sample import FIRST, UNTRACKED, Meter, Resource, Sample, SampleType
from tests.fuzzing import twice
from tests.unit.messaging.test_ceilometer_signature import SIGNED

SECRET = SIGNED[0]["secret"].encode()
SIGNING = Keys(SECRET)
OPEN = Keys()
LIMIT = 1 << 20

METER = Meter("cpu", "ns", SampleType.CUMULATIVE)
RESOURCE = Resource("9f", "p", "u", "instance", {"host": "kvm-1", "flavor": {"vcpus": 1}})
TIME = 1769860800.25

POLLED: dict[str, Any] = SIGNED[0]["document"]


def document(**changed: Any) -> dict[str, Any]:
    return {**POLLED, **changed}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in POLLED.items() if key != name}


def one(made: Any, keys: Keys = OPEN) -> Sample:
    found = decode({"samples": [made]}, keys)
    assert not found.refused
    (sample,) = found.samples
    return sample


def sample(**changed: Any) -> Sample:
    made = Sample(METER, RESOURCE, TIME, 7, FIRST, 1.7e9, "all")
    return msgspec.structs.replace(made, **changed)


def over_the_wire(samples: list[Sample], keys: Keys = OPEN, limit: int = LIMIT) -> list[Any]:
    """Return payloads as they are read, with JSON in JSON as oslo.messaging has it."""
    found = encode(samples, keys=keys, max_bytes=limit)
    sent = [json.dumps({"oslo.message": json.dumps({"payload": each})}) for each in found]
    assert all(len(each) <= limit for each in sent)
    return [json.loads(json.loads(each)["oslo.message"])["payload"] for each in sent]


# -- read ----------------------------------------------------------------------------------------


def test_a_sample_of_ceilometer_is_read() -> None:
    found = one(POLLED, SIGNING)
    assert found.meter == METER
    assert (found.resource.id, found.resource.project_id, found.resource.user_id) == (
        "9f",
        "p",
        "u",
    )
    assert found.resource.type == "instance"
    assert found.resource.metadata == POLLED["resource_metadata"]
    assert found.time == datetime.fromisoformat("2026-01-31T12:00:00.25+00:00").timestamp()
    assert found.volume == 2**64 - 1
    assert (found.previous, found.started, found.source) == (UNTRACKED, None, None)


@pytest.mark.parametrize("wrap", [list, lambda each: {"samples": each}])
def test_a_message_is_a_mapping_or_the_list_alone(wrap: Any) -> None:
    assert len(decode(wrap([POLLED, POLLED]), SIGNING).samples) == 2
    assert decode(wrap([]), SIGNING) == Decoded([], [])


@pytest.mark.parametrize("payload", [None, "x", 1, {}, {"samples": None}, {"samples": {}}])
def test_what_holds_no_samples_is_rejected(payload: Any) -> None:
    with pytest.raises(Rejected) as caught:
        decode(payload, OPEN)
    assert caught.value.reason is Reason.UNKNOWN


@pytest.mark.parametrize(
    ("meter", "kind"),
    [
        ("cpu", "instance"),
        ("disk.device.read.bytes", "instance_disk"),
        ("network.incoming.bytes", "instance_network_interface"),
        ("volume.size", "volume"),
    ],
)
def test_the_meter_says_what_kind_of_resource_it_is_of(meter: str, kind: str) -> None:
    assert one(document(counter_name=meter)).resource.type == kind


def test_samples_of_a_message_share_meters_and_resources() -> None:
    whole = {"samples": [document(), document(message_id="2"), document(counter_name="memory")]}
    first, second, third = decode(json.loads(json.dumps(whole)), OPEN).samples
    assert first.meter is second.meter
    assert first.resource is second.resource is third.resource


@pytest.mark.parametrize(
    "changed",
    [{"project_id": "q"}, {"user_id": None}, {"resource_metadata": {}}, {"resource_id": "a0"}],
)
def test_what_differs_is_not_shared(changed: dict[str, Any]) -> None:
    first, second, third = decode([POLLED, document(**changed), POLLED], OPEN).samples
    assert first.resource is not second.resource
    assert second.resource.project_id == changed.get("project_id", "p")
    assert second.resource.user_id == changed.get("user_id", "u")
    assert second.resource.id == changed.get("resource_id", "9f")
    assert msgspec.structs.asdict(first.resource) == msgspec.structs.asdict(third.resource)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T12:00:00", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31T12:00:00.250000", "2026-01-31T12:00:00.250000+00:00"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31T14:00:00.5+02:00", "2026-01-31T12:00:00.5+00:00"),
        ("2026-01-31 12:00:00.123456789", "2026-01-31T12:00:00.123456+00:00"),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(text: str, expected: str) -> None:
    assert one(document(timestamp=text)).time == datetime.fromisoformat(expected).timestamp()


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        (0, 0),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        (2**64, float(2**64)),
        (0.5, 0.5),
        ("12.50", 12.5),
        ("18446744073709551615", 2**64 - 1),
        (" 1e3 ", 1000.0),
        (True, 1),
    ],
)
def test_volumes_are_what_ceilometer_takes(volume: Any, expected: Any) -> None:
    found = one(document(counter_volume=volume)).volume
    assert (found, type(found)) == (expected, type(expected))


ODD: list[tuple[str, Any]] = [
    ("counter_name", None), ("counter_name", ""), ("counter_name", ["cpu"]),
    ("counter_name", "\ud800"), ("counter_unit", "\ud800"),
    ("counter_type", "sum"), ("counter_type", {}),
    ("counter_volume", None), ("counter_volume", "many"), ("counter_volume", []),
    ("counter_volume", float("nan")), ("counter_volume", float("inf")),
    ("counter_volume", "nan"), ("counter_volume", "9" * 5000), ("counter_volume", 10**400),
    ("resource_id", None), ("resource_id", ""), ("resource_id", 1), ("resource_id", {}),
    ("resource_id", "\ud800"), ("project_id", 1), ("user_id", ["u"]), ("user_id", "\ud800"),
    ("timestamp", None), ("timestamp", ""), ("timestamp", "now"), ("timestamp", "x" * 1000),
    ("timestamp", 1.7e9), ("timestamp", []), ("timestamp", "1969-12-31T23:59:59"),
    ("timestamp", "9999-12-31T23:59:59-23:59"),
    ("resource_metadata", "x"), ("resource_metadata", [1]),
]  # fmt: skip

NEEDED = (
    "counter_name", "counter_type", "counter_unit", "counter_volume", "resource_id", "timestamp"
)  # fmt: skip

BAD: list[Any] = [
    None,
    "x",
    [],
    *[without(name) for name in NEEDED],
    *[document(**{name: value}) for name, value in ODD],
]


@pytest.mark.parametrize("bad", BAD, ids=map(str, range(len(BAD))))
def test_a_sample_that_is_none_costs_no_other(bad: Any) -> None:
    # Twice: what was refused once must not be taken for known.
    found = decode({"samples": [POLLED, bad, bad, POLLED]}, OPEN)
    assert len(found.samples) == 2
    assert [each.document for each in found.refused] == [bad, bad]
    assert {each.reason for each in found.refused} == {Reason.MALFORMED}
    assert all(0 < len(each.words) < 400 for each in found.refused)


def test_a_sample_without_metadata_or_owner_is_one() -> None:
    made = {key: value for key, value in POLLED.items() if not key.endswith(("_id", "_metadata"))}
    found = one({**made, "resource_id": "9f"}).resource
    assert (found.project_id, found.user_id, found.metadata) == (None, None, {})


def test_metadata_however_deep_cost_no_other_sample() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"a": deep}
    found = decode([POLLED, document(resource_metadata=deep), POLLED], SIGNING)
    assert len(found.samples) == 2
    assert len(found.refused) == 1


# -- the signature -------------------------------------------------------------------------------


def test_all_that_ceilometer_signed_is_verified() -> None:
    for secret in {each["secret"] for each in SIGNED}:
        documents = [each["document"] for each in SIGNED if each["secret"] == secret]
        assert not decode(documents, Keys(secret.encode())).refused


@pytest.mark.parametrize(
    "keys", [SIGNING, Keys(b"new", SECRET), Keys(SECRET, b"old")], ids=["one", "old", "new"]
)
def test_every_secret_that_is_accepted_is_tried(keys: Keys) -> None:
    assert len(decode([each["document"] for each in SIGNED[:7]], keys).samples) == 7


@pytest.mark.parametrize(
    "changed",
    [
        {"counter_volume": 1},
        {"resource_id": "other"},
        {"timestamp": "2026-01-31T12:00:01"},
        {"resource_metadata": {}},
        {"message_signature": ""},
        {"message_signature": None},
        {"message_signature": "ä"},
        {"message_signature": POLLED["message_signature"].upper()},
        {"more": 1},
    ],
)
def test_what_was_changed_on_the_way_is_refused(changed: dict[str, Any]) -> None:
    found = decode([POLLED, document(**changed), POLLED], SIGNING)
    assert len(found.samples) == 2
    assert [each.reason for each in found.refused] == [Reason.SIGNATURE]


def test_what_is_not_signed_is_refused_where_a_secret_is_given_and_taken_elsewhere() -> None:
    plain = without("message_signature")
    (refused,) = decode([plain], SIGNING).refused
    assert (refused.document, refused.reason) == (plain, Reason.SIGNATURE)
    assert one(plain).meter == METER
    assert one(POLLED, Keys()).meter == METER


@pytest.mark.parametrize("other", [{"n": 1}, {"n": 1.0}, {"n": True}])
def test_equal_metadata_that_are_written_otherwise_are_verified_as_they_are(
    other: dict[str, Any],
) -> None:
    def signed(metadata: dict[str, Any]) -> dict[str, Any]:
        made = document(resource_metadata=metadata)
        return made | {"message_signature": Signer(SECRET)(Text.exact(made))}

    assert not decode([signed({"n": 1}), signed(other), signed({"n": 1})], SIGNING).refused


def test_fields_that_hold_more_than_ceilometer_s_are_verified() -> None:
    made = document(source={"a": ["b"]}, more=["x"])
    made["message_signature"] = Signer(SECRET)(Text.exact(made))
    assert one(made, SIGNING).volume == POLLED["counter_volume"]


def test_what_a_signature_cannot_be_of_costs_no_other_sample() -> None:
    long = document(resource_metadata={"k" * 400_000: {str(number): 1 for number in range(20_000)}})
    found = decode([POLLED, long, POLLED], SIGNING)
    assert len(found.samples) == 2
    assert [each.reason for each in found.refused] == [Reason.TOO_LARGE]


# -- written -------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", [OPEN, SIGNING])
def test_what_is_written_is_read_again(keys: Keys) -> None:
    volumes = (0, 2**64 - 1, 0.1)
    samples = [sample(volume=each, time=TIME + n) for n, each in enumerate(volumes)]
    (payload,) = over_the_wire(samples, keys)
    found = decode(payload, keys)
    assert not found.refused
    for before, after in zip(samples, found.samples, strict=True):
        assert (before.meter, before.time, before.volume) == (after.meter, after.time, after.volume)
        assert type(before.volume) is type(after.volume)
        assert msgspec.structs.asdict(before.resource) == msgspec.structs.asdict(after.resource)


def test_a_document_is_ceilometer_s() -> None:
    ((made,),) = (each["samples"] for each in over_the_wire([sample()], SIGNING))
    assert list(made) == list(POLLED)
    assert made["source"] == "openstack"
    assert made["timestamp"] == "2026-01-31T12:00:00.250000"
    assert made["counter_type"] == "cumulative"
    assert made["user_name"] is made["project_name"] is made["monotonic_time"] is None
    assert UUID(made["message_id"]).version == 1
    assert made["message_signature"] == Signer(SECRET)(Text.exact(made))
    ((plain,),) = (each["samples"] for each in over_the_wire([sample()]))
    assert plain["message_signature"] == ""


def test_a_message_has_at_most_fifty_samples_in_their_order() -> None:
    samples = [sample(volume=n) for n in range(120)]
    payloads = over_the_wire(samples)
    assert [len(each["samples"]) for each in payloads] == [50, 50, 20]
    read = [each.volume for payload in payloads for each in decode(payload, OPEN).samples]
    assert read == list(range(120))
    assert encode([], keys=OPEN, max_bytes=LIMIT) == []


@pytest.mark.parametrize("filling", ["a", '"\\', "é", "\x00", "\U0001f600"])
def test_a_message_is_no_larger_than_allowed(filling: str) -> None:
    resource = Resource("r", None, None, "instance", {"text": filling * 500})
    payloads = over_the_wire([sample(resource=resource)] * 40, SIGNING, limit=1 << 14)
    assert sum(len(each["samples"]) for each in payloads) == 40
    assert 1 < len(payloads) < 40


def test_samples_that_no_message_holds_cost_no_others() -> None:
    large = sample(resource=Resource("big", None, None, "instance", {"text": "x" * LIMIT}))
    broken = sample(resource=Resource("\ud800", None, None, "instance", {}))
    samples = [sample(volume=0), large, sample(volume=2), broken, sample(volume=float("nan"))]
    with pytest.raises(Unsendable) as caught:
        encode(samples, keys=SIGNING, max_bytes=LIMIT)
    assert sorted(caught.value.refused) == [1, 3, 4]
    assert "cpu of big: its metadata are too large" in caught.value.refused[1]
    (payload,) = caught.value.made
    assert [each.volume for each in decode(payload, SIGNING).samples] == [0, 2]
    assert "3 samples cannot be sent; number 1: cpu of big" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, 2), [1, 2]),
        (float("nan"), None),
        (2**70, float(2**70)),
        ("\ud800", "\\ud800"),
        (datetime(2026, 1, 31), "2026-01-31T00:00:00"),
        ({1: "a"}, {"1": "a"}),
    ],
)
def test_metadata_are_signed_as_they_are_read(value: Any, expected: Any) -> None:
    resource = Resource("r", None, None, "instance", {"a": value})
    (payload,) = over_the_wire([sample(resource=resource)], SIGNING)
    found = decode(payload, SIGNING)
    assert not found.refused
    assert found.samples[0].resource.metadata == {"a": expected}


@pytest.mark.parametrize("other", [1.0, True])
def test_equal_metadata_that_are_written_otherwise_are_signed_as_they_are(other: Any) -> None:
    resources = [Resource("r", None, None, "instance", {"n": n, "f": {"n": n}}) for n in (1, other)]
    (payload,) = over_the_wire([sample(resource=each) for each in resources * 2], SIGNING)
    for each in payload["samples"]:
        assert each["message_signature"] == Signer(SECRET)(Text.exact(each))


# -- whatever comes ------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
DOCUMENTS = st.dictionaries(st.sampled_from(sorted(POLLED)), JSON).map(lambda each: POLLED | each)


def whatever_comes(payload: Any, keys: Keys) -> None:
    try:
        found = decode(payload, keys)
    except Rejected:
        return
    documents = payload if isinstance(payload, list) else payload["samples"]
    assert len(found.samples) + len(found.refused) == len(documents)
    for each in found.samples:
        assert each.time >= 0
        assert type(each.volume) in (int, float)
    assert len(unpack(pack(found.samples))) == len(found.samples)


test_whatever_comes_is_samples_or_set_aside, test_whatever_comes_long = twice(
    whatever_comes,
    JSON | st.lists(JSON | DOCUMENTS) | st.fixed_dictionaries({"samples": st.lists(DOCUMENTS)}),
    st.sampled_from([OPEN, SIGNING]),
    short=200,
    long=20_000,
)
