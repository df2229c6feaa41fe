# SPDX-License-Identifier: Apache-2.0
"""Reads Ceilometer's sample messages."""

from __future__ import annotations

import functools
import hmac
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from ceilo_agent.messaging import signature
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.message import Reason, Rejected
from ceilo_agent.meters.catalogue import NAMESPACES, catalogue
from ceilo_agent.sample import UNTRACKED, Meter, Resource, Sample, SampleType, Volume

GENERIC: Final = "generic"
"""The type of a resource whose meter no catalogue has."""

LATEST: Final = 253402300799.0
"""UTC seconds: the end of the year 9999."""

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
        except KeyError as error:
            words = f"no sample: it has no {error.args[0]}"
            refused.append(Refused(document, Reason.MALFORMED, words))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            words = f"no sample: {type(error).__name__}: {error!s:.200}"
            refused.append(Refused(document, Reason.MALFORMED, words))
    return Decoded(samples, refused)


class _Reader:
    """Reads the samples of one message; what they share becomes one object."""

    def __init__(self, keys: Keys) -> None:
        self._signers = [signature.Signer(key) for key in keys.accepted]
        self._text = signature.Text()
        self._meters: dict[tuple[str, str, str], Meter] = {}
        self._resources: dict[tuple[str, str], Resource] = {}
        self._times: dict[str, float] = {}

    def sample(self, document: Any) -> Sample:
        if not isinstance(document, dict):
            raise Rejected(Reason.MALFORMED, "no sample: it is no mapping")
        if self._signers:
            self._verify(document)
        meter = self._meter(document)
        time = self._time(document["timestamp"])
        volume = _volume(document["counter_volume"])
        return Sample(meter, self._resource(document, meter), time, volume, UNTRACKED, None, None)

    def _verify(self, document: dict[str, Any]) -> None:
        given = document.get(signature.KEY)
        if not isinstance(given, str) or not given:
            raise Rejected(Reason.SIGNATURE, "it is not signed")
        if not given.isascii() or not (
            self._fits(self._text(document), given) or self._fits(self._text.exact(document), given)
        ):
            raise Rejected(Reason.SIGNATURE, "it is signed with a secret that is not known")

    def _fits(self, data: bytes, given: str) -> bool:
        for sign in self._signers:  # noqa: SIM110 - any() of a generator takes a microsecond more
            if hmac.compare_digest(sign(data), given):
                return True
        return False

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
            signature.check_text(name, found.unit)
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
        signature.check_text(number, project, user)
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
            found = moment.timestamp()
            if not 0 <= found <= LATEST:
                raise Rejected(Reason.MALFORMED, "no sample: it is not from 1970 to 9999")
            self._times[text] = found
        return found


def _volume(value: Any) -> Volume:
    """Return a volume; Ceilometer takes text that is a number and truth as well.

    Raises:
        OverflowError: it is too large for any number.
        Rejected: it is none.
    """
    if value.__class__ is float and math.isfinite(value):
        return float(value)
    if isinstance(value, str):
        value = _number(value)
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**64 else float(value)
    if not isinstance(value, float) or not math.isfinite(value):
        raise Rejected(Reason.MALFORMED, "no sample: its volume is no number")
    return value


def _number(text: str) -> Volume:
    """Return the number that a text is.

    Raises:
        Rejected: it is none.
    """
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            words = "no sample: its volume is a text that is no number"
            raise Rejected(Reason.MALFORMED, words) from None


@functools.cache
def _kinds() -> Mapping[str, str]:
    """Return the kind of resource that a meter is of, by the meter's name."""
    return {entry.name: entry.kind for each in NAMESPACES for entry in catalogue(each).meters}
