# SPDX-License-Identifier: Apache-2.0
"""What stands somewhere in a document, and what is made of it: ``path | operation | operation``.

The form is that of Ceilometer's dynamic pollsters, which hand each operation to Python's ``eval``.
Here an operation is an expression of few names, functions and methods, bounded in time and size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar, Final, Self

from ceilo_agent.errors import Malformed
from ceilo_agent.expressions.bounds import Absent, Scope, Unusable, kind
from ceilo_agent.expressions.documents import compiled
from ceilo_agent.expressions.evaluation import EvaluationError, reason
from ceilo_agent.expressions.source import Source, unquoted
from ceilo_agent.expressions.terms import Evaluate
from ceilo_agent.plugins import Parsed
from ceilo_agent.shown import shown

__all__ = ["NAMES", "Absent", "Unusable", "Value"]

NAMES: Final = (
    "project",
    "endpoint",
    "sample",
    "extra_metadata_captured",
    "extra_metadata_by_name",
)
"""What an operation may read beside ``value``, where there is such a thing."""

_MOST_KEYS: Final = 5
_LONGEST_KEY: Final = 30
_NO_NAMES: Final[Mapping[str, Any]] = {}
_NO_PLACES: Final[Mapping[str, int]] = {}


class _Nowhere(Absent):
    """A path that ends before its end; the message is made for who reads it, and most are not."""

    def __init__(self, text: str, document: Any) -> None:
        super().__init__(text, document)
        self._text, self._document = text, document

    def __str__(self) -> str:
        return f"nothing at '{shown(self._text)}': it ends at {_told(self._document)}"


class Value(Parsed):
    """A dotted path, ``.`` for the whole document, and operations on what it leads to.

    Attributes:
        text: as the operator wrote it.
        names: those of NAMES that its operations read, each with its first offset in the text.
    """

    words: ClassVar[str] = "a path, or a path and operations: a.b | int(value)"
    __slots__ = ("_keys", "_operations", "names", "text")

    def __init__(
        self,
        text: str,
        keys: tuple[str, ...],
        operations: tuple[Evaluate, ...] = (),
        names: Mapping[str, int] = _NO_PLACES,
    ) -> None:
        self.text = text
        self.names = names
        self._keys = keys
        self._operations = operations

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a text means.

        Raises:
            Malformed: it is no path, or an operation behind it is not allowed.
        """
        path, bar, _ = text.partition("|")
        keys = _path(path)
        if not bar:
            return cls(text, keys)
        operations: list[Evaluate] = []
        names: dict[str, int] = {}
        for begin, end in _parts(text, len(path) + 1):
            evaluate, read = _operation(text, begin, end)
            operations.append(evaluate)
            names = {**read, **names}
        return cls(text, keys, tuple(operations), names)

    @classmethod
    def expression(cls, text: str) -> Self:
        """Return what an expression of NAMES alone means; ``value`` is the document.

        Raises:
            Malformed: it is none.
        """
        evaluate, names = _operation(text, 0, len(text))
        return cls(text, (), (evaluate,), names)

    def __call__(self, document: Any, names: Mapping[str, Any] = _NO_NAMES) -> Any:
        """Return what it gives for a document: what JSON can hold.

        Raises:
            Absent: the path, or a subscript, leads nowhere.
            Unusable: an operation fails.
        """
        for key in self._keys:
            if isinstance(document, dict):
                if key not in document:
                    raise _Nowhere(self.text, document)
                document = document[key]
            else:
                document = self._item(document, key)
        return self._operated(document, names) if self._operations else document

    def _item(self, listed: Any, key: str) -> Any:
        if isinstance(listed, list) and key.isascii() and key.isdigit() and len(key) < 10:
            number = int(key)
            if number < len(listed):
                return listed[number]
        raise _Nowhere(self.text, listed)

    def _operated(self, value: Any, names: Mapping[str, Any]) -> Any:
        scope = Scope(names)
        try:
            for evaluate in self._operations:
                value = evaluate(scope, value)
            if isinstance(value, list | dict | str):
                scope.measure(value)
        except Absent as error:
            raise Absent(f"'{shown(self.text)}': {error}") from None
        except Unusable as error:
            raise Unusable(f"'{shown(self.text)}': {error}") from None
        except Exception as error:
            raise Unusable(f"'{shown(self.text)}': {_reason(error)}") from None
        return value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Value({self.text!r})"


def _reason(error: Exception) -> str:
    if isinstance(error, EvaluationError | ZeroDivisionError | OverflowError):
        return reason(error)
    return "it fails for this value"


def _path(text: str) -> tuple[str, ...]:
    path = text.strip()
    shift = len(text) - len(text.lstrip())
    if path == ".":
        return ()
    if not path:
        raise Malformed("a path was expected", 0, "'.' is the whole document")
    for sign in "[]'\"":
        if sign in path:
            what = f"'{sign}' cannot stand in a path"
            raise Malformed(what, shift + path.index(sign), "write . | value['a'][0]")
    keys = path.split(".")
    if not all(keys):
        empty = keys.index("")
        place = shift + sum(len(key) + 1 for key in keys[:empty])
        hint = "a path has names with dots between them; '.' is the whole document"
        raise Malformed("a name is missing in the path", place, hint)
    return tuple(keys)


def _parts(text: str, begin: int) -> Iterator[tuple[int, int]]:
    """Yield where each operation begins and ends: a ``|`` in quotes divides nothing."""
    quote, escaped = "", False
    for place in range(begin, len(text)):
        char = text[place]
        if quote:
            quote = "" if char == quote and not escaped else quote
            escaped = char == "\\" and not escaped
        elif char in "'\"":
            quote = char
        elif char == "|":
            yield begin, place
            begin = place + 1
    yield begin, len(text)


def _operation(text: str, begin: int, end: int) -> tuple[Evaluate, Mapping[str, int]]:
    if not text[begin:end].strip():
        hint = "write it, or leave the '|' out"
        raise Malformed("an operation was expected", max(begin - 1, 0), hint)
    # Blanks stand in place of all else, so that offsets are those of the text.
    code = " " * begin + text[begin:end] + " " * (len(text) - end)
    unquoted(code)
    return compiled(Source(text, code), NAMES)


def _told(document: Any) -> str:
    """Say what a document is, and what a mapping has; never a value of it."""
    if not isinstance(document, dict) or not document:
        return kind(document)
    keys = [f"'{shown(str(key))[:_LONGEST_KEY]}'" for key in islice(document, _MOST_KEYS)]
    return f"{kind(document)} with {', '.join(keys)}{', ...' if len(document) > _MOST_KEYS else ''}"
