# SPDX-License-Identifier: Apache-2.0
"""Arithmetic and the functions of numbers, as terms."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

from ceilo_agent.errors import Malformed
from ceilo_agent.expressions import evaluation
from ceilo_agent.expressions.evaluation import EvaluationError
from ceilo_agent.expressions.terms import Evaluate, Kind, Term, folded, numeric

FUNCTIONS: Final = ("abs", "max", "min", "round")

MOST_DIGITS: Final = 20
_EXACT_BITS: Final = 128


def power(base: Any, exponent: Any) -> int | float:
    """Raise a number to a power in bounded time and space.

    Whole numbers stay exact up to 128 bits; all else is computed on floats.

    Raises:
        EvaluationError: the result is a complex number.
        OverflowError: it is beyond a float's range.
        ZeroDivisionError: zero to a negative power.
    """
    whole = isinstance(base, int) and isinstance(exponent, int) and exponent >= 0
    if whole and base.bit_length() * exponent <= _EXACT_BITS:
        return int(base**exponent)
    result: Any = float(base) ** float(exponent)
    if isinstance(result, complex):
        raise EvaluationError(evaluation.COMPLEX)
    return float(result)


OPERATORS: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: power,
}

_DIVISIONS: Final = (operator.truediv, operator.floordiv, operator.mod)


def operation(operate: Callable[[Any, Any], Any], left: Term, right: Term, offset: int) -> Term:
    """Return the term of two numbers and an operator between them.

    Raises:
        Malformed: an operand is no number, or constants give none.
    """
    evaluate = _two(operate, left, numeric(left), right, numeric(right))
    if operate in _DIVISIONS and right.is_constant and right.value == 0:
        raise Malformed(evaluation.DIVISION, right.offset)
    return folded(Term(evaluate, Kind.NUMBER, offset), left, right)


def _two(
    operate: Callable[[Any, Any], Any], left: Term, first: Evaluate, right: Term, second: Evaluate
) -> Evaluate:
    """Return the closure for two operands, without a call for constants and the volume."""
    x, y = left.value, right.value
    if left.is_constant:
        with_left = _AFTER_CONSTANT.get(operate)
        return with_left(x, second) if with_left else lambda s, v: operate(x, second(s, v))
    if right.is_constant and left.is_volume:
        return lambda _s, v: operate(v, y)
    if right.is_constant:
        return lambda s, v: operate(first(s, v), y)
    if left.is_volume:
        return lambda s, v: operate(v, second(s, v))
    return lambda s, v: operate(first(s, v), second(s, v))


_AFTER_CONSTANT: Final[dict[Callable[[Any, Any], Any], Callable[[Any, Evaluate], Evaluate]]] = {
    operator.mul: lambda x, second: lambda s, v: x * second(s, v),
    operator.truediv: lambda x, second: lambda s, v: x / second(s, v),
}
"""What stands in most expressions, without the call of an operator."""


def signed(operate: Callable[[Any], Any], term: Term, offset: int) -> Term:
    """Return the term of a sign before a number.

    Raises:
        Malformed: it stands before no number.
    """
    operand = numeric(term)
    return folded(Term(lambda s, v: operate(operand(s, v)), Kind.NUMBER, offset), term)


def call(name: str, terms: Sequence[Term], offset: int) -> Term:
    """Return the term of a function, one of FUNCTIONS, and what it is applied to.

    Raises:
        Malformed: too few or too many, or no numbers.
    """
    if name in ("max", "min"):
        if len(terms) < 2:
            raise Malformed(f"{name} takes at least two numbers", offset)
        evaluate = _extreme(max if name == "max" else min, [numeric(term) for term in terms])
    elif name == "abs":
        if len(terms) != 1:
            raise Malformed("abs takes one number", offset)
        evaluate = _of_one(abs, numeric(terms[0]))
    else:
        evaluate = _rounded(terms, offset)
    return folded(Term(evaluate, Kind.NUMBER, offset), *terms)


def _of_one(function: Callable[[Any], Any], operand: Evaluate) -> Evaluate:
    return lambda s, v: function(operand(s, v))


def _extreme(choose: Callable[..., Any], operands: Sequence[Evaluate]) -> Evaluate:
    if len(operands) == 2:
        first, second = operands
        return lambda s, v: choose(first(s, v), second(s, v))
    return lambda s, v: choose([operand(s, v) for operand in operands])


def _rounded(terms: Sequence[Term], offset: int) -> Evaluate:
    if len(terms) not in (1, 2):
        raise Malformed("round takes one number, and may take how many digits", offset)
    operand = numeric(terms[0])
    if len(terms) == 1:
        return _of_one(round, operand)
    digits = terms[1].value
    if type(digits) is not int or abs(digits) > MOST_DIGITS:
        what = f"round takes a whole number of digits from -{MOST_DIGITS} to {MOST_DIGITS}"
        raise Malformed(what, terms[1].offset)
    return lambda s, v: round(operand(s, v), digits)
