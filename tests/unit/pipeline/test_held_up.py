# SPDX-License-Identifier: Apache-2.0
"""Windows of samples that come late: the clocks of hosts differ, and queues fill while we are away.

A host reads its guest every ten seconds. What it sends comes in at once, or waits while nobody is
there. What comes out must be the same.
"""

from __future__ import annotations

import contextlib
import heapq
import json
from pathlib import Path

import pytest

from ceilo_agent.pipeline.pipeline import Pipeline
from tests.unit.pipeline.workbench import START, Bench, batch, sample

MINUTES = {
    "name": "aggregator",
    "parameters": {"retention_time": 60, "method": "count", "group_by": ["resource_id"]},
}
HOURS = {
    "name": "aggregator",
    "parameters": {"retention_time": 300, "method": "count", "group_by": ["resource_id"]},
}
END = 1200
"""Seconds that hosts read."""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


class Cloud:
    """Two hosts, their queue, and a worker.

    Args:
        bench: where the worker's files are.
        behind: seconds that the clock of the second host is behind ours.
        interval: seconds between two reads of a host.
        step: that the worker has.
    """

    def __init__(self, bench: Bench, behind: float, interval: int = 10, step: object = MINUTES):
        self._bench = bench
        self._step = step
        self.pipeline: Pipeline | None = None
        self.queue: list[tuple[float, str, float]] = []
        for at in range(0, END, interval):
            for host, offset in (("right", 0.0), ("behind", behind)):
                heapq.heappush(self.queue, (at + 1.5, host, at - offset))

    def start(self) -> None:
        self.pipeline = self._bench.pipeline(counts=[self._step])

    def stop(self) -> None:
        assert self.pipeline is not None
        self.pipeline.close(5)
        self.pipeline = None

    def run(self, since: int, until: int, held: float = 0) -> None:
        """Let seconds pass; for the first ones, what waits is taken in turn and time stands still.

        Args:
            since: the first second.
            until: the last one.
            held: seconds that it takes to take what waited.
        """
        pipeline = self.pipeline
        assert pipeline is not None
        waited = sum(1 for sent, _, _ in self.queue if sent <= since)
        for second in range(since, until + 1):
            still = second - since < held
            ready = sum(1 for sent, _, _ in self.queue if sent <= second)
            if still:
                ready = min(ready, int(waited / held) + 1)
            for _ in range(ready):
                _, host, at = heapq.heappop(self.queue)
                pipeline.accept(batch(sample(at, resource=host)))
            pipeline.tick(None if still else START + second)

    @property
    def late(self) -> int:
        """Samples that were dropped since their window was closed."""
        assert self.pipeline is not None
        (sink,) = self.pipeline.sinks.values()
        return sum(step.transformer.dropped.total() for step in sink.chain.steps)


def counts(bench: Bench, host: str) -> dict[float, float]:
    with contextlib.suppress(FileNotFoundError):
        text = (bench.directory / "counts").read_text()
        return {
            found["timestamp"]: found["volume"]
            for found in map(json.loads, text.splitlines())
            if found["resource_id"] == host
        }
    return {}


@pytest.mark.parametrize("behind", [0.0, 300.0, -300.0, 47.0])
@pytest.mark.parametrize(("step", "interval", "full"), [(MINUTES, 10, 6), (HOURS, 60, 5)])
def test_a_host_whose_clock_is_wrong_loses_no_sample(
    bench: Bench, behind: float, step: object, interval: int, full: int
) -> None:
    cloud = Cloud(bench, behind, interval, step)
    cloud.start()
    cloud.run(0, END + 2000)
    assert cloud.late == 0
    cloud.stop()
    for host in ("right", "behind"):
        found = list(counts(bench, host).values())
        assert sum(found) == END / interval
        # The first and the last may be parts of a window.
        assert set(found[1:-1]) == {full}


@pytest.mark.parametrize("behind", [0.0, 300.0, -300.0])
@pytest.mark.parametrize("held", [1, 30])
def test_after_a_stop_what_waited_gives_the_same_as_without(
    tmp_path: Path, behind: float, held: float
) -> None:
    found = []
    for stops in (False, True):
        directory = tmp_path / str(stops)
        directory.mkdir()
        bench = Bench(directory)
        cloud = Cloud(bench, behind)
        cloud.start()
        cloud.run(0, 225)
        if stops:
            cloud.stop()
            cloud.start()
            cloud.run(800, END + 2000, held)
        else:
            cloud.run(226, END + 2000)
        assert cloud.late == 0
        cloud.stop()
        found.append((counts(bench, "right"), counts(bench, "behind")))
    assert found[0] == found[1]


def test_without_the_hold_the_same_stop_costs_samples(bench: Bench) -> None:
    """That is what the worker's clock is there for."""
    cloud = Cloud(bench, 0)
    cloud.start()
    cloud.run(0, 225)
    cloud.stop()
    cloud.start()
    assert cloud.pipeline is not None
    cloud.pipeline.tick(START + 800)
    cloud.run(800, END + 100)
    assert cloud.late > 0
    cloud.stop()


def test_what_came_while_time_stood_still_outlives_an_end_that_nobody_announced(
    bench: Bench,
) -> None:
    cloud = Cloud(bench, 300)
    cloud.start()
    cloud.run(0, 225)
    cloud.stop()
    cloud.start()
    cloud.run(800, 805, held=4)
    assert cloud.pipeline is not None
    assert cloud.pipeline.journal is not None
    assert cloud.pipeline.journal.counters.dumps >= 1, "what no replay would give is written down"
    # Neither is it closed: another process goes on with what is on disk.
    left = cloud.pipeline
    left._all.close(0)
    assert left.log is not None
    left.log.close()
    cloud.start()
    cloud.run(806, END + 2000)
    assert cloud.late == 0
    cloud.stop()
    for host in ("right", "behind"):
        assert sum(counts(bench, host).values()) == END / 10


def test_a_clock_far_behind_does_not_hold_a_window_open_for_ever(bench: Bench) -> None:
    pipeline = bench.pipeline(counts=[MINUTES])
    pipeline.tick(START)
    pipeline.accept(batch(sample(-1e8)))
    pipeline.tick(START + 86400 + 60 + 11)
    pipeline.close(5)
    assert len(counts(bench, "r")) == 1


def test_a_clock_that_was_ahead_and_is_set_back_holds_no_window_open(bench: Bench) -> None:
    pipeline = bench.pipeline(counts=[MINUTES])
    pipeline.tick(START + 3600)
    pipeline.accept(batch(sample(1)))
    for second in range(2, 100):
        pipeline.tick(START + second)
    pipeline.close(5)
    assert len(counts(bench, "r")) == 1
