# SPDX-License-Identifier: Apache-2.0
"""reStructuredText, line by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def heading(text: str, line: str) -> Iterator[str]:
    yield text
    yield line * len(text)
    yield ""


def table(header: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield ".. list-table::"
    yield "   :header-rows: 1"
    yield ""
    for cells in (header, *lines):
        for number, cell in enumerate(cells):
            yield f"   {'  ' if number else '* '}- {cell}".rstrip()
    yield ""


def code(language: str, text: str) -> Iterator[str]:
    yield f".. code-block:: {language}"
    yield ""
    yield from (f"   {line}".rstrip() for line in text.splitlines())
    yield ""


def escaped(text: str) -> str:
    """Return plain text as reStructuredText that shows just that."""
    for sign in "\\*`|_%":
        text = text.replace(sign, "\\" + sign)
    return text
