# SPDX-License-Identifier: Apache-2.0
"""The durable log: what goes in comes out, in order, over ends of the process of every kind."""

import os
import subprocess
import sys
import threading

import pytest

from ceilo_agent.delivery import marks
from ceilo_agent.delivery.log import Limits, Log, Offer
from ceilo_agent.delivery.spool import Place
from ceilo_agent.errors import ConfigError
from ceilo_agent.sample import Sample
from tests.unit.delivery.logs import METER, RESOURCE, Process, numbers, samples

# -- in and out ----------------------------------------------------------------------------------


def test_what_is_offered_comes_out_in_order(path):
    process = Process(path)
    process.offer(range(3))
    process.offer(range(3, 10))
    assert process.deliver(most=4) == [0, 1, 2, 3]
    assert process.deliver(most=4) == [4, 5, 6, 7]
    assert process.deliver(most=4) == [8, 9]
    assert process.queue().take(4) is None
    assert process.counted() == (10, 10, 0, 0, 0)


def test_what_is_not_done_is_taken_again(path):
    process = Process(path)
    process.offer(range(5))
    assert numbers(process.queue().take(3).samples) == [0, 1, 2]
    assert numbers(process.queue().take(2).samples) == [0, 1]
    assert process.counted() == (5, 0, 5, 0, 0)


def test_nothing_but_the_lock_is_made_before_there_is_something_to_keep(path):
    process = Process(path)
    process.log.tick()
    assert not process.log.exists
    process.log.offer([])
    process.log.close()
    assert [file.name for file in path.iterdir()] == ["lock"]


def test_each_publisher_has_its_own_place(path):
    process = Process(path, ["a", "b"])
    process.offer(range(4), "a", "b")
    process.offer(range(4, 6), "b")
    assert process.drain("a") == [0, 1, 2, 3]
    assert process.deliver("b", 1) == [0]
    process.offer(range(6, 8), "a", "b")
    assert process.drain("b") == [1, 2, 3, 4, 5, 6, 7]
    assert process.drain("a") == [6, 7]
    assert process.rows() == [], "a row is deleted when everybody is past it"


def test_a_queue_of_a_name_that_is_not_enrolled_is_a_key_error(path):
    process = Process(path)
    with pytest.raises(KeyError):
        process.queue("b")
    with pytest.raises(KeyError):
        process.offer([1], "b")


def test_who_listens_is_told(path):
    process = Process(path, ["a", "b"])
    told = []
    process.queue("a").listen(lambda: told.append("a"))
    process.queue("b").listen(lambda: told.append("b"))
    process.offer([1], "a")
    assert told == ["a"]
    process.queue("a").close()
    process.offer([2], "a", "b")
    assert told == ["a", "b"]
    assert process.queue("a").waiting == 2, "what waits stays"


def test_what_no_bytes_hold_is_counted_and_costs_only_itself(path, caplog):
    process = Process(path)
    odd = Sample(METER, RESOURCE, 0.0, "no number")
    process.log.offer([Offer(["a"], [*samples([1]), odd, *samples([2])])])
    assert process.drain() == [1, 2]
    assert process.counted() == (3, 2, 0, 0, 1)
    assert "1 samples dropped" in caplog.text


# -- behind --------------------------------------------------------------------------------------


def test_who_does_not_keep_up_reads_from_the_file(path, small):
    process = Process(path, ["slow", "fast"])
    got = []
    for turn in range(20):
        process.offer(range(turn * 5, turn * 5 + 5), "slow", "fast")
        got += process.drain("fast")
    assert got == list(range(100))
    tail = process.log._shelf._tail
    assert sum(entry.count for entry in tail if entry.samples is not None) <= 10
    assert process.drain("slow", most=7) == list(range(100))
    process.offer([100], "slow", "fast")
    assert process.drain("slow") == [100], "it keeps up again"
    assert not process.log._shelf.cursors["slow"].far


def test_a_dead_publisher_costs_the_others_no_look_at_its_rows(path, small):
    process = Process(path, ["dead", "alive"])
    steps = 0

    def count():
        nonlocal steps
        steps += 1

    for turn in range(500):
        process.offer([turn], "dead")
    process.offer(range(20), "alive")
    db = process.log._access.file.db
    db.set_progress_handler(count, 10)
    assert process.drain("alive") == list(range(20))
    assert steps < 300, "instructions of SQLite, by tens"


# -- over a restart ------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["killed", "stopped"])
def test_what_waits_outlives_the_process(path, tmp_path, way):
    process = Process(path, ["a", "b"])
    process.offer(range(10), "a", "b")
    process.offer(range(10, 20), "b")
    assert process.deliver("b", most=13, refused=[4]) == [*range(4), *range(5, 13)]
    names = {"names": ["a", "b"]}
    process = process.killed(tmp_path, **names) if way == "killed" else process.stopped(**names)
    assert process.counted("a") == (10, 0, 10, 0, 0)
    assert process.counted("b")[0::3] == (20, 1)
    got = process.drain("b")
    # The last that were done may come again after it was killed.
    assert got == list(range(13, 20)) or (way == "killed" and got[-7:] == list(range(13, 20)))
    assert process.drain("a") == list(range(10))


