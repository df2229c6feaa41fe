# SPDX-License-Identifier: Apache-2.0
"""Ceilometer's sample messages: read, and written for its agents.

The payload is ``{"samples": [...]}`` (event type ``telemetry.polling``), or the list alone (from
its publisher ``notifier://``). `doc/source/ceilometer_messages.rst` has the fields of a sample.
"""

from __future__ import annotations

import functools
import hmac
import math
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from ceilo_agent.messaging import signature
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.message import Reason, Rejected
from ceilo_agent.messaging.packing import clean, plain
from ceilo_agent.meters.catalogue import NAMESPACES, catalogue
from ceilo_agent.sample import UNTRACKED, Meter, Resource, Sample, SampleType, Volume, isotime

AT_ONCE: Final = 50
"""Samples of one message: Ceilometer's ``[polling] batch_size``."""

SOURCE: Final = "openstack"
"""Ceilometer's ``sample_source``."""

GENERIC: Final = "generic"
"""The type of a resource whose meter no catalogue has."""

_TYPES: Final = {kind.value: kind for kind in SampleType}


class Refused(NamedTuple):
    """One sample of a message that is not taken.

    Attributes:
        document: as it came.
        reason: to be counted by.
        words: for people.
    """

    document: Any
    reason: Reason
    words: str


class Decoded(NamedTuple):
    """What a message holds.

    Attributes:
        samples: without a source and without a reading before, as nobody kept one.
        refused: those that are none.
    """

    samples: list[Sample]
    refused: list[Refused]


def decode(payload: Any, keys: Keys) -> Decoded:
    """Return the samples of a message.

    Args:
        payload: of the notification.
        keys: with any that is accepted, each sample must be signed with it.

    Raises:
        Rejected: it is no message of samples.
    """
    documents = payload.get("samples") if isinstance(payload, dict) else payload
    if not isinstance(documents, list):
        raise Rejected(Reason.UNKNOWN, "it holds no samples of Ceilometer")
    reader = _Reader(keys)
    samples: list[Sample] = []
    refused: list[Refused] = []
    for document in documents:
        try:
            samples.append(reader.sample(document))
        except Rejected as error:
            refused.append(Refused(document, error.reason, str(error)))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            words = f"no sample: {type(error).__name__}: {error}"
            refused.append(Refused(document, Reason.MALFORMED, words))
    return Decoded(samples, refused)


def encode(samples: Sequence[Sample], *, keys: Keys, max_bytes: int) -> list[dict[str, Any]]:
    """Return the payloads of messages that Ceilometer's notification agent takes.

    Args:
        samples: in order of time per series.
        keys: the current one signs.
        max_bytes: of each as JSON.

    Raises:
        ValueError: one sample alone is too large.
    """
    text = signature.Text()
    documents = [_document(sample, keys, text) for sample in samples]
    payloads: list[dict[str, Any]] = []
    for start in range(0, len(documents), AT_ONCE):
        payloads += _split(documents[start : start + AT_ONCE], max_bytes)
    return payloads


