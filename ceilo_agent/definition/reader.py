# SPDX-License-Identifier: Apache-2.0
"""Typed access to the nodes of a document that goes on after a mistake and keeps them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from ceilo_agent.definition.document import Document
from ceilo_agent.definition.nodes import ListNode, MappingNode, Node, Position, ScalarNode, describe
from ceilo_agent.definition.syntax import QUOTE
from ceilo_agent.errors import Fault, nearest
from ceilo_agent.shown import one_line, shown

Subject = tuple[str, str]
"""The kind of a thing in the file (source, sink, publisher) and its name."""


class Reader:
    """Reads values from nodes; what is not as expected becomes a fault and reads as None.

    Attributes:
        file: the name that goes into faults.
        faults: all mistakes so far, those of the document first.
        warnings: what works but should not stay.
        subjects: what a warning is about, as its kind and its name, where it is about one thing.
    """

    def __init__(self, file: str, document: Document) -> None:
        self.file = file
        self.faults: list[Fault] = list(document.faults)
        self.warnings: list[Fault] = []
        self.subjects: dict[Fault, Subject] = {}
        self._seen: set[Fault] = set()
        # A value that the document already told of has no meaning of its own.
        self._told = {(fault.line, fault.column) for fault in document.faults}

    def fault(self, place: Position, what: str, hint: str = "") -> None:
        """Add a mistake, once: what an alias repeats is read again."""
        fault = Fault(self.file, *place, one_line(what), one_line(hint))
        if place not in self._told and fault not in self._seen:
            self._seen.add(fault)
            self.faults.append(fault)

    def warn(
        self, place: Position, what: str, hint: str = "", about: Subject | None = None
    ) -> None:
        """Add a warning."""
        warning = Fault(self.file, *place, what, hint)
        self.warnings.append(warning)
        if about is not None:
            self.subjects[warning] = about

    def expected(self, node: Node, what: str, hint: str = "") -> None:
        """Add the mistake that something else stands where `what` was expected."""
        self.fault(node.position, f"{what} was expected, found {describe(node)}", hint)

    def mapping(self, node: Node, what: str) -> MappingNode | None:
        """Return the node if it is a mapping."""
        if isinstance(node, MappingNode):
            return node
        self.expected(node, what)
        return None

    def keys(
        self,
        node: MappingNode,
        known: Sequence[str],
        required: Iterable[str] = (),
        refused: Mapping[str, str] | None = None,
        misplaced: Mapping[str, str] | None = None,
    ) -> None:
        """Check the keys of a mapping.

        Args:
            node: the mapping.
            known: the keys that it may have.
            required: those that it must have.
            refused: keys of other programs' files, with the reason why they are refused.
            misplaced: keys that belong elsewhere, with the place as a hint.
        """
        hints = self.unknown(node, known, refused or {}, misplaced or {})
        for key in self.missing(node, required, hints):
            self.fault(node.position, f"the key '{key}' is missing")

    def unknown(
        self,
        node: MappingNode,
        known: Sequence[str],
        refused: Mapping[str, str],
        misplaced: Mapping[str, str] = MappingProxyType({}),
    ) -> list[str]:
        """Add the keys that a mapping may not have as mistakes and return their hints."""
        hints = []
        for key, place in node.keys.items():
            if key in refused:
                hints.append(refused[key])
                self.fault(place, f"the key '{key}' is not supported", refused[key])
            elif key not in known:
                hints.append(misplaced.get(key) or nearest(key, known))
                self.fault(place, f"unknown key '{shown(key)}'", hints[-1])
        return hints

    @staticmethod
    def missing(node: MappingNode, required: Iterable[str], hints: Sequence[str]) -> list[str]:
        """Return the keys that lack, but not those that a hint already names."""
        return [
            key
            for key in required
            if key not in node.keys and not any(f"'{key}'" in hint for hint in hints)
        ]

    def items(self, node: Node, what: str) -> list[Node] | None:
        """Return the items if the node is a list."""
        if isinstance(node, ListNode):
            return node.items
        self.expected(node, what)
        return None

    def is_empty(self, node: Node) -> bool:
        """Return whether the node is a list without items."""
        return isinstance(node, ListNode) and not node.items

    def text(self, node: Node, what: str) -> str | None:
        """Return the text if the node is one that is not empty."""
        if isinstance(node, ScalarNode):
            if isinstance(node.value, str) and node.value:
                return node.value
            if node.value is not None and node.value != "":
                self.expected(node, what, QUOTE)
                return None
        self.expected(node, what)
        return None

    def texts(self, node: Node, what: str, item: str) -> list[tuple[str, Position]] | None:
        """Return the texts of a list with their positions; those that are none are left out."""
        nodes = self.items(node, what)
        if nodes is None:
            return None
        found = []
        for each in nodes:
            text = self.text(each, item)
            if text is not None:
                found.append((text, each.position))
        return found


def given(node: MappingNode, key: str) -> Node | None:
    """Return a value that may be left out; a key with nothing behind it counts as left out."""
    found = node.entries.get(key)
    return None if isinstance(found, ScalarNode) and found.value is None else found
