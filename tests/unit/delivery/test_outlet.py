# SPDX-License-Identifier: Apache-2.0
"""What becomes of samples: offered = delivered + waiting + refused + dropped, always."""

import threading
import time
from urllib.parse import urlsplit

import pytest

from ceilo_agent.delivery import outlet as outlet_module
from ceilo_agent.delivery.outlet import Outlet
from ceilo_agent.errors import ConfigError, Fault, Permanent, Retryable
from ceilo_agent.plugins import Context, Publisher


class Store(Publisher):
    """A publisher whose other side the test steers."""

    def __init__(self):
        super().__init__(urlsplit("store://"), None, Context("host", {}))
        self.taken = []
        self.faults = []
        self.hold = threading.Event()
        self.hold.set()
        self.closed = False

    def push(self, samples):
        self.hold.wait(20)
        if self.faults:
            raise self.faults.pop(0)
        self.taken.extend(samples)

    def close(self):
        self.closed = True


@pytest.fixture
def store():
    return Store()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(outlet_module, "RETRY_AFTER", 0.01)


def opened(store, **options):
    made = Outlet("store", store, **options)
    made.open()
    return made


def adds_up(made):
    c = made.counters
    return c.offered == c.delivered + made.waiting + c.refused + c.dropped


def close(made, seconds=5.0):
    made.close(time.monotonic() + seconds)


def test_samples_arrive_in_order(store):
    made = opened(store)
    for first in range(0, 1000, 10):
        made.offer(range(first, first + 10))
    close(made)
    assert store.taken == list(range(1000))
    assert made.counters.delivered == 1000
    assert store.closed
    assert adds_up(made)


def test_a_retryable_fault_costs_nothing_and_is_told_once(store, caplog):
    store.faults = [Retryable("it is away"), Retryable("it is away")]
    made = opened(store)
    made.offer([1, 2])
    made.offer([3])
    close(made)
    assert store.taken == [1, 2, 3]
    assert caplog.text.count("it is away") == 1
    assert adds_up(made)


def test_what_is_refused_is_counted_and_the_rest_goes_on(store):
    store.faults = [Permanent("never"), ZeroDivisionError("a bug")]
    made = opened(store)
    made.offer([1, 2])
    made.offer([3])
    made.offer([4])
    close(made)
    assert store.taken == [4]
    assert made.counters.refused == 3
    assert adds_up(made)


def test_a_full_queue_drops_the_oldest_and_never_blocks(store, caplog):
    store.hold.clear()
    made = opened(store, max_waiting=25)
    began = time.monotonic()
    for first in range(0, 100, 10):
        made.offer(range(first, first + 10))
    assert time.monotonic() - began < 2
    assert made.waiting <= 25
    assert adds_up(made)
    store.hold.set()
    close(made)
    assert store.taken[-20:] == list(range(80, 100))
    assert made.counters.delivered == len(store.taken)
    assert adds_up(made)
    assert "the queue is full" in caplog.text


def test_the_end_does_not_wait_for_a_stuck_publisher(store, caplog):
    store.hold.clear()
    made = opened(store)
    made.offer([1])
    made.offer([2, 3])
    began = time.monotonic()
    close(made, 0.3)
    assert time.monotonic() - began < 2
    assert made.counters.dropped == 3
    assert adds_up(made)
    assert "3 samples dropped at the end" in caplog.text
    store.hold.set()


def test_a_publisher_that_cannot_be_opened_yet_is_opened_later(store):
    tries = []

    def open_it():
        tries.append(1)
        if len(tries) < 3:
            raise Retryable("not now")

    store.open = open_it
    made = opened(store)
    made.offer([1])
    close(made)
    assert store.taken == [1]
    assert len(tries) == 3


def test_another_publisher_takes_over_what_waits_in_its_order(store):
    store.faults = [Retryable("it is away")] * 1000
    made = opened(store)
    for number in range(10):
        made.offer([number])
    other = Store()
    assert made.swap(other) is store
    assert store.closed
    made.offer([10])
    close(made)
    assert other.taken == list(range(11))
    assert made.counters.delivered == 11
    assert adds_up(made)


