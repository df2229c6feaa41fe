# SPDX-License-Identifier: Apache-2.0
"""Our side of `bench.gnocchi`: ``python -m bench.our_push URL``."""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

from bench.push_load import METERS, Load, Make, Push, metadata, serve
from ceilo_agent.plugins import Context
from ceilo_agent.publishers.gnocchi.publisher import Gnocchi
from ceilo_agent.publishers.gnocchi.settings import GnocchiOptions
from ceilo_agent.sample import Meter, Resource, Sample, SampleType


def begin() -> tuple[Make, Push]:
    publisher = Gnocchi(urlsplit(sys.argv[1]), GnocchiOptions(), Context("bench", {}))
    publisher.open()
    meters = [Meter(name, unit, SampleType(kind)) for name, kind, unit in METERS]

    def make(load: Load) -> list[Sample]:
        # Resource objects are made anew each cycle, as the log's and the polling agent's are.
        return [
            Sample(meter, resource, float(load.time), load.volume(r, m))
            for r, name in enumerate(load.resources)
            for resource in [Resource(name, "project", "user", "instance", metadata(r))]
            for m, meter in enumerate(meters)
        ]

    return make, publisher.push


if __name__ == "__main__":
    serve(begin)
