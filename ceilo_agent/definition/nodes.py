# SPDX-License-Identifier: Apache-2.0
"""What a YAML file says and where: scalars, lists and mappings with their positions."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import msgspec


class Position(NamedTuple):
    """A place in a file; both count from 1."""

    line: int
    column: int


class ScalarNode(msgspec.Struct, frozen=True, eq=False):
    """One value.

    Attributes:
        value: what it means; a number is always finite.
        text: what the operator wrote, quotes taken off.
        position: of its first character, which may be a quote.
        shift: columns from there to the first character of `text`; None where `text` does not stand
            like that in the file, for escapes or line breaks.
    """

    value: str | int | float | bool | None
    text: str
    position: Position
    shift: int | None = None

    def at(self, offset: int) -> Position:
        """Return where a character of `text` stands; of the whole when that cannot be told."""
        line, column = self.position
        return Position(line, column if self.shift is None else column + self.shift + offset)


class ListNode(msgspec.Struct, frozen=True, eq=False):
    """A list; an alias shares the node of its anchor."""

    items: list[Node]
    position: Position


class MappingNode(msgspec.Struct, frozen=True, eq=False):
    """A mapping; keys are text as written, so `1:` and `on:` are the keys '1' and 'on'.

    Attributes:
        entries: the values by key, in the order of the file.
        keys: where each key stands.
        position: of the first key.
    """

    entries: dict[str, Node]
    keys: dict[str, Position]
    position: Position


Node = ScalarNode | ListNode | MappingNode

SHOWN_LENGTH: Final = 60
_USER_INFO: Final = re.compile(r"^(\W*[A-Za-z][A-Za-z0-9+.-]*:/*)?.*@", re.DOTALL)
_QUERY: Final = re.compile(r"(://[^?]*\?).*", re.DOTALL)
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def shown(text: str) -> str:
    """Return a text of the operator fit for a message: one short line.

    What stands before an ``@`` may be a password, and so may the query of a URL: both are masked.
    """
    masked = _QUERY.sub(r"\1***", text)
    if "@" in masked:
        masked = _USER_INFO.sub(lambda found: (found[1] or "") + "***@", masked)
    line = one_line(masked[: SHOWN_LENGTH + 1])
    return line if len(line) <= SHOWN_LENGTH else line[: SHOWN_LENGTH - 3] + "..."


def one_line(text: str) -> str:
    """Return a text with what cannot be printed as its escapes."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def describe(node: Node) -> str:
    """Say what a node is, in an operator's words."""
    if isinstance(node, ListNode):
        return "a list" if node.items else "an empty list"
    if isinstance(node, MappingNode):
        return "a mapping" if node.entries else "an empty mapping"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, str):
        return f"the text '{shown(node.value)}'" if node.value else "an empty text"
    return shown(node.text)


def plain(node: Node) -> Any:
    """Return the node's value without positions: dicts, lists and scalars."""
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    if isinstance(node, MappingNode):
        return {key: plain(value) for key, value in node.entries.items()}
    return node.value
