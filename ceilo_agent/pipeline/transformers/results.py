# SPDX-License-Identifier: Apache-2.0
"""What a transformer may let out as a volume."""

from __future__ import annotations

from typing import Final

from ceilo_agent.expressions.evaluation import EvaluationError
from ceilo_agent.sample import Volume
from ceilo_agent.volumes import fit

NOT_FINITE: Final = "the result is no finite number"


def bounded(result: object) -> Volume:
    """Return a result as a volume; an integer that needs more than 64 bits becomes a float.

    Raises:
        OverflowError: it is no finite number.
    """
    volume = fit(result)
    if volume is None:
        raise OverflowError(NOT_FINITE)
    return volume


def reason(error: Exception) -> str:
    """Say why there is no result, without values: an expression knows, arithmetic does not."""
    return error.reason if isinstance(error, EvaluationError) else NOT_FINITE
