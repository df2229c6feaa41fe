# SPDX-License-Identifier: Apache-2.0
"""Every transformer of ours, ready for the conformance suite: the one list that a new one joins."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from ceilo_agent.plugins import StatefulTransformer, Transformer
from ceilo_agent.sample import FIRST, UNTRACKED, Meter, Previous, Resource, Sample, SampleType
from tests.unit.pipeline.transformers.written import transformer as build

KINDS: Final[dict[str, dict[str, str]]] = {
    "accumulator": {
        "plain": "{}",
        "by size": "{size: 7}",
        "by time": "{retention_time: 90}",
        "by both": "{size: 30, retention_time: 40}",
        "none held": "{size: 0}",
    },
    "aggregator": {
        "plain": "{}",
        "by size": "{size: 3, timestamp: last, resource_metadata: drop}",
        "by time": "{retention_time: 60}",
        "by both": "{size: 4, retention_time: 120, project_id: last, user_id: first}",
        "per project": "{retention_time: 60, group_by: [project_id], source: {unit: MB}}",
        "per flavor": (
            "{retention_time: 30, grace: 0, method: max, timestamp: last, "
            "group_by: [project_id, resource_metadata.flavor.name], "
            "target: {name: most, unit: u, scale: volume / 2, max: 700}}"
        ),
        "count": "{retention_time: 60, method: count, group_by: [resource_id]}",
    },
    "arithmetic": {
        "of two": "{target: {name: sum, unit: x, type: gauge, expr: $(cpu) + $(memory.usage)}}",
        "of three": (
            "{target: {name: q, expr: $(cpu) / ($(memory.usage) - $(disk-bytes)) * "
            "$(cpu).resource_metadata.cpu_number}, window: 3}"
        ),
        "of one": "{target: {name: twice, expr: 2 * $(cpu)}}",
    },
    "delta": {
        "plain": "{}",
        "growth": "{growth_only: true, target: {name: grown}}",
    },
    "filter": {
        "volume": "{expr: volume > 500 or unit == 'ns'}",
        "name": "{expr: name != 'cpu'}",
    },
    "rate_of_change": {
        "plain": "{}",
        "number": "{source: {unit: ns}, target: {name: rate, unit: ns/s, type: gauge, scale: 0.5}}",
        "expression": (
            "{target: {name: cpu_util, unit: '%', type: gauge, "
            "scale: 100.0 / (10**9 * (resource_metadata.cpu_number or 1))}}"
        ),
    },
    "relabel": {
        "name": "{map_from: '^', map_to: my.}",
        "metadata": "{metadata: {set: {a: 1}, rename: {cpu_number: cpus}, remove: [flavor]}}",
    },
    "unit_conversion": {
        "number": "{source: {unit: MB}, target: {unit: KB, scale: 1024}}",
        "expression": "{target: {name: f, scale: volume * 1.8 + 32, max: 1000}}",
        "map": "{source: {map_from: {name: '^(.)'}}, target: {map_to: {name: 'x\\1'}, scale: 2}}",
        "division": "{target: {scale: 1000 / (volume - 7)}}",
    },
}
"""Parameters to try each with, by a name for people."""

EVERY: Final = [(name, tried) for name, all_ in sorted(KINDS.items()) for tried in all_]

CPU = Meter("cpu", "ns", SampleType.CUMULATIVE)
MEMORY = Meter("memory.usage", "MB", SampleType.GAUGE)
DISK = Meter("disk-bytes", "B", SampleType.DELTA)
METERS = (CPU, MEMORY, DISK)

START = 1_767_225_600.0
INTERVAL = 10.0


def make(kind: tuple[str, str]) -> Transformer:
    """Make a transformer of the list."""
    made: Transformer = build(kind[0], KINDS[kind[0]][kind[1]])
    return made


# -- streams -------------------------------------------------------------------------------------


class Step(NamedTuple):
    """Samples that arrive, or, without any, a tick at `now`."""

    samples: Sequence[Sample] = ()
    now: float | None = None


def stream(how: str, cycles: int = 9) -> list[Step]:
    """Return what may happen to a transformer: cycles of samples, with ticks between.

    Args:
        how: tracked, untracked or mixed: whether samples bring their previous reading; shuffled:
            untracked, in any order, some twice, some late, some in the future.
        cycles: polls, INTERVAL apart.
    """
    chance = random.Random(how)
    guests = [
        ("vm-1", "blue", "anna", {"cpu_number": 2, "flavor": {"name": "small"}}),
        ("vm-2", "blue", "ben", {"cpu_number": 4, "flavor": {"name": "large"}}),
        ("vm-3", "red", "anna", {"flavor": {"name": "small"}}),
        ("vm-4", None, None, {}),
    ]
    last: dict[tuple[str, str], tuple[float, float]] = {}
    samples = []
    for cycle in range(cycles):
        for name, project, user, metadata in guests:
            if chance.random() < 0.1:
                continue
            now = START + cycle * INTERVAL + chance.random()
            resource = Resource(name, project, user, "instance", metadata | {"cycle": cycle})
            for meter in METERS:
                volume = _volume(chance, meter, cycle)
                before = last.get((name, meter.name))
                last[name, meter.name] = (now, volume)
                tracked = how == "tracked" or (how == "mixed" and name in ("vm-1", "vm-4"))
                previous: Any = UNTRACKED
                if tracked:
                    previous = FIRST if before is None or meter is DISK else before
                if isinstance(previous, tuple):
                    previous = Previous(now - previous[0], previous[1])
                source = "polled" if tracked else None
                samples.append(Sample(meter, resource, now, volume, previous, START, source))
    if how == "shuffled":
        samples += chance.sample(samples, 20)
        chance.shuffle(samples)
    return list(_steps(chance, samples, in_order=how != "shuffled"))


def _volume(chance: random.Random, meter: Meter, cycle: int) -> float:
    if meter is CPU:
        return (cycle % 7) * 10**9 + chance.randrange(10**8)
    return chance.choice([chance.randrange(1000), chance.random() * 1000, 7])


def _steps(chance: random.Random, samples: list[Sample], in_order: bool) -> Iterator[Step]:
    now = START
    while samples:
        count = chance.randrange(1, 15)
        batch, samples = samples[:count], samples[count:]
        yield Step(batch)
        if in_order:
            now = max(now, batch[-1].time)
        else:
            now += chance.random() * 10
        while chance.random() < 0.6:
            now += 1
            yield Step(now=now)
    # On, so that whatever waits is let go.
    for _ in range(60):
        now += 4
        yield Step(now=now)


STREAMS: Final = {how: stream(how) for how in ("tracked", "untracked", "mixed", "shuffled")}


def play(transformer: Transformer, steps: Sequence[Step]) -> list[list[Sample]]:
    """Let the steps happen and return what came out at each."""
    out: list[list[Sample]] = []
    for step in steps:
        if step.now is None:
            out.append(list(transformer(step.samples)))
        elif isinstance(transformer, StatefulTransformer):
            out.append(list(transformer.tick(step.now)))
        else:
            out.append([])
    return out


def facts(samples: Sequence[Sample]) -> list[tuple[Any, ...]]:
    """Return all that samples say, comparable: resources are compared by what is in them."""
    return [
        (
            sample.meter,
            sample.resource.id,
            sample.resource.project_id,
            sample.resource.user_id,
            sample.resource.type,
            dict(sample.resource.metadata),
            sample.time,
            sample.volume,
            type(sample.volume),
            sample.previous,
            sample.started,
            sample.source,
        )
        for sample in samples
    ]
