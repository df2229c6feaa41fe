# SPDX-License-Identifier: Apache-2.0
"""Meters that follow from several fields of one read; the catalogue names them in `compute`.

Each takes the fields of `needs`, None where one is absent, and returns None when it cannot tell.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from ceilo_agent.sample import Volume

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PAGE_KIB: Final = os.sysconf("SC_PAGE_SIZE") / 1024
_BLOCKS_PER_KIB: Final = 2


def ticks(*seconds: float | None) -> Volume | None:
    """Sum CPU times, in ticks as the kernel counts them; a mode that it does not have adds none."""
    known = [round(part * _TICKS_PER_SECOND) for part in seconds if part is not None]
    return sum(known) if known else None


def blocks(kib: int | None) -> Volume | None:
    """Turn KiB into blocks of 512 B, as the SNMP daemon counts them."""
    return None if kib is None else kib * _BLOCKS_PER_KIB


def pages(number: int | None) -> Volume | None:
    """Turn pages into KiB."""
    return None if number is None else int(number * _PAGE_KIB)


def product(left: int | None, right: int | None) -> Volume | None:
    """Multiply."""
    return None if left is None or right is None else left * right


def difference(whole: int | None, part: int | None) -> Volume | None:
    """Subtract."""
    return None if whole is None or part is None else whole - part


def first(*values: int | None) -> Volume | None:
    """Return the first that is not absent."""
    return next((value for value in values if value is not None), None)


def used_space(blocks: int | None, free: int | None, size: int | None) -> Volume | None:
    """Return the bytes in use of a file system of so many blocks of this size."""
    if blocks is None or free is None or size is None:
        return None
    return (blocks - free) * size


def readonly(flag: int | None) -> Volume | None:
    """Return whether the mount flags (statvfs(3)) say read-only, as 1 or 0."""
    return None if flag is None else int(bool(flag & os.ST_RDONLY))


def link_up(operstate: str | None) -> Volume | None:
    """Return whether an interface can pass packets (RFC 2863; unknown: it is up, says no more)."""
    return None if operstate is None else int(operstate in ("up", "unknown"))


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    function.__name__: function
    for function in (
        ticks,
        blocks,
        pages,
        product,
        difference,
        first,
        used_space,
        readonly,
        link_up,
    )
}
