# SPDX-License-Identifier: Apache-2.0
"""What an unquoted scalar means."""

import pytest

from ceilo_agent.definition.scalars import resolve

VALUES = {
    "": None,
    "~": None,
    "null": None,
    "NULL": None,
    "true": True,
    "Yes": True,
    "on": True,
    "False": False,
    "NO": False,
    "off": False,
    "0": 0,
    "-5": -5,
    "+5": 5,
    "1_000": 1000,
    "-1_000_000": -1_000_000,
    "18446744073709551615": 2**64 - 1,
    "1.5": 1.5,
    "-.5": -0.5,
    "1.": 1.0,
    "1e9": 1e9,
    "2.5E-3": 0.0025,
}
TEXTS = [
    "cpu",
    "tRue",
    "y",
    "010",
    "0x10",
    "0o17",
    "1:30",
    "2026-01-31",
    ".inf",
    "-.INF",
    ".nan",
    "nan",
    "inf",
    "1e999",
    "1.2.3",
    "1e",
    "e5",
    ".",
    "-",
    "60s",
    "60_",
    "1__0",
    "_1",
    "٣",
    "9" * 41,
    "1." + "0" * 63,
]


@pytest.mark.parametrize(("text", "value"), VALUES.items())
def test_value(text, value):
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", TEXTS)
def test_text_stays_as_written(text):
    assert resolve(text) == text
