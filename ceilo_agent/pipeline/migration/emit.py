# SPDX-License-Identifier: Apache-2.0
"""Writes values as YAML that the loader reads as the same values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ceilo_agent.definition.scalars import resolve

WIDTH: Final = 90
"""Columns that a list of scalars may fill in one line."""

_PLAIN: Final = re.compile(r"[A-Za-z_/][\w.+/-]*(?:://(?:[\w.:/-]*[\w/])?)?", re.ASCII)


def scalar(value: str | float | bool | None) -> str:
    """Return one value: text without quotes where it stays text."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return repr(value)
    if _PLAIN.fullmatch(value) and isinstance(resolve(value), str):
        return value
    if "\\" in value and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def flow(value: Any) -> str:
    """Return a value in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


def block(value: Any, indent: int) -> list[str]:
    """Return the lines of a mapping or list, of which each begins with `indent` spaces."""
    margin = " " * indent
    lines: list[str] = []
    if isinstance(value, Mapping):
        for key, each in value.items():
            if _in_line(each, indent + len(key)):
                lines.append(f"{margin}{scalar(key)}: {flow(each)}")
            else:
                lines += [f"{margin}{scalar(key)}:", *block(each, indent + 2)]
        return lines
    for item in value:
        if _in_line(item, indent):
            lines.append(f"{margin}- {flow(item)}")
        else:
            first, *others = block(item, indent + 2)
            lines += [f"{margin}- {first.lstrip(' ')}", *others]
    return lines


def _in_line(value: Any, column: int) -> bool:
    if not isinstance(value, Mapping | list | tuple) or not value:
        return True
    inner = value.values() if isinstance(value, Mapping) else value
    if isinstance(value, Mapping) or any(
        isinstance(each, Mapping | list | tuple) for each in inner
    ):
        return False
    return column + len(flow(value)) <= WIDTH
