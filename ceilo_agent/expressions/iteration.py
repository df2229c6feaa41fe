# SPDX-License-Identifier: Apache-2.0
"""The loops of comprehensions, bounded by the steps that an evaluation may make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from ceilo_agent.expressions.bounds import Scope, Unusable
from ceilo_agent.expressions.functions import items
from ceilo_agent.expressions.terms import Evaluate

_UNBOUND: Final = object()


class Target(NamedTuple):
    """What each item is called.

    Attributes:
        names: one, or one for each part of an item.
        whole: whether the one name is the item's.
    """

    names: tuple[str, ...]
    whole: bool


class Loop(NamedTuple):
    """One ``for`` with its ``if``.

    Attributes:
        over: gives the list.
        target: what its items are called.
        tests: what must hold for an item.
        cost: steps that an item takes.
    """

    over: Evaluate
    target: Target
    tests: tuple[Evaluate, ...]
    cost: int


def run(loops: Sequence[Loop], scope: Scope, value: Any, body: Callable[[], None]) -> None:
    """Run a body for each item of loops in one another.

    Raises:
        Unusable: they take too many steps, or go over something that is no list.
    """
    if not loops:
        body()
        return
    loop, *inner = loops
    names = scope.names
    listed = items(scope, loop.over(scope, value), "'for'")
    before = {name: names.get(name, _UNBOUND) for name in loop.target.names}
    try:
        for item in listed:
            scope.charge(loop.cost)
            _bind(names, loop.target, item)
            if all(test(scope, value) for test in loop.tests):
                run(inner, scope, value, body)
    finally:
        for name, old in before.items():
            if old is _UNBOUND:
                names.pop(name, None)
            else:
                names[name] = old


def _bind(names: dict[str, Any], target: Target, item: Any) -> None:
    if target.whole:
        names[target.names[0]] = item
        return
    if not isinstance(item, list) or len(item) != len(target.names):
        raise Unusable(f"an item of the list has not {len(target.names)} parts")
    names.update(zip(target.names, item, strict=True))
