# SPDX-License-Identifier: Apache-2.0
"""What mappings of Ceilometer's files have in common: keys that nobody read, texts for lists."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from ceilo_agent.errors import nearest
from ceilo_agent.pipeline.migration.changes import Path
from ceilo_agent.pipeline.migration.draft import Draft
from ceilo_agent.shown import shown


def drop_unknown(
    draft: Draft, path: Path, known: Collection[str], reasons: Mapping[str, str] | None = None
) -> None:
    """Remove the keys of a mapping that Ceilometer passed over in silence.

    Args:
        draft: the file.
        path: of the mapping.
        known: the keys that mean something.
        reasons: of keys that are known and gone; a key with an empty reason has the common one.
    """
    for key in draft.get(path):
        if key in known:
            continue
        reason = (reasons or {}).get(key)
        what = f"'{shown(key)}' removed: " + (reason or "Ceilometer ignored it")
        draft.remove((*path, key), what, "" if reason is not None else nearest(key, known))


def listed(draft: Draft, path: Path, told: str) -> list[tuple[Path, Any]]:
    """Return the items of a list with their paths; a text becomes a list of it.

    Args:
        draft: the file.
        path: of the list.
        told: what Ceilometer made of a text.
    """
    value = draft.get(path)
    if isinstance(value, str) and value:
        draft.replace(path, [value])
        draft.done(path, f"'{path[-1]}' is a list now: {told}")
        return [(path, value)]
    return [((*path, n), item) for n, item in enumerate(value if isinstance(value, list) else ())]


def texts(value: Any) -> list[str]:
    """Return the texts of a list that are not empty; a text counts as a list of it."""
    items = [value] if isinstance(value, str) else value if isinstance(value, list) else ()
    return [each for each in items if isinstance(each, str) and each]


def number(value: Any) -> int | None:
    """Return the whole number that a text is; None for all else."""
    found = isinstance(value, str) and re.fullmatch(r"\s*([0-9]{1,9})\s*", value)
    return int(found[1]) if found else None


def put(draft: Draft, path: Path, at: Path, value: str) -> None:
    """Put another value in the place of an item of a list, which may have been a text alone."""
    draft.replace(at, [value] if at == path else value)