def test_a_cursor_within_a_row_stays_there(path):
    process = Process(path)
    process.offer(range(100))
    for most in (7, 30, 1):
        process.deliver(most=most)
        process = process.stopped()
    assert process.drain() == list(range(38, 100))


def test_an_orphan_waits_for_its_return(path):
    process = Process(path, ["a", "b"])
    process.offer(range(5), "a", "b")
    process = process.stopped(names=["a"])
    assert process.drain() == list(range(5))
    process.offer(range(5, 9))
    assert process.counted("b") == (5, 0, 5, 0, 0)
    process = process.stopped(names=["a", "b"])
    assert process.drain("b") == list(range(5))


def test_a_renamed_publisher_takes_over(path):
    process = Process(path)
    process.offer(range(5))
    queue = process.queue()
    process.log.enroll(["new"], {"a": "new"})
    assert queue.name == "new"
    process.offer([5], "new")
    process = process.stopped(names=["new"])
    assert process.drain("new") == list(range(6))
    assert list(process.log.counters) == ["new"]


def test_a_name_that_an_orphan_had_is_not_mixed_up_with_it(path):
    process = Process(path, ["a", "b"])
    process.offer([1], "a")
    process.offer([2], "b")
    process = process.stopped(names=["a"])
    process.log.enroll(["b"], {"a": "b"})
    assert process.drain("b") == [1]
    assert process.counted("b (before)") == (1, 0, 1, 0, 0)
    process = process.stopped(names=["b", "b (before)"])
    assert process.drain("b (before)") == [2]


def test_a_publisher_that_is_gone_and_has_nothing_is_forgotten(path):
    process = Process(path, ["a", "b", "c"])
    process.offer([1], "a", "b", "c")
    process.drain("b")
    process = process.stopped(names=["a"])
    process.clock.now += 8 * 86400
    process.log.limits = Limits(max_age=9e9)
    process.log.tick()
    assert list(process.log.counters) == ["a", "c"]
    process.offer([2], "a")
    process = process.stopped(names=["a"])
    assert list(process.log.counters) == ["a", "c"]
    assert process.drain() == [1, 2]


@pytest.mark.parametrize("fsync", [True, False])
def test_an_offer_is_synchronous_where_it_is_asked_for(path, fsync):
    process = Process(path, fsync=fsync)
    modes = []
    file = process.log._access.file
    process.offer([1])
    file.db.set_trace_callback(modes.append)
    process.offer([2])
    process.drain()
    process.offer([3])
    found = [each.rpartition(" ")[2] for each in modes if "synchronous" in each]
    assert found == (["NORMAL", "FULL"] if fsync else [])


def test_a_second_process_is_refused(path):
    Process(path)
    with pytest.raises(ConfigError, match=rf"process {os.getpid()} delivers from this directory"):
        Log(path).open()
    code = (
        "import sys; from pathlib import Path; from ceilo_agent.delivery.log import Log\n"
        "Log(Path(sys.argv[1])).open()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=False
    )
    assert f"process {os.getpid()} delivers from this directory" in done.stderr


@pytest.mark.parametrize("kind", ["file", "parent"])
def test_a_directory_that_cannot_be_made_is_refused(tmp_path, kind):
    blocker = tmp_path / "file"
    blocker.write_text("")
    place = blocker if kind == "file" else blocker / "polling" / "0"
    with pytest.raises(ConfigError, match=r"cannot be used: (Not a directory|File exists)"):
        Log(place).open()


# -- what is refused -----------------------------------------------------------------------------


def test_what_is_set_aside_can_be_replayed(path):
    process = Process(path)
    process.offer(range(6))
    assert process.deliver(refused=[1, 3]) == [0, 2, 4, 5]
    assert process.counted() == (6, 4, 0, 2, 0)
    process.offer([6, 7])
    process.log.tick()
    process.mark()
    process.log.tick()
    process.offer([8])
    queue = process.queue()
    first = queue.take(100)
    assert (numbers(first.samples), first.again) == ([6, 7], False)
    queue.done(first, 2, ())
    again = queue.take(100)
    assert (numbers(again.samples), again.again) == ([1, 3], True)
    queue.done(again, 1, [(again.samples[1], "too old")])
    assert process.counted() == (9, 7, 1, 1, 0)
    ((*_, reason, count, _, replay),) = process.rows("aside")
    assert (reason, count, replay) == ("too old", 1, 0)
    assert process.drain() == [8]


def test_a_replay_that_was_asked_for_while_nobody_was_there(path):
    process = Process(path)
    process.offer(range(3))
    process.deliver(refused=[1])
    process.log.close()
    process.mark()
    process = Process(path, clock=process.clock)
    process.log.tick()
    assert process.drain() == [1]
    assert process.counted() == (3, 3, 0, 0, 0)


