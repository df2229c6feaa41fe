# SPDX-License-Identifier: Apache-2.0
"""Names of groups and members as they stand in a back end."""

from __future__ import annotations

import pytest

from ceilo_agent.coordination import names


@pytest.mark.parametrize("name", ["ceilo_agent.central", "ctl-1.example|1|01a2", "[::1]|2|0"])
def test_most_names_stand_there_as_they_are(name: str) -> None:
    assert names.written(name) == name.encode()
    assert names.read(name.encode()) == name


@pytest.mark.parametrize("name", ["a/b-central", "zürich|1|0", "100%41", "a\nb", "100%"])
def test_all_others_are_ascii_without_a_slash_and_read_as_they_were(name: str) -> None:
    text = names.written(name)
    assert text.isascii()
    assert b"/" not in text
    assert names.read(text) == name


def test_what_other_programs_write_is_read_whatever_it_is() -> None:
    assert names.read(b"\xff|1|%ff%zz") == "\ufffd|1|\ufffd%zz"
