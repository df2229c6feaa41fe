# SPDX-License-Identifier: Apache-2.0
"""The durable log beside a model of it: offers, deliveries, kills, bounds, replays, full disks."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ceilo_agent.delivery import access, shelf
from ceilo_agent.delivery import log as log_module
from ceilo_agent.delivery.bounds import Limits
from tests.unit.delivery.logs import Disk, Process, numbers

NAMES = ["a", "b", "c"]
MAX_AGE = 1000.0


class Publisher:
    """What a publisher should see.

    Attributes:
        waiting: number, moment and whether it was set aside before, of each sample.
        held: those of them that no file has.
        unwritten: the same, and those of which it is rid already.
        pinned: what it was before samples were set aside that no file has; None without any.
    """

    def __init__(self):
        self.offered = self.delivered = self.dropped = 0
        self.waiting = []
        self.aside = []
        self.held = set()
        self.unwritten = set()
        self.held_aside = []
        self.pinned = None
        self.taken = None

    def written(self):
        """The file has it all."""
        self.held.clear()
        self.unwritten.clear()
        self.aside += self.held_aside
        self.held_aside = []
        self.pinned = None

    def pin(self):
        if self.pinned is None:
            self.pinned = (self.delivered, self.dropped, self.waiting.copy())

    def killed(self):
        """What no file has is lost; what was refused and is in none waits as it did before."""
        if self.pinned is not None:
            self.delivered, self.dropped, self.waiting = self.pinned
        left = [each for each in self.waiting if each[0] not in self.unwritten]
        self.dropped += len(self.waiting) - len(left)
        self.waiting = left
        self.held_aside = []
        self.written()


class Model(RuleBasedStateMachine):
    """Every publisher gets what it should, in order, and the counters say so."""

    def __init__(self):
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.process = Process(self.place / "first" / "0", NAMES, limits=Limits(max_age=MAX_AGE))
        self.disk = Disk(self.process)
        self.model = {name: Publisher() for name in NAMES}
        self.next = 0
        self.most = 0

    def teardown(self):
        self.disk.full = False
        self._look()
        for name, publisher in self.model.items():
            expected = [number for number, _, _ in publisher.waiting]
            assert self.process.drain(name, 5) == expected
        self.process.log.close()
        shutil.rmtree(self.place)

    # -- what happens ----------------------------------------------------------------------------

    @rule(names=st.sets(st.sampled_from(NAMES), min_size=1), count=st.integers(1, 12))
    def offer(self, names, count):
        found = range(self.next, self.next + count)
        self.next += count
        self.process.offer(found, *sorted(names))
        for name in names:
            publisher = self.model[name]
            publisher.offered += count
            new = [(number, self.process.clock.now, False) for number in found]
            publisher.waiting += new
            publisher.held.update(found)
            publisher.unwritten.update(found)
            if publisher.pinned is not None:
                publisher.pinned[2].extend(new)
        self._settled()

    @rule(name=st.sampled_from(NAMES), most=st.integers(1, 15))
    def take(self, name, most):
        publisher = self.model[name]
        taken = self.process.queue(name).take(most)
        if taken is None:
            assert publisher.waiting == []
            publisher.taken = None
            return
        again = publisher.waiting[0][2]
        expected = []
        for number, _, mine in publisher.waiting[:most]:
            if mine != again:
                break
            expected.append(number)
        assert (numbers(taken.samples), taken.again) == (expected, again)
        publisher.taken = taken

    @rule(name=st.sampled_from(NAMES), refused=st.sets(st.integers(0, 14)))
    def done(self, name, refused):
        publisher = self.model[name]
        taken, publisher.taken = publisher.taken, None
        if taken is None:
            return
        bad = [sample for number, sample in enumerate(taken.samples) if number in refused]
        self.process.queue(name).done(
            taken, len(taken.samples) - len(bad), [(sample, "bad") for sample in bad]
        )
        if bad:
            publisher.pin()
        mine = set(numbers(taken.samples))
        # What a bound dropped meanwhile was delivered after all.
        left = [each for each in publisher.waiting if each[0] not in mine]
        publisher.dropped -= len(mine) - (len(publisher.waiting) - len(left))
        publisher.waiting = left
        publisher.held -= mine
        publisher.delivered += len(mine) - len(bad)
        if bad:
            publisher.held_aside.append(numbers(bad))
        self._settled()

    @rule()
    def kill(self):
        place = Path(tempfile.mkdtemp(dir=self.place)) / "0"
        shutil.copytree(self.process.directory, place)
        self.process.abandon()
        self._begin(place)
        for publisher in self.model.values():
            publisher.killed()
        self._look()  # what waits again may be too much

    @precondition(lambda self: not self.disk.full)
    @rule()
    def stop(self):
        self.process.log.close()
        self._begin(self.process.directory)

    def _begin(self, place):
        self.process = Process(
            place, NAMES, self.process.clock, Limits(max_samples=self.most, max_age=MAX_AGE)
        )
        self.disk = Disk(self.process)
        for publisher in self.model.values():
            publisher.taken = None

    @rule(seconds=st.integers(0, 700))
    def wait(self, seconds):
        self.process.clock.now += seconds
        self._look()

    @rule(most=st.sampled_from([0, 0, 7, 20]))
    def limit(self, most):
        self.most = most
        self.process.log.limits = Limits(max_samples=most, max_age=MAX_AGE)
        self._look()

    @rule(full=st.booleans())
    def fill(self, full):
        self.disk.full = full
        self._look()

    @precondition(lambda self: not self.disk.full)
    @rule()
    def replay(self):
        self._look()
        if not self.process.path.exists():
            return
        self.process.mark()
        self.process.log.tick()
        now = self.process.clock.now
        for publisher in self.model.values():
            for each in publisher.aside:
                publisher.waiting += [(number, now, True) for number in each]
            publisher.aside.clear()
        self._look()

    # -- what should be --------------------------------------------------------------------------

    def _look(self):
        """Let time pass until all is written that can be, and every bound holds."""
        self.process.clock.now += access.RETRY_SECONDS
        self.process.log.tick()
        oldest = self.process.clock.now - MAX_AGE
        for publisher in self.model.values():
            left = [each for each in publisher.waiting if each[1] >= oldest]
            if self.most:
                left = left[-self.most :]
            publisher.dropped += len(publisher.waiting) - len(left)
            publisher.waiting = left
            if not self.disk.full:
                publisher.written()

    def _settled(self):
        """A transaction was tried, where it is not too early; with it goes what is too much."""
        if self.disk.full or self.most:
            self._look()
            return
        for publisher in self.model.values():
            publisher.written()

    @invariant()
    def the_counters_say_so(self):
        for name, publisher in self.model.items():
            aside = sum(map(len, publisher.aside + publisher.held_aside))
            counters = self.process.log.counters[name]
            found = (
                counters.offered, counters.delivered, counters.waiting, counters.set_aside,
                counters.dropped,
            )  # fmt: skip
            expected = (
                publisher.offered, publisher.delivered, len(publisher.waiting), aside,
                publisher.dropped,
            )  # fmt: skip
            assert found == expected, name


@pytest.mark.parametrize(
    "examples",
    [80, pytest.param(3000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])],
)
def test_the_log_does_as_its_model(monkeypatch, examples):
    # All that a publisher is done with is noted at once, and memory is small.
    monkeypatch.setattr(log_module, "NOTE_SECONDS", 0.0)
    monkeypatch.setattr(log_module, "ROW_SAMPLES", 5)
    monkeypatch.setattr(shelf, "TAIL_SAMPLES", 12)
    run_state_machine_as_test(
        Model,
        settings=settings(max_examples=examples, stateful_step_count=60, deadline=None),
    )