def test_many_replays_are_taken_back_in_order(path):
    process = Process(path)
    process.offer(range(300))
    for _ in range(300):
        process.deliver(most=1, refused=range(300))
    process.mark()
    process.log.tick()
    assert process.counted() == (300, 0, 300, 0, 0)
    assert process.drain(most=50) == list(range(300))


# -- what is discarded ---------------------------------------------------------------------------


def test_what_was_set_aside_is_discarded_when_that_is_asked_for(path):
    process = Process(path)
    process.offer(range(6))
    process.deliver(refused=[1, 3])
    process.offer([6])
    process.deliver(refused=[6])
    process.log.tick()
    assert marks.discard(Place(path), [1]) == 1
    process.log.tick()
    assert process.counted() == (7, 4, 0, 1, 2)
    process.log.tick()
    assert [row[0] for row in process.rows("aside")] == [2]
    assert process.stopped().counted() == (7, 4, 0, 1, 2)


def test_what_waits_for_an_orphan_is_discarded_and_nothing_else(path):
    process = Process(path, ["a", "b"])
    process.offer(range(5), "a", "b")
    process.deliver("a", most=2)
    process.offer(range(5, 9), "a")
    process = process.stopped(names=["b"])
    marks.discard_waiting(Place(path), "a")
    for _ in range(3):
        process.log.tick()
    assert process.counted("a") == (9, 2, 0, 0, 7)
    assert process.counted("b") == (5, 0, 5, 0, 0)
    assert process.rows("taken_over") == []
    assert [row[0] for row in process.rows()] == [1], "only what another one waits for"
    process = process.stopped(names=["a", "b"])
    process.offer([9], "a")
    assert process.drain("a") == [9]
    assert process.drain("b") == list(range(5))


def test_a_discard_is_done_at_the_next_start_also_after_a_kill(path, tmp_path):
    process = Process(path, ["a", "b"])
    process.offer(range(5), "a")
    process.log.close()
    marks.discard_waiting(Place(path), "a")
    process = Process(path, ["b"])
    process.log.tick()
    process = process.killed(tmp_path, names=["b"])
    process.log.tick()
    process.log.tick()
    assert process.counted("a") == (5, 0, 0, 0, 5)
    assert process.rows("taken_over") == process.rows() == []


def test_what_comes_after_a_discard_was_asked_for_stays(path):
    process = Process(path, ["a"])
    process.offer(range(5))
    process.log.enroll(["b"])
    marks.discard_waiting(Place(path), "a")
    process.offer([5, 6], "a")
    process.log.tick()
    assert process.counted() == (7, 0, 2, 0, 5)


def test_a_publisher_of_the_file_loses_nothing_to_a_discard(path, caplog):
    process = Process(path)
    process.offer(range(5))
    process.log.tick()
    marks.discard_waiting(Place(path), "a")
    process.log.tick()
    assert process.drain() == list(range(5))
    assert process.rows("taken_over") == []
    assert "what waits is not discarded" in caplog.text


# -- threads -------------------------------------------------------------------------------------


def test_many_threads_lose_and_double_nothing(path, small):
    names = ["a", "b", "c"]
    process = Process(path, names)
    process.log = log = Log(path.parent / "1", Limits())
    log.open(2)
    log.enroll(names)
    got = {name: [] for name in names}
    fed = threading.Event()

    def feed(first):
        for turn in range(200):
            log.offer([Offer(names, samples([first * 1000 + turn]))])

    def take(name):
        queue = log.queue(name)
        all_fed = False
        while not all_fed:
            all_fed = fed.is_set()  # before it is looked whether anything is left
            while (taken := queue.take(9)) is not None:
                got[name] += numbers(taken.samples)
                queue.done(taken, len(taken.samples), ())

    feeders = [threading.Thread(target=feed, args=(n,)) for n in range(3)]
    takers = [threading.Thread(target=take, args=(name,)) for name in names]
    for thread in (*feeders, *takers):
        thread.start()
    for thread in feeders:
        thread.join()
    fed.set()
    for thread in takers:
        thread.join()
    for name in names:
        assert sorted(got[name]) == sorted(n * 1000 + turn for n in range(3) for turn in range(200))
        for n in range(3):
            mine = [each for each in got[name] if each // 1000 == n]
            assert mine == sorted(mine)
    log.close()


def test_after_the_end_nothing_is_taken_or_kept(path):
    process = Process(path)
    process.offer(range(5))
    queue = process.queue()
    taken = queue.take(2)
    process.log.close()
    queue.done(taken, 2, ())
    assert queue.take(5) is None
    process.log.tick()
    process.offer([5])
    assert process.counted()[4] == 1
    assert not (path / "log.db-wal").exists()
    process = Process(path, clock=process.clock)
    assert process.drain() == [0, 1, 2, 3, 4], "that it was delivered could not be noted"
