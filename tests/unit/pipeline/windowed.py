# SPDX-License-Identifier: Apache-2.0
"""A transformer with windows of ten seconds, and samples for it."""

import json

from ceilo_agent.plugins import StatefulTransformer
from ceilo_agent.sample import UNTRACKED, Meter, Resource, Sample, SampleType

SIZE = 10
METER = Meter("m", "B", SampleType.GAUGE)
TOTAL = Meter("m.total", "B", SampleType.GAUGE)
PLAIN = Meter("plain", "B", SampleType.GAUGE)


def sample(time, volume=1, resource="r", meter=METER, source="s"):
    return Sample(
        meter, Resource(resource, "p", None, "host", {}), time, volume, UNTRACKED, None, source
    )


class Totals(StatefulTransformer):
    """Sums up each window and resource; what comes out of it tells how often it was added to.

    Other meters than METER pass.
    """

    def __init__(self, parameters=None):
        super().__init__(parameters)
        self.windows = {}
        self.now = 0.0

    def __call__(self, samples):
        passing = []
        for each in samples:
            if each.meter != METER:
                passing.append(each)
                continue
            key = f"{int(each.time // SIZE) * SIZE} {each.resource.id}"
            count, total = self.windows.get(key, (0, 0))
            self.windows[key] = (count + 1, total + each.volume)
        return passing

    def key(self, each):
        return each.resource.id if each.meter == METER else None

    def tick(self, now):
        self.now = now
        made = []
        for key in sorted(self.windows):
            start, _, resource = key.partition(" ")
            if int(start) + SIZE <= now:
                count, total = self.windows.pop(key)
                made.append(sample(float(start), total + count / 1000, resource, TOTAL))
        return made

    def dump(self):
        return json.dumps([self.windows, self.now]).encode()

    def load(self, state):
        windows, self.now = json.loads(state)
        self.windows = {key: tuple(value) for key, value in windows.items()}


class Clock:
    """Stands still until it is moved."""

    def __init__(self, now=1_000_000.0):
        self.now = now

    def __call__(self):
        return self.now
