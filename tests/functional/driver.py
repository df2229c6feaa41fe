# SPDX-License-Identifier: Apache-2.0
"""A pipeline in a process of its own that takes the batches it is told to, and nothing else.

Where a real agent polls by the clock, this one does each step when a test asks for it: orders come
in as lines of JSON, and each is answered by one.
"""

import contextlib
import itertools
import json
import logging
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec

from ceilo_agent.definition.pipeline import load
from ceilo_agent.delivery import access, attempt, log
from ceilo_agent.delivery.log import Limits
from ceilo_agent.errors import ConfigError
from ceilo_agent.pipeline.pipeline import Pipeline
from ceilo_agent.plugins import Context
from ceilo_agent.sample import Batch, Meter, Resource, Sample, SampleType, isotime
from tests.functional.ledger import Counts

METER = Meter("driven", "B", SampleType.GAUGE)
START = 1_700_000_000
SERIES = 10
KEPT = "what waits for publishers is kept in memory for now"
WRITTEN = "what waits for publishers is written again"
SPAN = 1_000_000
"""Samples of one worker at most: workers have series and numbers of their own."""


def resource_of(number):
    return f"r{number // SPAN}-{number % SERIES}"


def time_of(number):
    return float(START + number % SPAN // SERIES)


def keys(numbers):
    """Return how a ledger knows the samples of these numbers."""
    return [(METER.name, resource_of(n), isotime(time_of(n))) for n in numbers]


# -- the test's side -----------------------------------------------------------------------------


class Place:
    """A directory for the lives of a driver, one after the other.

    Attributes:
        offered: how many samples were, over all lives, by worker.
    """

    def __init__(self, directory, **urls):
        self.directory = directory
        self.spool_dir = directory / "spool"
        self.log = directory / "log"
        self.config = directory / "agent.conf"
        self.pipeline = directory / "pipeline.yaml"
        self.offered = Counter()
        source = {"name": "s", "interval": 1, "meters": ["*"], "sinks": ["t"]}
        sink = {"name": "t", "publishers": list(urls)}
        document = {"sources": [source], "sinks": [sink], "publishers": urls}
        self.pipeline.write_text(json.dumps(document))
        self.config.write_text(
            f"[DEFAULT]\nstate_path = {directory}\npipeline_cfg_file = {self.pipeline}\n"
            f"[delivery]\nspool_dir = {self.spool_dir}\n"
        )

    def worker(self, number=0):
        return self.spool_dir / "polling" / str(number)

    def keys(self):
        """Return the keys of all samples that were offered."""
        numbers = [range(w * SPAN, w * SPAN + count) for w, count in sorted(self.offered.items())]
        return keys(itertools.chain(*numbers))

    def said(self):
        return self.log.read_text()

    def is_full(self):
        """Return whether the log said last that it cannot be written."""
        return self.said().rfind(KEPT) > self.said().rfind(WRITTEN)

    def started(self, worker=0, **limits):
        """Return the process of one life, which may not be ready yet."""
        setup = {"spool": str(self.worker(worker)), "limits": limits}
        with self.log.open("a") as output:
            return subprocess.Popen(
                [sys.executable, "-m", __name__, str(self.pipeline), json.dumps(setup)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                cwd=Path(__file__).parents[2],
            )

    def holder(self):
        """Return the process that holds the directory of worker 0, or did last."""
        return int(self.worker().joinpath("lock").read_text() or 0)

    @contextlib.contextmanager
    def driver(self, worker=0, **limits):
        """One life; it ends in order where the block did not end it."""
        process = self.started(worker, **limits)
        driver = Driver(self, process, worker)
        try:
            driver.answer()
            yield driver
            if process.poll() is None:
                driver.close()
        finally:
            process.kill()
            process.communicate()
        assert "Traceback" not in self.said(), self.said()


class Driver:
    """One life of the pipeline."""

    def __init__(self, place, process, worker):
        self.place = place
        self.process = process
        self.worker = worker

    def answer(self):
        line = self.process.stdout.readline()
        assert line, self.place.said()
        return json.loads(line)

    def ask(self, order, **more):
        self.process.stdin.write(json.dumps({"order": order, **more}) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def offer(self, count, size=100):
        """Have so many samples accepted, in batches of a size; return their keys."""
        first = self.worker * SPAN + self.place.offered[self.worker]
        self.place.offered[self.worker] += count
        self.ask("offer", first=first, count=count, size=size)
        return keys(range(first, first + count))

    def tick(self):
        self.ask("tick")

    def let_age(self, seconds):
        """Wait, and return the time: `drop_older` drops what was offered before it."""
        return self.ask("age", seconds=seconds)["began"]

    def drop_older(self, began):
        """Let the bound of age be such that it ends at a time, for a moment."""
        self.ask("drop_older", began=began)

    def counts(self):
        """Return what became of the samples, by publisher."""
        return {name: Counts(**fields) for name, fields in self.ask("counts").items()}

    def until(self, condition, what="it did not happen"):
        """Go on until a condition on the counts holds, and return them."""
        end = time.monotonic() + 60
        while not condition(counts := self.counts()):
            assert time.monotonic() < end, what
            time.sleep(0.02)
            self.tick()
        return counts

    def close(self, seconds=5):
        """End it in order; return the last counts."""
        found = self.ask("close", seconds=seconds)
        assert self.process.wait(30) == 0
        return {name: Counts(**fields) for name, fields in found.items()}

    def kill(self):
        """Kill it when all that it says it did is done: written down, too."""
        self.tick()
        self.process.kill()
        self.process.wait()


# -- the driver's own side -----------------------------------------------------------------------


def batches(first, count, size):
    """Yield batches of samples that no compression makes small."""
    for begin in range(first, first + count, size):
        numbers = range(begin, min(begin + size, first + count))
        things = {
            resource_of(n): Resource(resource_of(n), "p", "u", "thing", {"name": "thing"})
            for n in numbers
        }
        yield Batch(
            "s",
            [
                Sample(
                    METER, things[resource_of(n)], time_of(n), random.Random(n).random(), source="s"
                )
                for n in numbers
            ],
        )


def counts_of(pipeline):
    return {
        name: msgspec.to_builtins(counters) | {"waiting": counters.waiting}
        for name, counters in pipeline.counters.items()
    }


def obey(pipeline, order):
    """Do what an order says and return what to answer."""
    match order.pop("order"):
        case "offer":
            for batch in batches(**order):
                pipeline.accept(batch)
        case "tick":
            pipeline.tick(time.time())
        case "age":
            time.sleep(order["seconds"])
            return {"began": time.time()}
        case "drop_older":
            pipeline.limit(Limits(max_age=time.time() - order["began"]))
            pipeline.tick(time.time())
            pipeline.limit(Limits())
        case "counts":
            return counts_of(pipeline)
        case "close":
            pipeline.close(order["seconds"])
            return counts_of(pipeline)
    return {}


def hurry():
    """Try again at once what failed, so that tests need not wait."""
    attempt.FIRST_PAUSE = attempt.LONGEST_PAUSE = 0.1
    access.RETRY_SECONDS = log.LOOK_SECONDS = 0.2


def main():
    path, setup = sys.argv[1], json.loads(sys.argv[2])
    hurry()
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    try:
        pipeline = Pipeline(
            load(Path(path)),
            Context("h", {}),
            Path(setup["spool"]),
            limits=Limits(**setup["limits"]),
        )
        pipeline.open()
    except ConfigError as error:
        sys.exit(str(error))
    print("{}", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        ends = order["order"] == "close"
        print(json.dumps(obey(pipeline, order)), flush=True)
        if ends:
            break


if __name__ == "__main__":
    main()
