# SPDX-License-Identifier: Apache-2.0
"""An aggregator with a clock, and samples for it."""

from ceilo_agent.sample import Meter, Resource, Sample, SampleType
from tests.unit.pipeline.transformers.kinds import START, build

MEMORY = Meter("memory.usage", "MB", SampleType.GAUGE)
CPU = Meter("cpu", "ns", SampleType.CUMULATIVE)
GROWN = Meter("cpu.delta", "ns", SampleType.DELTA)


def sample(volume, at, resource="vm-1", meter=MEMORY, source="polled", **owner):
    values = {"project_id": "blue", "user_id": "anna", "metadata": {}} | owner
    one = Resource(resource, type="instance", **values)
    return Sample(meter, one, START + at, volume, started=START - 9, source=source)


def found(samples):
    return [(each.resource.id, each.time - START, each.volume) for each in samples]


class Run:
    """An aggregator and its clock, which ticks every second."""

    def __init__(self, text):
        self.made = build("aggregator", text)
        self.now = 0
        self.out = []

    def until(self, second):
        while self.now <= second:
            self.out += self.made.tick(START + self.now)
            self.now += 1
        return self

    def add(self, *samples):
        self.out += self.made(samples)
        return self

    @property
    def found(self):
        out, self.out = self.out, []
        return found(out)
