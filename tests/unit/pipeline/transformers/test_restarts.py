# SPDX-License-Identifier: Apache-2.0
"""Windows give the same values however often the process ends in the middle of them."""

import json
import random
import shutil

import pytest

from ceilo_agent.definition.pipeline import load
from ceilo_agent.pipeline.pipeline import Pipeline
from ceilo_agent.plugins import Context
from ceilo_agent.sample import Batch
from tests.unit.pipeline.transformers.kinds import STREAMS

FILE = """
sources: [{{name: polled, interval: 60, meters: ["*"], sinks: [store]}}]
sinks:
  - name: store
    transformers: [{step}]
    publishers: ["file://{out}"]
"""
STEPS = {
    "aggregator per project": (
        "{name: aggregator, parameters: {retention_time: 30, grace: 5, group_by: [project_id]}}"
    ),
    "aggregator by size": "{name: aggregator, parameters: {size: 3, retention_time: 40}}",
    "arithmetic": (
        "{name: arithmetic, parameters: {target: {name: sum, expr: $(cpu) + $(memory.usage)}}}"
    ),
    "accumulator": "{name: accumulator, parameters: {size: 7, retention_time: 20}}",
}


def values(step, how, ends, directory):
    """Return what arrives, as values by meter, resource and time, if the process ends like this.

    It ends without a word: the next one finds what is on the disk at that moment.
    """
    directory.mkdir()
    out = directory / "out.json"
    (directory / "pipeline.yaml").write_text(FILE.format(step=STEPS[step], out=out))
    file = load(directory / "pipeline.yaml")
    context = Context("here", {"DEFAULT.host": "here"})

    def start(number):
        made = Pipeline(file, context, directory / str(number) / "state.db")
        made.open()
        return made

    (directory / "0").mkdir()
    processes = [start(0)]
    for number, now in enumerate(STREAMS[how]):
        if number in ends:
            last = len(processes) - 1
            shutil.copytree(directory / str(last), directory / str(last + 1))
            processes.append(start(last + 1))
        if now.now is None:
            processes[-1].accept(Batch("polled", now.samples))
        else:
            processes[-1].tick(now.now)
    for process in processes:
        process.close(10)
    found = {}
    for line in out.read_text().splitlines():
        each = json.loads(line)
        slot = (each["name"], each["resource_id"], each["timestamp"])
        found.setdefault(slot, set()).add(each["volume"])
    return found


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("how", ["untracked", "shuffled"])
def test_the_values_are_those_of_one_process_that_never_ends(step, how, tmp_path):
    """Ceilometer: data in memory, no durability (its documentation said so). Here: on disk."""
    expected = values(step, how, (), tmp_path / "one")
    assert expected
    assert all(len(volumes) == 1 for volumes in expected.values())
    chance = random.Random(step)
    ends = {chance.randrange(len(STREAMS[how])) for _ in range(6)}
    assert values(step, how, ends, tmp_path / "many") == expected
