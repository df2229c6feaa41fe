# SPDX-License-Identifier: Apache-2.0
"""Which pollsters share a request."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from ceilo_agent.definition.pollsters.pollster import PollsterDef

_ALIKE: Final = (
    "discovery",
    "endpoint_type",
    "method",
    "url_path",
    "host_command",
    "headers",
    "authentication",
    "tls",
    "response_handlers",
    "next_sample_url_attribute",
    "timeout",
    "retries",
    "empty_statuses",
    "max_pages",
    "max_response_bytes",
    "concurrency",
    "rate",
)
"""What must be alike for two pollsters to share a request."""


class Group(NamedTuple):
    """Pollsters that share a request.

    Attributes:
        name: of the request: stable, and no other group's. Agents share work by it.
        pollsters: at least one.
    """

    name: str
    pollsters: tuple[PollsterDef, ...]


def grouped(pollsters: Sequence[PollsterDef]) -> list[Group]:
    """Return the groups of some pollsters, in their order."""
    found: dict[str, list[PollsterDef]] = {}
    for pollster in pollsters:
        found.setdefault(_key(pollster), []).append(pollster)
    short = {key: _short(members[0]) for key, members in found.items()}
    times = Counter(short.values())
    return [
        Group(
            short[key] if times[short[key]] == 1 else f"{short[key]} {_digest(key)}",
            tuple(members),
        )
        for key, members in found.items()
    ]


def _key(pollster: PollsterDef) -> str:
    return "\n".join(f"{name}={getattr(pollster, name)!r}" for name in _ALIKE)


def _short(pollster: PollsterDef) -> str:
    if pollster.host_command:
        return f"run {pollster.name}"
    path = pollster.url_path
    # What stands in a query, or in an expression, is not for every log.
    plain = path.partition("?")[0] if isinstance(path, str) else pollster.name
    return f"{pollster.method} {plain}"


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def is_url(path: Any) -> bool:
    """Return whether a path is a URL of its own."""
    return isinstance(path, str) and path.startswith(("http://", "https://"))
