# SPDX-License-Identifier: Apache-2.0
"""What operators and brackets do with values of documents."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any, Final

from ceilo_agent.expressions import evaluation
from ceilo_agent.expressions.bounds import (
    CHARACTERS,
    MOST_TEXT,
    Absent,
    Scope,
    Unusable,
    kind,
    too_long,
)
from ceilo_agent.expressions.conditions import ORDERS
from ceilo_agent.expressions.evaluation import number

Test = Callable[[Scope, Any, Any], bool]

_CONTAINERS: Final = (list, dict)
_KEYS: Final = (str, int, float, type(None))


def added(scope: Scope, left: Any, right: Any) -> Any:
    """Return the sum of two numbers, or two texts or lists as one.

    Raises:
        Unusable: they are neither, or the text is too long.
    """
    if isinstance(left, str) and isinstance(right, str):
        length = len(left) + len(right)
        if length > MOST_TEXT:
            raise too_long()
        scope.charge(length // CHARACTERS)
        return left + right
    if isinstance(left, list) and isinstance(right, list):
        scope.charge(len(left) + len(right))
        return left + right
    if isinstance(left, str) or isinstance(right, str):
        other = kind(right if isinstance(left, str) else left)
        raise Unusable(f"a text and {other} cannot be added: str() makes a text")
    return number(number(left) + number(right))


def part(value: Any, index: Any, told: str) -> Any:
    """Return what ``value[index]`` is.

    Args:
        value: a mapping, list or text.
        index: the key or number.
        told: the index as the expression writes it.

    Raises:
        Absent: nothing is there.
        Unusable: there can be nothing of the kind.
    """
    if isinstance(value, dict):
        if not isinstance(index, _KEYS):
            raise Unusable(f"{kind(index)} is no key of a mapping")
        if index in value:
            return value[index]
        raise Absent(f"nothing at {told}")
    if isinstance(value, list | str):
        if not isinstance(index, int) or isinstance(index, bool):
            raise Unusable(f"{kind(value)} takes a whole number in [ ], not {kind(index)}")
        if -len(value) <= index < len(value):
            return value[index]
        raise Absent(f"nothing at {told}")
    if value is None:
        raise Absent(f"nothing at {told}: null stands before it")
    raise Unusable(f"{kind(value)} has no parts")


def sliced(scope: Scope, value: Any, bounds: tuple[Any, Any, Any]) -> Any:
    """Return what ``value[begin:end:step]`` is.

    Raises:
        Unusable: no list or text, or bounds that are no whole numbers.
    """
    if not isinstance(value, list | str):
        raise Unusable(f"{kind(value)} cannot be sliced")
    for each in bounds:
        if each is not None and (not isinstance(each, int) or isinstance(each, bool)):
            raise Unusable("a slice takes whole numbers")
    if bounds[2] == 0:
        raise Unusable("the step of a slice is 0")
    scope.charge(len(value) // (CHARACTERS if isinstance(value, str) else 1))
    return value[slice(*bounds)]


def _order(operate: Callable[[Any, Any], Any]) -> Test:
    def test(_scope: Scope, left: Any, right: Any) -> bool:
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if not numbers and not (isinstance(left, str) and isinstance(right, str)):
            raise Unusable(evaluation.UNLIKE)
        return bool(operate(left, right))

    return test


def _equal(scope: Scope, left: Any, right: Any) -> bool:
    if isinstance(left, _CONTAINERS) and isinstance(right, _CONTAINERS):
        if type(left) is not type(right) or len(left) != len(right):
            return False
        scope.measure(left)
        scope.measure(right)
    return bool(left == right)


def _among(scope: Scope, value: Any, values: Any) -> bool:
    if isinstance(values, str):
        if not isinstance(value, str):
            raise Unusable(f"{kind(value)} is never part of a text")
        scope.charge(len(values) // CHARACTERS)
        return value in values
    if isinstance(values, dict):
        return isinstance(value, _KEYS) and value in values
    if isinstance(values, list):
        scope.charge(len(values))
        if isinstance(value, _CONTAINERS):
            return any(_equal(scope, value, each) for each in values)
        return value in values
    raise Unusable(f"{kind(values)} holds nothing that 'in' could find")


TESTS: Final[dict[type[ast.cmpop], Test]] = {
    **{kind_: _order(operate) for kind_, operate in ORDERS.items()},
    ast.Eq: _equal,
    ast.NotEq: lambda scope, left, right: not _equal(scope, left, right),
    ast.In: _among,
    ast.NotIn: lambda scope, value, values: not _among(scope, value, values),
    ast.Is: lambda _scope, left, right: left is right,
    ast.IsNot: lambda _scope, left, right: left is not right,
}
"""What compares; ``is`` only with None."""

ADD: Final = operator.add
