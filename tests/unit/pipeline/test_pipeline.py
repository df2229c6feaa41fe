# SPDX-License-Identifier: Apache-2.0
"""A pipeline at work: what comes out, also over reloads."""

import json
import math
import os
import threading
import time

import pytest

from ceilo_agent.definition.pipeline import load
from ceilo_agent.delivery.log import Limits
from ceilo_agent.errors import ConfigError, Permanent
from ceilo_agent.pipeline.pipeline import Pipeline
from ceilo_agent.sample import Previous
from tests.unit.pipeline.workbench import (
    CONTEXT,
    COUNTER,
    START,
    SUMS,
    all_waiting,
    away,
    batch,
    sample,
    steered,
    wait_until,
)

# -- batches in ----------------------------------------------------------------------------------


def test_what_is_no_number_is_counted_and_costs_only_itself(bench):
    pipeline = bench.pipeline(raw=[])
    wrong = (math.nan, math.inf, None, "7", True)
    pipeline.accept(batch(sample(1, 7), *(sample(2, volume) for volume in wrong), sample(3, 8)))
    pipeline.close(5)
    assert bench.volumes("raw") == [7, 8]
    assert pipeline.invalid == 5


def test_a_pipeline_that_keeps_nothing_on_disk_makes_nothing_there(bench):
    pipeline = bench.pipeline(raw_memory=[])
    pipeline.accept(batch(sample(1, 7)))
    pipeline.tick(START + 60)
    pipeline.close(5)
    assert bench.volumes("raw_memory") == [7]
    assert not bench.spool.exists()


def test_a_rate_from_the_sample_alone_makes_no_file(bench):
    pipeline = bench.pipeline(rates_memory=[{"name": "rate_of_change"}])
    tracked = sample(1, 100, meter=COUNTER, previous=Previous(10.0, 50))
    pipeline.accept(batch(tracked))
    pipeline.tick(START + 60)
    pipeline.close(5)
    assert bench.volumes("rates_memory") == [5.0]
    assert [path.name for path in bench.spool.iterdir()] == ["lock"]


def test_without_a_directory_all_waits_in_memory(bench):
    bench.write(raw=[], sums=[SUMS])
    pipeline = Pipeline(load(bench.path), CONTEXT)
    pipeline.open()
    pipeline.accept(batch(sample(1, 5), sample(2, 6)))
    pipeline.tick(START + 10)
    pipeline.close(5)
    assert bench.volumes("raw") == [5, 6]
    assert bench.volumes("sums") == [11]
    assert not bench.spool.exists()


def test_a_second_pipeline_on_the_directory_is_refused_by_the_first_ones_name(bench):
    first = bench.pipeline(raw=[])
    with pytest.raises(ConfigError) as refused:
        bench.pipeline(raw=[])
    (fault,) = refused.value.faults
    assert str(bench.spool) in str(fault)
    assert str(os.getpid()) in str(fault)
    assert fault.hint
    first.accept(batch(sample(1, 7)))
    first.close(5)
    assert bench.volumes("raw") == [7]
    bench.pipeline(raw=[]).close(5)


def test_a_start_that_is_refused_gives_the_directory_back(bench):
    bench.write(raw=[])
    bench.path.write_text(bench.path.read_text().replace("file://", "file:///nowhere"))
    with pytest.raises(ConfigError):
        Pipeline(load(bench.path), CONTEXT, bench.spool).open()
    bench.pipeline(raw=[]).close(5)


# -- what waits ----------------------------------------------------------------------------------


def test_a_publisher_that_is_away_holds_up_nobody_else(bench):
    pipeline = bench.pipeline(raw=[], other=[], other_memory=[], sums=[SUMS])
    steered(pipeline, "raw").push = away
    for number in range(100):
        pipeline.accept(batch(sample(number / 20, number)))
    pipeline.tick(START + 10)
    wait_until(lambda: all_waiting(pipeline) == 100)
    assert bench.volumes("other") == list(range(100))
    assert bench.volumes("sums") == [4950]
    assert pipeline.outlets["to-raw"].waiting == 100
    pipeline.close(5)
    assert sorted(bench.volumes("other_memory")) == list(range(100))
    for _ in range(2):
        again = bench.pipeline(raw=[], other=[])
        wait_until(lambda again=again: not all_waiting(again))
        again.close(5)
        assert bench.volumes("raw") == list(range(100))
    assert bench.volumes("other") == list(range(100))
    found = {name: (c.offered, c.delivered) for name, c in again.counters.items()}
    assert found["to-raw"] == found["to-other"] == (100, 100)


def test_a_batch_that_comes_after_the_end_is_no_fault(bench):
    pipeline = bench.pipeline(raw=[], raw_memory=[], sums=[SUMS])
    pipeline.close(5)
    pipeline.accept(batch(sample(1, 5)))
    pipeline.tick(START + 10)
    pipeline.close(5)
    assert pipeline.counters["to-raw_memory"].dropped == 1
    bench.pipeline(raw=[], raw_memory=[], sums=[SUMS]).close(5)


