# SPDX-License-Identifier: Apache-2.0
"""A count that grows is told, and not over and over."""

from __future__ import annotations

import pytest

from ceilo_agent.notification import growing


def test_growth_is_told_at_once_then_once_a_minute_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    moment = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: moment)
    made = growing.Growing("%s")
    made.tell({"more": 0})
    made.tell({"more": 3})
    made.tell({"more": 5})
    moment += growing.TELL_EVERY
    made.tell({"more": 9})
    made.tell({"more": 10})
    made.tell({"more": 10}, now=True)
    made.tell({"more": 10}, now=True)
    assert [record.message for record in caplog.records] == ["3 more", "6 more", "1 more"]
