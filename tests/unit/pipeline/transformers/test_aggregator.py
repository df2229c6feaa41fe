# SPDX-License-Identifier: Apache-2.0
"""aggregator: one sample of the many in a window."""

import pytest

from ceilo_agent.sample import SampleType
from tests.unit.pipeline.transformers.kinds import START, build
from tests.unit.pipeline.transformers.windows import CPU, GROWN, MEMORY, Run, found, sample

LATE = "its window was closed before it came"


# -- how many become one -------------------------------------------------------------------------


@pytest.mark.parametrize(("meter", "volume"), [(MEMORY, 3.0), (CPU, 5), (GROWN, 9)], ids=str)
def test_gauges_give_their_mean_counters_the_latest_deltas_their_sum(meter, volume):
    """Ceilometer: cumulative = latest, delta = sum, gauge = sum/count. Here too."""
    run = Run("{retention_time: 60}")
    run.add(*(sample(value, at, meter=meter) for value, at in ((1, 0), (3, 20), (5, 40))))
    assert run.until(100).found == [("vm-1", 0, volume)]


@pytest.mark.parametrize(
    ("method", "volume"),
    [("mean", 3.0), ("sum", 9), ("min", 1), ("max", 5), ("count", 3), ("last", 3)],
)
def test_method_says_how_the_samples_of_one_resource_become_one(method, volume):
    run = Run(f"{{retention_time: 60, method: {method}}}")
    run.add(sample(5, 0), sample(1, 20), sample(3, 40))
    assert run.until(100).found == [("vm-1", 0, volume)]


@pytest.mark.parametrize(
    ("method", "volume"),
    [("mean", 12.5), ("sum", 25.0), ("min", 5.0), ("max", 20), ("count", 2), ("last", 20)],
)
def test_method_says_how_the_resources_of_a_group_become_one(method, volume):
    run = Run(f"{{retention_time: 60, group_by: [project_id], method: {method}}}")
    # vm-1 has a mean of 5, however often it was read.
    run.add(sample(4, 0), sample(6, 20), sample(20, 30, "vm-2"))
    assert run.until(100).found == [("blue", 0, volume)]


def test_a_group_of_several_resources_gives_their_sum():
    run = Run("{retention_time: 60, group_by: [project_id]}")
    run.add(sample(4, 3), sample(2, 3, "vm-2"), sample(8, 4, "vm-3", project_id="red"))
    assert run.until(100).found == [("blue", 0, 6), ("red", 0, 8)]


def test_counters_of_several_resources_add_up_their_latest():
    run = Run("{retention_time: 60, group_by: [project_id]}")
    run.add(*(sample(10 * at, at, name, CPU) for at in (0, 20, 40) for name in ("vm-1", "vm-2")))
    (out,) = run.until(100).out
    assert out.volume == 800
    # It falls when a guest goes away: it is no counter.
    assert out.meter.type is SampleType.GAUGE


def test_the_order_of_arrival_does_not_matter():
    batch = [sample(0.1 * n, n, f"vm-{n % 7}", metadata={"n": n}) for n in range(59)]
    text = "{retention_time: 60, group_by: [project_id], resource_metadata: last, user_id: first}"
    runs = [Run(text).add(*batch).until(80), Run(text).add(*reversed(batch)).until(80)]
    assert [run.out[0].resource.metadata for run in runs] == [{"n": 58}, {"n": 58}]
    assert runs[0].found == runs[1].found


def test_large_counters_keep_every_digit():
    run = Run("{retention_time: 60}").add(sample(2**64 - 1, 0, meter=CPU), sample(2**63 + 1, 0))
    assert {out.volume for out in run.until(100).out} == {2**64 - 1, 2**63 + 1}


# -- windows -------------------------------------------------------------------------------------


def test_retention_time_alone_works():
    """Ceilometer: retention_time alone still had size 1, so it flushed at every message."""
    run = Run("{retention_time: 60}")
    for at in range(0, 120, 10):
        run.until(at).add(sample(at, at))
    assert run.until(200).found == [("vm-1", 0, 25.0), ("vm-1", 60, 85.0)]


