# SPDX-License-Identifier: Apache-2.0
"""Expressions over one sample: its volume, its names and its metadata."""

from __future__ import annotations

from math import inf
from typing import ClassVar, Self

from ceilo_agent.errors import Malformed
from ceilo_agent.expressions.compiled import Compiled, read
from ceilo_agent.expressions.evaluation import EvaluationError, reason, result
from ceilo_agent.expressions.names import SampleNames
from ceilo_agent.expressions.source import unquoted
from ceilo_agent.expressions.terms import Term, expect_number, expect_truth
from ceilo_agent.sample import Sample, Volume

__all__ = ["Condition", "EvaluationError", "VolumeExpression"]


class VolumeExpression(Compiled):
    """An expression that gives a number."""

    words: ClassVar[str] = "an expression"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the expression that a text is.

        Raises:
            Malformed: it is none, or gives no number.
        """
        term, fields = _read(text)
        expect_number(term)
        return cls(text, fields, term.evaluate)

    def __call__(self, sample: Sample, volume: Volume | None = None) -> Volume:
        """Return its value for a sample: a finite float, or an integer of at most 64 bits.

        Args:
            sample: the one.
            volume: what ``volume`` stands for; None: the sample's.

        Raises:
            EvaluationError: it has none for this sample.
        """
        try:
            value = self._evaluate(sample, sample.volume if volume is None else volume)
            if type(value) is float and -inf < value < inf:
                return value
            return result(value)
        except Exception as error:
            raise EvaluationError(reason(error)) from None


class Condition(Compiled):
    """An expression that gives true or false."""

    words: ClassVar[str] = "a condition"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the condition that a text is.

        Raises:
            Malformed: it is none, or always the same.
        """
        term, fields = _read(text)
        expect_truth(term)
        return cls(text, fields, term.evaluate)

    def __call__(self, sample: Sample) -> bool:
        """Return whether it holds for a sample.

        Raises:
            EvaluationError: that cannot be told for this sample.
        """
        try:
            return bool(self._evaluate(sample, sample.volume))
        except Exception as error:
            raise EvaluationError(reason(error)) from None


def _read(text: str) -> tuple[Term, frozenset[str]]:
    bare = unquoted(text)
    if "$" in bare:
        what = "'$' stands before a meter: an expression of one sample has none"
        raise Malformed(what, bare.index("$"), "its volume is 'volume'")
    return read(text, text, SampleNames())
