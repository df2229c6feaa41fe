# SPDX-License-Identifier: Apache-2.0
"""accumulator: samples are held back and go on together."""

import pytest

from ceilo_agent.sample import Meter, Resource, Sample, SampleType
from tests.unit.pipeline.transformers.kinds import START, build

MEMORY = Meter("memory.usage", "MB", SampleType.GAUGE)


def sample(number, resource="vm-1", time=None, source=None):
    owner = Resource(resource, None, None, "instance", {})
    at = START + (number if time is None else time)
    return Sample(MEMORY, owner, at, number, source=source)


def volumes(samples):
    return [each.volume for each in samples]


def test_size_is_one_by_default_so_that_every_sample_goes_on_at_once():
    """Ceilometer: size 1, which let a sample go at the end of its message."""
    made = build("accumulator", "{}")
    assert volumes(made([sample(1)])) == [1]
    assert volumes(made([sample(2), sample(3)])) == [2, 3]


def test_samples_are_held_until_there_are_size_of_them_and_all_go_in_order():
    """Ceilometer: flush when len >= size gave ALL in arrival order. Here too."""
    made = build("accumulator", "{size: 4}")
    assert volumes(made([sample(1), sample(3)])) == []
    assert volumes(made([sample(2), sample(5), sample(4), sample(6)])) == [1, 3, 2, 5, 4, 6]
    assert volumes(made([sample(7)])) == []


def test_samples_of_all_resources_count():
    """Ceilometer: the count is across all resources. Here too."""
    made = build("accumulator", "{size: 3}")
    assert volumes(made([sample(1, "vm-1"), sample(2, "vm-2")])) == []
    assert volumes(made([sample(3, "vm-3")])) == [1, 2, 3]


def test_they_go_on_as_they_were():
    held = [sample(1), sample(2)]
    assert all(a is b for a, b in zip(build("accumulator", "{size: 2}")(held), held, strict=True))


@pytest.mark.parametrize("size", [0, -1])
def test_a_size_below_one_holds_none(size):
    """Ceilometer: pass-through, but each flush raised AttributeError. Here: nothing is raised."""
    made = build("accumulator", f"{{size: {size}}}")
    assert volumes(made([sample(1), sample(2)])) == [1, 2]
    assert made.key(sample(1)) is None
    assert list(made.tick(START)) == []


def test_a_timer_lets_go_what_is_not_enough():
    """Ceilometer: without enough samples nothing ever left. Here: retention_time lets it go."""
    made = build("accumulator", "{size: 100, retention_time: 30}")
    made([sample(1)])
    assert list(made.tick(START)) == []
    made([sample(2)])
    assert list(made.tick(START + 29)) == []
    assert volumes(made.tick(START + 30)) == [1, 2]
    assert list(made.tick(START + 100)) == []


def test_retention_time_alone_holds_any_number():
    """Ceilometer's trap, a size of 1 beside retention_time, is none here."""
    made = build("accumulator", "{retention_time: 30}")
    assert volumes(made([sample(number) for number in range(1000)])) == []
    made.tick(START)
    assert len(made.tick(START + 30)) == 1000


def test_what_is_held_is_bounded():
    """Ceilometer: unbounded memory until size. Here: 100,000 at the most."""
    made = build("accumulator", "{retention_time: 30}")
    assert len(made([sample(number) for number in range(99_999)])) == 0
    assert len(made([sample(-1)])) == 100_000


def test_the_samples_survive_a_restart():
    """Ceilometer: lost on restart. Here: the state holds them."""
    made = build("accumulator", "{size: 3}")
    made([sample(1), sample(2)])
    other = build("accumulator", "{size: 3}")
    other.load(made.dump())
    assert volumes(other([sample(3)])) == [1, 2, 3]


def test_a_sample_that_comes_twice_counts_once():
    made = build("accumulator", "{size: 3}")
    assert volumes(made([sample(1), sample(2)])) == []
    assert volumes(made([sample(1), sample(2)])) == []
    assert volumes(made([sample(3)])) == [1, 2, 3]
    assert made.dropped == {"it came before": 2}


def test_the_same_time_of_another_series_is_another_sample():
    made = build("accumulator", "{size: 2}")
    assert made([sample(1, source="a", time=5)]) == []
    assert volumes(made([sample(1, source="b", time=5)])) == [1, 1]


def test_a_volume_that_is_no_number_is_counted_and_the_others_stay():
    made = build("accumulator", "{size: 2}")
    assert volumes(made([sample(1), sample(float("nan")), sample(2)])) == [1, 2]
    assert made.dropped == {"its volume is no number": 1}


def test_every_meter_goes_through_unchanged():
    assert build("accumulator", "{size: 9}").outcome([MEMORY]) == [MEMORY]
