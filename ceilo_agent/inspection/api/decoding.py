# SPDX-License-Identifier: Apache-2.0
"""From the bytes of an answer to a document: JSON, XML, text or the answer's own headers."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ceilo_agent.inspection.api import xml
from ceilo_agent.inspection.api.answer import Unanswered

_BOM: Final = b"\xef\xbb\xbf"
_OF_PYTHON: Final = frozenset(
    {"idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
)
"""Encodings that are no character sets; some make of text what is none, or take very long."""

_DIGITS: Final = 4000
"""Of an integer; one of more is beyond every float."""

_LONE: Final = re.compile(
    r"(\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
"""A surrogate without its other half, which no UTF-8 can hold; group 1: none of them."""

_PAGE: Final = re.compile(rb"\s*(<!doctype\s+html|<html)", re.IGNORECASE)


def decoded(handlers: Sequence[str], headers: Mapping[str, str], body: bytes) -> tuple[str, Any]:
    """Return the document of an answer, and the handler that made it.

    Args:
        handlers: json, xml, text or headers, in the order in which they are tried.
        headers: of the answer, names in lower case.
        body: of the answer.

    Raises:
        Unanswered: none can make anything of it.
    """
    faults = []
    for handler in handlers:
        try:
            return handler, _document(handler, headers, body)
        except ValueError as error:
            faults.append(str(error))
    if "html" in headers.get("content-type", "").lower() or _PAGE.match(body):
        raise Unanswered(
            f"an HTML page came in place of {' or '.join(handlers)}: "
            "a login page, a proxy, or the wrong URL"
        )
    raise Unanswered(f"its answer is no {', no '.join(faults)}")


def _document(handler: str, headers: Mapping[str, str], body: bytes) -> Any:
    if handler == "headers":
        return dict(headers)
    if handler == "text":
        return [{"out": body.decode(_charset(headers), "replace")}]
    if handler == "xml":
        try:
            return xml.parse(body)
        except ValueError as error:
            raise ValueError(f"XML: {error}") from error
    return _json(headers, body)


def _json(headers: Mapping[str, str], body: bytes) -> Any:
    """Return what JSON says.

    Raises:
        ValueError: it is none.
    """
    if not body.strip():
        raise ValueError("JSON: it is empty")
    body = body.removeprefix(_BOM)
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        # Some write NaN, which is no JSON but Python's: it costs its own value, not the answer.
        # The same holds for a number or a character that is none.
        text = _LONE.sub(lambda found: found[1] or r"\ufffd", body.decode(_charset(headers)))
        return json.loads(text, parse_int=_whole)
    except json.JSONDecodeError as error:
        raise ValueError(f"JSON: {error.msg} at line {error.lineno}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"JSON: it is no {error.encoding}") from error
    except RecursionError as error:
        raise ValueError("JSON: it is nested too deeply") from error


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= _DIGITS else float(digits)


def _charset(headers: Mapping[str, str]) -> str:
    """Return the encoding that an answer says it has, UTF-8 without one that is known."""
    found = re.search(r"charset=\"?([\w.:-]+)", headers.get("content-type", ""), re.IGNORECASE)
    if found is None:
        return "utf-8"
    try:
        "".encode(found[1])
        name = codecs.lookup(found[1]).name
    except (LookupError, ValueError):
        return "utf-8"
    return "utf-8" if name.replace("_", "-") in _OF_PYTHON else name
