# SPDX-License-Identifier: Apache-2.0
"""Names of sources, sinks and publishers: they end up in directories, queues and metrics."""

from __future__ import annotations

from typing import Final

from ceilo_agent.definition.nodes import MappingNode, Position
from ceilo_agent.definition.reader import Reader
from ceilo_agent.shown import shown

LONGEST: Final = 100
"""Characters; a file name holds 255 bytes and more than the name goes into it."""


def read_name(reader: Reader, node: MappingNode, kind: str, taken: dict[str, Position]) -> str:
    """Return the `name` of a mapping and note it as taken; empty after a mistake.

    Args:
        reader: takes the mistakes.
        node: the mapping.
        kind: what bears the name.
        taken: the names so far, by their positions; a second one of a kind is a mistake.
    """
    if "name" not in node.entries:
        return ""
    written = node.entries["name"]
    name = reader.text(written, f"the name of a {kind}")
    if name is None:
        return ""
    check_name(reader, name, written.position, kind)
    if name in taken:
        hint = f"first in line {taken[name].line}"
        reader.fault(written.position, f"duplicate {kind} name '{shown(name)}'", hint)
    else:
        taken[name] = written.position
    return name


def check_name(reader: Reader, name: str, place: Position, kind: str) -> None:
    """Check that a text may be a name."""
    if reason := _reason(name):
        reader.fault(place, f"'{shown(name)}' is no name for a {kind}: {reason}")


def _reason(name: str) -> str:
    """Say why a text is no name, empty when it is one."""
    reasons = {
        "it is empty": not name,
        f"it has more than {LONGEST} characters": len(name) > LONGEST,
        "it begins or ends with a blank": name != name.strip(),
        "it begins with '.'": name.startswith("."),
        "it holds '/'": "/" in name,
        "it holds a character that cannot be printed": not name.isprintable(),
    }
    return next((reason for reason, wrong in reasons.items() if wrong), "")