def test_what_is_refused_is_set_aside_over_a_restart(bench):
    pipeline = bench.pipeline(raw=[], raw_memory=[])

    def push(samples):
        raise Permanent("odd ones", {n: "odd" for n, s in enumerate(samples) if s.volume % 2})

    for sink in ("raw", "raw_memory"):
        steered(pipeline, sink).push = push
    pipeline.accept(batch(*(sample(number, number) for number in range(10))))
    pipeline.close(5)
    counters = pipeline.counters
    assert (counters["to-raw"].delivered, counters["to-raw"].set_aside) == (5, 5)
    assert (counters["to-raw_memory"].delivered, counters["to-raw_memory"].dropped) == (5, 5)
    again = bench.pipeline(raw=[])
    assert again.counters["to-raw"].set_aside == 5
    again.close(5)


def test_one_copy_is_written_for_all_sinks_without_steps(bench):
    pipeline = bench.pipeline(raw=[], other=[], third=[SUMS], fourth=[])
    offered = []
    offer = pipeline.log.offer
    pipeline.log.offer = lambda offers, part=None: offered.extend(offers) or offer(offers, part)
    pipeline.accept(batch(sample(1, 5)))
    assert [offer.publishers for offer in offered] == [["to-raw", "to-other", "to-fourth"]]
    pipeline.close(5)
    assert bench.volumes("raw") == bench.volumes("other") == bench.volumes("fourth") == [5]


def test_bounds_may_change_at_work(bench):
    pipeline = bench.pipeline(raw=[])
    steered(pipeline, "raw").push = away
    pipeline.limit(Limits(max_samples=3))
    for number in range(5):
        pipeline.accept(batch(sample(number, number)))
    pipeline.tick(START)
    counters = pipeline.counters["to-raw"]
    assert (counters.offered, counters.dropped, counters.waiting) == (5, 2, 3)
    pipeline.close(5)


def test_a_publisher_that_comes_to_wait_on_disk_gets_what_waited_in_memory(bench):
    pipeline = bench.pipeline(sums_memory=[SUMS])
    steered(pipeline, "sums_memory").push = away
    pipeline.accept(batch(sample(1, 5)))
    pipeline.tick(START + 10)
    pipeline.close(0.1)
    bench.url = lambda _: f"file://{bench.directory}/sums"
    for _ in range(2):
        pipeline = bench.pipeline(sums_memory=[])
        wait_until(lambda pipeline=pipeline: not all_waiting(pipeline))
        pipeline.close(5)
        assert bench.volumes("sums") == [5]


def test_windows_close_on_the_timer_and_originals_go_their_way(bench):
    pipeline = bench.pipeline(raw=[], sums=[SUMS])
    pipeline.accept(batch(sample(1, 5), sample(2, 6)))
    pipeline.tick(START + 9)
    pipeline.accept(batch(sample(9, 7), sample(11, 100)))
    pipeline.tick(START + 10)
    pipeline.close(5)
    assert bench.volumes("raw") == [5, 6, 7, 100]
    assert bench.volumes("sums") == [18]


def test_windows_behind_windows_outlive_a_restart(bench):
    longer = {"name": "aggregator", "parameters": SUMS["parameters"] | {"retention_time": 20}}
    for second in range(51):
        pipeline = bench.pipeline(sums=[SUMS, longer])
        pipeline.accept(batch(sample(second)))
        pipeline.tick(START + second)
        pipeline.close(5)
    assert bench.volumes("sums") == [20, 20]


# -- reload --------------------------------------------------------------------------------------


def test_a_window_goes_on_over_a_reload_and_counters_too(bench):
    pipeline = bench.pipeline(raw=[], sums=[SUMS])
    pipeline.accept(batch(sample(1, 5), sample(1, None)))
    bench.replace(pipeline, sums=[SUMS], more=[])
    pipeline.accept(batch(sample(2, 6), sample(2, None)))
    pipeline.tick(START + 10)
    pipeline.close(5)
    assert bench.volumes("sums") == [11]
    assert bench.volumes("raw") == [5]
    assert bench.volumes("more") == [6]
    assert pipeline.invalid == 2
    offered = {name: c.offered for name, c in pipeline.counters.items()}
    assert offered == {"to-raw": 1, "to-sums": 1, "to-more": 1}


def test_the_first_publisher_that_waits_on_disk_may_come_with_a_reload(bench):
    pipeline = bench.pipeline(raw_memory=[])
    pipeline.accept(batch(sample(1, 5)))
    assert not bench.spool.exists()
    bench.replace(pipeline, raw_memory=[], raw=[], sums_memory=[SUMS])
    pipeline.accept(batch(sample(2, 6)))
    bench.replace(pipeline, raw_memory=[])
    pipeline.accept(batch(sample(3, 7)))
    pipeline.close(5)
    assert bench.volumes("raw") == [6]
    assert sorted(bench.volumes("raw_memory")) == [5, 6, 7]
    again = bench.pipeline(sums_memory=[SUMS])
    again.tick(START + 10)
    again.close(5)
    assert bench.volumes("sums_memory") == [6]


