# SPDX-License-Identifier: Apache-2.0
"""The text of an expression as a syntax tree whose nodes know their place in the text."""

from __future__ import annotations

import ast
import re
import warnings
from typing import Final

from ceilo_agent.definition.nodes import shown
from ceilo_agent.errors import Malformed

MOST_CHARACTERS: Final = 1000
MOST_NODES: Final = 200
MOST_DEPTH: Final = 30

_BREAKS: Final = str.maketrans("\n\r\t", "   ")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_PAIRS: Final = {")": "(", "]": "[", "}": "{"}
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
        self.tree = self._parse(code.strip(" "))
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

    def written(self, node: ast.expr) -> str:
        """Return what the operator wrote for a node."""
        return self._text[self.offset(node) : self.end(node)]

    def _characters(self, column: int) -> int:
        """Return the offset in the text of a column in UTF-8 bytes."""
        return len(self._bytes[:column].decode(errors="replace")) + self._shift

    def _parse(self, code: str) -> ast.expr:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(code, mode="eval").body
        except SyntaxError as error:
            raise self._fault(error, code) from None
        except (RecursionError, MemoryError):
            raise Malformed("is nested too deeply") from None

    def _fault(self, error: SyntaxError, code: str) -> Malformed:
        """Return a syntax error in our words: the version of Python changes its own."""
        if "(unicode error)" in error.msg:
            return Malformed("a backslash in a text begins no character", self._text.find("\\"))
        if "'else'" in error.msg:
            return Malformed("'if' without 'else'", self._shift + (error.offset or 1) - 1)
        if not error.offset or error.offset > len(code):
            return Malformed("ends too early", self._shift + len(code))
        place = self._shift + error.offset - 1
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
