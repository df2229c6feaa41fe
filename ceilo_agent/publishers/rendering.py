# SPDX-License-Identifier: Apache-2.0
"""Samples as lines: JSON for programs, text for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from ceilo_agent.sample import Meter, Resource, Sample, isotime
from ceilo_agent.store.encoding import encode_json


def json_lines(samples: Iterable[Sample]) -> Iterator[bytes]:
    """Yield each sample as a line of JSON, in UTF-8, newline included: that of `as_document`."""
    return map(b"".join, json_pieces(samples))


def json_pieces(samples: Iterable[Sample]) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield each sample's line in three: what stands before the volume, the volume, the rest.

    What samples share is encoded once, and is the same object.
    """
    samples = list(samples)  # they keep their meters, which are told apart by identity
    heads: dict[int, bytes] = {}
    resource: Resource | None = None
    moment = float("nan")
    rest = b""
    for sample, volume in zip(samples, _volumes(samples), strict=True):
        meter = sample.meter
        head = heads.get(id(meter))
        if head is None:
            head = heads[id(meter)] = _head(meter)
        if sample.resource is not resource or sample.time != moment:
            if sample.resource is not resource:
                resource = sample.resource
                owner, metadata = _owner(resource), _metadata(resource)
            moment = sample.time
            rest = b"".join((owner, encode_json(isotime(moment)), metadata))
        yield head, volume, rest


def _volumes(samples: Sequence[Sample]) -> Sequence[bytes]:
    """Return each volume as JSON; numbers have no comma, so that one call does for all."""
    found = encode_json([sample.volume for sample in samples])[1:-1].split(b",")
    if len(found) == len(samples):
        return found
    return [encode_json(sample.volume) for sample in samples]


def _head(meter: Meter) -> bytes:
    """Return what stands before the volume."""
    known = {"name": meter.name, "type": meter.type.value, "unit": meter.unit}
    return encode_json(known)[:-1] + b',"volume":'


def _owner(resource: Resource) -> bytes:
    """Return what stands between the volume and the time."""
    known = {
        "resource_id": resource.id,
        "project_id": resource.project_id,
        "user_id": resource.user_id,
    }
    return b"," + encode_json(known)[1:-1] + b',"timestamp":'


def _metadata(resource: Resource) -> bytes:
    """Return what stands after the time."""
    return b',"resource_metadata":' + encode_json(resource.metadata) + b"}\n"


def json_documents(
    samples: Iterable[Sample], form: Callable[[Sample], dict[str, Any]]
) -> Iterator[bytes]:
    """Yield each sample as JSON in UTF-8, on one line.

    Args:
        samples: those of one resource best follow one another.
        form: what `as_document` returns, or more than it.
    """
    resource: Resource | None = None
    metadata = msgspec.Raw()
    for sample in samples:
        document = form(sample)
        # Samples of one resource follow one another: its metadata is encoded once.
        if sample.resource is not resource:
            resource = sample.resource
            metadata = msgspec.Raw(encode_json(resource.metadata))
        document["resource_metadata"] = metadata
        try:
            line = msgspec.json.encode(document)
        except (TypeError, ValueError, OverflowError):
            document["resource_metadata"] = sample.resource.metadata
            line = encode_json(document)
        yield line


def text_line(sample: Sample) -> str:
    """Return time, resource, meter, volume and unit, without a newline."""
    meter = sample.meter
    return (
        f"{isotime(sample.time)}  {printable(sample.resource.id)}  {printable(meter.name)}  "
        f"{sample.volume}  {printable(meter.unit)}"
    )


def printable(text: str) -> str:
    """Return text that cannot break a line or steer a terminal: names are their owners' words."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
