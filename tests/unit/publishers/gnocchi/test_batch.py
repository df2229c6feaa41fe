# SPDX-License-Identifier: Apache-2.0
"""Samples as the body of a request: sorted, and what Gnocchi would refuse left out."""

from __future__ import annotations

import math

import pytest

from ceilo_agent.publishers.gnocchi.batch import Batch, Route, Sorter
from ceilo_agent.sample import Sample
from tests.unit.publishers.gnocchi.samples import NOW, guest, sample

ROUTES = {"cpu": Route("instance", "low-rate"), "disk": Route("instance_disk", "low")}


def sort(*samples: Sample, drop: bool = False, project: str | None = None) -> Batch:
    sorter = Sorter(lambda name: ROUTES.get(name, Route(None, "low")), {"instance"}, drop=drop)
    sorter.project = project
    return sorter.sort(samples)


def points(batch: Batch, name: str, metric: str) -> list[tuple[str, float]]:
    return [(each.timestamp, each.value) for each in batch.body()[name][metric].measures]


def test_measures_are_grouped_by_resource_and_metric() -> None:
    batch = sort(sample(0), sample(1, 8), sample(0, 1, guest(2)), sample(0, 2, meter="disk"))
    assert points(batch, "guest-1", "cpu") == [
        ("2026-01-01T00:00:00.000000", 7),
        ("2026-01-01T00:00:01.000000", 8),
    ]
    assert points(batch, "guest-2", "cpu") == [("2026-01-01T00:00:00.000000", 1)]
    metric = batch.body()["guest-1"]["cpu"]
    assert (metric.archive_policy_name, metric.unit) == ("low-rate", "ns")
    assert batch.refused == {}


def test_times_are_kept_to_the_microsecond() -> None:
    (only,) = points(sort(sample(0.123456)), "guest-1", "cpu")
    assert only[0] == "2026-01-01T00:00:00.123456"


def test_of_two_values_of_one_time_the_later_is_sent() -> None:
    batch = sort(sample(0, 1), sample(5, 2), sample(0, 3), sample(2, 4), sample(5, 5))
    found = points(batch, "guest-1", "cpu")
    assert sorted(found) == [
        ("2026-01-01T00:00:00.000000", 3),
        ("2026-01-01T00:00:02.000000", 4),
        ("2026-01-01T00:00:05.000000", 5),
    ]


@pytest.mark.parametrize(
    ("volume", "sent"),
    [
        (2**53, 2**53),
        (2**53 + 1, float(2**53)),
        (2**64 - 1, 2.0**64),
        (-(2**63), -(2.0**63)),
        (0.1, 0.1),
        (10**300, 1e300),
    ],
)
def test_volumes_are_sent_as_a_double_holds_them(volume: float, sent: float) -> None:
    ((_, value),) = points(sort(sample(0, volume)), "guest-1", "cpu")
    assert value == sent
    assert isinstance(value, float) or abs(value) <= 2**53


@pytest.mark.parametrize("volume", [math.nan, math.inf, -math.inf, 10**400])
def test_what_is_no_double_is_refused_alone(volume: float) -> None:
    batch = sort(sample(0), sample(1, volume), sample(2))
    assert list(batch.refused) == [1]
    assert "no value of" in batch.refused[1]
    assert len(points(batch, "guest-1", "cpu")) == 2


@pytest.mark.parametrize("time", [-1.0, math.nan, math.inf, 1e12])
def test_a_time_that_gnocchi_cannot_hold_is_refused_alone(time: float) -> None:
    batch = sort(sample(time - NOW), sample(2))
    assert list(batch.refused) == [0]
    assert "no time of" in batch.refused[0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "empty resource id"),
        ("x" * 290, "above 289"),
        ("a\0b", "NUL"),
        ("a\udc80", "surrogate"),
    ],
)
def test_a_resource_id_that_gnocchi_cannot_hold_is_refused_alone(name: str, said: str) -> None:
    batch = sort(sample(0), sample(0, 1, guest(id=name)), sample(1))
    assert list(batch.refused) == [1]
    assert said in batch.refused[1]


