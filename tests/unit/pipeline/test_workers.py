# SPDX-License-Identifier: Apache-2.0
"""Rates and deltas do not depend on who computes them, on restarts, or on wall clocks.

Guests are scripted, the polling agent's own tracker makes the samples, and workers that share
nothing turn them into rates and deltas. One worker that is never interrupted does the same, and the
script itself says what must come out.
"""

import random
import zlib
from collections import Counter, defaultdict
from itertools import pairwise
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceilo_agent.plugins import Column, Observation
from ceilo_agent.polling.tracker import Dump, Tracker
from ceilo_agent.sample import UNTRACKED, Meter, Resource, SampleType
from tests.unit.pipeline.transformers.written import transformer

CPU = Column(Meter("cpu", "ns", SampleType.CUMULATIVE))
MEMORY = Column(Meter("memory.usage", "MB", SampleType.GAUGE))
COLUMNS = (CPU, MEMORY)
SCALE = "100.0 / (10**9 * (resource_metadata.cpu_number or 1))"

STEPS = (
    ("rate_of_change", f'{{target: {{name: cpu_util, unit: "%", scale: "{SCALE}"}}}}', "cpu"),
    ("rate_of_change", "{target: {name: memory.rate, scale: 60}}", "memory.usage"),
    ("delta", "{target: {name: cpu.delta}, growth_only: true}", "cpu"),
    ("delta", "{target: {name: memory.delta}}", "memory.usage"),
)


class Reading(NamedTuple):
    """What one guest shows at one moment; `clock` never steps, `time` may."""

    guest: str
    clock: float
    time: float
    cpu: int
    memory: int
    incarnation: str


class Worker:
    """The transformers of one process, without anything from before it began."""

    def __init__(self):
        self.steps = [(transformer(name, text), meter) for name, text, meter in STEPS]

    def __call__(self, samples):
        made = []
        for step, meter in self.steps:
            made += step([sample for sample in samples if sample.meter.name == meter])
        return made

    def restarted(self):
        """Return another process that took up the state of this one."""
        other = Worker()
        for (step, _), (before, _) in zip(other.steps, self.steps, strict=True):
            step.load(before.dump())
        return other


def script(rng, guests=4, cycles=40):
    """Return what the guests show every ten seconds, eventful in the middle of it."""
    offset = 1_700_000_000.0
    shown = {f"vm-{n}": [rng.randrange(2**62), rng.randrange(4096), 0] for n in range(guests)}
    cycle_readings = []
    for cycle in range(cycles):
        if rng.random() < 0.15:
            offset += rng.choice((-7200.0, -15.0, 45.0, 86400.0))  # the wall clock is set
        readings = []
        for number, (guest, state) in enumerate(shown.items()):
            clock = 5000.0 + 10 * cycle + 0.01 * number + rng.random()
            state[0] += rng.randrange(10**10)
            state[1] = rng.randrange(4096)
            event = rng.random()
            if event < 0.04:
                state[0] = rng.randrange(1000)  # the counter began again
            elif event < 0.08:
                state[0] += 10**12  # restarted: it may be anywhere then
                state[2] += 1
            if event < 0.95:  # else it did not answer
                readings.append(Reading(guest, clock, offset + clock, *state[:2], str(state[2])))
        cycle_readings.append(readings)
    return cycle_readings


def resources():
    """Return the guests; vm-0 does not tell how many CPUs it has."""
    return {
        f"vm-{n}": Resource(f"vm-{n}", "p", "u", "instance", {"cpu_number": n} if n else {})
        for n in range(10)
    }


def polled(cycle_readings, every, rng=None):
    """Return a batch per poll of each source: `every` gives the cycles between its polls."""
    known, batches = resources(), []
    trackers = {name: Tracker(name, lambda _: True, 10.0 * n) for name, n in every.items()}
    for number, readings in enumerate(cycle_readings):
        for source, cycles in every.items():
            if number % cycles:
                continue
            if rng is not None and rng.random() < 0.1:  # the polling agent is started anew
                saved = msgspec.msgpack.encode(trackers[source].dump())
                trackers[source] = Tracker(source, lambda _: True, 10.0 * cycles)
                trackers[source].load(msgspec.msgpack.decode(saved, type=Dump))
            batches.append(
                trackers[source].samples(
                    Observation(
                        known[r.guest],
                        COLUMNS,
                        (r.cpu, r.memory),
                        r.time,
                        r.clock,
                        r.guest,
                        r.incarnation,
                    )
                    for r in readings
                )
            )
    return batches


def expected(cycle_readings, every):
    """Return what must come out, from the script alone."""
    found = Counter()
    for source, cycles in every.items():
        series = defaultdict(list)
        for readings in cycle_readings[::cycles]:
            for reading in readings:
                series[reading.guest].append(reading)
        for guest, readings in series.items():
            cpus = int(guest.removeprefix("vm-")) or 1
            for before, now in pairwise(readings):
                if now.incarnation != before.incarnation:
                    continue
                elapsed = now.clock - before.clock
                place = (guest, source, now.time)
                memory = now.memory - before.memory
                found["memory.rate", *place, memory / elapsed * 60] += 1
                found["memory.delta", *place, memory] += 1
                if now.cpu >= before.cpu:
                    used = (now.cpu - before.cpu) / elapsed
                    found["cpu_util", *place, used * (100.0 / (10**9 * cpus))] += 1
                    found["cpu.delta", *place, now.cpu - before.cpu] += 1
    return found


def multiset(samples):
    return Counter((s.meter.name, s.resource.id, s.source, s.time, s.volume) for s in samples)


