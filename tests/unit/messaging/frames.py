# SPDX-License-Identifier: Apache-2.0
"""Frames of our format, made by hand: what no encoder of ours would write."""

from __future__ import annotations

import hmac
from typing import Any

import msgspec
import zstandard

from ceilo_agent.messaging import wire
from ceilo_agent.messaging.frame import HEADER
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.sample import FIRST, Meter, Previous, Resource, Sample, SampleType

NO_KEYS = Keys()
ID = bytes(range(16))
SENT = 1800000000.5
METER = Meter("cpu", "ns", SampleType.CUMULATIVE)
RESOURCE = Resource("r", "p", None, "instance", {"flavor": {"name": "m1.tiny", "vcpus": 1}})

BODY: dict[str, Any] = {
    "host": "h",
    "queues": 10,
    "source": "s",
    "meters": [["cpu", "ns", "cumulative"], ["vcpus", "vcpu", "gauge"]],
    "resources": [["r", "p", None, "instance", {"a": 1}]],
    "meter": [0, 1, 0],
    "resource": [0, 0, 0],
    "time": [1e9, 1e9, 1e9],
    "volume": [7, 2, 1.5],
    "started": [None, 9e8, 0.0],
    "elapsed": [60.0, True, False],
    "change": [3, 0, 0.0],
}


def body(*more: Any, **changed: Any) -> bytes:
    """Return a body with some items changed and some appended."""
    assert changed.keys() <= BODY.keys()
    return msgspec.msgpack.encode([*(BODY | changed).values(), *more])


def frame(
    content: bytes,
    *,
    version: int = 1,
    flags: int = 0,
    sent: float = SENT,
    key: bytes = b"",
    compress: bool = True,
) -> bytes:
    """Return a frame around a body, signed if there is a key."""
    head = HEADER.pack(b"ceAg", version, flags | (1 if key else 0), sent, ID)
    data = zstandard.ZstdCompressor().compress(content) if compress else content
    return head + (hmac.digest(key, head + data, "sha256") if key else b"") + data


def encoded(samples: list[Sample], *, keys: Keys = NO_KEYS, limit: int = 1 << 20) -> list[bytes]:
    """Return samples as `encode` puts them."""
    return wire.encode(
        samples, host="h", source="s", sent=SENT, queues=10, keys=keys, max_bytes=limit
    )


def series(count: int, resource: Resource = RESOURCE) -> list[Sample]:
    """Return readings of a counter."""
    return [
        Sample(METER, resource, 1e9 + 60 * n, 5 * n, Previous(60.0, 5 * n - 5) if n else FIRST, 1e9,
               "s")
        for n in range(count)
    ]  # fmt: skip
