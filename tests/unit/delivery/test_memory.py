# SPDX-License-Identifier: Apache-2.0
"""The queue in memory: order, bounds, and counters that always add up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from ceilo_agent.delivery.memory import MemoryQueue
from ceilo_agent.delivery.queues import Counters, Refused
from tests.fuzzing import twice


def adds_up(queue: MemoryQueue) -> bool:
    c = queue.counters
    return c.offered == c.delivered + queue.waiting + c.set_aside + c.dropped


def taken(queue: MemoryQueue, most: int = 1000) -> list[Any]:
    """Take and be done with it."""
    found = queue.take(most)
    if found is None:
        return []
    queue.done(found, len(found.samples), ())
    return list(found.samples)


def test_batches_are_cut_and_joined_to_the_size_asked_for() -> None:
    queue = MemoryQueue("x")
    for first in range(0, 30, 3):
        queue.offer(range(first, first + 3))
    sizes = []
    got = []
    while part := taken(queue, 7):
        sizes.append(len(part))
        got += part
    assert got == list(range(30))
    assert sizes == [7, 7, 7, 7, 2]
    assert queue.waiting == 0
    assert queue.take(5) is None


def test_what_was_taken_stays_until_it_is_done() -> None:
    queue = MemoryQueue("x")
    queue.offer([1, 2, 3])
    assert queue.take(2).samples == [1, 2]
    again = queue.take(2)
    assert again.samples == [1, 2]
    assert not again.again
    queue.done(again, 2, ())
    assert queue.take(2).samples == [3]
    assert queue.counters == Counters(offered=3, delivered=2)


def test_what_is_refused_is_dropped() -> None:
    queue = MemoryQueue("x")
    queue.offer([1, 2, 3])
    queue.done(queue.take(3), 1, [Refused(1, "no"), Refused(3, "no")])
    assert queue.counters == Counters(offered=3, delivered=1, dropped=2)


def test_the_oldest_go_first_and_are_told(caplog: pytest.LogCaptureFixture) -> None:
    queue = MemoryQueue("x", max_samples=10)
    for first in range(0, 24, 4):
        queue.offer(range(first, first + 4))
    assert queue.waiting == 10
    assert taken(queue) == list(range(14, 24))
    assert queue.counters == Counters(offered=24, delivered=10, dropped=14)
    assert "publisher x: the queue in memory is full (10 samples), 2 oldest dropped" in caplog.text


def test_a_batch_larger_than_the_queue_is_not_cut() -> None:
    queue = MemoryQueue("x", max_samples=10)
    queue.offer(range(5))
    queue.offer(range(5, 30))
    assert taken(queue) == list(range(5, 30))
    assert queue.counters.dropped == 5


def test_what_was_dropped_while_it_was_delivered_counts_as_delivered() -> None:
    queue = MemoryQueue("x", max_samples=10)
    queue.offer(range(10))
    under_way = queue.take(6)
    queue.offer(range(10, 14))
    assert queue.counters.dropped == 4
    queue.done(under_way, 6, ())
    assert queue.counters == Counters(offered=14, delivered=6)
    assert taken(queue) == list(range(6, 14))
    queue.offer(range(5))
    under_way = queue.take(5)
    queue.offer(range(20))
    queue.done(under_way, 3, [Refused(0, "no"), Refused(1, "no")])
    assert queue.counters == Counters(offered=39, delivered=17, dropped=2)
    assert queue.waiting == 20


def test_it_calls_when_there_is_more() -> None:
    queue = MemoryQueue("x")
    calls = []
    queue.listen(lambda: calls.append(queue.waiting))
    queue.offer([1])
    queue.offer([2])
    queue.listen(None)
    queue.offer([3])
    assert calls == [1, 2]


def test_what_is_settled_is_done_or_dropped_for_want_of_room() -> None:
    queue = MemoryQueue("x", max_samples=10)
    first = queue.offer([1, 2])
    assert not queue.settled(first)
    second = queue.offer([3])
    queue.done(queue.take(2), 2, ())
    assert (queue.settled(first), queue.settled(second)) == (True, False)
    queue.offer(range(10))
    assert queue.settled(second)
    last = queue.offer(range(3))
    assert queue.close() == 10
    assert not queue.settled(last), "it was never tried"
    assert queue.waiting == 0
    assert adds_up(queue)


def test_what_is_done_after_the_end_is_told_after_all() -> None:
    queue = MemoryQueue("x")
    mark = queue.offer([1, 2])
    under_way = queue.take(5)
    assert queue.close() == 2
    queue.done(under_way, 2, ())
    assert queue.counters == Counters(offered=2, delivered=2)
    assert queue.settled(mark)
    late = queue.offer([3])
    assert not queue.settled(late)
    assert queue.counters == Counters(offered=3, delivered=2, dropped=1)
    assert queue.take(1) is None


def model(steps: list[tuple[str, int]]) -> None:
    """Against a list: what is under way is dropped from its front like all else."""
    queue = MemoryQueue("x", max_samples=20)
    waits: list[int] = []
    dropped: set[int] = set()
    delivered: list[int] = []
    under_way = None
    refused = 0
    number = 0
    for what, count in steps:
        if what == "offer":
            new = list(range(number, number + count))
            number += count
            waits += new
            queue.offer(new)
            while len(waits) > max(20, count):
                dropped.add(waits.pop(0))
        elif what == "take":
            under_way = queue.take(count)
            assert (list(under_way.samples) if under_way else []) == waits[:count]
        elif under_way is not None:
            taken = list(under_way.samples)
            bad = taken[::count]
            queue.done(under_way, len(taken) - len(bad), [Refused(each, "no") for each in bad])
            waits = [each for each in waits if each > taken[-1]]
            dropped -= set(taken)
            delivered += [each for each in taken if each not in bad]
            refused += len(bad)
            under_way = None
        assert queue.waiting == len(waits)
        assert queue.counters == Counters(number, len(delivered), 0, len(dropped) + refused)


test_it_does_as_a_list_does, test_it_does_as_a_list_does_long = twice(
    model,
    st.lists(st.tuples(st.sampled_from(["offer", "take", "done"]), st.integers(1, 30))),
    short=200,
    long=20_000,
)