def one_worker(batches):
    worker = Worker()
    return multiset(sample for batch in batches for sample in worker(batch))


def many_workers(batches, rng, count):
    """Cut batches up, send the pieces anywhere in any order, and restart workers at any time."""
    pieces = []
    for batch in batches:
        shuffled = rng.sample(batch, len(batch))
        while shuffled:
            size = rng.randint(1, len(shuffled))
            pieces.append(shuffled[:size])
            shuffled = shuffled[size:]
    rng.shuffle(pieces)
    workers, made = [Worker() for _ in range(count)], []
    for piece in pieces:
        chosen = rng.randrange(count)
        if rng.random() < 0.2:
            workers[chosen] = Worker()
        made += workers[chosen](piece)
    return multiset(made)


EVERY = {"quick": 1, "slow": 6}
"""Two sources poll the same meters: every 10 seconds and every 60."""


@settings(max_examples=1000, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 5))
def test_many_workers_give_what_one_gives_and_what_the_script_says(seed, count):
    """Ceilometer: rates were wrong with several workers, workload partitioning or not.

    The order of a series was lost when its queue went to another worker. Here: no order is needed.
    """
    rng = random.Random(seed)
    readings = script(rng)
    batches = polled(readings, EVERY, rng)
    alone = one_worker(batches)
    assert alone == expected(readings, EVERY)
    assert many_workers(batches, rng, count) == alone


@pytest.mark.parametrize("seed", range(3))
def test_the_script_has_every_event(seed):
    """Without them the test above would prove little."""
    readings = [r for cycle in script(random.Random(seed), cycles=200) for r in cycle]
    series = [r for r in readings if r.guest == "vm-1"]
    falls = sum(b.cpu < a.cpu for a, b in pairwise(series))
    restarts = sum(b.incarnation != a.incarnation for a, b in pairwise(series))
    steps = [(b.time - a.time) - (b.clock - a.clock) for a, b in pairwise(series)]
    assert falls >= 3
    assert restarts >= 3
    assert min(steps) < -10
    assert max(steps) > 40


def test_a_series_that_moves_to_another_worker_misses_nothing():
    """Ceilometer: the state of a queue did not move with it: the first sample after was dropped.

    What the old owner had fetched before still ran there, and was dropped as out of order.
    """
    batches = polled(script(random.Random(3)), {"quick": 1})
    old, new = Worker(), Worker()
    half = len(batches) // 2
    made = [sample for batch in batches[:half] for sample in old(batch)]
    made += [sample for batch in batches[half + 3 :] for sample in new(batch)]
    made += [sample for batch in batches[half : half + 3] for sample in old(batch)]
    assert multiset(made) == one_worker(batches)


def test_the_rates_of_one_guest_by_hand():
    """Ceilometer: cpu_util above 100 %, as dt was that of the cycles' wall clocks. Here: never."""
    clocks = [100.0, 110.0, 120.0, 130.0, 140.0, 150.0, 160.0]
    cpu = [10, 15, 25, 3, 4, 9, 10]  # seconds of CPU time
    memory = [100, 150, 150, 90, 500, 400, 500]
    incarnations = "1111122"
    walls = [0.0, 0.0, -7200.0, -7200.0, 86400.0, 86400.0, 0.0]
    readings = [
        [Reading("vm-2", clock, 1e9 + clock + wall, used * 10**9, memory_, incarnation)]
        for clock, used, memory_, incarnation, wall in zip(
            clocks, cpu, memory, incarnations, walls, strict=True
        )
    ]
    made = [s for batch in polled(readings, {"quick": 1}) for s in Worker()(batch)]
    shown = [
        [(s.time - 1e9, s.volume) for s in made if s.meter.name == name]
        for name in ("cpu_util", "cpu.delta", "memory.rate", "memory.delta")
    ]
    assert max(volume for _, volume in shown[0]) <= 100
    assert shown[0] == [  # of two CPUs; the counter fell at 130, the guest was restarted at 150
        (110.0, 25.0),
        (120.0 - 7200, 50.0),
        (140.0 + 86400, 5.0),
        (160.0, 5.0),
    ]
    assert [volume for _, volume in shown[1]] == [5 * 10**9, 10 * 10**9, 10**9, 10**9]
    assert [volume for _, volume in shown[2]] == [300.0, 0.0, -360.0, 2460.0, 600.0]
    assert [volume for _, volume in shown[3]] == [50, 0, -60, 410, 100]


def test_two_sources_do_not_disturb_each_other():
    readings = script(random.Random(1), cycles=61)
    both = one_worker(polled(readings, EVERY))
    alone = [one_worker(polled(readings, {source: n})) for source, n in EVERY.items()]
    assert both == alone[0] + alone[1]
    assert all(alone)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 5))
def test_untracked_samples_give_the_same_at_the_worker_of_their_key(seed, count):
    """Foreign producers send no reading before: a series stays at one worker."""
    rng = random.Random(seed)
    batches = [
        [msgspec.structs.replace(sample, previous=UNTRACKED) for sample in batch]
        for batch in polled(script(rng), EVERY)
    ]
    alone = one_worker(batches)
    workers, made = [Worker() for _ in range(count)], []
    for batch in batches:
        shares = defaultdict(list)
        for sample in batch:
            key = workers[0].steps[0][0].key(sample)
            shares[zlib.crc32(repr(key).encode()) % count].append(sample)
        for chosen, share in shares.items():
            if rng.random() < 0.2:
                workers[chosen] = workers[chosen].restarted()
            made += workers[chosen](share)
    assert multiset(made) == alone
