# SPDX-License-Identifier: Apache-2.0
"""Pipelines in a directory: what tests put in, and what came out."""

import json
import time
from pathlib import Path

from ceilo_agent.definition.pipeline import load
from ceilo_agent.errors import Retryable
from ceilo_agent.pipeline.pipeline import Pipeline
from ceilo_agent.plugins import Context
from ceilo_agent.sample import UNTRACKED, Batch, Meter, Resource, Sample, SampleType
from ceilo_agent.store.reader import Reader

START = 1_000_000.0
GAUGE = Meter("memory.usage", "MB", SampleType.GAUGE)
COUNTER = Meter("cpu", "ns", SampleType.CUMULATIVE)
CONTEXT = Context("h", {})

SUMS = {
    "name": "aggregator",
    "parameters": {"retention_time": 10, "grace": 0, "method": "sum"},
}

STEPS = {
    "timed": [SUMS],
    "sized": [{"name": "aggregator", "parameters": {"size": 3, "method": "sum"}}],
}


def sample(at, volume=1, resource="r", meter=GAUGE, previous=UNTRACKED):
    thing = Resource(resource, None, None, "instance", {})
    return Sample(meter, thing, START + at, volume, previous, None, "s")


def batch(*samples):
    return Batch("s", samples)


class Bench:
    """A directory with a pipeline file and the files that its publishers write.

    Sinks have a publisher whose samples wait on disk; those whose name ends in `_memory`, one whose
    samples wait in memory.
    """

    def __init__(self, directory):
        self.directory = Path(directory)
        self.path = self.directory / "pipeline.yaml"
        self.spool = self.directory / "spool" / "polling" / "0"

    def url(self, sink):
        if sink.endswith("_memory"):
            return f"local://{self.directory}/{sink}.db?max_age=10000000000&max_bytes=100000000"
        return f"file://{self.directory}/{sink}"

    def write(self, **sinks):
        """Write a file with one source for all sinks; each has steps and a publisher."""
        document = {
            "sources": [{"name": "s", "interval": 1, "meters": ["*"], "sinks": list(sinks)}],
            "sinks": [
                {"name": n, "transformers": steps, "publishers": [f"to-{n}"]}
                for n, steps in sinks.items()
            ],
            "publishers": {f"to-{n}": self.url(n) for n in sinks},
        }
        self.path.write_text(json.dumps(document))

    def pipeline(self, **sinks):
        self.write(**sinks)
        made = Pipeline(load(self.path), CONTEXT, self.spool)
        made.open()
        return made

    def replace(self, pipeline, **sinks):
        self.write(**sinks)
        pipeline.replace(pipeline.prepare(load(self.path), CONTEXT))

    def volumes(self, sink):
        """Return what a sink wrote."""
        if sink.endswith("_memory"):
            return [sample.volume for sample in Reader(self.directory / f"{sink}.db").samples()]
        path = self.directory / sink
        return [json.loads(line)["volume"] for line in path.read_text().splitlines()]


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def all_waiting(pipeline):
    return sum(outlet.waiting for outlet in pipeline.outlets.values())


def steered(pipeline, sink):
    """Return the publisher behind a sink's outlet."""
    return pipeline.outlets[f"to-{sink}"]._publisher


def away(_):
    raise Retryable("it is away")
