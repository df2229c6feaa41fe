# SPDX-License-Identifier: Apache-2.0
"""What becomes of samples: offered = delivered + waiting + set aside + dropped, always."""

import logging
import random
import time

import pytest

from ceilo_agent.delivery import attempt
from ceilo_agent.delivery.attempt import Backoff
from ceilo_agent.delivery.memory import MemoryQueue
from ceilo_agent.delivery.outlet import Outlet
from ceilo_agent.errors import Permanent, Retryable
from tests.unit.delivery.steered import Kept, Store, adds_up, close, opened, wait_until

pytestmark = pytest.mark.usefixtures("quick")


# -- in order ------------------------------------------------------------------------------------


def test_samples_arrive_in_order(store):
    made = opened(store)
    for first in range(0, 1000, 10):
        made.queue.offer(range(first, first + 10))
    close(made)
    assert store.taken == list(range(1000))
    assert made.counters.delivered == 1000
    assert store.closed
    assert adds_up(made)


def test_a_backlog_goes_in_whole_batches(store):
    store.hold.clear()
    made = opened(store)
    for number in range(100):
        made.queue.offer([number])
    store.hold.set()
    close(made)
    assert store.taken == list(range(100))
    assert sum(store.sizes[:1] + store.sizes[-1:]) <= 20
    assert set(store.sizes[1:-1]) == {10}


def test_an_option_says_how_many_go_at_once(store):
    class Options:
        batch_size = 3

    store.options = Options()
    store.hold.clear()
    made = opened(store)
    made.queue.offer(range(8))
    store.hold.set()
    close(made)
    assert store.sizes == [3, 3, 2]


# -- faults that pass ----------------------------------------------------------------------------


def test_a_retryable_fault_costs_nothing_and_is_told_once(store, caplog):
    caplog.set_level(logging.INFO)
    store.faults = [Retryable("it is away"), Retryable("it is away"), Retryable("it is full")]
    made = opened(store)
    made.queue.offer([1, 2])
    wait_until(lambda: store.taken)
    made.queue.offer([3])
    close(made)
    assert store.taken == [1, 2, 3]
    assert [record.getMessage() for record in caplog.records] == [
        "publisher store: it is away (tried again)",
        "publisher store: it is full (tried again)",
        "publisher store: delivers again, 2 samples waited",
    ]
    assert adds_up(made)


def test_a_fault_whose_words_vary_is_told_once(store, caplog):
    store.faults = [
        Retryable(f"<HTTPConnection object at {number:#x}>: refused, port {40000 + number}")
        for number in range(0x7F0000, 0x7F0005)
    ]
    made = opened(store)
    made.queue.offer([1])
    close(made)
    assert caplog.text.count("HTTPConnection") == 1


@pytest.mark.parametrize(
    "error", [OSError("no route"), ConnectionResetError("reset"), MemoryError(), TimeoutError()]
)
def test_a_fault_of_the_system_is_no_fault_of_the_samples(store, error, caplog):
    store.faults = [error] * 3
    made = opened(store)
    made.queue.offer([1, 2])
    close(made)
    assert store.taken == [1, 2]
    assert made.counters.dropped == 0
    assert caplog.text.count(type(error).__name__) == 1
    assert "Traceback" not in caplog.text


