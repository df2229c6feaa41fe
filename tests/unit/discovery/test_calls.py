# SPDX-License-Identifier: Apache-2.0
"""Calls with deadlines, on real threads."""

import gc
import queue
import threading
import time
import weakref

import pytest

from ceilo_agent.discovery.libvirt.calls import Crew, DeadlinePassed


def soon(seconds=5.0):
    return time.monotonic() + seconds


def test_a_call_returns_its_result_and_its_times():
    call = Crew("t").start(max, 1, 2)
    assert call.result(soon()) == 2
    assert 0 < call.began <= call.ended


def test_a_call_raises_what_it_raised():
    call = Crew("t").start(int, "x")
    with pytest.raises(ValueError, match="invalid literal"):
        call.result(soon())


def test_who_waits_gives_up_at_the_deadline_and_a_late_answer_is_there_for_who_asks_again():
    hold = threading.Event()
    call = Crew("t").start(hold.wait)
    began = time.monotonic()
    with pytest.raises(DeadlinePassed):
        call.result(soon(0.1))
    assert time.monotonic() - began < 2
    hold.set()
    assert call.result(soon()) is True


def test_no_more_than_its_size_is_in_flight_and_stuck_ones_count():
    crew = Crew("t", size=2)
    hold = threading.Event()
    stuck = [crew.start(hold.wait) for _ in range(2)]
    third = crew.start(int)
    with pytest.raises(DeadlinePassed):
        third.result(soon(0.2), give_up=False)
    assert crew.busy == 3
    hold.set()
    assert third.result(soon()) == 0
    assert all(call.result(soon()) for call in stuck)


def test_the_end_of_a_call_is_told_once_whether_it_came_before_or_after_the_asking():
    ended, hold = queue.SimpleQueue(), threading.Event()
    crew = Crew("t")
    call = crew.start(hold.wait)
    call.tell(ended, "later")
    assert not call.done
    assert ended.empty()
    hold.set()
    assert ended.get(timeout=5) == "later"
    assert call.done
    call.tell(ended, "now")
    assert ended.get(timeout=5) == "now"
    assert ended.empty()


def test_a_call_that_was_given_up_before_it_began_is_never_made():
    crew = Crew("t", size=1)
    hold, made = threading.Event(), []
    stuck = crew.start(hold.wait)
    given_up, kept = crew.start(made.append, 1), crew.start(made.append, 2)
    with pytest.raises(DeadlinePassed):
        given_up.result(soon(0.05))
    with pytest.raises(DeadlinePassed):
        kept.result(soon(0.05), give_up=False)
    hold.set()
    stuck.result(soon())
    kept.result(soon())
    assert made == [2]
    assert crew.busy <= 1  # the thread may still be putting the last one away


def test_an_idle_crew_keeps_no_answer_alive():
    class Answer:
        pass

    crew = Crew("t")
    call = crew.start(Answer)
    answer = weakref.ref(call.result(soon()))
    del call
    end = soon()
    while answer() is not None and time.monotonic() < end:
        gc.collect()
        time.sleep(0.01)
    assert answer() is None


def test_a_call_that_failed_keeps_nothing_alive_once_it_was_told():
    class Connection:
        pass

    def fail(_):
        raise ValueError("gone")

    def ask():
        connection = Connection()
        call = crew.start(fail, connection)
        with pytest.raises(ValueError, match="gone"):
            call.result(soon())
        return weakref.ref(connection)

    crew = Crew("failing")
    gc.collect()
    gc.disable()
    try:
        known = ask()
        crew.start(int).result(soon())
        assert known() is None
    finally:
        gc.enable()
        crew.close()


def test_threads_are_daemons_and_end_when_the_crew_closes():
    crew = Crew("crew-test")
    crew.start(int).result(soon())
    (thread,) = [t for t in threading.enumerate() if t.name.startswith("crew-test")]
    assert thread.daemon
    crew.close()
    thread.join(5)
    assert not thread.is_alive()
