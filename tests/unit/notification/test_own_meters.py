# SPDX-License-Identifier: Apache-2.0
"""What a worker says of itself."""

from __future__ import annotations

from ceilo_agent.meters.catalogue import catalogue
from ceilo_agent.notification.own_meters import Figures, OwnMeters
from ceilo_agent.sample import FIRST, Previous, SampleType

FIRST_FIGURES = Figures(7, 1.5, 100, 5000, 2, 1, 40)


def test_it_says_what_the_catalogue_has() -> None:
    own = OwnMeters("node-7", 3, 60, lambda: FIRST_FIGURES, started=900.0)
    batch = own.batch(1000.0, 50.0)
    assert batch is not None
    assert batch.source is None, "sources take them by their names"
    found = {sample.meter.name: sample for sample in batch.samples}
    entries = {entry.name: entry for entry in catalogue("notification").meters}
    assert found.keys() == entries.keys()
    for name, sample in found.items():
        entry = entries[name]
        assert (sample.meter.unit, sample.meter.type) == (entry.unit, entry.type)
        assert sample.resource.type == entry.kind
        assert (sample.time, sample.previous) == (1000.0, FIRST)
        counted = entry.type is SampleType.CUMULATIVE
        assert sample.started == (900.0 if counted else None)
    assert {name: found[f"notification.{name}"].volume for name in ("backlog", "samples")} == {
        "backlog": 7,
        "samples": 5000,
    }
    (resource,) = {id(sample.resource): sample.resource for sample in batch.samples}.values()
    assert resource.id == "node-7-notification-3"
    assert resource.metadata == {"host": "node-7", "worker": "3"}


def test_every_figure_has_a_meter() -> None:
    assert [entry.read for entry in catalogue("notification").meters] == list(Figures._fields)


def test_it_says_so_once_in_an_interval_and_with_the_reading_before() -> None:
    figures = [FIRST_FIGURES, FIRST_FIGURES._replace(samples=6000)]
    own = OwnMeters("h", 0, 60, lambda: figures.pop(0), started=0.0)
    assert own.batch(1000.0, 50.0) is not None
    assert own.batch(1059.0, 109.0) is None
    # The wall clock may be set; the other one is not.
    assert own.batch(5.0, 109.9) is None
    batch = own.batch(1060.5, 110.5)
    assert batch is not None
    found = {sample.meter.name: sample for sample in batch.samples}
    assert found["notification.samples"].previous == Previous(60.5, 5000)
    assert found["notification.samples"].volume == 6000


def test_what_is_not_known_is_absent() -> None:
    figures = [FIRST_FIGURES._replace(backlog=None, lag=None), FIRST_FIGURES]
    own = OwnMeters("h", 0, 1, lambda: figures.pop(0), started=0.0)
    first = own.batch(1000.0, 50.0)
    assert first is not None
    names = {sample.meter.name for sample in first.samples}
    assert not names & {"notification.backlog", "notification.lag"}
    second = own.batch(1001.0, 51.0)
    assert second is not None
    found = {sample.meter.name: sample.previous for sample in second.samples}
    assert found["notification.backlog"] is FIRST
    assert isinstance(found["notification.letters"], Previous)
