# SPDX-License-Identifier: Apache-2.0
"""The state that foreign series need: bounded, small, and as quick for many as for few."""

import gc
import logging
import time
import tracemalloc
import uuid

import msgspec
import pytest

from ceilo_agent.pipeline.transformers.last_seen import LastSeen
from ceilo_agent.sample import Meter, Resource, Sample, SampleType
from tests.unit.pipeline.transformers.written import counter, transformer

METER = Meter("cpu", "ns", SampleType.CUMULATIVE)


def cycle(number, series, offset=0):
    """Return a sample per series; nothing is shared with another cycle, as after decoding."""
    at = 1.7e9 + 60.0 * number
    return [
        Sample(METER, Resource(str(uuid.UUID(int=n + offset)), None, None, "", {}), at, at * 10 + n)
        for n in range(series)
    ]


def replace(seen, name, at, volume):
    resource = Resource(name, None, None, "instance", {})
    return seen.replace(counter("a", volume, at, resource=resource), volume)


def test_what_was_read_in_the_older_generation_moves_to_the_young_one():
    seen = LastSeen(100.0)
    seen.tick(0.0)
    replace(seen, "x", 1.0, 1)
    seen.tick(100.0)
    assert replace(seen, "x", 101.0, 2) == (100.0, 1)
    assert len(seen) == 1
    seen.tick(200.0)
    assert replace(seen, "x", 201.0, 3) == (100.0, 2)


def test_it_forgets_what_was_not_seen_for_longest_when_it_is_full(caplog):
    seen = LastSeen(1e9, series=100)
    with caplog.at_level(logging.WARNING):
        for number in range(1000):
            replace(seen, str(number), 1.0, number)
            assert len(seen) <= 200
    assert replace(seen, "999", 2.0, 0) == (1.0, 999)
    assert replace(seen, "0", 2.0, 0) is None
    (record,) = caplog.records
    assert "more than 100 series come without their previous reading" in record.getMessage()


def test_a_clock_that_is_set_back_does_not_stop_forgetting():
    seen = LastSeen(100.0)
    seen.tick(1e9)
    replace(seen, "x", 1.0, 1)
    for now in (0.0, 100.0, 200.0):
        seen.tick(now)
    assert len(seen) == 0


def test_dump_and_load_keep_both_generations_and_the_time():
    seen, other = LastSeen(100.0, series=3), LastSeen(100.0, series=3)
    seen.tick(0.0)
    replace(seen, "old", 1.0, 2**64 - 1)
    seen.tick(100.0)
    replace(seen, "young", 101.0, 1.5)
    other.load(seen.dump())
    assert len(other) == 2
    assert other.dump() == seen.dump()
    other.tick(199.0)
    assert replace(other, "old", 200.0, 0) == (199.0, 2**64 - 1)
    other.tick(200.0)
    other.tick(300.0)
    assert replace(other, "young", 301.0, 0) is None


def test_a_dump_of_a_later_version_is_refused():
    with pytest.raises(ValueError, match="readings of version 2, 1 was expected"):
        LastSeen(1.0).load(msgspec.msgpack.encode((2, None, [], [])))


def test_a_series_takes_at_most_300_bytes():
    series = 22_000  # a little over 2/3 of 2**15: a dictionary has just grown, the worst case
    rate = transformer("rate_of_change")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        held = []
        for number in range(3):
            rate(cycle(number, series))
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0] - before)
            rate.tick(3600.0 * number)  # the next cycle moves every series to the young generation
    finally:
        tracemalloc.stop()
    assert max(held) / series <= 300


@pytest.mark.long
def test_the_cost_of_a_sample_does_not_grow_with_the_series():
    costs = {}
    for series in (1_000, 1_000_000):
        rate = transformer("rate_of_change")
        rate(cycle(0, series))
        best = float("inf")
        for number in range(1, 4):
            batch = cycle(number, series)
            began = time.process_time()
            assert len(rate(batch)) == series
            best = min(best, time.process_time() - began)
            del batch
        costs[series] = best / series
    assert costs[1_000_000] <= 10 * costs[1_000]
