# SPDX-License-Identifier: Apache-2.0
"""What stateful steps remember, over ends of the process of every kind."""

import random
import shutil
import sqlite3
from pathlib import Path
from time import process_time

import pytest

from ceilo_agent.delivery import access
from ceilo_agent.delivery.log import Log
from ceilo_agent.delivery.schema import FILE
from ceilo_agent.errors import ConfigError
from ceilo_agent.pipeline import journal as journal_module
from ceilo_agent.pipeline.chain import Chain, Step
from ceilo_agent.pipeline.journal import Journal
from ceilo_agent.pipeline.replay import Kept
from tests.unit.pipeline.windowed import PLAIN, SIZE, TOTAL, Clock, Totals, sample

STEP = "a-step-1"


class Process:
    """The steps of one process and their journal, in the log of a directory."""

    def __init__(self, directory, steps=(STEP,), clock=None, made=Totals):
        self.directory = directory
        self.path = directory / FILE
        self.clock = clock or Clock()
        self.log = Log(directory, clock=self.clock, monotonic=self.clock)
        self.log.open()
        self.journal = Journal(self.log, self.clock, self.clock)
        self.steps = {identity: made() for identity in steps}
        self.chain = Chain(
            "sink",
            [Step("totals", step, identity=identity) for identity, step in self.steps.items()],
            self.journal,
        )
        self.adopt()

    def adopt(self, *leaving):
        kept = {i: Kept("totals", step) for i, step in self.steps.items() if i not in leaving}
        self.journal.adopt(kept, ["out"])

    @property
    def step(self):
        return self.steps[STEP]

    def commit(self, outputs=()):
        numbers = self.journal.put(outputs)
        self.log.offer((), self.journal)
        return numbers

    def take(self, *samples):
        """Take a batch, as a pipeline does, to the point where its output goes on."""
        made = self.chain(list(samples))
        self.commit()
        return list(made)

    def tick(self, now):
        made = list(self.chain.tick(now))
        self.commit([("out", made)] if made else [])
        return made

    def killed(self, tmp_path, **options):
        """Return the process that follows after this one was killed: only its files are left."""
        place = tmp_path / f"copy-{random.random()}"
        place.mkdir()
        for file in self.directory.iterdir():
            shutil.copy(file, place / file.name)
        return Process(place, clock=self.clock, **options)

    def close(self):
        self.journal.close()
        self.log.close()

    def stopped(self, **options):
        """Return the process that follows after this one ended as it should."""
        self.close()
        return Process(self.directory, clock=self.clock, **options)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spool" / "polling" / "0"


def figures(made):
    return made.resource.id, made.time, made.volume


def rows(path):
    with sqlite3.connect(path) as db:
        return {t: db.execute(f"SELECT * FROM {t}").fetchall() for t in ("state", "journal")}


def test_without_anything_to_keep_there_is_no_file(path):
    process = Process(path)
    plain = sample(1, meter=PLAIN)
    assert process.take(plain) == [plain]
    process.tick(5)
    process.close()
    assert [file.name for file in path.iterdir()] == ["lock"]


@pytest.mark.parametrize("way", ["killed", "stopped"])
def test_a_window_goes_on_where_it_was(path, tmp_path, way):
    process = Process(path)
    process.take(sample(1, 100), sample(2, 200))
    process.tick(3)
    process.take(sample(4, 400))
    process = process.killed(tmp_path) if way == "killed" else process.stopped()
    assert process.journal.counters.replayed == (3 if way == "killed" else 0)
    process.take(sample(8, 800))
    assert process.tick(9) == []
    (made,) = process.tick(10)
    assert (made.meter, made.time, made.volume) == (TOTAL, 0.0, 1500.004)


def test_what_went_on_before_the_end_does_not_come_again(path, tmp_path):
    process = Process(path)
    process.take(sample(1))
    assert process.tick(10)
    process = process.killed(tmp_path)
    assert process.tick(11) == []
    process.take(sample(12))
    process = process.killed(tmp_path)
    (made,) = process.tick(25)
    assert made.volume == 1.001


def test_windows_that_were_due_meanwhile_close_at_the_first_tick(path, tmp_path):
    process = Process(path)
    process.take(sample(1), sample(11))
    process.tick(12)
    process.take(sample(13))
    process = process.killed(tmp_path)
    assert [each.time for each in process.tick(10_000)] == [10.0]


