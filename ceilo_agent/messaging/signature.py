# SPDX-License-Identifier: Apache-2.0
"""The signature of one sample in Ceilometer's messages (``ceilometer.publisher.utils``).

It is the HMAC-SHA256 (RFC 2104), in hexadecimal, of the sample's pairs sorted by key: each key
followed by the value as Python writes it (``str``). Those of a mapping come one by one, under
``key:subkey``; what is in a list is written as UTF-8 bytes are (``[b'a', 1]``). The signature
itself is left out.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

from ceilo_agent.messaging.message import Reason, Rejected

KEY: Final = "message_signature"
METADATA: Final = "resource_metadata"

LARGEST: Final = 1 << 22
"""Characters that a sample's signature may be of.

Each pair has the keys of all mappings around it, so that they could be very many more than those of
the message, which is not trusted before.
"""

_LONG: Final = 256
"""Characters of a key: what is below a longer one is written without keeping anything."""
_KEPT: Final = 1 << 14
"""Characters that are kept to be used again; longer text is not."""

_PREFIX: Final = f"{METADATA}:"

_BLOCK: Final = 64
"""Bytes that SHA-256 takes at a time."""

_INNER: Final = bytes(each ^ 0x36 for each in range(256))
_OUTER: Final = bytes(each ^ 0x5C for each in range(256))

_BY_KEY: Final = itemgetter(0)


class Signer:
    """Signs with one secret.

    What HMAC hashes of the secret alone is hashed once: `hmac.digest` takes 1.7 times as long.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) > _BLOCK:
            secret = hashlib.sha256(secret).digest()
        padded = secret.ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(padded.translate(_INNER))
        self._outer = hashlib.sha256(padded.translate(_OUTER))

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


class _Layout(NamedTuple):
    """How mappings are written that have the same keys, and values of the same types.

    Attributes:
        text: what the values, sorted by key, are written into.
        mappings: where a mapping is among them, and what its keys begin with.
        lists: where a list is.
    """

    text: str
    mappings: tuple[tuple[int, str], ...]
    lists: tuple[int, ...]


class _Family:
    """Mappings that have the same keys under one prefix; most have values of the same types, too.

    Attributes:
        values: returns the values of one, sorted by key.
    """

    def __init__(self, prefix: str, keys: Sequence[str]) -> None:
        self._prefix = prefix
        self._keys = sorted(keys)
        self._layouts: dict[tuple[type, ...], _Layout] = {}
        self.values = _values(self._keys)

    def layout(self, values: tuple[Any, ...]) -> _Layout:
        """Return how these values are written."""
        types = tuple(map(type, values))
        found = self._layouts.get(types)
        if found is None:
            found = self._layouts[types] = self._made(types)
        return found

    def _made(self, types: Sequence[type]) -> _Layout:
        text: list[str] = []
        mappings: list[tuple[int, str]] = []
        lists: list[int] = []
        for place, (key, kind) in enumerate(zip(self._keys, types, strict=True)):
            name = f"{self._prefix}{key}"
            if issubclass(kind, dict):
                mappings.append((place, f"{name}:"))
                text.append("%s")
                continue
            if issubclass(kind, list | tuple):
                lists.append(place)
            text.append(f"{_quoted(name)}%s")
        return _Layout("".join(text), tuple(mappings), tuple(lists))


