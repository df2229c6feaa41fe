# SPDX-License-Identifier: Apache-2.0
"""Ceilometer's transformers, in its own environment: ``METERS RESOURCES SCALE`` as arguments.

Prints one line of JSON: seconds of CPU per sample of each chain, the better of two cycles.
"""

from __future__ import annotations

import json
import logging
import sys
import time

from ceilometer import sample
from ceilometer.transformer import conversions


def cycle(number: int, meters: int, resources: int) -> list[sample.Sample]:
    stamp = f"2026-01-01T00:{number:02d}:00"
    return [
        sample.Sample(
            name=f"bench.{m}",
            type="cumulative",
            unit="ns",
            volume=(number + 1) * 30_000_000_000 + m,
            user_id="u",
            project_id="p",
            resource_id=f"{r:036d}",
            timestamp=stamp,
            resource_metadata={"cpu_number": 2, "host": "h"},
            monotonic_time=60.0 * number,
        )
        for r in range(resources)
        for m in range(meters)
    ]


def cost(steps: list[object], batches: list[list[sample.Sample]]) -> float:
    best = float("inf")
    for number, batch in enumerate(batches):
        began = time.process_time()
        out = 0
        for each in batch:
            made = each
            for step in steps:
                made = step.handle_sample(made)
                if made is None:
                    break
            out += made is not None
        if number:
            assert out == len(batch), f"{out} of {len(batch)} came out"
            best = min(best, (time.process_time() - began) / len(batch))
    return best


def main() -> None:
    logging.disable(logging.CRITICAL)
    meters, resources, scale = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    batches = [cycle(number, meters, resources) for number in range(3)]
    target = {"type": "gauge", "unit": "%"}
    rate = conversions.RateOfChangeTransformer
    print(
        json.dumps(
            {
                "rate": cost([rate(target=target)], batches),
                "expression": cost([rate(target=target | {"scale": scale})], batches),
                "chain": cost(
                    [
                        rate(target=target | {"scale": scale}),
                        conversions.ScalingTransformer(target={"unit": "ratio", "scale": 0.01}),
                    ],
                    batches,
                ),
            }
        )
    )


if __name__ == "__main__":
    main()
