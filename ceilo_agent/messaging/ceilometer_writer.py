# SPDX-License-Identifier: Apache-2.0
"""Writes Ceilometer's sample messages."""

from __future__ import annotations

import json
import operator
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ceilo_agent.messaging import signature
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.message import Unsendable
from ceilo_agent.messaging.packing import clean, plain
from ceilo_agent.sample import Resource, Sample, isotime

AT_ONCE: Final = 50
"""Samples of one message: Ceilometer's ``[polling] batch_size``."""

SOURCE: Final = "openstack"
"""Ceilometer's ``sample_source``."""

ENVELOPE: Final = 1024
"""Bytes that oslo.messaging puts around a payload, at most, beside the quoting of its JSON."""

_JSON: Final = json.JSONEncoder(allow_nan=False)


def encode(samples: Sequence[Sample], *, keys: Keys, max_bytes: int) -> list[dict[str, Any]]:
    """Return the payloads of messages that Ceilometer's notification agent takes.

    Args:
        samples: in order of time per series.
        keys: the current one signs.
        max_bytes: of each message, as oslo.messaging sends it.

    Raises:
        Unsendable: some are too large alone, or no samples; it has the payloads of the others.
    """
    writer = _Writer(keys)
    payloads: list[dict[str, Any]] = []
    documents: list[dict[str, Any]] = []
    refused: dict[int, str] = {}
    room = free = max_bytes - ENVELOPE
    for number, sample in enumerate(samples):
        try:
            document = writer.document(sample)
            size = writer.size(sample.resource, document)
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            refused[number] = f"{type(error).__name__}: {error}"
            continue
        if size > room:
            what = f"its metadata are too large for a message of {max_bytes} bytes"
            refused[number] = f"{sample.meter.name} of {sample.resource.id}: {what}"
            continue
        if documents and (size > free or len(documents) == AT_ONCE):
            payloads.append({"samples": documents})
            documents, free = [], room
        documents.append(document)
        free -= size
    if documents:
        payloads.append({"samples": documents})
    if refused:
        raise Unsendable(refused, payloads)
    return payloads


class _Writer:
    """Makes documents of samples; what they share is made once.

    Args:
        keys: the current one signs.
    """

    def __init__(self, keys: Keys) -> None:
        self._sign = signature.Signer(keys.current) if keys.current else None
        self._text = signature.Text(operator.is_)
        self._metadata: dict[int, tuple[Resource, dict[str, Any], int]] = {}

    def document(self, sample: Sample) -> dict[str, Any]:
        """Return a sample as Ceilometer writes it.

        Raises:
            AttributeError, TypeError: it is no sample.
            UnicodeEncodeError: a name or an id that is no text.
        """
        meter, resource = sample.meter, sample.resource
        document = {
            "source": SOURCE,
            "counter_name": meter.name,
            "counter_type": meter.type.value,
            "counter_unit": meter.unit,
            "counter_volume": sample.volume,
            "user_id": resource.user_id,
            "user_name": None,
            "project_id": resource.project_id,
            "project_name": None,
            "resource_id": resource.id,
            # Ceilometer's times have no zone and are UTC.
            "timestamp": isotime(sample.time).removesuffix("+00:00"),
            signature.METADATA: self._metadata_of(resource),
            "message_id": str(uuid.uuid1()),
            # When it was read by a clock of the host that nobody compares with another.
            "monotonic_time": None,
            signature.KEY: "",
        }
        signature.check_text(meter.name, meter.unit)
        if self._sign is not None:
            document[signature.KEY] = self._sign(self._text(document))
        return document

    def size(self, resource: Resource, document: Mapping[str, Any]) -> int:
        """Return the bytes that a document of a resource takes in oslo.messaging's message.

        Raises:
            ValueError: its volume is no finite number.
        """
        rest = {**document, signature.METADATA: None}
        return _size(rest) + self._metadata[id(resource)][2] + 2  # and what parts it from the next

    def _metadata_of(self, resource: Resource) -> dict[str, Any]:
        # By identity, which lasts as long as the resource, kept here, does.
        known = self._metadata.get(id(resource))
        if known is not None:
            return known[1]
        signature.check_text(resource.id, resource.project_id, resource.user_id)
        made = _through_json(resource.metadata)
        self._metadata[id(resource)] = resource, made, _size(made)
        return made


def _through_json(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata as they are after JSON: what is signed must be what is read."""
    try:
        data = msgspec.json.encode(metadata, enc_hook=plain)
    except (OverflowError, RecursionError, TypeError, ValueError):
        data = msgspec.json.encode(clean(metadata), enc_hook=plain)
    found: dict[str, Any] = msgspec.json.decode(data)
    return found


def _size(value: Any) -> int:
    """Return the bytes of JSON that is quoted as text in JSON.

    Raises:
        ValueError: a number is not finite.
    """
    text = _JSON.encode(value)
    return len(text) + text.count('"') + text.count("\\")
