# SPDX-License-Identifier: Apache-2.0
"""Ticks."""

import pytest

from ceilo_agent.polling.schedule import ClockWatch, Ticks, host_offset


def test_the_first_poll_is_at_once_and_the_next_on_the_tick():
    ticks = Ticks(60, 7.0)
    assert ticks.wait(1000.0) == 0.0
    ticks.begin(1000.0)
    assert ticks.wait(1000.0) == 27.0  # 1027 = 17 * 60 + 7
    assert ticks.wait(1027.0) == 0.0


def test_a_slot_is_not_done_twice_when_the_clock_steps_back():
    ticks = Ticks(60, 0.0)
    ticks.begin(120.5)
    assert ticks.wait(100.0) == 80.0  # not at 120 again, but at 180
    assert ticks.begin(181.0) == 0


def test_a_step_of_hours_does_not_stop_polling():
    ticks = Ticks(60, 0.0)
    ticks.begin(7200.0)
    ticks.step(30.0)
    assert ticks.wait(30.0) == 30.0


def test_missed_slots_are_counted():
    ticks = Ticks(10, 0.0)
    assert ticks.begin(100.0) == 0
    assert ticks.begin(111.0) == 0
    assert ticks.begin(145.0) == 2


def test_sources_of_one_host_meet_where_their_intervals_do():
    short, long = Ticks(10, 3.0), Ticks(60, 3.0)
    short.begin(0.0)
    long.begin(0.0)
    moments = [3.0 + 60 * n for n in range(5)]
    for moment in moments:
        assert long.slot(moment) != long.slot(moment - 0.1)
        assert short.slot(moment) != short.slot(moment - 0.1)


def test_the_watch_sees_steps_and_not_drift():
    watch = ClockWatch(1000.0, 0.0)
    assert watch.step(1010.001, 10.0, 5) == 0.0
    assert watch.step(1120.0, 20.0, 5) == pytest.approx(99.999)
    assert watch.step(1130.0, 30.0, 5) == 0.0
    assert watch.step(40.0, 40.0, 5) == pytest.approx(-1100.0)


def test_hosts_spread_over_the_interval_and_each_stays_where_it_is():
    offsets = [host_offset(f"host-{number}", 60) for number in range(1000)]
    assert offsets == [host_offset(f"host-{number}", 60) for number in range(1000)]
    for quarter in range(4):
        share = sum(15 * quarter <= offset < 15 * (quarter + 1) for offset in offsets)
        assert 200 < share < 300