def test_a_window_closes_by_the_timer_without_another_sample():
    """Ceilometer: a window closed only when another message of that pipeline arrived."""
    run = Run("{retention_time: 60, grace: 10}").add(sample(1, 5))
    assert run.until(69).found == []
    assert run.until(70).found == [("vm-1", 0, 1)]


def test_windows_begin_at_multiples_of_their_length_for_everybody():
    run = Run("{retention_time: 60}").until(50)
    run.add(sample(1, 59.9), sample(2, 60), sample(3, 61, "vm-2"))
    assert run.until(200).found == [("vm-1", 0, 1), ("vm-1", 60, 2), ("vm-2", 60, 3)]


def test_the_time_is_the_windows_start_or_end():
    """Ceilometer: the time of the first or the last sample."""
    run = Run("{retention_time: 60, timestamp: last}").add(sample(1, 5), sample(1, 50))
    assert run.until(100).found == [("vm-1", 60, 1.0)]


def test_late_data_is_gathered_before_its_window_closes():
    """Ceilometer: the age was counted from the sample's time: late data expired at once."""
    run = Run("{retention_time: 60}").until(7200)
    for at in range(0, 60, 5):
        run.until(7200 + at).add(sample(at, at))
    assert run.until(7264).found == []
    assert run.until(7275).found == [("vm-1", 0, 27.5)]


def test_what_comes_within_the_grace_counts():
    run = Run("{retention_time: 60, grace: 30}").add(sample(1, 5)).until(85).add(sample(3, 6))
    assert run.until(150).found == [("vm-1", 0, 2.0)]


def test_a_sample_that_is_too_late_makes_no_second_output(caplog):
    run = Run("{retention_time: 60}").add(sample(1, 5)).until(90)
    assert run.found == [("vm-1", 0, 1)]
    run.add(sample(3, 6), sample(3, 7))
    assert run.until(200).found == []
    assert run.made.dropped == {LATE: 2}
    assert caplog.text.count(LATE) == 1


def test_closed_windows_are_remembered_for_long():
    run = Run("{retention_time: 10, grace: 0}")
    for at in range(0, 4000, 10):
        run.until(at).add(sample(1, at))
    assert len(run.until(4100).found) == 400
    size = len(run.made.dump())
    run.add(*(sample(1, at + 1) for at in range(0, 4000, 10)))
    assert run.until(4200).found == []
    assert run.made.dropped == {LATE: 400}
    assert size < 200, "each window costs memory"


def test_gaps_are_open_and_what_is_closed_stays_bounded():
    run = Run("{retention_time: 10, grace: 0}")
    for at in range(0, 4000, 20):
        run.until(at).add(sample(1, at))
    run.until(4100)
    assert len(run.found) == 200
    assert len(run.made.dump()) < 1000
    # A recent gap takes samples that come late, one of long ago does not any more.
    run.add(sample(1, 3970), sample(1, 10))
    assert run.until(4200).found == [("vm-1", 3970, 1)]
    assert run.made.dropped == {LATE: 1}


def test_memory_of_a_group_that_is_gone_expires():
    run = Run("{retention_time: 60}").add(sample(1, 5)).until(90)
    assert b"vm-1" in run.made.dump()
    for hour in range(1, 26):
        run.made.tick(START + 3600 * hour)
    assert b"vm-1" not in run.made.dump()


def test_a_sample_that_comes_twice_counts_once():
    run = Run("{retention_time: 60}").add(sample(1, 5), sample(4, 6), sample(1, 5))
    assert run.until(100).found == [("vm-1", 0, 2.5)]
    assert run.made.dropped == {"it came before": 1}


def test_a_clock_that_is_ahead_does_not_hold_a_window_for_ever():
    made = build("aggregator", "{retention_time: 60}")
    made.tick(START)
    made([sample(1, 10 * 86400)])
    assert found(made.tick(START + 86400 + 69)) == []
    assert found(made.tick(START + 86400 + 70)) == [("vm-1", 10 * 86400, 1)]


def test_a_restart_goes_on_with_the_open_windows():
    """Ceilometer: the state was lost. Here: it is taken up."""
    run = Run("{retention_time: 60}").add(sample(1, 5)).until(30)
    other = Run("{retention_time: 60}")
    other.made.load(run.made.dump())
    other.now = 40
    assert other.add(sample(3, 50)).until(100).found == [("vm-1", 0, 2.0)]


