# SPDX-License-Identifier: Apache-2.0
"""Samples as bytes: a table of meters, a table of resources, and a row per sample.

The bytes are MessagePack (https://msgpack.org). What samples share is there once, and is shared
again by the samples that are read back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from ceilo_agent.sample import FIRST, UNTRACKED, Meter, Previous, Resource, Sample, Volume

VERSION: Final = 1

DEEPEST: Final = 100
"""Levels of metadata that are kept of what is nested too deeply to be packed."""

_NO_PREVIOUS: Final = {0: UNTRACKED, 1: FIRST}


class _Row(msgspec.Struct, array_like=True, gc=False):
    """One sample; `meter` and `resource` are indexes, `previous` a pair or of _NO_PREVIOUS."""

    meter: int
    resource: int
    time: float
    volume: Volume
    previous: tuple[float, Volume] | int
    started: float | None
    source: str | None


class _Packed(msgspec.Struct, array_like=True, gc=False):
    version: int
    meters: list[Meter]
    resources: list[Resource]
    rows: list[_Row]


def _plain(value: Any) -> Any:
    """Return what stands for metadata of a type that MessagePack does not know."""
    return dict(value) if isinstance(value, Mapping) else str(value)


def _clean(value: Any, depth: int = 0) -> Any:
    """Return what stands for metadata that no bytes hold: larger numbers, broken text, no end."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        try:
            return float(value)
        except OverflowError:
            return None
    if isinstance(value, Mapping):
        entries = value.items() if depth < DEEPEST else ()
        return {_clean(str(key)): _clean(each, depth + 1) for key, each in entries}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(each, depth + 1) for each in value] if depth < DEEPEST else []
    return value


_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=_plain)
_DECODER: Final = msgspec.msgpack.Decoder(_Packed)


def pack(samples: Iterable[Sample]) -> bytes:
    """Return samples as bytes; what metadata holds beside plain values becomes text.

    Metadata never stops it: what no bytes hold is put as near as can be.

    Raises:
        OverflowError: a volume of more than 64 bits.
        UnicodeEncodeError: a name or an id that is no text.
    """
    meters: dict[Meter, int] = {}
    resources: dict[int, int] = {}
    packed = _Packed(VERSION, [], [], [])
    for sample in samples:
        meter = meters.setdefault(sample.meter, len(meters))
        if meter == len(packed.meters):
            packed.meters.append(sample.meter)
        resource = resources.setdefault(id(sample.resource), len(resources))
        if resource == len(packed.resources):
            packed.resources.append(sample.resource)
        previous = sample.previous
        packed.rows.append(
            _Row(
                meter,
                resource,
                sample.time,
                sample.volume,
                (previous.elapsed, previous.volume)
                if isinstance(previous, Previous)
                else int(previous is FIRST),
                sample.started,
                sample.source,
            )
        )
    try:
        return _ENCODER.encode(packed)
    except (OverflowError, RecursionError, UnicodeEncodeError):
        packed.resources = [
            msgspec.structs.replace(each, metadata=_clean(each.metadata))
            for each in packed.resources
        ]
        return _ENCODER.encode(packed)


def unpack(data: bytes) -> list[Sample]:
    """Return the samples that `pack` took.

    Raises:
        ValueError: these bytes are no samples, or of a later version.
    """
    try:
        packed = _DECODER.decode(data)
        if packed.version != VERSION:
            raise ValueError(f"samples of version {packed.version}, {VERSION} was expected")
        return [_sample(packed, row) for row in packed.rows]
    except (msgspec.DecodeError, LookupError, RecursionError) as error:
        raise ValueError(f"no samples: {error}") from error


def _sample(packed: _Packed, row: _Row) -> Sample:
    previous: Any = row.previous
    return Sample(
        packed.meters[row.meter],
        packed.resources[row.resource],
        row.time,
        row.volume,
        _NO_PREVIOUS[previous] if isinstance(previous, int) else Previous(*previous),
        row.started,
        row.source,
    )
