# SPDX-License-Identifier: Apache-2.0
"""Comparisons, ``and``, ``or``, ``not`` and ``if``, as terms."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_
from typing import Any, Final

from msgspec import structs

from ceilo_agent.errors import Malformed, nearest
from ceilo_agent.expressions.evaluation import number
from ceilo_agent.expressions.terms import NUMERIC, Evaluate, Kind, Term, folded
from ceilo_agent.sample import Volume
from ceilo_agent.shown import shown
from ceilo_agent.volumes import BEYOND

Test = Callable[[Any, Any], Any]

ORDERS: Final[dict[type[ast.cmpop], Test]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
EQUALITIES: Final[dict[type[ast.cmpop], Test]] = {ast.Eq: operator.eq, ast.NotEq: operator.ne}
MEMBERSHIPS: Final[dict[type[ast.cmpop], Test]] = {
    ast.In: lambda value, values: value in values,
    ast.NotIn: lambda value, values: value not in values,
}


def comparison(
    first: Term, links: Sequence[tuple[type[ast.cmpop], Sequence[Term]]], offset: int
) -> Term:
    """Return the term of a comparison, which may be a chain: ``0 < volume <= 10``.

    Args:
        first: the term at its left.
        links: each operator with the term after it, or the terms of the list after ``in``.
        offset: of the whole.

    Raises:
        Malformed: two of them can never be compared.
    """
    left = first
    steps: list[tuple[Test, Term]] = []
    parts = [first]
    for kind, terms in links:
        for right in terms:
            _expect_comparable(kind, left, right)
        parts.extend(terms)
        if kind in MEMBERSHIPS:
            values = tuple(term.value for term in terms)
            right = Term(_always(values), Kind.OTHER, terms[0].offset, values)
            steps.append((MEMBERSHIPS[kind], right))
        else:
            right = terms[0]
            steps.append((ORDERS.get(kind) or EQUALITIES[kind], right))
        left = right
    evaluate = _chain(first, steps) if len(steps) > 1 else _pair(first, *steps[0])
    return folded(Term(evaluate, Kind.TRUTH, offset), *parts)


def _always(value: Any) -> Evaluate:
    return lambda _s, _v: value


def _expect_comparable(kind: type[ast.cmpop], left: Term, right: Term) -> None:
    for term in (left, right):
        if kind in ORDERS and (term.value is None or isinstance(term.value, bool)):
            what = f"{term.value} is neither above nor below anything"
            raise Malformed(what, term.offset, "'==' and '!=' compare it")
    if not _alike(left.kinds, kind) & _alike(right.kinds, kind):
        raise Malformed(f"{left.words} cannot be compared with {right.words}", right.offset)
    for term, other in ((left, right), (right, left)):
        if term.among and isinstance(other.value, str) and other.value not in term.among:
            hint = nearest(other.value, term.among) or f"it is {', '.join(term.among)}"
            raise Malformed(f"the type is never '{shown(other.value)}'", other.offset, hint)


def _alike(kinds: Kind, compared: type[ast.cmpop]) -> Kind:
    """Return what values of these kinds may be compared with."""
    if compared in ORDERS:
        kinds &= ~Kind.NOTHING
        return kinds | NUMERIC if kinds & NUMERIC else kinds
    return kinds


def _pair(left: Term, test: Test, right: Term) -> Evaluate:
    first, second, y = left.evaluate, right.evaluate, right.value
    if right.is_constant:
        if left.is_volume:
            return lambda _s, v: test(v, y)
        return lambda s, v: test(first(s, v), y)
    return lambda s, v: test(first(s, v), second(s, v))


def _chain(left: Term, steps: Sequence[tuple[Test, Term]]) -> Evaluate:
    first = left.evaluate
    rest = [(test, term.evaluate) for test, term in steps]

    def evaluate(s: Any, v: Any) -> bool:
        value = first(s, v)
        for test, following in rest:
            after = following(s, v)
            if not test(value, after):
                return False
            value = after
        return True

    return evaluate


def negation(term: Term, offset: int) -> Term:
    """Return the term of ``not``."""
    operand = term.evaluate
    return folded(Term(lambda s, v: not operand(s, v), Kind.TRUTH, offset), term)


def choice(test: Term, then: Term, otherwise: Term, offset: int) -> Term:
    """Return the term of ``then if test else otherwise``."""
    asks, first, second = test.evaluate, then.evaluate, otherwise.evaluate
    return folded(
        Term(
            lambda s, v: first(s, v) if asks(s, v) else second(s, v),
            then.kinds | otherwise.kinds,
            offset,
            choices=(then, otherwise),
        ),
        test,
        then,
        otherwise,
    )


def conjunction(terms: Sequence[Term], offset: int) -> Term:
    """Return the term of ``and``: the first that is false, else the last."""

    def join(first: Evaluate, second: Evaluate) -> Evaluate:
        return lambda s, v: first(s, v) and second(s, v)

    kinds = reduce(or_, (term.kinds for term in terms))
    return _joined(join, terms, kinds, offset)


def disjunction(terms: Sequence[Term], offset: int) -> Term:
    """Return the term of ``or``: the first that is true, else the last."""

    def join(first: Evaluate, second: Evaluate) -> Evaluate:
        return lambda s, v: first(s, v) or second(s, v)

    # What is not there is never the first that is true.
    kinds = reduce(or_, (term.kinds & ~Kind.NOTHING for term in terms)) | terms[-1].kinds
    joined = _joined(join, terms, kinds, offset)
    key, default = terms[0].key, terms[-1].value
    if len(terms) == 2 and key is not None and type(default) in (int, float):
        return structs.replace(joined, as_number=_with_default(key, default))
    return joined


def _joined(
    join: Callable[[Evaluate, Evaluate], Evaluate], terms: Sequence[Term], kinds: Kind, offset: int
) -> Term:
    evaluate = reduce(lambda second, first: join(first, second), [t.evaluate for t in terms][::-1])
    return folded(Term(evaluate, kinds, offset, choices=tuple(terms)), *terms)


def _with_default(key: str, default: Volume) -> Evaluate:
    """Return what reads a number of the metadata, or the default; the commonest of all."""

    def evaluate(s: Any, _v: Any) -> Any:
        value = s.resource.metadata.get(key)
        if type(value) is int and 0 < value < BEYOND:
            return value
        return number(value) if value else default

    return evaluate
