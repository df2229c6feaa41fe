# SPDX-License-Identifier: Apache-2.0
"""The text of an expression as a syntax tree whose nodes know their place in the text."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from typing import Final

from ceilo_agent.errors import Malformed
from ceilo_agent.shown import shown

MOST_CHARACTERS: Final = 1000
MOST_NODES: Final = 200
MOST_DEPTH: Final = 30

_BREAKS: Final = str.maketrans("\n\r\t", "   ")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_PAIRS: Final = {")": "(", "]": "[", "}": "{"}
_GROUPED: Final = re.compile(r"(?<![\w.])[0-9]{1,3}(?:,[0-9]{3})+(?![\w.])")
_HINTS: Final = {
    "=": "'==' compares",
    ":": "'==' compares",
    "&": "write 'and'",
    "|": "write 'or'",
    "!": "write 'not' or '!='",
    ">": "'!=' compares",
    "?": "write A if CONDITION else B",
}


class Source:
    """A text that reads as one expression of Python; nothing of it is run.

    Args:
        text: what the operator wrote.
        code: what is parsed, as long as the text: Python's names in the place of other things.

    Attributes:
        tree: the expression.

    Raises:
        Malformed: it is no expression, or too large a one.
    """

    def __init__(self, text: str, code: str) -> None:
        self._text = text
        code = code.translate(_BREAKS)
        self._shift = len(code) - len(code.lstrip(" "))
        self._bytes = code.strip(" ").encode()
        self.tree = self._parse(code)
        self._check_size()

    def offset(self, node: ast.expr) -> int:
        """Return where a node begins in the text, in characters."""
        return self._characters(node.col_offset)

    def end(self, node: ast.expr) -> int:
        """Return the offset behind a node."""
        return self._characters(node.end_col_offset or 0)

    def between(self, left: ast.expr, right: ast.expr) -> int:
        """Return the offset of the operator between two nodes; brackets may stand there too."""
        begin = self.end(left)
        gap = self._text[begin : self.offset(right)]
        return begin + len(gap) - len(gap.lstrip(" \t\r\n()"))

    def following(self, offset: int) -> str:
        """Return what stands at an offset of letters, digits and hyphens."""
        found = re.compile(r"[\w-]+").match(self._text, offset)
        return found[0] if found else ""

    def written(self, node: ast.expr) -> str:
        """Return what the operator wrote for a node."""
        return self._text[self.offset(node) : self.end(node)]

    def _characters(self, column: int) -> int:
        """Return the offset in the text of a column in UTF-8 bytes."""
        return len(self._bytes[:column].decode(errors="replace")) + self._shift

    def grouped(self, begin: int, end: int) -> Malformed | None:
        """Return the fault of a number with commas between its thousands, None without one."""
        bare = _blanked(self._text)
        found = _GROUPED.search(bare, begin, end)
        if found is None:
            return None
        hint = f"write {found[0].replace(',', '_')}"
        return Malformed("the digits of a number are grouped with '_'", found.start(), hint)

    def _parse(self, code: str) -> ast.expr:
        try:
            return _parsed(code.strip(" "))
        except SyntaxError as error:
            raise self._fault(error, code) from None
        except (RecursionError, MemoryError):
            raise Malformed("is nested too deeply") from None

    def _fault(self, error: SyntaxError, code: str) -> Malformed:
        """Return a syntax error in our words: the version of Python changes its own.

        Inside brackets Python tells where the expression begins, outside where it goes wrong. So
        what stands in each pair of brackets is read by itself, the innermost first.
        """
        if "(unicode error)" in error.msg:
            return Malformed("a backslash in a text begins no character", self._text.find("\\"))
        if found := self.grouped(0, len(self._text)):
            return found
        for begin, end in _inner(_blanked(code)):
            try:
                _parsed(code[begin:end].strip(" "))
            except SyntaxError as inside:
                return self._told(inside, code, begin, end)
            except (RecursionError, MemoryError):
                break
        return self._told(error, code, 0, len(code))

    def _told(self, error: SyntaxError, code: str, begin: int, end: int) -> Malformed:
        """Return the fault of a syntax error in a part of the code."""
        part = code[begin:end]
        shift = begin + len(part) - len(part.lstrip(" "))
        place = shift + (error.offset or 1) - 1
        if "'else'" in error.msg:
            return Malformed("'if' without 'else'", place)
        if not error.offset or error.offset > len(part.strip(" ")):
            if end == len(code):
                return Malformed("ends too early", len(code.rstrip(" ")))
            place = end  # the bracket that closes the part
        found = re.compile(r"\w+|.", re.DOTALL).match(self._text, place)
        word = found[0] if found else ""
        visible = shown(word) if word.isprintable() else ascii(word)[1:-1]
        return Malformed(f"unexpected '{visible}'", place, _HINTS.get(word, ""))

    def _check_size(self) -> None:
        """Refuse what is too large before anything walks down the tree.

        A sum of many terms is a tree that leans to the left, read in a loop: it is not deep.
        """
        left: list[tuple[ast.AST, int]] = [(self.tree, 1)]
        nodes = 0
        while left:
            node, depth = left.pop()
            if isinstance(node, ast.expr):
                nodes += 1
                if depth > MOST_DEPTH:
                    what = f"is nested more than {MOST_DEPTH} deep"
                    raise Malformed(what, self.offset(node))
            for child in ast.iter_child_nodes(node):
                leans = isinstance(node, ast.BinOp) and child is node.left
                leans = leans and isinstance(child, ast.BinOp)
                left.append((child, depth + (not leans)))
        if nodes > MOST_NODES:
            raise Malformed(f"has more than {MOST_NODES} names, numbers and operators")


def _parsed(code: str) -> ast.expr:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code, mode="eval").body


def _inner(bare: str) -> Iterator[tuple[int, int]]:
    """Yield where what stands in brackets begins and ends, the innermost first, no empty ones."""
    opened: list[int] = []
    for place, char in enumerate(bare):
        if char in "([{":
            opened.append(place)
        elif char in _PAIRS and opened:
            begin = opened.pop() + 1
            if bare[begin:place].strip():
                yield begin, place


def unquoted(text: str) -> str:
    """Return a text with blanks for what stands in quotes, after a check of its characters.

    Raises:
        Malformed: empty, too long, a character that cannot be, a quote or bracket without its pair.
    """
    if len(text) > MOST_CHARACTERS:
        what = f"is longer than {MOST_CHARACTERS:,} characters"
        raise Malformed(what, MOST_CHARACTERS)
    if found := _CONTROL.search(text):
        raise Malformed(f"unexpected character '{shown(found[0])}'", found.start())
    if not text.strip():
        raise Malformed("the expression is empty")
    bare = _blanked(text)
    _check_brackets(bare)
    if "#" in bare:
        raise Malformed("a comment cannot stand in an expression", bare.index("#"))
    return bare


def _blanked(text: str) -> str:
    out, quote, begin, escaped = [], "", 0, False
    for place, char in enumerate(text):
        if not quote:
            quote, begin = (char, place) if char in "'\"" else ("", 0)
            out.append(char)
            continue
        out.append(char if char == quote and not escaped else " ")
        if char == quote and not escaped:
            quote = ""
        escaped = char == "\\" and not escaped
    if quote:
        raise Malformed("this quote is never closed", begin)
    return "".join(out)


def _check_brackets(bare: str) -> None:
    opened: list[int] = []
    for place, char in enumerate(bare):
        if char in "([{":
            opened.append(place)
            if len(opened) > MOST_DEPTH * 2:
                raise Malformed("is nested too deeply", place)
        elif char in _PAIRS and (not opened or bare[opened.pop()] != _PAIRS[char]):
            raise Malformed(f"'{char}' closes nothing", place)
    if opened:
        raise Malformed(f"'{bare[opened[-1]]}' is never closed", opened[-1])
