# SPDX-License-Identifier: Apache-2.0
"""The signature of one sample in Ceilometer's messages (``ceilometer.publisher.utils``).

It is the HMAC-SHA256, in hexadecimal, of the sample's pairs sorted by key: each key followed by the
value as Python writes it (``str``). Those of a mapping come one by one, under ``key:subkey``; what
is in a list is written as UTF-8 bytes are (``[b'a', 1]``). The signature itself is left out.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

KEY: Final = "message_signature"
METADATA: Final = "resource_metadata"


def sign(key: bytes, data: bytes) -> str:
    """Return the signature of what `Text` gives."""
    return hmac.digest(key, data, "sha256").hex()


class _Order(NamedTuple):
    """The keys of a sample, sorted, but for its metadata, which stand between head and tail.

    Attributes:
        head: returns the values of the keys before; `tail`: of those behind.
        before: what they are written into, ``key%skey%s``; `behind` likewise.
    """

    head: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    before: str
    tail: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    behind: str


class Text:
    """Turns samples into what is signed; metadata that many of them share are written once."""

    def __init__(self) -> None:
        self._orders: dict[tuple[str, ...], _Order] = {}
        self._metadata: dict[object, tuple[Any, str]] = {}

    def __call__(self, document: Mapping[str, Any], *, fresh: bool = False) -> bytes:
        """Return the bytes that a sample's signature is of.

        Args:
            document: the sample.
            fresh: nothing is taken from samples before. Metadata that are equal may be written
                otherwise: 1 == 1.0 == True.

        Raises:
            TypeError: keys that cannot be sorted.
            UnicodeEncodeError: text that is none.
        """
        metadata = document.get(METADATA)
        if metadata.__class__ is dict:
            keys = tuple(document)
            order = self._orders.get(keys)
            if order is None:
                order = self._orders[keys] = _order(keys)
            head, tail = order.head(document), order.tail(document)
            kinds = {*map(type, head), *map(type, tail)}
            if not kinds & _NESTED:
                pairs = self._pairs(metadata, document.get("resource_id"), fresh=fresh)
                return f"{order.before % head}{pairs}{order.behind % tail}".encode()
        rest = {key: value for key, value in document.items() if key != KEY}
        return "".join(_flat("", rest)).encode()

    def _pairs(self, metadata: dict[str, Any], owner: object, *, fresh: bool) -> str:
        owner = owner if isinstance(owner, str) else None
        known = self._metadata.get(owner)
        if known is not None and not fresh and known[0] == metadata:
            return known[1]
        made = "".join(_flat(f"{METADATA}:", metadata))
        self._metadata[owner] = metadata, made
        return made


def _order(keys: Sequence[str]) -> _Order:
    order = sorted(key for key in keys if key != KEY)
    place = order.index(METADATA)
    head, tail = order[:place], order[place + 1 :]
    return _Order(_values(head), _template(head), _values(tail), _template(tail))


def _values(keys: Sequence[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    if len(keys) > 1:
        return itemgetter(*keys)
    return lambda document: tuple(document[key] for key in keys)


def _template(keys: Sequence[str]) -> str:
    return "".join(f"{key.replace('%', '%%')}%s" for key in keys)


_NESTED: Final = frozenset((dict, list, tuple))


def _flat(prefix: str, value: Mapping[str, Any]) -> Iterator[str]:
    """Yield keys and values, those of a mapping in it under a longer key."""
    for key, item in sorted(value.items()):
        name = f"{prefix}{key}"
        if isinstance(item, dict):
            yield from _flat(f"{name}:", item)
        else:
            yield name
            yield str(_bytes(item)) if isinstance(item, list | tuple) else str(item)


def _bytes(value: Any) -> Any:
    """Return what stands for a value in a list: text as bytes, mappings sorted."""
    if isinstance(value, dict):
        return {_bytes(key): _bytes(item) for key, item in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [_bytes(item) for item in value]
    return value.encode() if isinstance(value, str) else value
