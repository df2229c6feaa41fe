# SPDX-License-Identifier: Apache-2.0
"""Attributes as a resource type takes them."""

from __future__ import annotations

from typing import Any

import pytest

from ceilo_agent.publishers.gnocchi.fitting import changed, fit, lacking

TEXT = {"type": "string", "required": False, "min_length": 0, "max_length": 5}
SCHEMA: dict[str, dict[str, Any]] = {
    "text": TEXT,
    "long": TEXT | {"min_length": 3},
    "uuid": {"type": "uuid", "required": False},
    "moment": {"type": "datetime", "required": False},
    "number": {"type": "number", "required": False, "min": 0, "max": 10},
    "truth": {"type": "bool", "required": False},
}
UUID = "4f1c54e5-d2a8-4b7c-8b9e-1a2b3c4d5e6f"


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        ("text", "abc", "abc"),
        ("text", "abcdefgh", "abcde"),
        ("text", 42, "42"),
        ("text", "a\0\udc80", "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"),
        ("uuid", UUID.upper().replace("-", ""), UUID),
        ("moment", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000"),
        ("moment", "2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00.000000"),
        ("moment", "2026-01-31 12:00:00.5", "2026-01-31T12:00:00.500000"),
        ("number", 3, 3.0),
        ("number", "3.5", 3.5),
        ("truth", True, True),
        ("project_id", "p" * 300, "p" * 255),
    ],
)
def test_values_take_the_form_of_their_type(name: str, value: Any, sent: Any) -> None:
    fitted = fit(SCHEMA, {name: value})
    assert fitted.values == {name: sent}
    assert type(fitted.values[name]) is type(sent)
    assert not fitted.wrong
    # What Gnocchi shows of it is no change.
    shown = {"uuid": sent, "moment": f"{sent}+00:00"}.get(name, sent)
    assert changed(SCHEMA, fitted.values, {name: shown}) == {}
    assert changed(SCHEMA, fitted.values, {name: None}) == {name: sent}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", {"a": 1}),
        ("text", True),
        ("long", "ab"),
        ("uuid", "guest-1"),
        ("moment", "yesterday"),
        ("moment", ["2026"]),
        ("moment", "0001-01-01T00:00:00"),
        ("moment", "9999-12-31T23:59:59+00:00"),
        ("number", 11),
        ("number", "nan"),
        ("number", True),
        ("truth", "yes"),
    ],
)
def test_what_does_not_fit_is_left_out_and_named(name: str, value: Any) -> None:
    fitted = fit(SCHEMA, {name: value, "text": "x"} if name != "text" else {name: value})
    assert name not in fitted.values
    assert list(fitted.wrong) == [name]


def test_none_is_nothing_and_what_the_type_does_not_have_is_named() -> None:
    fitted = fit(SCHEMA, {"text": None, "other": 1})
    assert fitted.values == {}
    assert fitted.unknown == ("other",)


def test_required_texts_may_be_filled_others_lack() -> None:
    schema = {
        "a": TEXT | {"required": True},
        "b": TEXT | {"required": True, "min_length": 1},
        "c": {"type": "uuid", "required": True},
        "d": TEXT | {"required": True},
    }
    assert lacking(schema, {"d": "x"}) == ({"a": ""}, ["b", "c"])