def test_a_reload_that_needs_a_directory_which_another_holds_is_refused(bench):
    pipeline = bench.pipeline(raw_memory=[])
    other = bench.pipeline(raw=[])
    bench.write(raw_memory=[], more=[])
    with pytest.raises(ConfigError, match=str(os.getpid())):
        pipeline.prepare(load(bench.path), CONTEXT)
    pipeline.accept(batch(sample(1, 5)))
    pipeline.close(5)
    assert bench.volumes("raw_memory") == [5]
    other.close(5)


def test_a_publisher_that_is_renamed_takes_over_what_waits(bench):
    pipeline = bench.pipeline(raw=[])
    steered(pipeline, "raw").push = away
    pipeline.accept(batch(sample(1, 5)))
    document = json.loads(bench.path.read_text().replace("to-raw", "renamed"))
    document["publishers"]["renamed"] += "?backup_count=4"
    bench.path.write_text(json.dumps(document))
    pipeline.replace(pipeline.prepare(load(bench.path), CONTEXT))
    pipeline.accept(batch(sample(2, 6)))
    wait_until(lambda: not all_waiting(pipeline))
    pipeline.close(5)
    assert bench.volumes("raw") == [5, 6]
    assert {name: c.delivered for name, c in pipeline.counters.items()} == {"renamed": 2}


def test_an_edit_that_is_taken_back_finds_the_window_as_it_was(bench):
    pipeline = bench.pipeline(sums=[SUMS])
    pipeline.accept(batch(sample(1, 5)))
    bench.replace(pipeline, raw=[])
    pipeline.accept(batch(sample(2, 6)))
    bench.replace(pipeline, sums=[SUMS])
    pipeline.accept(batch(sample(3, 7)))
    pipeline.tick(START + 10)
    pipeline.close(5)
    assert bench.volumes("sums") == [12]


def test_what_cannot_be_opened_leaves_all_as_it_is(bench):
    pipeline = bench.pipeline(raw=[], sums=[SUMS])
    pipeline.accept(batch(sample(1, 5)))
    before = (pipeline.sinks, pipeline.routes, pipeline.outlets)
    bench.path.write_text(bench.path.read_text().replace("file://", "file:///nowhere"))
    with pytest.raises(ConfigError):
        pipeline.prepare(load(bench.path), CONTEXT)
    assert (pipeline.sinks, pipeline.routes, pipeline.outlets) == before
    pipeline.accept(batch(sample(2, 6)))
    pipeline.tick(START + 10)
    pipeline.close(5)
    assert bench.volumes("raw") == [5, 6]
    assert bench.volumes("sums") == [11]


def test_a_file_that_was_prepared_can_be_given_up(bench):
    pipeline = bench.pipeline(raw=[])
    bench.write(raw=[], other=[])
    pipeline.discard(pipeline.prepare(load(bench.path), CONTEXT))
    pipeline.accept(batch(sample(1)))
    pipeline.close(5)
    assert bench.volumes("raw") == [1]
    assert bench.volumes("other") == []


THREADS, BATCHES = 4, 400


def test_reloads_under_load_lose_and_double_nothing(bench):
    """Four threads, twenty reloads, half of them of files that are refused."""
    files = [
        {"raw": [], "sums": [SUMS]},
        {"sums": [SUMS], "raw": []},
        {"raw": [], "sums": [SUMS], "third": []},
    ]
    pipeline = bench.pipeline(**files[0])
    done = [0] * THREADS

    def feed(number):
        for turn in range(BATCHES):
            first = (number * BATCHES + turn) * 3
            pipeline.accept(
                batch(*(sample(turn % 100, first + n, f"{number}-{turn}-{n}") for n in range(3)))
            )
            done[number] = turn + 1

    threads = [threading.Thread(target=feed, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    refused = 0
    for turn in range(20):
        # Spread over the load: a reload of its own for each twentieth of it.
        while sum(done) < turn * THREADS * BATCHES / 20 and any(t.is_alive() for t in threads):
            time.sleep(0.001)
        bench.write(**files[turn % 3])
        if turn % 2:
            text = bench.path.read_text()
            half = text[: len(text) // 2] if turn % 4 == 1 else text.replace("/raw", "/none/raw")
            bench.path.write_text(half)
        try:
            pipeline.replace(pipeline.prepare(load(bench.path), CONTEXT))
        except ConfigError:
            refused += 1
        pipeline.tick(START)
    for thread in threads:
        thread.join()
    pipeline.tick(START + 1000)
    pipeline.close(20)
    assert refused == 10
    expected = list(range(THREADS * BATCHES * 3))
    assert sorted(bench.volumes("raw")) == expected
    assert sorted(bench.volumes("sums")) == expected, "each is the only one of its window"
    assert pipeline.journal.counters.repeated == 0
    assert sum(sink.chain.lost for sink in pipeline.sinks.values()) == 0
    for counters in pipeline.counters.values():
        assert counters.offered == counters.delivered
