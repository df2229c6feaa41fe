# SPDX-License-Identifier: Apache-2.0
"""The signature of Ceilometer's samples; `ceilometer_signed.json` was signed by Ceilometer 27."""

from __future__ import annotations

import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceilo_agent.messaging import signature
from ceilo_agent.messaging.signature import Signer, Text

SIGNED: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("ceilometer_signed.json").read_text("utf-8")
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
@pytest.mark.parametrize("make", [Text(), Text.exact], ids=["as a rule", "exact"])
def test_what_ceilometer_signed_is_signed_alike(vector: dict[str, Any], make: Any) -> None:
    signed = vector["document"]
    assert Signer(vector["secret"].encode())(make(signed)) == signed[signature.KEY]


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


def test_text_that_is_none_cannot_be_signed() -> None:
    for make in (Text(), Text.exact):
        with pytest.raises(UnicodeEncodeError):
            make(document(resource_id="\ud800"))
