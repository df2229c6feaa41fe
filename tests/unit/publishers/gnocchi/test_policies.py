# SPDX-License-Identifier: Apache-2.0
"""Archive policies: timespans as Gnocchi reads them, and what differs from those that are there."""

from __future__ import annotations

from typing import Any

import pytest

from ceilo_agent.publishers.gnocchi.policies import seconds
from tests.unit.publishers.gnocchi.conftest import Loaded

SPANS = [
    (300, 300), (0.5, 0.5), ("300", 300), ("5 minutes", 300), ("1 second", 1), ("30 days", 2592000),
    ("365 days", 31536000), ("1h", 3600), ("1h30m", 5400), ("1 hr, 30 mins", 5400), ("2w", 1209600),
    ("1 week 1 day", 691200), ("1.5 hours", 5400), ("90s", 90), ("5:00", 300), ("1:05:00", 3900),
    ("0:05:00", 300), ("1:00:00:00", 86400), ("1 day, 0:05:00", 86700), (":30", 30),
    ("30 days, 0:00:00", 2592000), ("0:00:00.500000", 0.5), ("1 Minute", 60),
]  # fmt: skip
"""As Gnocchi 4.7.1 reads them (gnocchi.utils.to_timespan)."""


@pytest.mark.parametrize(("written", "value"), SPANS)
def test_a_timespan_is_read_as_gnocchi_reads_it(written: Any, value: float) -> None:
    assert seconds(written) == value


@pytest.mark.parametrize("written", ["", " ", "x", "1 month", "5 minuts", -1, 0, True, None, "nan"])
def test_what_is_no_timespan(written: Any) -> None:
    assert seconds(written) is None


def policy(loaded: Loaded, written: str) -> Any:
    found = loaded(f"archive_policies: [{written}]").archive_policies
    return next(iter(found.values()))


THERE = {
    "name": "p",
    "back_window": 0,
    "aggregation_methods": ["mean", "max"],
    "definition": [
        {"granularity": "1:00:00", "points": 24, "timespan": "1 day, 0:00:00"},
        {"granularity": "0:01:00", "points": 60, "timespan": "1:00:00"},
    ],
}


@pytest.mark.parametrize(
    "written",
    [
        (
            "{name: p, aggregation_methods: [max, mean], definition: "
            "[{granularity: 60, points: 60}, {timespan: 1 day, points: 24}]}"
        ),
        (
            '{name: p, back_window: "0", definition: [{granularity: 1m, timespan: 1h, points: 60}, '
            "{granularity: 1 hour, timespan: 24 hours}]}"
        ),
        (
            '{name: p, aggregation_methods: ["*"], definition: [{granularity: 60, timespan: 3659}, '
            "{granularity: 3600, timespan: 1 day}]}"
        ),
    ],
)
def test_the_same_policy_in_other_words(loaded: Loaded, written: str) -> None:
    assert policy(loaded, written).differences(THERE) == []


def test_another_policy_of_the_same_name_is_told(loaded: Loaded) -> None:
    written = (
        "{name: p, back_window: 2, aggregation_methods: [mean, 'rate:mean'], "
        "definition: [{granularity: 60, timespan: 30 days}, {granularity: 1 day}]}"
    )
    assert policy(loaded, written).differences(THERE) == [
        "keeps 60 s for 3600 s, 3600 s for 86400 s and not 60 s for 30 days, 86400 s for ever",
        "does not aggregate by rate:mean",
        "aggregates by max besides",
        "has a back_window of 0, not 2",
    ]
