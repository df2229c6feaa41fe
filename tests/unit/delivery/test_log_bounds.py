# SPDX-License-Identifier: Apache-2.0
"""The durable log at its bounds: the oldest goes first, counted and told."""

import pytest

from ceilo_agent.delivery import logfile
from ceilo_agent.delivery.log import Limits, Offer
from ceilo_agent.sample import Sample
from tests.unit.delivery.logs import METER, RESOURCE, Process


def test_too_many_samples_drop_the_oldest(path, small):
    process = Process(path, ["a", "b"], limits=Limits(max_samples=25))
    for turn in range(10):
        process.offer(range(turn * 7, turn * 7 + 7), "a", "b")
        process.drain("b")
    assert process.counted("a") == (70, 0, 25, 0, 45)
    assert process.counted("b") == (70, 70, 0, 0, 0)
    assert process.drain("a") == list(range(45, 70))


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(max_samples=25), "max_samples is 25, 25 wait"),
        (Limits(max_bytes=3000), "max_bytes is 2.93 KiB, 2."),
    ],
)
def test_the_bound_that_drops_samples_is_named_with_how_full_it_is(
    path, small, limits, why, caplog
):
    process = Process(path, limits=limits)
    for turn in range(60):
        process.offer(range(turn, turn + 7))
    assert process.counted()[-1] > 0
    assert f"of its oldest samples dropped: [delivery] {why}" in caplog.text


def test_what_is_too_old_is_dropped(path, caplog):
    process = Process(path, limits=Limits(max_age=100))
    process.offer(range(3))
    process.clock.now += 60
    process.offer(range(3, 5))
    process.clock.now += 50
    process.log.tick()
    assert process.counted() == (5, 0, 2, 0, 3)
    assert (
        "publisher a: a bound is reached, 3 of its oldest samples dropped: [delivery] max_age is "
        "1.7 min, they waited for longer" in caplog.text
    )
    assert process.drain() == [3, 4]


def test_a_clock_that_was_put_back_drops_nothing(path):
    process = Process(path, limits=Limits(max_age=100))
    process.offer(range(3))
    process.clock.now -= 1000
    process.offer(range(3, 5))
    process = process.stopped()
    process.log.tick()
    assert process.drain() == [0, 1, 2, 3, 4]


def test_too_many_bytes_drop_the_oldest_and_the_file_stays_below(path, monkeypatch):
    limit = 1 << 20
    process = Process(path, ["a", "b"], limits=Limits(max_bytes=limit))
    resources = [f"{n:x}" * 9 for n in range(3000)]
    batch = [
        Sample(METER, type(RESOURCE)(name, None, None, "host", {}), n * 1.1, hash(name) / 7)
        for n, name in enumerate(resources)
    ]
    for _ in range(60):
        process.log.offer([Offer(["a"], batch)])
        process.deliver("a", 100)
    offered, _, waiting, _, dropped = process.counted()
    assert offered == 180_000
    assert dropped > 100_000
    assert waiting > 3000
    assert path.joinpath("log.db").stat().st_size < 1.1 * limit
    got = process.drain()
    assert len(got) == waiting
    assert process.counted()[2:4] == (0, 0)


def test_what_was_set_aside_is_bounded_too(path):
    process = Process(path, limits=Limits(max_bytes=20_000))
    for turn in range(200):
        process.offer(range(turn * 5, turn * 5 + 5))
        process.clock.now += 1
        process.deliver(refused=range(2000))
    offered, delivered, waiting, aside, dropped = process.counted()
    assert (offered, delivered, waiting) == (1000, 0, 0)
    assert 0 < aside < 1000
    assert dropped == 1000 - aside
    assert sum(row[4] for row in process.rows("aside")) == aside
    assert process.rows("aside")[-1][0] == 200, "the newest is kept"


def test_what_is_dropped_while_it_is_delivered_counts_as_delivered(path, small):
    process = Process(path, limits=Limits(max_samples=10))
    process.offer(range(10))
    queue = process.queue()
    taken = queue.take(8)
    process.offer(range(10, 15))
    assert process.counted() == (15, 0, 10, 0, 5)
    queue.done(taken, 8, ())
    assert process.counted() == (15, 8, 7, 0, 0)
    assert process.drain() == list(range(8, 15))


def test_a_file_from_which_much_is_gone_is_made_smaller(path, monkeypatch):
    monkeypatch.setattr(logfile, "SPARE_BYTES", 1 << 20)
    process = Process(path)
    batch = [Sample(METER, RESOURCE, n * 1.1, (n * 7919 % 100_003) / 7) for n in range(5000)]
    while not process.path.exists() or process.path.stat().st_size < 1.2 * logfile.SPARE_BYTES:
        process.log.offer([Offer(["a"], batch)])
    process.drain(most=5000)
    process.clock.now += 10
    process.log.tick()
    assert process.path.stat().st_size < 100_000
    process.offer([1])
    assert process.drain() == [1]
    assert process.log.damaged == 0
