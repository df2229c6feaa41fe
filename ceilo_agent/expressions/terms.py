# SPDX-License-Identifier: Apache-2.0
"""The parts of an expression: a closure each, with what is known of its value before it runs."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from math import inf, isfinite
from typing import Any, Final

import msgspec

from ceilo_agent.errors import Malformed
from ceilo_agent.expressions import evaluation

Evaluate = Callable[[Any, Any], Any]
"""Takes the subject (a sample; for a formula the samples by meter) and the volume in its place."""

VARIES: Final = object()
"""Stands where a term has no constant value."""

_LARGEST: Final = 2**128


class Kind(enum.Flag):
    """What a value may be."""

    NUMBER = enum.auto()
    TRUTH = enum.auto()
    TEXT = enum.auto()
    NOTHING = enum.auto()
    OTHER = enum.auto()


NUMERIC: Final = Kind.NUMBER | Kind.TRUTH
"""What arithmetic takes."""

ANYTHING: Final = NUMERIC | Kind.TEXT | Kind.NOTHING | Kind.OTHER

_WORDS: Final = {
    Kind.NUMBER: "a number",
    Kind.TRUTH: "true or false",
    Kind.TEXT: "a text",
    Kind.NOTHING: "nothing",
}


class Term(msgspec.Struct, frozen=True, eq=False):
    """One part of an expression.

    Attributes:
        evaluate: gives its value.
        kinds: what the value may be.
        offset: where it begins in the operator's text.
        value: the constant that it is, else VARIES.
        choices: the terms whose value it takes, for ``if``, ``or`` and ``and``.
        among: the only texts that it may be, if they are known.
        is_volume: whether it is the volume of the sample.
        key: of the metadata that it reads, if it reads no deeper.
        as_number: gives its value as a number or raises EvaluationError; None: no short way.
    """

    evaluate: Evaluate
    kinds: Kind
    offset: int
    value: Any = VARIES
    choices: tuple[Term, ...] = ()
    among: tuple[str, ...] = ()
    is_volume: bool = False
    key: str | None = None
    as_number: Evaluate | None = None

    @property
    def is_constant(self) -> bool:
        """Whether its value is known."""
        return self.value is not VARIES

    @property
    def words(self) -> str:
        """What it gives, in an operator's words."""
        likeliest = (kind for kind in _WORDS if kind in self.kinds)
        return _WORDS[next(likeliest, Kind.NOTHING)]

    def results(self) -> Iterator[Term]:
        """Yield the terms that its value may come from, down to those that choose no more."""
        if not self.choices:
            yield self
        for choice in self.choices:
            yield from choice.results()


def constant(value: Any, offset: int) -> Term:
    """Return the term of a value that the text holds.

    Raises:
        Malformed: a number beyond the range.
    """
    if isinstance(value, bool):
        kind = Kind.TRUTH
    elif isinstance(value, int | float):
        kind = Kind.NUMBER
        value = _in_range(value, offset)
    else:
        kind = Kind.TEXT if isinstance(value, str) else Kind.NOTHING
    return Term(lambda _s, _v: value, kind, offset, value)


def folded(term: Term, *parts: Term) -> Term:
    """Return a term made of `parts`, computed now if all of them are constants.

    Raises:
        Malformed: it gives no value, and would not for any sample.
    """
    if not all(part.is_constant for part in parts):
        return term
    try:
        value = term.evaluate(None, None)
    except Exception as error:
        raise Malformed(evaluation.reason(error), term.offset) from None
    return constant(value, term.offset)


def numeric(term: Term) -> Evaluate:
    """Return what gives a term's value as a number, or raises EvaluationError.

    Raises:
        Malformed: it never is one.
    """
    expect_number(term, NUMERIC)
    if term.kinds in NUMERIC:
        return term.evaluate
    if term.as_number is not None:
        return term.as_number
    evaluate, number = term.evaluate, evaluation.number
    return lambda s, v: number(evaluate(s, v))


def expect_number(term: Term, taken: Kind = Kind.NUMBER) -> None:
    """Refuse a term whose value is never of the kinds taken.

    Raises:
        Malformed: at the result that is of no use.
    """
    for part in term.results():
        if not part.kinds & taken:
            raise Malformed(f"gives {part.words}, a number was expected", part.offset)


def expect_truth(term: Term) -> None:
    """Refuse a term that is no condition: it says nothing, or always the same.

    Raises:
        Malformed: at the result that is of no use.
    """
    for part in term.results():
        if part.kinds is Kind.TEXT or (part.kinds is Kind.NUMBER and part is term):
            example = "volume > 0" if part.kinds is Kind.NUMBER else 'unit == "B"'
            what = f"gives {part.words}, true or false was expected"
            raise Malformed(what, part.offset, f"compare it, as in {example}")
        if part.is_constant:
            what = f"is always {'true' if part.value else 'false'}, whatever the sample"
            raise Malformed(what, part.offset)


def _in_range(value: int | float, offset: int) -> int | float:
    """Return a number; one of more than 128 bits as a float, so that none grows without bound."""
    if isinstance(value, int) and abs(value) <= _LARGEST:
        return value
    try:
        found = float(value)
    except OverflowError:
        found = inf
    if not isfinite(found):
        raise Malformed(evaluation.RANGE, offset)
    return found
