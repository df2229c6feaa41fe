# SPDX-License-Identifier: Apache-2.0
"""The sinks: their keys, and where their samples go."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from ceilo_agent import plugins
from ceilo_agent.definition.sinks import KEYS
from ceilo_agent.pipeline.migration.changes import Path
from ceilo_agent.pipeline.migration.draft import Draft, Weight
from ceilo_agent.pipeline.migration.publishers import Move, moved
from ceilo_agent.pipeline.migration.shapes import drop_unknown, listed, put
from ceilo_agent.pipeline.migration.steps import Declared, revise_steps
from ceilo_agent.shown import shown

_GONE: Final = {"triggers": "Ceilometer ignored it too; events do not go through this file"}
_DROPPED: Final = frozenset({"database", "direct", "kafka", "panko", "rpc"})
"""Publishers that Ceilometer gave up itself."""

_OFFER: Final = "'--publisher URL' puts another in its place"


def revise_sinks(draft: Draft, publisher: str | None) -> set[str]:
    """Change the sinks of a file.

    Args:
        draft: the file.
        publisher: what goes in the place of publishers that are not installed; None: they stay.

    Returns:
        the schemes of publishers that are not installed and stay.
    """
    missing: set[str] = set()
    declared = Declared()
    named = draft.get(("publishers",))
    names = set(plugins.names(plugins.PUBLISHER)) | set(named if isinstance(named, dict) else ())
    for path, sink in draft.mappings(("sinks",)):
        drop_unknown(draft, path, KEYS, _GONE)
        if isinstance(sink.get("transformers"), list):
            revise_steps(draft, (*path, "transformers"), declared)
        missing |= _publishers(draft, (*path, "publishers"), names, publisher)
    return missing


def _publishers(
    draft: Draft, path: Path, names: Collection[str], publisher: str | None
) -> set[str]:
    """Change the publishers of a sink; return the schemes of those that are missing."""
    seen: set[str] = set()
    missing: set[str] = set()
    for at, url in listed(draft, path, "Ceilometer read each letter of the text as a publisher"):
        if not isinstance(url, str):
            continue
        scheme = url.partition("://")[0]
        if url in seen:
            draft.remove(at, f"the second '{shown(url)}' removed: every sample went there twice")
            continue
        move = moved(draft, at, url, names)
        if move.url != url:
            _move(draft, path, at, url, move, seen)
        elif scheme in names:
            seen.add(url)
            _file(draft, at, url)
        elif publisher is None:
            seen.add(url)
            missing.add(scheme)
            draft.tell_once(Weight.DECIDE, at, _missing(scheme), _OFFER)
        elif publisher in seen:
            draft.remove(at, f"'{shown(url)}' removed: {_missing(scheme)}")
        else:
            seen.add(publisher)
            put(draft, path, at, publisher)
            draft.done(at, f"'{shown(url)}' is '{shown(publisher)}' now: {_missing(scheme)}")
    return missing


def _move(draft: Draft, path: Path, at: Path, url: str, move: Move, seen: set[str]) -> None:
    """Put what a publisher is here in its place."""
    why = f": {move.why}" if move.why else ""
    if move.url in seen:
        draft.remove(at, f"'{shown(url)}' removed: it is '{shown(move.url)}', too")
        return
    seen.update((url, move.url))
    put(draft, path, at, move.url)
    if shown(url) == shown(move.url):
        what = f"'{shown(url)}': its options are written as they are read here"
    else:
        what = f"'{shown(url)}' is '{shown(move.url)}' now{why}"
    draft.tell(move.weight, at, what, move.hint)


def _missing(scheme: str) -> str:
    what = f"this version has no publisher '{shown(scheme)}'"
    return what + (", nor has Ceilometer any more" if scheme in _DROPPED else "")


def _file(draft: Draft, at: Path, url: str) -> None:
    if url.startswith("file://") and "json" not in url.partition("?")[2]:
        what = "lines are JSON here; without '?json' Ceilometer wrote Python's notation"
        draft.tell(Weight.MEANING, at, what)
