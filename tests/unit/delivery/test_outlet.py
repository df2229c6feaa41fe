# SPDX-License-Identifier: Apache-2.0
"""What becomes of samples: offered = delivered + waiting + refused + dropped, always."""

import threading
import time
from urllib.parse import urlsplit

import pytest

from ceilo_agent.delivery import outlet as outlet_module
from ceilo_agent.delivery.outlet import Outlet
from ceilo_agent.errors import Permanent, Retryable
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