def test_ticks_are_told_again_between_the_batches_where_they_were(path, tmp_path):
    told = []

    class Telling(Totals):
        def __call__(self, samples):
            told.append([each.time for each in samples])
            return super().__call__(samples)

        def tick(self, now):
            told.append(now)
            return super().tick(now)

    process = Process(path, made=Telling)
    process.take(sample(1))
    process.tick(2)
    process.tick(3)
    process.take(sample(4))
    process.take(sample(5))
    process.tick(10)
    told.clear()
    process.killed(tmp_path, made=Telling)
    assert told == [[1], 3, [4], [5], 10]


def test_a_sample_that_comes_again_is_not_given_again(path, tmp_path):
    process = Process(path)
    process.take(sample(1, 100), sample(1, 100, "other"))
    process.take(sample(1, 100), sample(2, 200), sample(2, 200))
    process = process.killed(tmp_path)
    process.take(sample(1, 100, "other"), sample(2, 200))
    made = process.tick(10)
    assert [each.volume for each in made] == [100.001, 300.002]
    assert process.journal.counters.repeated == 2


def test_after_a_clean_stop_what_comes_again_is_recognised_too(path):
    process = Process(path)
    process.take(sample(1, 100))
    process = process.stopped()
    process.take(sample(1, 100))
    (made,) = process.tick(10)
    assert made.volume == 100.001


def test_samples_of_other_sources_resources_meters_and_steps_are_others(path):
    process = Process(path, steps=(STEP, "another"))
    process.chain(
        [sample(1), sample(1, source="t"), sample(1, source=None), sample(1, resource="q")]
    )
    # The first step lets METER not through: nothing reaches the other one.
    assert sum(count for count, _ in process.step.windows.values()) == 4
    process.journal.record("another", process.steps["another"], [sample(1)])
    assert process.journal.counters.repeated == 0


def test_what_is_remembered_is_bounded(path, monkeypatch):
    monkeypatch.setattr(journal_module, "REMEMBERED", 10)
    process = Process(path)
    for time in range(100):
        process.take(sample(time))
    process.take(*(sample(time) for time in range(90, 100)))
    assert process.journal.counters.repeated == 10
    assert len(process.journal._recent | process.journal._older) <= 20
    process.take(sample(0))
    assert process.journal.counters.repeated == 10, "it was forgotten"


def test_samples_without_a_key_leave_no_trace(path):
    process = Process(path)
    mixed = [sample(1, meter=PLAIN), sample(2), sample(1, meter=PLAIN)]
    assert process.take(*mixed) == [mixed[0], mixed[2]]
    assert process.journal.counters.written == 1


def test_the_journal_is_dumped_when_it_outgrew_the_last_dump(path, tmp_path, monkeypatch):
    monkeypatch.setattr(journal_module, "DUMP_AFTER", 2000)
    process = Process(path)
    for time in range(395):
        process.take(sample(time / 40, 1))
    assert 3 <= process.journal.counters.dumps <= 40
    after = process.killed(tmp_path)
    assert 0 < after.journal.counters.replayed < 100
    (made,) = after.tick(10)
    assert made.volume == 395.395
    after.close()
    assert len(rows(after.path)["journal"]) < 100, "what a dump holds is deleted"


@pytest.mark.parametrize("seed", range(20))
def test_a_process_that_is_killed_at_any_point_makes_the_same(path, tmp_path, monkeypatch, seed):
    monkeypatch.setattr(journal_module, "DUMP_AFTER", 1500)
    chance = random.Random(seed)
    steady = Process(tmp_path / "steady", steps=(STEP, "second"))
    shaky = Process(path, steps=(STEP, "second"))
    expected, got = [], []
    now = 0.0
    for _ in range(150):
        now += chance.random() * 4
        if chance.random() < 0.5:
            batch = [sample(now - chance.random() * 5, chance.randrange(9)) for _ in range(3)]
            expected += steady.take(*batch)
            got += shaky.take(*batch)
        else:
            expected += steady.tick(now)
            got += shaky.tick(now)
        event = chance.random()
        if event < 0.1:
            shaky = shaky.killed(tmp_path, steps=(STEP, "second"))
        elif event < 0.15:
            shaky = shaky.stopped(steps=(STEP, "second"))
    assert expected
    assert list(map(figures, got)) == list(map(figures, expected))
    assert shaky.step.dump() == steady.step.dump()


# -- what comes and goes -------------------------------------------------------------------------


