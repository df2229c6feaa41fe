# SPDX-License-Identifier: Apache-2.0
"""How agents that share work are called in their group: name, weight, and which run of the agent.

An agent that was killed and started again is another member of the same name for as long as the
first is not forgotten. Its part of the work is that of its name, so nothing moves meanwhile.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self

MOST: int = 10
"""The largest weight. The ring of 100 members of this weight takes 2.5 s at each change."""


class Member(NamedTuple):
    """One run of an agent.

    Attributes:
        name: of the agent.
        weight: its part of the work, against 1 of others.
        run: sorts by the moment of its start.
    """

    name: str
    weight: int
    run: str

    @classmethod
    def new(cls, name: str, weight: int) -> Self:
        """Return the member that this process is."""
        return cls(name, weight, f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(4)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a group's member is.

        Raises:
            ValueError: it is none of ours.
        """
        name, weight, run = text.rsplit("|", 2)
        if not name or not run or not weight.isascii() or not 1 <= int(weight) <= MOST:
            raise ValueError(f"no member of ours: {text:.100}")
        return cls(name, int(weight), run)

    def __str__(self) -> str:
        return f"{self.name}|{self.weight}|{self.run}"


def newest(members: Iterable[Member]) -> Mapping[str, int]:
    """Return the weight of each name, by name; of several runs the last one's."""
    found = {member.name: member.weight for member in sorted(members, key=lambda each: each.run)}
    return dict(sorted(found.items()))
