# SPDX-License-Identifier: Apache-2.0
"""The signature of Ceilometer's samples; `tests/vectors/ceilometer` was signed by Ceilometer 27."""

from __future__ import annotations

import hmac
import json
import operator
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceilo_agent.messaging import signature
from ceilo_agent.messaging.message import Reason, Rejected
from ceilo_agent.messaging.signature import LARGEST, Signer, Text
from tests.pages import ROOT

SIGNED: list[dict[str, Any]] = json.loads(
    (ROOT / "tests/vectors/ceilometer/signed.json").read_text("utf-8")
)

WORDS = st.text(max_size=5).filter(lambda text: text.isascii() or text.isprintable())
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS
NESTED = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3)
)
METADATA = st.dictionaries(WORDS, NESTED, max_size=6)


def document(**changed: Any) -> dict[str, Any]:
    return {**SIGNED[0]["document"], **changed}


@pytest.mark.parametrize("vector", SIGNED, ids=lambda each: str(each["case"]))
def test_what_ceilometer_signed_is_signed_alike(vector: dict[str, Any]) -> None:
    signed = vector["document"]
    sign = Signer(vector["secret"].encode())
    assert sign(Text.exact(signed)) == sign(written(signed)) == signed[signature.KEY]
    if not any(isinstance(signed[key], dict) for key in signed if key != signature.METADATA):
        assert sign(Text()(signed)) == signed[signature.KEY]


def written(document: dict[str, Any]) -> bytes:
    """Write a sample as Ceilometer's form is described, one pair after the other."""
    found: list[tuple[str, Any]] = []

    def take(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key in sorted(value):
                take(f"{name}:{key}", value[key])
        else:
            found.append((name, value))

    for key in sorted(document):
        take(key, document[key])
    texts = [
        f"{name}{python(value) if isinstance(value, list) else value}"
        for name, value in found
        if name != signature.KEY
    ]
    return "".join(texts).encode()


def python(value: Any) -> str:
    """Write what is in a list as Python does, with text as bytes."""
    if isinstance(value, list):
        return f"[{', '.join(map(python, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{python(k)}: {python(value[k])}' for k in sorted(value))}}}"
    return repr(value.encode() if isinstance(value, str) else value)


@given(st.lists(METADATA, max_size=5), st.dictionaries(WORDS, NESTED, max_size=2))
def test_what_is_signed_is_what_is_described(found: list[Any], more: dict[str, Any]) -> None:
    text = Text(operator.is_)
    for number, metadata in enumerate([*found, *found]):
        changed = document(resource_id=str(number % 2), resource_metadata=metadata)
        assert text(changed) == Text.exact(changed) == written(changed)
        assert Text.exact(changed | more) == written(changed | more)


@given(st.binary(max_size=200), st.binary(max_size=300))
def test_a_signer_computes_the_hmac(secret: bytes, data: bytes) -> None:
    sign = Signer(secret)
    assert sign(data) == sign(data) == hmac.digest(secret, data, "sha256").hex()


@given(st.lists(METADATA, max_size=5))
def test_samples_of_a_message_are_written_as_each_alone(found: list[dict[str, Any]]) -> None:
    text = Text()
    for number, metadata in enumerate(found):
        # Through JSON, which makes other objects of equal ones.
        whole = json.dumps(document(resource_id=str(number), resource_metadata=metadata))
        assert text(json.loads(whole)) == text(json.loads(whole)) == Text.exact(json.loads(whole))


@pytest.mark.parametrize("key", [key for key in SIGNED[0]["document"] if key != signature.KEY])
def test_every_field_is_signed(key: str) -> None:
    changed = document(**{key: {"other": 1} if key == signature.METADATA else "other"})
    assert Text()(changed) != Text()(document())


def test_metadata_of_another_sample_are_not_taken_for_those_of_this_one() -> None:
    text = Text()
    before = text(document(resource_metadata={"a": 1}))
    assert text(document(resource_metadata={"a": 2})) != before
    assert text(document(resource_metadata={"a": 1}, resource_id="other")) != before
    assert text(document(resource_metadata={"a": 1})) == before


@pytest.mark.parametrize("other", [True, 1.0])
def test_metadata_that_are_equal_and_written_otherwise_have_an_exact_form(other: object) -> None:
    text = Text()
    text(document(resource_metadata={"a": 1}))
    exact = text.exact(document(resource_metadata={"a": other}))
    assert f"resource_metadata:a{other}".encode() in exact


@pytest.mark.parametrize("keys", [(), ("resource_metadata",), ("a", "resource_metadata", "z%")])
def test_other_fields_than_ceilometer_s_are_signed_as_they_are(keys: tuple[str, ...]) -> None:
    made: dict[str, Any] = dict.fromkeys(keys, "x")
    if keys:
        made["resource_metadata"] = {"k%": "%s"}
    assert Text()(made) == Text.exact(made)


@pytest.mark.parametrize("number", [0, 1])
def test_mappings_of_one_kind_may_hold_other_types(number: int) -> None:
    text = Text()
    values: list[Any] = ["a", {"b": "c"}, ["d"], None, {}, {"b": {"c": ["d"]}}, {"b": ["c"]}, "%s"]
    for each in [*values, *values]:
        made = document(resource_metadata={"x": each, "y": number}, resource_id=str(each))
        assert text(made) == Text.exact(made)


def chain(levels: int, key: str, inner: dict[str, Any]) -> dict[str, Any]:
    for _ in range(levels):
        inner = {key: inner}
    return inner


MANY: dict[str, Any] = {str(number): 1 for number in range(20_000)}

TOO_MANY: dict[str, dict[str, Any]] = {
    "a long key": {"k" * 400_000: MANY},
    "long keys": {f"{number}{'k' * 4000}": dict(list(MANY.items())[:4000]) for number in range(25)},
    "keys around": chain(900, "k", MANY),
    "long keys around": chain(180, "k" * 5000, {"a": 1}),
    "mappings": {"k" * 200_000: {key: {"a": 1} for key in MANY}},
}


@pytest.mark.parametrize("case", TOO_MANY)
@pytest.mark.parametrize("make", [Text(), Text.exact], ids=["as a rule", "exact"])
def test_what_a_short_message_says_at_length_is_not_written(case: str, make: Any) -> None:
    made = document(resource_metadata=TOO_MANY[case])
    assert len(json.dumps(made)) < LARGEST / 3
    tracemalloc.start()
    try:
        with pytest.raises(Rejected, match="larger than") as caught:
            make(made)
        assert tracemalloc.get_traced_memory()[1] < 8 * LARGEST
    finally:
        tracemalloc.stop()
    assert caught.value.reason is Reason.TOO_LARGE


def test_mappings_may_be_nested_as_deeply_as_json_can_be() -> None:
    made = document(resource_metadata=chain(900, "k", {"a": 1}))
    assert Text()(made) == Text.exact(made)
    assert f"{':k' * 900}:a1".encode() in Text.exact(made)


def test_text_that_is_none_cannot_be_signed() -> None:
    for make in (Text(), Text.exact):
        with pytest.raises(UnicodeEncodeError):
            make(document(resource_id="\ud800"))
