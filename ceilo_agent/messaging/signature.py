# SPDX-License-Identifier: Apache-2.0
"""The signature of one sample in Ceilometer's messages (``ceilometer.publisher.utils``).

It is the HMAC-SHA256 (RFC 2104), in hexadecimal, of the sample's pairs sorted by key: each key
followed by the value as Python writes it (``str``). Those of a mapping come one by one, under
``key:subkey``; what is in a list is written as UTF-8 bytes are (``[b'a', 1]``). The signature
itself is left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

KEY: Final = "message_signature"
METADATA: Final = "resource_metadata"

_BLOCK: Final = 64
"""Bytes that SHA-256 takes at a time."""


class Signer:
    """Signs with one secret.

    What HMAC hashes of the secret alone is hashed once: `hmac.digest` takes 1.7 times as long.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) > _BLOCK:
            secret = hashlib.sha256(secret).digest()
        padded = secret.ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(each ^ 0x36 for each in padded))
        self._outer = hashlib.sha256(bytes(each ^ 0x5C for each in padded))

    def __call__(self, data: bytes) -> str:
        """Return the signature of what `Text` gives."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(data)
        outer.update(inner.digest())
        return outer.hexdigest()


def check_text(*texts: str | None) -> None:
    """Refuse text that is none: JSON can name halves of characters, which no bytes hold.

    Raises:
        UnicodeEncodeError: it is there.
    """
    for text in texts:
        if text is not None:
            text.encode()


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

    def __call__(self, document: Mapping[str, Any]) -> bytes:
        """Return the bytes that a sample's signature is of, as a rule: see `exact`.

        Equal metadata are taken for the same, though ``1 == 1.0 == True``, and values beside them
        for plain ones, which Ceilometer's are.

        Args:
            document: the sample.

        Raises:
            UnicodeEncodeError: text that is none.
        """
        metadata = document.get(METADATA)
        if metadata.__class__ is not dict:
            return self.exact(document)
        keys = tuple(document)
        order = self._orders.get(keys)
        if order is None:
            order = self._orders[keys] = _order(keys)
        head = order.before % order.head(document)
        tail = order.behind % order.tail(document)
        return f"{head}{self._pairs(metadata, document.get('resource_id'))}{tail}".encode()

    @staticmethod
    def exact(document: Mapping[str, Any]) -> bytes:
        """Return the bytes that a sample's signature is of, whatever it holds; slower.

        Raises:
            RecursionError: it is nested too deeply.
            UnicodeEncodeError: text that is none.
        """
        rest = {key: value for key, value in document.items() if key != KEY}
        return "".join(_flat("", rest)).encode()

    def _pairs(self, metadata: dict[str, Any], owner: object) -> str:
        owner = owner if isinstance(owner, str) else None
        known = self._metadata.get(owner)
        if known is not None and (known[0] is metadata or known[0] == metadata):
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


def _flat(prefix: str, value: Mapping[str, Any]) -> Iterator[str]:
    """Yield keys and values, those of a mapping in it under a longer key."""
    for key, item in sorted(value.items(), key=itemgetter(0)):
        name = f"{prefix}{key}"
        if isinstance(item, dict):
            yield from _flat(f"{name}:", item)
        else:
            yield name
            yield str(_bytes(item)) if isinstance(item, list | tuple) else str(item)


def _bytes(value: Any) -> Any:
    """Return what stands for a value in a list: text as bytes, mappings sorted."""
    if isinstance(value, dict):
        return {_bytes(key): _bytes(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_bytes(item) for item in value]
    return value.encode() if isinstance(value, str) else value
