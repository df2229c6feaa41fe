# SPDX-License-Identifier: Apache-2.0
"""Samples for a real Gnocchi, the publisher that brings them there, and what is there then."""

import time
import uuid
from urllib.parse import urlsplit

import msgspec

from ceilo_agent.plugins import Context
from ceilo_agent.publishers.gnocchi.definitions import Definitions
from ceilo_agent.publishers.gnocchi.publisher import Gnocchi
from ceilo_agent.publishers.gnocchi.settings import GnocchiOptions
from ceilo_agent.sample import Meter, Resource, Sample, SampleType

NOW = float(int(time.time()))
SECOND = "test-second"
"""The archive policy of nearly all metrics here: points of a second, so that each can be read."""

METERS = [
    Meter("cpu", "ns", SampleType.CUMULATIVE),
    Meter("memory.usage", "MB", SampleType.GAUGE),
    Meter("my.own", "", SampleType.DELTA),
]


def prepare(server, client=None):
    """Create what `upgrade apply` creates, as far as these tests need it, and a policy."""
    made = client or publisher(server)
    for name, kind in Definitions.load(None).resource_types.items():
        if name.startswith("instance"):
            assert made._client.create_resource_type(name, kind.schema)
            assert not made._client.create_resource_type(name, kind.schema)
    policy = {"name": SECOND, "definition": [{"granularity": 1, "points": 20_000}]}
    policy["aggregation_methods"] = ["mean", "count"]
    assert made._client.create_archive_policy(policy)
    assert not made._client.create_archive_policy(policy)
    assert {"instance", "generic"} <= set(made._client.resource_types())
    assert made._client.archive_policies()[SECOND]["aggregation_methods"]
    made.close()


def publisher(server, values=None, url=None, **chosen):
    """Make and open a publisher."""
    chosen = {"archive_policy": SECOND} | chosen
    made = Gnocchi(
        urlsplit(url or f"gnocchi://127.0.0.1:{server.port}"),
        msgspec.convert(chosen, GnocchiOptions, strict=False),
        Context("here", values or {}),
    )
    made.open()
    return made


def guests(count=50, prefix=None, **more):
    """Return guests of their own for each test; every other id is a UUID."""
    prefix = prefix or uuid.uuid4().hex[:8]
    flavor = {"id": "f-1", "name": "small"}
    return [
        Resource(
            str(uuid.uuid5(uuid.NAMESPACE_OID, f"{prefix}{n}")) if n % 2 else f"{prefix}/{n} ü",
            "project",
            "user",
            "instance",
            {"display_name": f"guest {n}", "host": "node-1", "flavor": flavor, **more},
        )
        for n in range(count)
    ]


def cycle(resources, second, meters=METERS):
    """Return the samples of one cycle, at some second after NOW, values all different."""
    return [
        Sample(meter, resource, NOW + second, 1000 * second + 10 * n + m + 0.25)
        for n, resource in enumerate(resources)
        for m, meter in enumerate(meters)
    ]


def written(samples):
    """Return what Gnocchi must hold: value by second, by resource and metric."""
    found = {}
    for sample in samples:
        key = (sample.resource.id.replace("/", "_"), sample.meter.name)
        found.setdefault(key, {})[sample.time] = sample.volume
    return {key: sorted(points.items()) for key, points in found.items()}


def held(server, samples):
    """Return what Gnocchi holds of the resources of the samples, every point once."""
    server.drain()
    names = {key[0] for key in written(samples)}
    for key, points in server.points(names, "count").items():
        assert all(count == 1 for _, count in points), (key, points)
    return server.points(names)
