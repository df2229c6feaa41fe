# SPDX-License-Identifier: Apache-2.0
"""Expressions over the samples of several meters of one resource."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Final, Self

from ceilo_agent.errors import Malformed
from ceilo_agent.expressions.arithmetic import FUNCTIONS
from ceilo_agent.expressions.compiled import Compiled, read
from ceilo_agent.expressions.evaluation import EvaluationError, reason, result
from ceilo_agent.expressions.names import NAMES, MeterNames
from ceilo_agent.expressions.source import unquoted
from ceilo_agent.expressions.terms import Evaluate, expect_number
from ceilo_agent.sample import Sample, Volume

__all__ = ["EvaluationError", "Formula"]

_METER: Final = re.compile(r"\$\(([\w.-]+)\)")
_NAME: Final = re.compile(r"(?<![\w.])[^\W\d]\w*(?:\.\w+)*")


class Formula(Compiled):
    """An expression of meters that gives a number.

    ``$(name)`` is the volume of a meter, ``$(name).resource_metadata.x`` metadata of its sample.

    Attributes:
        meters: the names that it needs, each once, in order of appearance.
    """

    words: ClassVar[str] = "an expression of meters, $(name)"

    def __init__(
        self, text: str, fields: frozenset[str], evaluate: Evaluate, meters: tuple[str, ...]
    ) -> None:
        super().__init__(text, fields, evaluate)
        self.meters = meters

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the expression that a text is.

        Raises:
            Malformed: it is none, names no meter, or gives no number.
        """
        bare, code, meters = unquoted(text), text, {}
        for found in _METER.finditer(bare):
            # Python knows no $(): a name as long stands there, and its place tells the meter.
            blank = "_" * len(found[0])
            bare = bare[: found.start()] + blank + bare[found.end() :]
            code = code[: found.start()] + blank + code[found.end() :]
            meters[found.start()] = found[1]
        if "$" in bare:
            raise Malformed("'$' begins no meter", bare.index("$"), "a meter is written $(name)")
        if not meters:
            named = _NAME.finditer(bare)
            first = next((name for name in named if name[0] not in FUNCTIONS), None)
            what = "an expression of meters, $(name), was expected"
            raise Malformed(what, first.start() if first else 0, _written(first))
        term, fields = read(text, code, MeterNames(meters))
        expect_number(term)
        return cls(text, fields, term.evaluate, tuple(dict.fromkeys(meters.values())))

    def __call__(self, samples: Mapping[str, Sample]) -> Volume:
        """Return its value for one sample of each of its meters, by the meters' names.

        Raises:
            EvaluationError: it has none for these samples.
        """
        try:
            return result(self._evaluate(samples, None))
        except Exception as error:
            raise EvaluationError(reason(error)) from None


def _written(name: re.Match[str] | None) -> str:
    """Say how to write the meter that a bare name may be, empty where it is a field."""
    return "" if name is None or name[0].partition(".")[0] in NAMES else f"write $({name[0]})"