def test_the_state_of_a_step_that_is_gone_waits_for_its_return(path, tmp_path):
    process = Process(path, steps=(STEP, "second"))
    process.journal.record("second", process.steps["second"], [sample(1)])
    process.steps["second"]([sample(1)])
    process.take(sample(1))
    process = process.killed(tmp_path)
    process.take(sample(2))
    process = process.killed(tmp_path)
    process = process.stopped(steps=(STEP, "second"))
    assert len(process.tick(10)) == 2


def test_a_step_that_leaves_and_returns_in_one_process_is_given_its_state(path):
    process = Process(path, steps=(STEP, "second"))
    second = process.steps["second"]
    process.journal.record("second", second, [sample(1)])
    second([sample(1)])
    process.commit()
    process.adopt("second")
    process.take(sample(3))
    process.steps["second"] = returned = Totals()
    process.adopt()
    assert returned.windows == second.windows
    assert process.step.windows == {"0 r": (1, 1)}, "the one that stayed was not told again"


def test_the_state_of_a_step_that_does_not_return_is_deleted_and_told(path, caplog):
    caplog.set_level("INFO")
    process = Process(path, steps=(STEP, "second"))
    process.journal.record("second", process.steps["second"], [sample(1)])
    process.take(sample(1))
    process = process.stopped()
    process.clock.now += 6 * 86400
    process = process.stopped()
    assert "is deleted" not in caplog.text
    process.clock.now += 2 * 86400
    process = process.stopped()
    assert "the state of totals, not in use for 7 days, is deleted" in caplog.text
    process.close()
    assert [row[0] for row in rows(path / FILE)["state"]] == [STEP]


# -- what came out -------------------------------------------------------------------------------


def test_an_output_is_kept_until_its_publisher_is_done_with_it(path, tmp_path):
    process = Process(path)
    process.take(sample(1))
    made = process.chain.tick(10)
    (number,) = process.commit([("out", made)])
    done = []
    process.journal.watch(number, lambda: bool(done))
    process.commit()
    for after in (process.killed(tmp_path), process.killed(tmp_path)):
        (waiting,) = after.journal.waiting()
        assert waiting.outlet == "out"
        assert [(each.time, each.volume) for each in waiting.samples] == [(0.0, 1.001)]
        assert after.tick(11) == [], "it does not come twice"
    done.append(True)
    process.commit()
    assert process.killed(tmp_path).journal.waiting() == []


# -- what goes wrong -----------------------------------------------------------------------------


def test_an_output_follows_its_publisher_to_another_name(path, tmp_path):
    process = Process(path)
    process.take(sample(0.0))
    (made,) = process.tick(SIZE)
    process.journal.adopt({STEP: Kept("totals", process.step)}, ["new"], {"out": "new"})
    (found,) = process.killed(tmp_path).journal.waiting()
    assert found.outlet == "new"
    assert [figures(each) for each in found.samples] == [figures(made)]


def test_a_dump_that_cannot_be_loaded_is_set_aside(path, caplog):
    process = Process(path, steps=(STEP, "second"))
    process.take(sample(1))
    process.close()

    class Choosy(Totals):
        def load(self, state):
            if b"0 r" in state:
                self.windows = {"half": (0, 0)}
                raise ValueError("another version")
            super().load(state)

    process = Process(path, made=Choosy, clock=process.clock)
    assert process.step.windows == {}
    assert process.log.damaged == 1
    assert "cannot be taken up (ValueError: another version)" in caplog.text
    (aside,) = path.glob("*.damaged")
    assert b"0 r" in aside.read_bytes()
    caplog.clear()
    process.stopped(made=Choosy)
    assert "cannot be taken up" not in caplog.text


