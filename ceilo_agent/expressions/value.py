# SPDX-License-Identifier: Apache-2.0
"""What stands somewhere in a document: a dotted path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

from ceilo_agent.errors import CeiloAgentError, Malformed
from ceilo_agent.plugins import Parsed

_NO_NAMES: Final[Mapping[str, Any]] = {}


class Absent(CeiloAgentError):
    """A path that leads nowhere in a document."""


class Unusable(CeiloAgentError):
    """An operation that fails on what a path leads to."""


class Value(Parsed):
    """A dotted path; ``.`` is the whole document."""

    words: ClassVar[str] = "a path"
    __slots__ = ("_keys", "text")

    def __init__(self, text: str, keys: tuple[str, ...]) -> None:
        self.text = text
        self._keys = keys

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a text means.

        Raises:
            Malformed: it is no path.
        """
        path = text.strip()
        if "|" in path:
            raise Malformed("operations behind a path are not read yet", path.index("|"))
        if path == ".":
            return cls(text, ())
        keys = tuple(path.split("."))
        if not all(keys):
            raise Malformed("a path of names with dots between them was expected")
        return cls(text, keys)

    def __call__(self, document: Any, names: Mapping[str, Any] = _NO_NAMES) -> Any:
        """Return what the path leads to.

        Raises:
            Absent: nothing.
        """
        del names
        for key in self._keys:
            if not isinstance(document, dict) or key not in document:
                raise Absent(f"nothing at '{self.text}'")
            document = document[key]
        return document

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Value({self.text!r})"
