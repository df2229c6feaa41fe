# SPDX-License-Identifier: Apache-2.0
"""Samples as lines: JSON for programs, text for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from ceilo_agent.sample import Resource, Sample, as_document, isotime
from ceilo_agent.store.encoding import encode_json


def json_lines(samples: Iterable[Sample]) -> Iterator[bytes]:
    """Yield each sample as a line of JSON, in UTF-8, newline included."""
    for document in json_documents(samples, as_document):
        yield document + b"\n"


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
