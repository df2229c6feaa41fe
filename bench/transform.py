# SPDX-License-Identifier: Apache-2.0
"""What transformers cost: ``python -m bench.transform [--ceilometer]``.

Samples of 40 meters over 1,000 resources, as the polling agent makes them, through rate_of_change
alone and through a sink's whole chain (match by meter, rate_of_change, unit_conversion), in samples
per second of one core. Then how the cost grows from 1,000 to 1,000,000 series, with `previous` in
the samples and without it, and how many bytes a series without it holds.

With ``--ceilometer`` the transformers of Ceilometer 11, the last that had them, run in the same
minute: same meters, same volumes, same scale expression. It is installed once beside the
environment that `bench.poll_cycle` uses.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from ceilo_agent.definition.pipeline import load
from ceilo_agent.pipeline.chain import Chain, build
from ceilo_agent.sample import (
    UNTRACKED,
    Meter,
    Previous,
    Resource,
    Sample,
    SampleType,
)

METERS = 40
RESOURCES = 1_000
ROUNDS = 7
SCALE = "100.0 / (10**9 * (resource_metadata.cpu_number or 1))"

FILE = """
sources:
  - {{name: bench, interval: 60, meters: ["*"], sinks: [bench]}}
sinks:
  - name: bench
    transformers:
{steps}
    publishers: ["console://"]
"""

RATE = """
      - name: rate_of_change
        parameters: {target: {type: gauge, unit: "%"}}
"""
RATE_WITH_EXPRESSION = f"""
      - name: rate_of_change
        parameters: {{target: {{type: gauge, unit: "%", scale: "{SCALE}"}}}}
"""
CHAIN = f"""
      - name: rate_of_change
        meters: ["bench.*"]
        parameters: {{target: {{type: gauge, unit: "%", scale: "{SCALE}"}}}}
      - name: unit_conversion
        meters: ["bench.*"]
        parameters: {{target: {{unit: ratio, scale: 0.01}}}}
"""


def chain(steps: str) -> Chain:
    """Return the chain of a sink with these steps, made as the agent makes it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "pipeline.yaml"
        path.write_text(FILE.format(steps=steps))
        (sink,) = load(path).sinks
        return build(sink)


def cycle(number: int, resources: Sequence[Resource], *, tracked: bool) -> list[Sample]:
    """Return the samples of one cycle: METERS counters of each resource."""
    meters = [Meter(f"bench.{n}", "ns", SampleType.CUMULATIVE) for n in range(METERS)]
    now = 1_700_000_000.0 + 60 * number
    return [
        Sample(
            meter,
            resource,
            now,
            (number + 1) * 30_000_000_000 + n,
            Previous(60.0, number * 30_000_000_000 + n) if tracked else UNTRACKED,
            None,
            "bench",
        )
        for resource in resources
        for n, meter in enumerate(meters)
    ]


def made(count: int) -> list[Resource]:
    """Return resources with metadata of the usual size."""
    return [
        Resource(str(uuid.UUID(int=n)), "p", "u", "instance", {"cpu_number": 2, "host": "h"})
        for n in range(count)
    ]


def cost(
    work: Callable[[Sequence[Sample]], Sequence[Sample]], batches: list[list[Sample]]
) -> float:
    """Return the least CPU seconds per sample over the batches; the first one warms up."""
    work(batches[0])
    best = float("inf")
    gc.collect()
    gc.disable()
    try:
        for batch in batches[1:]:
            began = time.process_time()
            out = work(batch)
            spent = time.process_time() - began
            assert len(out) == len(batch), f"{len(out)} of {len(batch)} came out"
            best = min(best, spent / len(batch))
    finally:
        gc.enable()
    return best


def speed() -> None:
    resources = made(RESOURCES)
    batches = [cycle(n, resources, tracked=True) for n in range(1, ROUNDS + 2)]
    print(f"{METERS} meters x {RESOURCES} resources, {ROUNDS} cycles, the best one")
    for title, steps in (
        ("rate_of_change", RATE),
        ("rate_of_change with an expression", RATE_WITH_EXPRESSION),
        ("match, rate_of_change with it, match, unit_conversion", CHAIN),
    ):
        each = cost(chain(steps), batches)
        print(f"  {title:<54} {each * 1e6:5.2f} us a sample, {1 / each:>11,.0f} a second")


def growth() -> None:
    print("from 1,000 to 1,000,000 series")
    for title, tracked in (("with previous", True), ("without (own state)", False)):
        costs = []
        for series in (1_000, 100_000, 1_000_000):
            resources = made(series // METERS)
            work = chain(RATE)
            times = []
            work(cycle(0, resources, tracked=tracked))
            for number in range(1, 4):
                batch = cycle(number, resources, tracked=tracked)
                gc.collect()
                gc.disable()
                began = time.process_time()
                work(batch)
                times.append((time.process_time() - began) / len(batch))
                gc.enable()
                del batch
            costs.append(min(times))
        shown = ", ".join(f"{each * 1e6:.2f}" for each in costs)
        print(f"  {title:<20} {shown} us a sample: x {costs[-1] / costs[0]:.1f}")


def memory() -> None:
    series = 100_000
    work = chain(RATE)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(3):
        # The resources are made anew, so that what the state keeps of them counts as its own.
        work(cycle(number, made(series // METERS), tracked=False))
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    print(f"state without previous: {held / series:.0f} B a series ({series:,} series)")


def ceilometer() -> None:
    """Run Ceilometer's transformers on the same samples and print its figures and the ratio."""
    from bench.ceilometer_venv import ensure_transformers  # noqa: PLC0415 - only on request

    python, path = ensure_transformers()
    script = Path(__file__).with_name("ceilometer_transform.py")
    done = subprocess.run(
        [str(python), str(script), str(METERS), str(RESOURCES), SCALE],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(path), "PATH": "/usr/bin:/bin"},
    )
    theirs = json.loads(done.stdout.splitlines()[-1])
    resources = made(RESOURCES)
    batches = [cycle(n, resources, tracked=True) for n in range(1, 4)]
    print("against Ceilometer 11, the same samples")
    for title, steps, name in (
        ("rate_of_change", RATE, "rate"),
        ("rate_of_change with an expression", RATE_WITH_EXPRESSION, "expression"),
        ("rate_of_change and unit_conversion", CHAIN, "chain"),
    ):
        ours = cost(chain(steps), batches)
        print(
            f"  {title:<36} theirs {1 / theirs[name]:>9,.0f} a second, ours {1 / ours:>11,.0f}: "
            f"x {theirs[name] / ours:.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="What transformers cost.")
    parser.add_argument("--ceilometer", action="store_true", help="compare with Ceilometer 11")
    chosen = parser.parse_args()
    speed()
    growth()
    memory()
    if chosen.ceilometer:
        ceilometer()


if __name__ == "__main__":
    sys.exit(main())
