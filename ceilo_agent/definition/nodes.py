# SPDX-License-Identifier: Apache-2.0
"""What a YAML file says and where: scalars, lists and mappings with their positions."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from ceilo_agent.shown import shown


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
