# SPDX-License-Identifier: Apache-2.0
"""From the bytes of an answer to a document: JSON, XML, text or the answer's own headers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ceilo_agent.inspection.api import xml
from ceilo_agent.inspection.api.answer import Unanswered

_BOM: Final = b"\xef\xbb\xbf"
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
        return json.loads(body.decode(_charset(headers)))
    except json.JSONDecodeError as error:
        raise ValueError(f"JSON: {error.msg} at line {error.lineno}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"JSON: it is no {error.encoding}") from error
    except RecursionError as error:
        raise ValueError("JSON: it is nested too deeply") from error
    except ValueError as error:  # an integer with thousands of digits
        raise ValueError("JSON: a number in it is too long") from error


def _charset(headers: Mapping[str, str]) -> str:
    """Return the encoding that an answer says it has, UTF-8 without one that is known."""
    found = re.search(r"charset=\"?([\w.:-]+)", headers.get("content-type", ""), re.IGNORECASE)
    if found is None:
        return "utf-8"
    try:
        "".encode(found[1])
    except (LookupError, ValueError):
        return "utf-8"
    return found[1]