@pytest.mark.parametrize(
    ("name", "said"),
    [("", "empty"), ("a/b", "'/'"), ("x" * 256, "above 255"), ("a\0", "NUL"), ("\ud800", "NUL")],
)
def test_a_name_of_a_metric_that_gnocchi_cannot_hold_is_refused_alone(name: str, said: str) -> None:
    batch = sort(sample(0), sample(0, meter=name))
    assert list(batch.refused) == [1]
    assert said in batch.refused[1]


def test_units_are_cut_or_left_out() -> None:
    long, wrong, none = "u" * 40, "\udc80", ""
    batch = sort(*(sample(meter=f"m{n}", unit=unit) for n, unit in enumerate((long, wrong, none))))
    units = [metric.unit for metric in batch.body()["guest-1"].values()]
    assert units == ["u" * 31, None, None]


def test_a_slash_in_an_id_becomes_an_underscore_as_in_ceilometer() -> None:
    batch = sort(sample(0, 1, guest(id="a/b")), sample(1, 2, guest(id="a_b")))
    assert len(points(batch, "a_b", "cpu")) == 2


def test_spellings_of_one_uuid_are_one_resource() -> None:
    spelled = "4F1C54E5D2A84B7C8B9E1A2B3C4D5E6F"
    other = "4f1c54e5-d2a8-4b7c-8b9e-1a2b3c4d5e6f"
    batch = sort(sample(0, 1, guest(id=spelled)), sample(1, 2, guest(id=other)))
    assert list(batch.owners) == [other]
    assert len(points(batch, spelled, "cpu")) == 2


def test_a_meter_of_no_type_goes_to_the_type_of_its_resource_if_there_is_one_else_generic() -> None:
    batch = sort(
        sample(meter="other", resource=guest(1)),
        sample(meter="other", resource=guest(2, type="unheard")),
    )
    assert [owner.kind for owner in batch.owners.values()] == ["instance", "generic"]


def test_a_type_that_maps_counts_before_one_that_does_not() -> None:
    owner = guest(1, type="unheard")
    for order in ((0, 1), (1, 0)):
        both = [sample(meter="other", resource=owner), sample(5, meter="disk", resource=owner)]
        (found,) = sort(*(both[n] for n in order)).owners.values()
        assert found.kind == "instance_disk"
        assert found.sample.meter.name == "disk"


def test_left_out_by_choice_is_counted_by_meter() -> None:
    batch = sort(sample(), sample(meter="other"), sample(1, meter="other"), drop=True)
    assert batch.left_out == {"other": 2}
    assert batch.refused == {}
    assert list(batch.body()["guest-1"]) == ["cpu"]


def test_a_project_can_be_left_out() -> None:
    batch = sort(
        sample(resource=guest(1)),
        sample(resource=guest(2, project_id="swift")),
        sample(resource=guest(id="swift", project_id=None)),
        project="swift",
    )
    assert list(batch.body()) == ["guest-1"]
    assert batch.left_out == {"cpu": 2}


def test_the_newest_sample_speaks_for_the_resource() -> None:
    old, new = guest(metadata={"n": 1}), guest(metadata={"n": 2})
    for order in ((0, 1), (1, 0)):
        both = [sample(0, resource=old), sample(5, resource=new)]
        (found,) = sort(*(both[n] for n in order)).owners.values()
        assert found.resource is new


def test_who_is_refused_takes_all_its_samples_along() -> None:
    batch = sort(sample(), sample(resource=guest(2)), sample(1), sample(2, math.nan))
    batch.refuse("guest-1", "no flavor")
    assert list(batch.body()) == ["guest-2"]
    assert batch.refused[0] == batch.refused[2] == "no flavor"
    assert sorted(batch.refused) == [0, 2, 3]
