# SPDX-License-Identifier: Apache-2.0
"""What `poll --pollster` shows of each request, and of what became of its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

MOST_SHOWN: Final = 5
"""Entries of an answer that are shown."""


class Shown(msgspec.Struct):
    """What became of one entry for one pollster.

    Attributes:
        pollster: its name.
        resource: the resource's id, empty where it was not reached.
        value: what the value's path led to, before mapping; None where it was not reached.
        volumes: of the samples, by meter.
        metadata: of the resource.
        skipped: why there is no sample, empty if there is one.
        faults: what went wrong with its metadata.
    """

    pollster: str
    resource: str = ""
    value: Any = None
    volumes: dict[str, Any] = {}
    metadata: Mapping[str, Any] = {}
    skipped: str = ""
    faults: Sequence[str] = ()


class Step(msgspec.Struct):
    """One request.

    Attributes:
        pollsters: names of those that it is for.
        asked: the method and the URL without user name and password, or the command.
        status: of the answer, None without one.
        size: of the answer, bytes.
        seconds: that it took.
        handler: what the answer was read as.
        entries: how many there are, by pollster.
        shown: what became of the first.
        faults: what went wrong.
    """

    pollsters: tuple[str, ...]
    asked: str
    status: int | None = None
    size: int = 0
    seconds: float = 0.0
    handler: str = ""
    entries: dict[str, int] = {}
    shown: list[Shown] = []
    faults: list[str] = []


Trace = Callable[[Step], None]