class _Reader:
    """Reads the samples of one message; what they share becomes one object."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys.accepted
        self._text = signature.Text()
        self._meters: dict[tuple[str, str, str], Meter] = {}
        self._resources: dict[tuple[str, str], Resource] = {}
        self._times: dict[str, float] = {}

    def sample(self, document: Any) -> Sample:
        if not isinstance(document, dict):
            raise Rejected(Reason.MALFORMED, "no sample: it is no mapping")
        if self._keys:
            self._verify(document)
        meter = self._meter(document)
        time = self._time(document["timestamp"])
        volume = _volume(document["counter_volume"])
        return Sample(meter, self._resource(document, meter), time, volume, UNTRACKED, None, None)

    def _verify(self, document: dict[str, Any]) -> None:
        given = document.get(signature.KEY)
        if not isinstance(given, str) or not given:
            raise Rejected(Reason.SIGNATURE, "it is not signed")
        if not (
            given.isascii()
            and (self._fits(document, given) or self._fits(document, given, fresh=True))
        ):
            raise Rejected(Reason.SIGNATURE, "it is signed with a secret that is not known")

    def _fits(self, document: dict[str, Any], given: str, *, fresh: bool = False) -> bool:
        data = self._text(document, fresh=fresh)
        return any(hmac.compare_digest(signature.sign(key, data), given) for key in self._keys)

    def _meter(self, document: dict[str, Any]) -> Meter:
        key = document["counter_name"], document["counter_unit"], document["counter_type"]
        found = self._meters.get(key)
        if found is None:
            name, unit, kind = key
            if not isinstance(name, str) or not name:
                raise Rejected(Reason.MALFORMED, "no sample: its name is no text")
            if kind not in _TYPES:
                types = ", ".join(_TYPES)
                raise Rejected(Reason.MALFORMED, f"no sample: its type is none of {types}")
            found = Meter(name, unit if isinstance(unit, str) else "", _TYPES[kind])
            self._meters[key] = found
        return found

    def _resource(self, document: dict[str, Any], meter: Meter) -> Resource:
        number, metadata = document["resource_id"], document.get(signature.METADATA)
        kind = _kinds().get(meter.name, GENERIC)
        found = self._resources.get((number, kind))
        project, user = document.get("project_id"), document.get("user_id")
        if (
            found is not None
            and found.project_id == project
            and found.user_id == user
            and (found.metadata is metadata or found.metadata == metadata)
        ):
            return found
        if not isinstance(number, str) or not number:
            raise Rejected(Reason.MALFORMED, "no sample: its resource_id is no text")
        if metadata is not None and not isinstance(metadata, dict):
            raise Rejected(Reason.MALFORMED, "no sample: its resource_metadata are no mapping")
        if not all(owner is None or isinstance(owner, str) for owner in (project, user)):
            raise Rejected(Reason.MALFORMED, "no sample: its owner is no text")
        found = Resource(number, project, user, kind, metadata or {})
        self._resources[number, kind] = found
        return found

    def _time(self, text: Any) -> float:
        found = self._times.get(text)
        if found is None:
            if not isinstance(text, str):
                raise Rejected(Reason.MALFORMED, "no sample: its timestamp is no text")
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            found = self._times[text] = moment.timestamp()
            if found < 0:
                raise Rejected(Reason.MALFORMED, "no sample: it is from before 1970")
        return found


def _volume(value: Any) -> Volume:
    """Return a volume; Ceilometer takes text that is a number as well."""
    if value.__class__ is int:
        if not -(2**63) <= value < 2**64:
            return float(value)
        return int(value)
    number = float(value) if isinstance(value, str | float) else math.nan
    if not math.isfinite(number):
        raise Rejected(Reason.MALFORMED, "no sample: its volume is no number")
    return number


@functools.cache
def _kinds() -> Mapping[str, str]:
    """Return the kind of resource that a meter is of, by the meter's name."""
    return {entry.name: entry.kind for each in NAMESPACES for entry in catalogue(each).meters}


def _document(sample: Sample, keys: Keys, text: signature.Text) -> dict[str, Any]:
    resource = sample.resource
    document = {
        "source": SOURCE,
        "counter_name": sample.meter.name,
        "counter_type": sample.meter.type.value,
        "counter_unit": sample.meter.unit,
        "counter_volume": sample.volume,
        "user_id": resource.user_id,
        "user_name": None,
        "project_id": resource.project_id,
        "project_name": None,
        "resource_id": resource.id,
        "timestamp": isotime(sample.time),
        signature.METADATA: _metadata(resource),
        "message_id": str(uuid.uuid1()),
        "monotonic_time": None,
        signature.KEY: "",
    }
    if keys.current:
        document[signature.KEY] = signature.sign(keys.current, text(document))
    return document


@functools.lru_cache(maxsize=1000)
def _metadata(resource: Resource) -> dict[str, Any]:
    """Return metadata as they are after JSON: what is signed must be what is read."""
    try:
        found: dict[str, Any] = msgspec.json.decode(
            msgspec.json.encode(resource.metadata, enc_hook=plain)
        )
    except (OverflowError, RecursionError, UnicodeEncodeError, TypeError, ValueError):
        found = msgspec.json.decode(msgspec.json.encode(clean(resource.metadata), enc_hook=plain))
    return found


def _split(documents: list[dict[str, Any]], max_bytes: int) -> list[dict[str, Any]]:
    if len(msgspec.json.encode(documents)) <= max_bytes - 64:
        return [{"samples": documents}]
    if len(documents) == 1:
        name, number = documents[0]["counter_name"], documents[0]["resource_id"]
        what = f"its metadata are too large for a message of {max_bytes} bytes"
        raise ValueError(f"{name} of {number}: {what}")
    half = len(documents) // 2
    return [*_split(documents[:half], max_bytes), *_split(documents[half:], max_bytes)]
