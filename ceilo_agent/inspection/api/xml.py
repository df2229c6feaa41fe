# SPDX-License-Identifier: Apache-2.0
"""XML as documents, in the form that xmltodict made known.

An element is a mapping: its attributes as ``@name``, its children by name (a list where there are
several of a name), its own text as ``#text``. One that has text alone is the text, one that has
nothing is None.

A document type is refused: what entities can do (billions of letters from a few lines, files of
this machine) begins with one.
"""

from __future__ import annotations

from typing import Any, Final
from xml.parsers import expat

DEEPEST: Final = 200
"""Elements within one another."""


def parse(body: bytes) -> dict[str, Any]:
    """Return a document.

    Raises:
        ValueError: it is no XML, has a document type, or is too deep; the message says which.
    """
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.refuse
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise ValueError(f"line {error.lineno}: {expat.ErrorString(error.code)}") from error
    return reader.document


class _Reader:
    def __init__(self) -> None:
        self.document: dict[str, Any] = {}
        self._open: list[dict[str, Any]] = [self.document]
        self._texts: list[list[str]] = [[]]

    def start(self, _: str, attributes: dict[str, str]) -> None:
        if len(self._open) > DEEPEST:
            raise ValueError(f"more than {DEEPEST} elements stand within one another")
        self._open.append({f"@{name}": value for name, value in attributes.items()})
        self._texts.append([])

    def end(self, name: str) -> None:
        element: Any = self._open.pop()
        text = "".join(self._texts.pop()).strip()
        if not element:
            element = text or None
        elif text:
            element["#text"] = text
        parent = self._open[-1]
        if name not in parent:
            parent[name] = element
        elif isinstance(parent[name], list):
            parent[name].append(element)
        else:
            parent[name] = [parent[name], element]

    def text(self, data: str) -> None:
        self._texts[-1].append(data)

    def refuse(self, *_: Any) -> None:
        raise ValueError("it has a document type (DOCTYPE), which is refused")
