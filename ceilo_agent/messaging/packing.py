# SPDX-License-Identifier: Apache-2.0
"""Samples as bytes: tables of what they share, and a column for each of their attributes.

The bytes are MessagePack (https://msgpack.org). What samples share is there once, and is shared
again by the samples that are read back. Columns hold like beside like, which compresses better than
a row for each sample, and are faster to read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any, Final

import msgspec

from ceilo_agent.messaging.columns import table
from ceilo_agent.sample import (
    FIRST,
    UNTRACKED,
    Meter,
    Previous,
    Resource,
    Sample,
    SampleType,
    Volume,
)

VERSION: Final = 2

DEEPEST: Final = 100
"""Levels of metadata that are kept of what is nested too deeply to be packed."""


class _Packed(msgspec.Struct, array_like=True, gc=False):
    """Tables, and columns with an item for each sample.

    Attributes:
        meters: each once; so are the resources and the names of sources.
        meter: index in `meters`; `resource` and `source` likewise.
        elapsed: of the pair of the reading before; without a pair whether it is FIRST.
        before: the volume of that pair; 0 without one.
    """

    version: int
    meters: list[Meter]
    resources: list[Resource]
    sources: list[str | None]
    meter: list[int]
    resource: list[int]
    source: list[int]
    time: list[float]
    volume: list[Volume]
    elapsed: list[float | bool]
    before: list[Volume]
    started: list[float | None]


def plain(value: Any) -> Any:
    """Return what stands for metadata of a type that MessagePack does not know."""
    return dict(value) if isinstance(value, Mapping) else str(value)


def clean(value: Any, depth: int = 0) -> Any:
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
        return {clean(str(key)): clean(each, depth + 1) for key, each in entries}
    if isinstance(value, list | tuple | set | frozenset):
        return [clean(each, depth + 1) for each in value] if depth < DEEPEST else []
    return value


def cleaned(resources: Iterable[Resource]) -> list[Resource]:
    """Return resources with metadata that bytes can hold."""
    return [msgspec.structs.replace(each, metadata=clean(each.metadata)) for each in resources]


_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=plain)
_DECODER: Final = msgspec.msgpack.Decoder(_Packed)


def pack(samples: Iterable[Sample]) -> bytes:
    """Return samples as bytes; what metadata holds beside plain values becomes text.

    Metadata never stops it: what no bytes hold is put as near as can be.

    Raises:
        OverflowError: a volume of more than 64 bits.
        TypeError: something is no sample, as the types say it.
        UnicodeEncodeError: a name or an id that is no text.
    """
    samples = list(samples)
    meters, meter = table([sample.meter for sample in samples])
    resources, resource = table([sample.resource for sample in samples])
    sources, source = table([sample.source for sample in samples])
    previous = [sample.previous for sample in samples]
    packed = _Packed(
        VERSION,
        meters,
        resources,
        sources,
        meter,
        resource,
        source,
        [sample.time for sample in samples],
        [sample.volume for sample in samples],
        [p.elapsed if isinstance(p, Previous) else p is FIRST for p in previous],
        [p.volume if isinstance(p, Previous) else 0 for p in previous],
        [sample.started for sample in samples],
    )
    _check_columns(packed)
    check_tables(meters, resources, sources)
    try:
        return _ENCODER.encode(packed)
    except (OverflowError, RecursionError, UnicodeEncodeError):
        packed.resources = cleaned(packed.resources)
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
        lengths = {len(column) for column in msgspec.structs.astuple(packed)[4:]}
        if len(lengths) != 1:
            raise ValueError("no samples: its columns differ in length")
        previous = [
            (FIRST if elapsed else UNTRACKED)
            if isinstance(elapsed, bool)
            else Previous(elapsed, volume)
            for elapsed, volume in zip(packed.elapsed, packed.before, strict=True)
        ]
        return list(
            map(
                Sample,
                map(packed.meters.__getitem__, packed.meter),
                map(packed.resources.__getitem__, packed.resource),
                packed.time,
                packed.volume,
                previous,
                packed.started,
                map(packed.sources.__getitem__, packed.source),
            )
        )
    except (msgspec.DecodeError, LookupError, RecursionError) as error:
        raise ValueError(f"no samples: {error}") from error


_COLUMNS: Final[Mapping[str, Set[type]]] = {
    "time": {float, int},
    "volume": {float, int},
    "elapsed": {float, int, bool},
    "before": {float, int},
    "started": {float, int, type(None)},
}
_TEXT: Final = (str, type(None))


def _check_columns(packed: _Packed) -> None:
    """Refuse what could be written, but not be read again.

    Raises:
        TypeError: it is there.
    """
    for name, types in _COLUMNS.items():
        odd = set(map(type, getattr(packed, name))) - types
        if odd:
            raise TypeError(f"{name} of type {', '.join(sorted(kind.__name__ for kind in odd))}")


def check_tables(
    meters: Iterable[Meter], resources: Iterable[Resource], sources: Iterable[object]
) -> None:
    """Refuse likewise what samples share.

    Raises:
        TypeError: it is there.
        ValueError: a type that no meter has.
    """
    for meter in meters:
        if not (isinstance(meter.name, str) and isinstance(meter.unit, str)):
            raise TypeError("a meter whose name or unit is no text")
        SampleType(meter.type)
    for resource in resources:
        if not (isinstance(resource.id, str) and isinstance(resource.type, str)):
            raise TypeError("a resource whose id or type is no text")
        if not (isinstance(resource.project_id, _TEXT) and isinstance(resource.user_id, _TEXT)):
            raise TypeError("a resource whose owner is no text")
        if not isinstance(resource.metadata, Mapping):
            raise TypeError("a resource whose metadata is no mapping")
    if not all(isinstance(source, _TEXT) for source in sources):
        raise TypeError("a source whose name is no text")