def test_pauses_grow_with_full_jitter_up_to_a_cap_and_begin_anew(monkeypatch):
    monkeypatch.setattr(attempt, "FIRST_PAUSE", 1.0)
    monkeypatch.setattr(attempt, "LONGEST_PAUSE", 60.0)

    class Highest(random.Random):
        def uniform(self, a, b):
            assert a == 0
            return b

    made = Backoff(Highest())
    assert [made.pause(None) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    made.reset()
    assert made.pause(None) == 1
    made = Backoff(random.Random(7))
    pauses = [made.pause(None) for _ in range(1000)]
    assert 20 < sum(pauses[10:]) / 990 < 40
    assert max(pauses) <= 60


def test_what_the_other_side_asks_for_wins_up_to_an_hour():
    made = Backoff()
    assert made.pause(120.0) == 120.0
    assert made.pause(10**9) == 3600.0
    assert made.pause(0.0) <= 1, "to ask for nothing is not to ask for a storm"
    assert made.pause(float("nan")) <= 1


def test_a_publisher_that_cannot_be_opened_yet_is_opened_later(store):
    tries = []

    def open_it():
        tries.append(1)
        if len(tries) < 3:
            raise Retryable("not now")

    store.open = open_it
    made = opened(store)
    made.queue.offer([1])
    close(made)
    assert store.taken == [1]
    assert len(tries) == 3


def test_one_that_cannot_be_opened_again_refuses_no_samples(store, caplog):
    """Its author did not think of it: it is still not the fault of the samples."""
    made = opened(store)

    def broken():
        store.open = lambda: None
        raise KeyError("table")

    other = Store()
    other.faults = []
    made.put_back(other)
    other.open = broken
    store.open = broken
    made.put_back(store)
    made.queue.offer([1, 2])
    close(made)
    assert store.taken == [1, 2]
    assert made.counters.dropped == 0


# -- samples that it will never take -------------------------------------------------------------


def test_what_it_names_is_set_aside_and_the_others_have_arrived(store, caplog):
    store.faults = [Permanent("two of them", {1: "too old", 3: "no number"})]
    queue = Kept()
    queue.offer([10, 11, 12, 13])
    made = opened(store, queue)
    close(made)
    assert queue.aside == {11: "too old", 13: "no number"}
    assert made.counters.delivered == 2
    assert store.sizes == [4], "nothing is sent again"
    assert "publisher store: 1 sample refused: too old" in caplog.text
    assert "publisher store: 1 sample refused: no number" in caplog.text
    assert adds_up(made)


def test_what_it_counts_without_naming_is_dropped_and_told(store, caplog):
    store.faults = [Permanent("some were odd", {0: "no number"}, lost=2)]
    queue = Kept()
    queue.offer([10, 11, 12, 13])
    made = opened(store, queue)
    close(made)
    assert store.sizes == [4], "nothing is sent again"
    assert queue.aside == {10: "no number"}
    assert (made.counters.delivered, made.counters.dropped) == (1, 2)
    assert "publisher store: 2 samples dropped: some were odd" in caplog.text
    assert adds_up(made)


@pytest.mark.parametrize("named", [{}, {2: "behind the last"}, {-1: "no index"}])
def test_a_list_that_names_no_sample_is_no_list(store, named):
    store.faults = [Permanent("something", named)]
    made = opened(store)
    made.queue.offer([1, 2])
    close(made)
    assert store.taken == [1, 2]


def test_the_bad_samples_are_found_by_halves_and_the_rest_arrives_in_order(store, caplog):
    Store.batch_size = 1000
    bad = [0, 17, 500, 501, 999]
    store.bad = {number: Permanent(f"{number} is bad") for number in bad}
    queue = Kept()
    queue.offer(range(1500))
    made = opened(store, queue)
    try:
        close(made)
    finally:
        Store.batch_size = 10
    assert queue.aside == {number: f"{number} is bad" for number in bad}
    assert store.taken == [number for number in range(1500) if number not in bad]
    assert len(store.sizes) < 2 * len(bad) * 11, "not each sample alone"
    assert caplog.text.count("samples refused") == 1, "a batch is told of once"
    assert "5 samples refused: 999 is bad" in caplog.text
    assert store.sizes[-1] == 500, "whole batches again"
    assert adds_up(made)


def test_halves_go_on_where_they_were_when_the_store_goes_away_amid_them(store):
    store.bad = {3: Permanent("bad")}
    pushed = store.push
    calls = []

    def push(samples):
        calls.append(1)
        if len(calls) % 2:
            raise Retryable("it is away")
        pushed(samples)

    store.push = push
    queue = Kept()
    queue.offer(range(20))
    made = opened(store, queue)
    wait_until(lambda: not made.waiting)
    close(made)
    assert store.taken == [number for number in range(20) if number != 3]
    assert queue.aside == {3: "bad"}


def test_a_mistake_in_its_code_costs_only_the_samples_that_show_it(store, caplog):
    store.bad = {2: ZeroDivisionError("by zero"), 7: KeyError("seven")}
    queue = Kept()
    queue.offer(range(10))
    made = opened(store, queue)
    close(made)
    assert queue.aside == {2: "ZeroDivisionError: by zero", 7: "KeyError: 'seven'"}
    assert len(store.taken) == 8
    tracebacks = [record for record in caplog.records if record.exc_info]
    assert len(tracebacks) == 2, "once for each kind"


def test_what_was_set_aside_before_is_looked_at_first(store):
    asked = []

    def outdated(samples):
        asked.append(list(samples))
        return {n: f"{each} is too old" for n, each in enumerate(samples) if each < 3}

    store.outdated = outdated
    store.bad = {5: Permanent("still bad")}
    queue = Kept(again=range(10))
    queue.offer(range(10))
    made = opened(store, queue)
    wait_until(lambda: not made.waiting)
    queue.offer(range(20, 25))
    close(made)
    assert queue.aside == {n: f"{n} is too old" for n in range(3)} | {5: "still bad"}
    assert store.taken == [3, 4, 6, 7, 8, 9, 20, 21, 22, 23, 24]
    assert max(map(max, asked)) < 20, "only what was set aside"
    assert adds_up(made)


def test_a_replay_is_told_once_it_is_over(store, caplog):
    caplog.set_level(logging.INFO)
    store.bad = {5: Permanent("still bad")}
    queue = Kept(again=range(25))
    queue.offer(range(25))
    made = opened(store, queue)
    wait_until(lambda: not made.waiting)
    queue.offer(range(30, 33))
    close(made)
    (told,) = [line for line in caplog.messages if "replayed" in line]
    assert told == "publisher store: replayed 24 samples that had been set aside; refused again: 1"


def test_who_cannot_be_asked_what_is_too_old_is_asked_again(store):
    answers = [Retryable("away"), {0: "old"}]

    def outdated(_):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    store.outdated = outdated
    queue = Kept(again=[1])
    queue.offer([1])
    made = opened(store, queue)
    close(made)
    assert queue.aside == {1: "old"}
    assert store.sizes == [], "there was nothing left to send"


# -- the end -------------------------------------------------------------------------------------


def test_the_end_does_not_wait_for_a_stuck_publisher(store, caplog):
    store.hold.clear()
    made = opened(store)
    made.queue.offer([1])
    made.queue.offer([2, 3])
    began = time.monotonic()
    close(made, 0.3)
    assert time.monotonic() - began < 2
    assert made.counters.dropped == 3
    assert adds_up(made)
    assert "3 samples dropped at the end" in caplog.text
    store.hold.set()
    wait_until(lambda: made.counters.delivered)
    assert adds_up(made), "what arrived after all is counted"


def test_the_end_does_not_wait_for_a_pause(store):
    store.faults = [Retryable("later", 3000.0)]
    made = opened(store)
    made.queue.offer([1])
    wait_until(lambda: made.fault)
    began = time.monotonic()
    close(made, 20)
    assert time.monotonic() - began < 10
    assert store.taken == [1]


def test_one_that_never_began_is_closed(store):
    made = Outlet("store", store, MemoryQueue("store"))
    made.open()
    close(made)
    assert store.closed
    assert made.ended


def test_one_that_is_to_end_delivers_what_waits_and_may_be_called_back(store):
    store.hold.clear()
    made = opened(store)
    made.queue.offer([1])
    made.queue.offer([2])
    made.leave(time.monotonic() + 20)
    assert made.stay()
    store.hold.set()
    wait_until(lambda: made.counters.delivered == 2)
    assert not store.closed
    made.leave(time.monotonic() + 20)
    wait_until(lambda: made.ended)
    assert not made.stay()
    wait_until(lambda: store.closed)


def test_one_that_is_to_end_some_day_keeps_trying_until_nothing_waits(store):
    store.faults = [Retryable("it is away")] * 20
    made = opened(store)
    made.queue.offer([1, 2])
    made.leave(float("inf"))
    wait_until(lambda: made.ended)
    assert store.taken == [1, 2]
    wait_until(lambda: store.closed)


def test_one_that_is_to_end_gives_up_at_its_deadline_and_counts(store):
    store.faults = [Retryable("it is away")] * 1000
    made = opened(store)
    made.queue.offer([1, 2])
    made.leave(time.monotonic() + 0.3)
    wait_until(lambda: store.closed)
    wait_until(lambda: made.counters.dropped == 2)
    assert adds_up(made)
