# SPDX-License-Identifier: Apache-2.0
"""The functions of expressions over documents; each is bounded in time and in what it makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, Final, NamedTuple

from ceilo_agent.expressions.arithmetic import MOST_DIGITS
from ceilo_agent.expressions.bounds import MOST_TEXT, Scope, Unusable, kind, too_long
from ceilo_agent.expressions.evaluation import number

_LONGEST_NUMBER: Final = 500
_BASES: Final = range(2, 37)


class Function(NamedTuple):
    """A function.

    Attributes:
        least: values that it takes.
        most: likewise.
        apply: gives its result.
    """

    least: int
    most: int
    apply: Callable[[Scope, Sequence[Any]], Any]


def items(scope: Scope, value: Any, what: str) -> list[Any]:
    """Return the items of a list, the keys of a mapping.

    Raises:
        Unusable: it is neither, or too long.
    """
    if not isinstance(value, list | dict):
        raise Unusable(f"{what} takes a list, not {kind(value)}")
    scope.charge(len(value))
    return value if isinstance(value, list) else list(value)


def text_of(scope: Scope, value: Any) -> str:
    """Return a value as a text.

    Raises:
        Unusable: it is too large.
    """
    if isinstance(value, str):
        return value
    scope.measure(value)
    made = str(value)
    if len(made) > MOST_TEXT:
        raise too_long()
    return made


def _int(_scope: Scope, given: Sequence[Any]) -> Any:
    value = given[0]
    if len(given) == 2:
        base = given[1]
        if not isinstance(value, str) or base not in _BASES:
            raise Unusable("int takes a text and a base from 2 to 36")
        return number(_of_text(lambda text: int(text, base), value, "a whole number"))
    if isinstance(value, str):
        return number(_of_text(int, value, "a whole number"))
    return number(int(_finite(value, "int")))


def _float(_scope: Scope, given: Sequence[Any]) -> float:
    value = given[0]
    if isinstance(value, str):
        value = _of_text(float, value, "a number")
        if not isfinite(value):
            raise Unusable("NaN and infinity are no numbers")
        return float(value)
    return float(_finite(value, "float"))


def _of_text(read: Callable[[str], Any], text: str, what: str) -> Any:
    if len(text) > _LONGEST_NUMBER:
        raise Unusable(f"a text is no {what.removeprefix('a ')}")
    try:
        return read(text)
    except ValueError:
        raise Unusable(f"a text is not {what}") from None


def _finite(value: Any, name: str) -> Any:
    if not isinstance(value, int | float):
        raise Unusable(f"{name} takes a number or a text, not {kind(value)}")
    return number(value)


def _len(_scope: Scope, given: Sequence[Any]) -> int:
    if not isinstance(given[0], str | list | dict):
        raise Unusable(f"{kind(given[0])} has no length")
    return len(given[0])


def _round(_scope: Scope, given: Sequence[Any]) -> Any:
    if len(given) == 1:
        return round(number(given[0]))
    digits = given[1]
    if type(digits) is not int or abs(digits) > MOST_DIGITS:
        raise Unusable(f"round takes a whole number of digits from -{MOST_DIGITS} to {MOST_DIGITS}")
    return round(number(given[0]), digits)


def _extreme(name: str, choose: Callable[..., Any]) -> Callable[[Scope, Sequence[Any]], Any]:
    def apply(scope: Scope, given: Sequence[Any]) -> Any:
        found = items(scope, given[0], name) if len(given) == 1 else list(given)
        if not found:
            raise Unusable(f"{name} of an empty list")
        return choose(_alike(found, name))

    return apply


def _alike(found: list[Any], name: str) -> list[Any]:
    """Return values that have an order: all numbers, or all texts."""
    if not all(isinstance(each, str) for each in found):
        for each in found:
            if not isinstance(each, int | float):
                raise Unusable(f"{name} takes numbers alone or texts alone")
    return found


def _sum(scope: Scope, given: Sequence[Any]) -> Any:
    total: Any = 0
    for each in items(scope, given[0], "sum"):
        total = number(total + number(each))
    return total


FUNCTIONS: Final[dict[str, Function]] = {
    "abs": Function(1, 1, lambda _s, given: abs(number(given[0]))),
    "all": Function(1, 1, lambda s, given: all(items(s, given[0], "all"))),
    "any": Function(1, 1, lambda s, given: any(items(s, given[0], "any"))),
    "bool": Function(1, 1, lambda _s, given: bool(given[0])),
    "float": Function(1, 1, _float),
    "int": Function(1, 2, _int),
    "len": Function(1, 1, _len),
    "list": Function(1, 1, lambda s, given: list(items(s, given[0], "list"))),
    "max": Function(1, 20, _extreme("max", max)),
    "min": Function(1, 20, _extreme("min", min)),
    "round": Function(1, 2, _round),
    "sorted": Function(
        1, 1, lambda s, given: sorted(_alike(items(s, given[0], "sorted"), "sorted"))
    ),
    "str": Function(1, 1, lambda s, given: text_of(s, given[0])),
    "sum": Function(1, 1, _sum),
}

OF_EACH: Final = ("filter", "map")
"""Functions of a lambda and a list."""
