# SPDX-License-Identifier: Apache-2.0
"""What expressions over documents read by name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from ceilo_agent.errors import Malformed, nearest
from ceilo_agent.expressions.bounds import Scope, Unusable
from ceilo_agent.expressions.names import Names, Part
from ceilo_agent.expressions.terms import ANYTHING, Term
from ceilo_agent.shown import shown

VALUE: Final = "value"


class DocumentNames(Names):
    """``value``, the names that a place gives, and those of lambdas and comprehensions.

    Args:
        known: what the place gives.

    Attributes:
        places: of the names read so far that the place gives, each with the offset of the first.
    """

    def __init__(self, known: Collection[str]) -> None:
        super().__init__()
        self.places: dict[str, int] = {}
        self._known = known
        self._bound: list[str] = []

    def bind(self, names: Sequence[str]) -> None:
        """Let names be read that a lambda or a comprehension gives."""
        self._bound += names

    def release(self, names: Sequence[str]) -> None:
        """Take the last ones back."""
        del self._bound[len(self._bound) - len(names) :]

    def term(self, name: str, offset: int, parts: Sequence[Part]) -> Term:
        """Return the term of a name."""
        del parts
        if name in self._bound:
            return Term(lambda s, _v: s.names[name], ANYTHING, offset)
        if name == VALUE:
            self.read.add(name)
            return Term(lambda _s, v: v, ANYTHING, offset)
        if name in self._known:
            self.read.add(name)
            self.places.setdefault(name, offset)
            return Term(lambda s, _v: _named(s, name), ANYTHING, offset)
        valid = (VALUE, *self._known, *self._bound)
        hint = nearest(name, valid) or f"there are {', '.join(valid)}; a text stands in quotes"
        raise Malformed(f"unknown name '{shown(name)}'", offset, hint)


def _named(scope: Scope, name: str) -> Any:
    try:
        return scope.names[name]
    except KeyError:
        raise Unusable(f"there is no '{name}' here") from None
