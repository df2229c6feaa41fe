# SPDX-License-Identifier: Apache-2.0
"""Says in an operator's words what the YAML parser stumbled over."""

from __future__ import annotations

from typing import Any, Final

import yaml

from ceilo_agent.definition.nodes import Position
from ceilo_agent.errors import Fault

QUOTE: Final = "put it in quotes"

# By the parser's own words for the problem: what is wrong, and what to do.
_PROBLEMS: Final = {
    "mapping values are not allowed in this context": (
        "a ':' cannot stand here",
        "put a text that holds ': ' in quotes, or indent the line as its neighbours",
    ),
    "block sequence entries are not allowed in this context": (
        "a list item '-' cannot stand here",
        "begin it on a line of its own",
    ),
    "did not find expected key": (
        "a key was expected here",
        "keys of one mapping begin in the same column",
    ),
    "did not find expected '-' indicator": (
        "a list item '-' was expected here",
        "items of one list begin in the same column",
    ),
    "did not find expected node content": ("a value was expected here", ""),
    "did not find expected <document start>": ("nothing may follow the end of the document", ""),
    "found unknown escape character": (
        "unknown escape after '\\'",
        "in single quotes '\\' is an ordinary character",
    ),
}
_BRACKETS: Final = {
    "did not find expected ',' or ']'": ("',' or ']' was expected", "list"),
    "did not find expected ',' or '}'": ("',' or '}' was expected", "mapping"),
}
# These are told of the place where what fails begins.
_BEGUN: Final = {
    "while scanning an alias": ("a text that begins with '*' is an alias of YAML", QUOTE),
    "while scanning an anchor": ("a text that begins with '&' is an anchor of YAML", QUOTE),
    "while scanning a tag": ("a text that begins with '!' is a tag of YAML", QUOTE),
    "while parsing a tag": ("a text that begins with '!' is a tag of YAML", QUOTE),
    "could not find expected ':'": ("a key begins here, and its ':' is missing", ""),
    "found unexpected end of stream": ("the quote that begins here is never closed", ""),
}
_TAB: Final = ("a tab cannot stand here", "indent with spaces")


def position(mark: Any) -> Position:
    """Return a position from a mark of the parser."""
    return Position(mark.line + 1, mark.column + 1)


def explain(error: yaml.YAMLError, text: str, file: str) -> Fault:
    """Turn the parser's error into a fault.

    Args:
        error: what the parser raised.
        text: what it read.
        file: the name for the fault.
    """
    if not isinstance(error, yaml.MarkedYAMLError) or (
        (mark := error.problem_mark or error.context_mark) is None
    ):
        return Fault(file, 0, 0, f"not YAML: {' '.join(str(error).split())}")
    place, what, hint = _explain(error, position(mark), text)
    return Fault(file, *place, what, hint)


def _explain(error: yaml.MarkedYAMLError, place: Position, text: str) -> tuple[Position, str, str]:
    problem = str(error.problem)
    begun = position(error.context_mark) if error.context_mark else place
    if "tab character" in problem or _character(text, place) == "\t":
        return (place, *_TAB)
    if problem in _PROBLEMS:
        return (place, *_PROBLEMS[problem])
    if problem in _BRACKETS:
        what, kind = _BRACKETS[problem]
        return place, what, f"the {kind} begins at {begun.line}:{begun.column}"
    if found := _BEGUN.get(str(error.context)) or _BEGUN.get(problem):
        return (begun, *found)
    if problem == "found character that cannot start any token":
        return place, f"a text cannot begin with '{_character(text, place)}'", QUOTE
    return place, f"not YAML: {problem}" + (f" {error.context}" if error.context else ""), ""


def _character(text: str, place: Position) -> str:
    """Return the character at a position, empty past the end of its line."""
    lines = text.splitlines()
    if place.line > len(lines):
        return ""
    return lines[place.line - 1][place.column - 1 : place.column]
