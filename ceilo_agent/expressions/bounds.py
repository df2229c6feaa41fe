# SPDX-License-Identifier: Apache-2.0
"""What an expression over a document may cost, and the ways in which it gives no value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ceilo_agent.errors import CeiloAgentError

MOST_STEPS: Final = 2_000_000
"""Parts of expressions that one evaluation works out, items that its functions look at included."""

CHARACTERS: Final = 1024
"""Characters of a text that count as one step."""

MOST_TEXT: Final = 1 << 20
"""Characters of a text that an expression makes."""

MOST_VALUES: Final = 100_000
"""Values of what an expression gives, those that stand in it twice counted twice."""

MOST_LEVELS: Final = 100
"""Lists and mappings in one another that an expression gives."""


class Absent(CeiloAgentError):
    """A path or a subscript that leads nowhere in a document."""


class Unusable(CeiloAgentError):
    """An operation that cannot be done with what it is given; the message holds no value of it."""


class Scope:
    """What one evaluation reads, and how much it may still do.

    Attributes:
        names: what names stand for; lambdas and comprehensions put theirs in and take them out.
    """

    __slots__ = ("_left", "names")

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = dict(names)
        self._left = MOST_STEPS

    def charge(self, steps: int) -> None:
        """Count steps that are about to be made.

        Raises:
            Unusable: they are too many.
        """
        self._left -= steps
        if self._left < 0:
            raise Unusable("it takes too many steps")

    def measure(self, value: Any) -> None:
        """Look at all of a value before it is shown, compared or given back.

        A list may hold another one many times, and that one a third: written out they take more
        memory than there is.

        Raises:
            Unusable: it is too large, too deep, or holds itself.
        """
        pending = [(value, 0)]
        values = characters = 0
        while pending:
            each, level = pending.pop()
            values += 1
            if isinstance(each, str):
                characters += len(each)
                continue
            if not isinstance(each, list | dict):
                continue
            if level >= MOST_LEVELS:
                raise Unusable("what it gives is nested too deeply")
            if values + len(each) + len(pending) > MOST_VALUES:
                raise Unusable("what it gives is too large")
            if isinstance(each, dict):
                pending += [(key, level + 1) for key in each]
                each = each.values()
            pending += [(part, level + 1) for part in each]
        self.charge(values)
        if characters > MOST_TEXT:
            raise too_long()


def too_long() -> Unusable:
    """Return the fault of a text beyond the bound."""
    return Unusable(f"it makes a text of more than {MOST_TEXT:,} characters")


def kind(value: Any) -> str:
    """Say what a value of a document is."""
    return _KINDS.get(type(value), "something else")


_KINDS: Final[dict[type, str]] = {
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a mapping",
    type(None): "null",
}