def test_a_publisher_that_cannot_take_over_changes_nothing(store):
    class Refusing(Store):
        def open(self):
            raise ConfigError([Fault("f", 1, 1, "never")])

    made = opened(store)
    made.offer([1])
    with pytest.raises(ConfigError):
        made.swap(Refusing())
    made.offer([2])
    close(made)
    assert store.taken == [1, 2]


def test_a_push_that_hangs_is_left_to_the_publisher_before(store, monkeypatch):
    monkeypatch.setattr(outlet_module, "SWAP_WITHIN", 0.1)
    store.hold.clear()
    made = opened(store)
    made.offer([1])
    wait_until(made._using.locked)
    other = Store()
    made.swap(other)
    made.offer([2])
    assert not store.closed
    store.hold.set()
    close(made)
    assert (store.taken, other.taken) == ([1], [2])
    assert store.closed
    assert other.closed


def test_a_swap_can_be_undone(store):
    made = opened(store)
    other = Store()
    made.put_back(made.swap(other))
    assert other.closed
    made.offer([1])
    close(made)
    assert store.taken == [1]


def test_one_that_is_to_end_delivers_what_waits_and_may_be_called_back(store):
    store.hold.clear()
    made = opened(store)
    made.offer([1])
    made.offer([2])
    made.leave(time.monotonic() + 20)
    assert made.stay()
    store.hold.set()
    wait_until(lambda: made.counters.delivered == 2)
    assert not store.closed
    made.leave(time.monotonic() + 20)
    wait_until(lambda: made.ended)
    assert not made.stay()
    wait_until(lambda: store.closed)


def test_one_that_is_to_end_gives_up_at_its_deadline_and_counts(store, caplog):
    store.faults = [Retryable("it is away")] * 1000
    made = opened(store)
    made.offer([1, 2])
    made.leave(time.monotonic() + 0.3)
    wait_until(lambda: store.closed)
    wait_until(lambda: made.counters.dropped == 2)
    assert adds_up(made)


def test_what_is_settled_is_delivered_refused_or_dropped_for_want_of_room(store):
    made = opened(store, max_waiting=10)
    store.hold.clear()
    first = made.offer([1, 2])
    wait_until(made._using.locked)
    second = made.offer([3])
    assert not made.settled(first)
    for _ in range(10):
        made.offer([4] * 5)
    assert made.settled(second)
    last = made.offer([9])
    store.hold.set()
    wait_until(lambda: made.settled(last))
    store.hold.clear()
    never = made.offer([10])
    close(made, 0.2)
    assert not made.settled(never), "it was never delivered"
    store.hold.set()


class Faulty(Store):
    """A publisher of an author who did not think of faults."""

    def close(self):
        super().close()
        raise RuntimeError("it was not there")


class Odd(Store):
    """Takes something in open() and fails after it, with any exception."""

    def open(self):
        raise KeyError("it is not in the table")


def test_one_that_cannot_be_closed_holds_up_no_other(store, caplog):
    made = opened(Faulty())
    first = made.swap(store)
    assert first.closed
    made.offer([1])
    close(made)
    assert store.taken == [1]
    assert "it was not there" in caplog.text


def test_one_that_cannot_be_closed_at_the_end_loses_no_count():
    away = Faulty()
    made = opened(away)
    away.faults = [Retryable("it is away")] * 1000
    made.offer([1, 2])
    close(made, 0.3)
    wait_until(lambda: made.ended and away.closed)
    assert made.counters.dropped == 2
    assert adds_up(made)


def test_what_an_open_that_failed_took_is_let_go(store):
    made = opened(store)
    odd = Odd()
    with pytest.raises(KeyError):
        made.swap(odd)
    assert odd.closed
    made.offer([1])
    close(made)
    assert store.taken == [1], "the one before goes on"
    first = Odd()
    with pytest.raises(KeyError):
        Outlet("store", first).open()
    assert first.closed


def test_a_swap_in_a_hurry_waits_for_no_push(store):
    made = opened(store)
    store.hold.clear()
    made.offer([1])
    began = time.monotonic()
    made.swap(Store(), lambda: True)
    made.put_back(store, lambda: True)
    assert time.monotonic() - began < 1
    store.hold.set()
    close(made)
    assert adds_up(made)


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
