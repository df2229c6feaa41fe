# SPDX-License-Identifier: Apache-2.0
"""A publisher takes the place of another, and what its code may do wrong then."""

import time

import pytest

from ceilo_agent.delivery import outlet as outlet_module
from ceilo_agent.delivery.memory import MemoryQueue
from ceilo_agent.delivery.outlet import Outlet
from ceilo_agent.errors import ConfigError, Fault, Retryable
from tests.unit.delivery.steered import Store, adds_up, close, opened, wait_until

pytestmark = pytest.mark.usefixtures("quick")


def test_another_publisher_takes_over_what_waits_in_its_order(store):
    store.faults = [Retryable("it is away", 3000.0)]
    made = opened(store)
    for number in range(10):
        made.queue.offer([number])
    wait_until(lambda: made.fault)
    other = Store()
    assert made.swap(other) is store
    assert store.closed
    made.queue.offer([10])
    wait_until(lambda: len(other.taken) == 11)
    close(made)
    assert other.taken == list(range(11))
    assert made.counters.delivered == 11
    assert adds_up(made)


def test_a_publisher_that_cannot_take_over_changes_nothing(store):
    class Refusing(Store):
        def open(self):
            raise ConfigError([Fault("f", 1, 1, "never")])

    made = opened(store)
    made.queue.offer([1])
    with pytest.raises(ConfigError):
        made.swap(Refusing())
    made.queue.offer([2])
    close(made)
    assert store.taken == [1, 2]


def test_a_push_that_hangs_is_left_to_the_publisher_before(store, monkeypatch):
    monkeypatch.setattr(outlet_module, "SWAP_WITHIN", 0.1)
    store.hold.clear()
    made = opened(store)
    made.queue.offer([1])
    wait_until(made._using.locked)
    other = Store()
    made.swap(other)
    made.queue.offer([2])
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
    made.queue.offer([1])
    close(made)
    assert store.taken == [1]


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
    made.queue.offer([1])
    close(made)
    assert store.taken == [1]
    assert "it was not there" in caplog.text


def test_one_that_cannot_be_closed_at_the_end_loses_no_count():
    away = Faulty()
    away.faults = [Retryable("it is away")] * 1000
    made = opened(away)
    made.queue.offer([1, 2])
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
    made.queue.offer([1])
    close(made)
    assert store.taken == [1], "the one before goes on"
    first = Odd()
    with pytest.raises(KeyError):
        Outlet("store", first, MemoryQueue("store")).open()
    assert first.closed


def test_a_swap_in_a_hurry_waits_for_no_push(store):
    made = opened(store)
    store.hold.clear()
    made.queue.offer([1])
    began = time.monotonic()
    made.swap(Store(), lambda: True)
    made.put_back(store, lambda: True)
    assert time.monotonic() - began < 1
    store.hold.set()
    close(made)
    assert adds_up(made)
