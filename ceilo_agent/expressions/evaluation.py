# SPDX-License-Identifier: Apache-2.0
"""What comes out of an expression for one sample: a number, or one of few reasons why not."""

from __future__ import annotations

from math import inf, isfinite
from typing import Any, Final

from ceilo_agent.errors import CeiloAgentError
from ceilo_agent.sample import Volume
from ceilo_agent.volumes import BEYOND, LEAST

DIVISION: Final = "division by zero"
NO_NUMBER: Final = "no number"
RANGE: Final = "beyond a number's range"
COMPLEX: Final = "a complex number"
UNLIKE: Final = "values that cannot be compared"
MISSING: Final = "a meter is missing"

REASONS: Final = (DIVISION, NO_NUMBER, RANGE, COMPLEX, UNLIKE, MISSING)


class EvaluationError(CeiloAgentError):
    """An expression that gives no value for a sample.

    Attributes:
        reason: one of REASONS; it holds no value, so that it can be counted.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def reason(error: Exception) -> str:
    """Return the one of REASONS that an exception raised by an expression stands for."""
    if isinstance(error, EvaluationError):
        return error.reason
    for kind, text in _STANDS_FOR.items():
        if isinstance(error, kind):
            return text
    return NO_NUMBER


_STANDS_FOR: Final = {
    ZeroDivisionError: DIVISION,
    OverflowError: RANGE,
    # Operands of arithmetic are numbers by then: only an order of unlike values raises these.
    TypeError: UNLIKE,
    RecursionError: UNLIKE,
    KeyError: MISSING,
}


def number(value: Any) -> Volume:
    """Return a value fit for arithmetic; a truth counts as 0 or 1.

    An integer of more than 64 bits becomes a float: products of such take their time.

    Raises:
        EvaluationError: it is no number, or not a finite one.
        OverflowError: an integer that no float can hold.
    """
    kind = type(value)
    if kind is int:
        return value if LEAST <= value < BEYOND else float(value)
    if kind is float and isfinite(value):
        return value  # type: ignore[no-any-return]
    if kind is bool:
        return int(value)
    raise EvaluationError(NO_NUMBER)


def result(value: Any) -> Volume:
    """Return a value fit for a sample: a finite float, or an integer of at most 64 bits.

    Raises:
        EvaluationError: it is none.
        OverflowError: an integer that no float can hold.
    """
    if type(value) is float and value in (inf, -inf):
        raise EvaluationError(RANGE)
    return number(value)
