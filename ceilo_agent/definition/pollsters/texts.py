# SPDX-License-Identifier: Apache-2.0
"""The texts of a definition that have a form of their own."""

from __future__ import annotations

import re
from typing import ClassVar, Final, Self

from ceilo_agent.definition.sources import unfit_base
from ceilo_agent.errors import Malformed
from ceilo_agent.expressions.value import NAMES, Value
from ceilo_agent.plugins import Parsed
from ceilo_agent.shown import shown

LONGEST_NAME: Final = 255

_NAME: Final = re.compile(r"[\w-]+(\.[\w-]+)*(\.\{(?P<attribute>[\w-]+)\})?")
_LISTED: Final = re.compile(r"\s*\[([^][|]*)\]\.")
_UNFIT: Final = re.compile(r"[\x00-\x20\x7f]")
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# Names and brackets, or quotes, stand at the beginning of no path.
_EXPRESSION: Final = re.compile(
    rf"\s*([fF]?['\"]|\(|[A-Za-z_]\w*\s*[\[(]|({'|'.join(NAMES)})\s*[.+\[])"
)


class Name(Parsed):
    """The name of a meter, or of several: ``a.b.{attribute}``.

    Attributes:
        text: the name.
        attribute: what stands in the braces, None without them.
    """

    words: ClassVar[str] = "the name of a meter"
    __slots__ = ("attribute", "text")

    def __init__(self, text: str, attribute: str | None) -> None:
        self.text = text
        self.attribute = attribute

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the name that a text is.

        Raises:
            Malformed: it is none.
        """
        if len(text) > LONGEST_NAME:
            raise Malformed(f"a meter name of more than {LONGEST_NAME} characters", LONGEST_NAME)
        found = _NAME.fullmatch(text)
        if found is None:
            good = _NAME.match(text)
            hint = "letters, digits, _ and - with dots between them, .{attribute} at the end"
            what = f"'{shown(text)}' is no name of a meter"
            raise Malformed(what, good.end() if good else 0, hint)
        return cls(text, found["attribute"])


class ValueAttribute(Parsed):
    """Where the value stands in an entry; ``[list].a.b`` where each part of a list has one.

    Attributes:
        value: leads to the value, or to the list.
        part: leads to the value of a part of the list, None without a list.
    """

    words: ClassVar[str] = Value.words
    __slots__ = ("part", "value")

    def __init__(self, value: Value, part: Value | None) -> None:
        self.value = value
        self.part = part

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a text means.

        Raises:
            Malformed: it is no path, or an operation behind it is not allowed.
        """
        found = _LISTED.match(text)
        if found is None:
            return cls(Value.parse(text), None)
        return cls(_within(text, *found.span(1)), _within(text, found.end(), len(text)))


def _within(text: str, begin: int, end: int) -> Value:
    """Return the path in a part of a text, all places counted in the whole."""
    try:
        found = Value.parse(text[begin:end])
    except Malformed as error:
        raise Malformed(error.what, begin + error.offset, error.hint) from None
    found.names = {name: begin + offset for name, offset in found.names.items()}
    return found


class UrlPath(Parsed):
    """A path that is joined to an endpoint, a URL, or an expression that gives one of them.

    A text with a quote in it is an expression, if it can be read as one.

    Attributes:
        found: the expression or the text.
    """

    words: ClassVar[str] = "a path, a URL or an expression"
    __slots__ = ("found",)

    def __init__(self, found: Value | str) -> None:
        self.found = found

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a text means.

        Raises:
            Malformed: it can be no part of a URL, or begins as an expression and is none.
        """
        if "'" in text or '"' in text:
            try:
                return cls(Value.expression(text))
            except Malformed as error:
                if _EXPRESSION.match(text):
                    hint = error.hint or "in a path that is no expression, a quote is %27 or %22"
                    raise Malformed(error.what, error.offset, hint) from None
        if _URL.match(text):
            if reason := unfit_base(text):
                raise Malformed(reason)
        elif found := _UNFIT.search(text):
            what = f"the character '{shown(found[0])}' cannot stand in a path"
            raise Malformed(what, found.start(), "a blank is written %20")
        return cls(text)