def test_a_backlog_before_the_first_tick_is_gathered():
    run = Run("{retention_time: 60}")
    run.add(*(sample(at, at) for at in range(0, 120, 10)))
    run.now = 7200
    assert run.until(7200).found == [("vm-1", 0, 25.0), ("vm-1", 60, 85.0)]


def test_ticks_that_are_always_far_apart_close_windows_all_the_same():
    made = build("aggregator", "{retention_time: 60}")
    made([sample(1, 5)])
    assert found(made.tick(START + 50) + made.tick(START + 300)) == [("vm-1", 0, 1)]


def test_a_clock_that_is_set_back_does_not_hold_a_window_for_ever():
    made = build("aggregator", "{retention_time: 60}")
    made.tick(START)
    made([sample(1, 5)])
    back = -10 * 86400
    assert found(made.tick(START + back)) == []
    assert found(made.tick(START + back + 86400 + 70)) == [("vm-1", 0, 1)]


def test_too_many_samples_close_the_oldest_windows(monkeypatch, caplog):
    """Ceilometer: the buffer could grow forever."""
    monkeypatch.setattr("ceilo_agent.pipeline.transformers.window.MAX_HELD", 10)
    run = Run("{retention_time: 60}")
    run.add(*(sample(1, number, f"vm-{number % 5}") for number in range(12)))
    assert run.found == [("vm-0", 0, 1.0)]
    assert run.made.closed_early == 1
    assert "too many samples are held" in caplog.text
    assert len(run.until(100).found) == 4


# -- size ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["{}", "{size: 0}", "{size: 1}", "{size: 1, retention_time: 60}"])
def test_without_size_and_retention_time_each_sample_is_a_window(text):
    """Ceilometer: neither size nor retention_time: size 1. Here too, without state."""
    made = build("aggregator", text)
    one = sample(7, 3)
    assert made.key(one) is None
    assert found(made([one, one])) == [("vm-1", 3, 7), ("vm-1", 3, 7)]


def test_size_zero_with_retention_time_is_retention_time_alone():
    """Ceilometer: size 0 was the way around the trap; files that have it go on working."""
    run = Run("{size: 0, retention_time: 60}").add(sample(1, 5), sample(3, 6))
    assert run.until(100).found == [("vm-1", 0, 2.0)]


def test_size_counts_per_group():
    """Ceilometer: size counted the samples of all keys, so one guest's window hung on others."""
    run = Run("{size: 3}")
    run.add(*(sample(at, at, name) for at in (0, 10) for name in ("vm-1", "vm-2", "vm-3")))
    assert run.found == []
    assert run.add(sample(20, 20)).found == [("vm-1", 0, 10.0)]


def test_a_full_window_closes_at_once_and_the_timer_closes_one_that_is_not_full():
    run = Run("{size: 2, retention_time: 60, grace: 5, timestamp: last}")
    assert run.add(sample(1, 7), sample(3, 9)).found == [("vm-1", 9, 2.0)]
    run.until(20).add(sample(5, 20))
    assert run.until(84).found == []
    assert run.until(85).found == [("vm-1", 20, 5)]


def test_a_sample_behind_the_end_of_a_sized_window_begins_the_next():
    run = Run("{size: 9, retention_time: 60}")
    assert run.add(sample(1, 0), sample(3, 59), sample(7, 60)).found == [("vm-1", 0, 2.0)]


def test_samples_of_a_sized_window_that_was_closed_make_no_second_output():
    run = Run("{size: 2}")
    batch = (sample(1, 0), sample(3, 10))
    assert run.add(*batch).found == [("vm-1", 0, 2.0)]
    assert run.add(*batch, *batch).found == []
    assert run.made.dropped == {LATE: 4}


def test_a_sized_window_of_a_resource_that_is_gone_comes_out_after_a_day():
    run = Run("{size: 9}").add(sample(1, 0))
    assert found(run.made.tick(START + 86399)) == []
    assert found(run.made.tick(START + 86400)) == [("vm-1", 0, 1)]
