# SPDX-License-Identifier: Apache-2.0
"""The entries of a document: what samples are made of, one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ceilo_agent.definition.pollsters.pollster import PollsterDef
from ceilo_agent.errors import CeiloAgentError
from ceilo_agent.expressions.value import Absent, Unusable

NOTHING: Final = "no content"
"""What the empty document of an answer without a body was read as."""


class Unread(CeiloAgentError):
    """What an answer does not hold, or not as it should; the message says it in fixed words."""


def entries_of(
    pollster: PollsterDef, handler: str, document: Any, names: Mapping[str, Any]
) -> Sequence[Any]:
    """Return the entries of a document.

    As in Ceilometer they are the document if it is a list, else what `response_entries_key` leads
    to, and without it the first key; an operation in it is done with a list as well. Beyond that a
    single mapping counts as a list of one, and a mapping whose first key has neither list nor
    mapping as an entry itself, as have headers.

    Args:
        pollster: says where they are.
        handler: what the document was read as.
        document: of the answer.
        names: what expressions may name.

    Raises:
        Unread: there are none where they should be.
    """
    key: Any = pollster.response_entries_key
    if isinstance(document, list) and (key is None or "|" not in key.text or handler == NOTHING):
        return document
    found: Any = None
    if not isinstance(document, list | dict):
        raise Unread("its answer is neither a list nor a mapping")
    if key is None and isinstance(document, dict):
        found = document if handler == "headers" else next(iter(document.values()), None)
        if not isinstance(found, list | dict) and (found is not None or len(document) > 1):
            found = document
    elif key is not None:
        try:
            found = key(document, names) if document != {} else None
        except (Absent, Unusable) as error:
            raise Unread(f"response_entries_key: {error}") from error
    if found is None:
        return []  # XML has no other way to say that a list is empty
    if isinstance(found, dict):
        return [found]
    if not isinstance(found, list):
        raise Unread("response_entries_key leads to no list")
    return found
