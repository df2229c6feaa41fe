# SPDX-License-Identifier: Apache-2.0
"""The definitions that an agent goes by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ceilo_agent.definition.pollsters import load, load_dirs
from ceilo_agent.definition.pollsters.pollster import PollsterDef
from ceilo_agent.plugins import Context

ONLY: Final = "polling.pollsters_files"
"""What `poll --pollster` sets in a context: files that stand in place of all others."""


def definitions(context: Context) -> Sequence[PollsterDef]:
    """Return the pollsters of an agent: those that are shipped, and those of its directories.

    Raises:
        ConfigError: a file has mistakes.
    """
    only = context.options.get(ONLY)
    if only:
        return _central(load(only))
    return _central(load_dirs(context.options.get("polling.pollsters_definitions_dirs") or ()))


def _central(found: Sequence[PollsterDef]) -> list[PollsterDef]:
    return [pollster for pollster in found if "central" in pollster.namespaces]
