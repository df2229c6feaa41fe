# SPDX-License-Identifier: Apache-2.0
"""What texts and mappings of documents can do by a name behind a dot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from ceilo_agent.expressions.bounds import (
    CHARACTERS,
    MOST_TEXT,
    MOST_VALUES,
    Scope,
    Unusable,
    kind,
    too_long,
)
from ceilo_agent.expressions.functions import items


class Method(NamedTuple):
    """A method.

    Attributes:
        of: what has it: str or dict.
        least: values that it takes.
        most: likewise.
        apply: gives its result.
        takes: the types that the values may have, by place; the last one counts for the rest.
    """

    of: type[str] | type[dict[Any, Any]]
    least: int
    most: int
    apply: Callable[[Scope, Any, Sequence[Any]], Any]
    takes: tuple[Any, ...] = (str,)


def call(name: str, method: Method, scope: Scope, subject: Any, given: Sequence[Any]) -> Any:
    """Return what a method gives.

    Raises:
        Unusable: the subject does not have it, or it does not take these values.
    """
    if not isinstance(subject, method.of):
        raise Unusable(f"{kind(subject)} has no {name}()")
    for place, each in enumerate(given):
        taken = method.takes[min(place, len(method.takes) - 1)]
        if not isinstance(each, taken):
            raise Unusable(f"{name}() does not take {kind(each)} there")
    scope.charge(1 + len(subject) // CHARACTERS)
    return method.apply(scope, subject, given)


def _split(reverse: bool) -> Callable[[Scope, Any, Sequence[Any]], Any]:
    def apply(scope: Scope, text: str, given: Sequence[Any]) -> list[str]:
        separator = given[0] if given else None
        if separator == "":
            raise Unusable("an empty separator")
        most = given[1] if len(given) == 2 else -1
        parts = len(text) // 2 if separator is None else text.count(separator)
        if (parts if most < 0 else min(parts, most)) > MOST_VALUES:
            raise Unusable("it makes a list that is too long")
        scope.charge(parts)
        return text.rsplit(separator, most) if reverse else text.split(separator, most)

    return apply


def _lines(scope: Scope, text: str, _given: Sequence[Any]) -> list[str]:
    found = text.splitlines()
    if len(found) > MOST_VALUES:
        raise Unusable("it makes a list that is too long")
    scope.charge(len(found))
    return found


def _join(scope: Scope, text: str, given: Sequence[Any]) -> str:
    parts = items(scope, given[0], "join()")
    if not all(isinstance(part, str) for part in parts):
        raise Unusable("join() takes a list of texts")
    length = sum(map(len, parts)) + len(text) * len(parts)
    if length > MOST_TEXT:
        raise too_long()
    scope.charge(length // CHARACTERS)
    return text.join(parts)


def _replace(scope: Scope, text: str, given: Sequence[Any]) -> str:
    old, new = given[0], given[1]
    most = given[2] if len(given) == 3 else -1
    times = text.count(old)
    if most >= 0:
        times = min(times, most)
    longer = times * (len(new) - len(old))
    if longer > 0 and len(text) + longer > MOST_TEXT:
        raise too_long()
    scope.charge(times)
    return text.replace(old, new, most)


def _get(_scope: Scope, mapping: dict[Any, Any], given: Sequence[Any]) -> Any:
    return mapping.get(given[0], given[1] if len(given) == 2 else None)


def _listed(which: Callable[[dict[Any, Any]], Any]) -> Callable[[Scope, Any, Sequence[Any]], Any]:
    def apply(scope: Scope, mapping: dict[Any, Any], _given: Sequence[Any]) -> list[Any]:
        scope.charge(len(mapping))
        return list(which(mapping))

    return apply


def _pairs(scope: Scope, mapping: dict[Any, Any], _given: Sequence[Any]) -> list[Any]:
    scope.charge(len(mapping))
    return [[key, value] for key, value in mapping.items()]


def _plain(method: Callable[..., Any]) -> Callable[[Scope, Any, Sequence[Any]], Any]:
    return lambda _scope, text, given: method(text, *given)


_KEY: Final = (str, int, float, type(None))

METHODS: Final[dict[str, Method]] = {
    "count": Method(str, 1, 1, _plain(str.count)),
    "endswith": Method(str, 1, 1, _plain(str.endswith)),
    "find": Method(str, 1, 1, _plain(str.find)),
    "get": Method(dict, 1, 2, _get, (_KEY, object)),
    "isdigit": Method(str, 0, 0, _plain(str.isdigit)),
    "items": Method(dict, 0, 0, _pairs),
    "join": Method(str, 1, 1, _join, (list | dict,)),
    "keys": Method(dict, 0, 0, _listed(dict.keys)),
    "lower": Method(str, 0, 0, _plain(str.lower)),
    "lstrip": Method(str, 0, 1, _plain(str.lstrip)),
    "removeprefix": Method(str, 1, 1, _plain(str.removeprefix)),
    "removesuffix": Method(str, 1, 1, _plain(str.removesuffix)),
    "replace": Method(str, 2, 3, _replace, (str, str, int)),
    "rsplit": Method(str, 0, 2, _split(True), (str | None, int)),
    "rstrip": Method(str, 0, 1, _plain(str.rstrip)),
    "split": Method(str, 0, 2, _split(False), (str | None, int)),
    "splitlines": Method(str, 0, 0, _lines),
    "startswith": Method(str, 1, 1, _plain(str.startswith)),
    "strip": Method(str, 0, 1, _plain(str.strip)),
    "upper": Method(str, 0, 0, _plain(str.upper)),
    "values": Method(dict, 0, 0, _listed(dict.values)),
}