DAMAGES = {
    "cut": lambda data: data[: len(data) // 2],
    "text": lambda data: b"this is no database\n" * 100,
    "zeros": lambda data: data[:100] + bytes(len(data) - 100),
    "page": lambda data: data[:4096] + b"\xff" * 4096 + data[8192:],
    "another program's": lambda data: data[:68] + b"\0\0\0\1" + data[72:],
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_file_is_set_aside_and_the_agent_goes_on(path, tmp_path, caplog, kind):
    process = Process(path)
    for time in range(50):
        process.take(sample(time / 10, resource=f"r{time}" * 50))
    process.close()
    process.path.write_bytes(DAMAGES[kind](process.path.read_bytes()))
    process = Process(path, clock=process.clock)
    assert process.log.damaged >= 1
    assert list(path.glob("*.damaged"))
    assert "damaged" in caplog.text
    assert "Traceback" not in caplog.text
    process.step.windows.clear()
    process.take(sample(6, 600))
    (made,) = process.killed(tmp_path).tick(10)
    assert made.volume == 600.001


def test_a_file_of_a_later_version_is_left_alone(path):
    process = Process(path)
    process.take(sample(1))
    process.close()
    data = process.path.read_bytes()
    process.path.write_bytes(data[:60] + b"\0\0\0\7" + data[64:])
    with pytest.raises(ConfigError, match=r"log\.db: another version .* wrote it: format 7, not 1"):
        Process(path)


def test_a_file_that_is_damaged_while_it_is_in_use_gets_the_whole_state(path, tmp_path, caplog):
    process = Process(path)
    process.take(sample(1, 100))
    with process.path.open("r+b") as file:
        file.truncate(0)
    Path(f"{process.path}-wal").write_bytes(b"")
    for time in range(2, 9):
        process.clock.now += access.RETRY_SECONDS
        process.take(sample(time, 100))
    assert process.log.file == 2, "another one was begun"
    (made,) = process.killed(tmp_path).tick(10)
    assert made.volume == 800.008
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("seed", range(30))
def test_bytes_that_changed_never_end_the_agent_and_make_no_value_up(path, seed):
    process = Process(path)
    for time in range(30):
        process.take(sample(time / 10))
        if time == 20:
            process.adopt()
    process.close()
    data = bytearray(process.path.read_bytes())
    chance = random.Random(seed)
    for _ in range(chance.randrange(1, 40)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    data[60:64] = b"\0\0\0\1"  # another version would be refused
    process.path.write_bytes(data)
    process = Process(path, clock=process.clock)
    process.take(sample(9))
    (made,) = process.tick(10)
    assert made.time == 0.0
    assert made.volume in {round(count * 1.001, 3) for count in range(1, 32)}
    process.close()


def test_a_full_disk_is_told_once_and_made_up_for(path, tmp_path, caplog):
    caplog.set_level("INFO")
    process = Process(path)
    process.take(sample(1, 100))
    db = process.log._access.file.db
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count = {pages}")
    for time in range(2, 6):
        process.take(sample(time, 100, "r" * 4000))
        process.clock.now += access.RETRY_SECONDS
    process.take(sample(6, 100), sample(6, 100))
    assert caplog.text.count("is not kept over a restart for now") == 1
    assert caplog.text.count("kept in memory for now: database or disk is full") == 1
    assert process.journal.counters.unwritten == 5
    assert process.journal.counters.repeated == 1
    db.execute("PRAGMA max_page_count = 100000")
    process.clock.now += access.RETRY_SECONDS
    process.tick(7)
    assert caplog.text.count("is kept again") == 1
    made = process.killed(tmp_path).tick(10)
    assert sum(each.volume for each in made) == pytest.approx(600.006)


def test_a_transformer_that_fails_fails_again_and_keeps_the_rest(path, tmp_path, caplog):
    class Fragile(Totals):
        def __call__(self, samples):
            made = super().__call__(samples)
            if any(each.volume == 13 for each in samples):
                raise KeyError("a bug")
            return made

    process = Process(path, made=Fragile)
    process.take(sample(1))
    process.take(sample(2, 13))
    process.take(sample(3))
    after = process.killed(tmp_path, made=Fragile)
    assert after.step.windows == process.step.windows
    assert "failed when it was told again" in caplog.text


def test_what_no_bytes_can_hold_costs_only_itself(path, tmp_path):
    process = Process(path)
    process.take(sample(1), sample(2, 2**70), sample(3))
    assert process.journal.counters.unwritten == 1
    assert process.step.windows["0 r"] == (3, 2**70 + 2)
    assert process.killed(tmp_path).step.windows["0 r"] == (2, 2)


def test_nothing_is_written_after_the_end(path):
    process = Process(path)
    process.take(sample(1))
    process.close()
    before = rows(process.path)
    process.take(sample(2))
    process.tick(20)
    assert rows(process.path) == before


class Large(Totals):
    """Remembers much."""

    def dump(self):
        return bytes(1 << 24)


def test_a_batch_costs_nothing_of_what_is_remembered(path):
    large = Process(path, made=Large)
    large.take(sample(0.0))
    began = process_time()
    large.adopt()
    dumped = process_time() - began
    began = process_time()
    for moment in range(1, 50):
        large.take(sample(float(moment)))
    assert process_time() - began < dumped, "50 batches take less than one dump"
