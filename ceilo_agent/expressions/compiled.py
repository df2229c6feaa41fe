# SPDX-License-Identifier: Apache-2.0
"""What the sorts of expression have in common."""

from __future__ import annotations

from ceilo_agent.expressions.grammar import Grammar
from ceilo_agent.expressions.names import Names
from ceilo_agent.expressions.source import Source
from ceilo_agent.expressions.terms import Evaluate, Term
from ceilo_agent.plugins import Parsed


class Compiled(Parsed):
    """An expression, ready to be evaluated. Two are equal if their texts are.

    Attributes:
        text: as the operator wrote it.
        fields: the names that it reads: of ``volume``, ``name``, ``resource_metadata``, ...
    """

    def __init__(self, text: str, fields: frozenset[str], evaluate: Evaluate) -> None:
        self.text = text
        self.fields = fields
        self._evaluate = evaluate

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"


def read(text: str, code: str, names: Names) -> tuple[Term, frozenset[str]]:
    """Return the term of a text, and the names that it reads.

    Args:
        text: what the operator wrote.
        code: what is read, as long as the text.
        names: that it may read.

    Raises:
        Malformed: it is no expression.
    """
    term = Grammar(Source(text, code), names).term()
    return term, frozenset(names.read)
