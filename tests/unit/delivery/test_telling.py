# SPDX-License-Identifier: Apache-2.0
"""What is logged of a publisher: news, not each try."""

from __future__ import annotations

import pytest

from ceilo_agent.delivery.queues import Refused
from ceilo_agent.delivery.telling import KINDS_AT_MOST, TELL_EVERY, Telling
from ceilo_agent.sample import Meter, Resource, Sample, SampleType

SAMPLE = Sample(
    Meter("cpu", "ns", SampleType.CUMULATIVE), Resource("guest", None, None, "instance", {}), 1.0, 2
)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def refused(*reasons: str) -> list[Refused]:
    return [Refused(SAMPLE, reason) for reason in reasons]


def test_the_same_reason_is_told_once_a_minute_with_the_number_since(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    telling = Telling("store", clock)
    telling.refuses(refused("too old"), more=False)
    for _ in range(30):
        telling.refuses(refused("too old", "too old"), more=False)
    assert caplog.messages == ["publisher store: 1 sample refused: too old"]
    clock.now += TELL_EVERY
    telling.refuses(refused("too old"), more=False)
    assert caplog.messages[1:] == ["publisher store: 61 samples refused: too old"]


def test_another_reason_is_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    telling = Telling("store", Clock())
    telling.refuses(refused("too old", "no number", "too old"), more=False)
    telling.loses(3, "no number")
    assert sorted(caplog.messages) == [
        "publisher store: 1 sample refused: no number",
        "publisher store: 2 samples refused: too old",
        "publisher store: 3 samples dropped: no number",
    ]


def test_what_differs_each_time_makes_no_other_reason(caplog: pytest.LogCaptureFixture) -> None:
    telling = Telling("store", Clock())
    for port in range(40_000, 40_100):
        telling.refuses(refused(f"port {port} says no"), more=False)
    assert caplog.messages == ["publisher store: 1 sample refused: port 40000 says no"]


def test_parts_of_a_batch_are_told_together(caplog: pytest.LogCaptureFixture) -> None:
    telling = Telling("store", Clock())
    telling.refuses(refused("too old"), more=True)
    telling.refuses([], more=True)
    assert caplog.messages == []
    telling.refuses(refused("too old"), more=False)
    assert caplog.messages == ["publisher store: 2 samples refused: too old"]


def test_reasons_without_end_do_not_fill_the_memory() -> None:
    telling = Telling("store", Clock())
    for letter in range(3 * KINDS_AT_MOST):
        telling.refuses(refused(f"reason {chr(300 + letter)}"), more=False)
    assert len(telling._untold) == KINDS_AT_MOST