class Text:
    """Turns samples into what is signed; metadata that many of them share are written once.

    Args:
        same: tells whether two metadata are written alike. With `operator.eq`, some that are not
            are taken for it, as ``1 == 1.0 == True``.
    """

    def __init__(self, same: Callable[[Any, Any], bool] = operator.eq) -> None:
        self._same = same
        self._orders: dict[tuple[str, ...], _Order] = {}
        self._written: dict[tuple[str, str], tuple[Mapping[str, Any], str]] = {}
        self._families: dict[tuple[str, ...], _Family] = {}

    def __call__(self, document: Mapping[str, Any]) -> bytes:
        """Return the bytes that a sample's signature is of, as a rule: see `exact`.

        Values beside the metadata are taken for plain ones, which Ceilometer's are.

        Args:
            document: the sample.

        Raises:
            RecursionError: lists are nested too deeply.
            Rejected: it is more than `LARGEST`.
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
        pairs = self._shared(_PREFIX, metadata, f"of {document.get('resource_id')}")
        return f"{head}{pairs}{tail}".encode()

    @staticmethod
    def exact(document: Mapping[str, Any]) -> bytes:
        """Return the bytes that a sample's signature is of, whatever it holds; slower.

        Raises:
            RecursionError: lists are nested too deeply.
            Rejected: it is more than `LARGEST`.
            UnicodeEncodeError: text that is none.
        """
        return _joined("", {key: item for key, item in document.items() if key != KEY}).encode()

    def _shared(self, prefix: str, mapping: Mapping[str, Any], owner: str) -> str:
        """Return what `_joined` does; the last of each owner is written once."""
        key = prefix, owner
        known = self._written.get(key)
        if known is not None and (known[0] is mapping or self._same(known[0], mapping)):
            return known[1]
        made = self._mapping(prefix, mapping, self._below if owner else _joined)
        if len(made) <= _KEPT:
            self._written[key] = mapping, made
        return made

    def _below(self, prefix: str, mapping: Mapping[str, Any]) -> str:
        if len(prefix) > _LONG:
            return _joined(prefix, mapping)
        return self._shared(prefix, mapping, "")

    def _mapping(
        self,
        prefix: str,
        mapping: Mapping[str, Any],
        below: Callable[[str, Mapping[str, Any]], str],
    ) -> str:
        """Return what `_joined` does.

        Args:
            prefix: a short one.
            mapping: to be written.
            below: writes mappings in it.
        """
        key = (prefix, *mapping)
        family = self._families.get(key)
        if family is None:
            family = self._families[key] = _Family(prefix, key[1:])
        values = family.values(mapping)
        text, mappings, lists = family.layout(values)
        if mappings or lists:
            written = list(values)
            room = LARGEST
            for place, name in mappings:
                made = written[place] = below(name, values[place])
                room = _less(room, len(made))
            for place in lists:
                written[place] = _bytes(values[place])
            values = tuple(written)
        return text % values


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
    return "".join(f"{_quoted(key)}%s" for key in keys)


def _quoted(key: str) -> str:
    return key.replace("%", "%%")


def _joined(prefix: str, mapping: Mapping[str, Any]) -> str:
    """Return keys and values, those of a mapping in it under a longer key.

    Raises:
        RecursionError: lists are nested too deeply.
        Rejected: it is more than `LARGEST`.
    """
    parts: list[str] = []
    room = LARGEST
    open_: list[tuple[str, Iterator[tuple[str, Any]]]] = [(prefix, _sorted(mapping))]
    while open_:
        prefix, items = open_[-1]
        for key, item in items:
            name = f"{prefix}{key}"
            room = _less(room, len(name))
            if isinstance(item, dict):
                open_.append((f"{name}:", _sorted(item)))
                break
            text = str(_bytes(item)) if isinstance(item, list | tuple) else str(item)
            room = _less(room, len(text))
            parts += name, text
        else:
            open_.pop()
    return "".join(parts)


def _sorted(mapping: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return iter(sorted(mapping.items(), key=_BY_KEY))


def _less(room: int, taken: int) -> int:
    """Return what is left.

    Raises:
        Rejected: nothing is.
    """
    if taken > room:
        what = f"what its signature is of is larger than {LARGEST} characters"
        raise Rejected(Reason.TOO_LARGE, what)
    return room - taken


def _bytes(value: Any) -> Any:
    """Return what stands for a value in a list: text as bytes, mappings sorted."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict):
        return {_bytes(key): _bytes(item) for key, item in sorted(value.items(), key=_BY_KEY)}
    if isinstance(value, list | tuple):
        return [_bytes(item) for item in value]
    return value
