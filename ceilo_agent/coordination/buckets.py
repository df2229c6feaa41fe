# SPDX-License-Identifier: Apache-2.0
"""Which member of a group owns what: keys fall into buckets, and a ring gives these to members.

A change of the members computes the owners of the buckets anew, however many keys there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from zlib import crc32

from ceilo_agent.coordination import library

BUCKETS: Final = 4096

PARTITIONS: Final = 1024
"""Places of a member of weight 1 on the ring. With tooz's own 32 the busiest of 8 members has 1.26
times the mean, with 1024 it has 1.05 times."""


def bucket(key: str) -> int:
    """Return the number of a key's bucket, the same on every host: CRC-32 of its UTF-8."""
    return crc32(key.encode("utf-8", "surrogatepass")) % BUCKETS


def owners(members: Mapping[str, int]) -> list[str]:
    """Return the owner of each bucket.

    A member that joins or leaves changes the owners of its own share only: the others keep theirs.

    Args:
        members: their weights by name, at least one member; a weight is from 1.
    """
    ring = library.hashring().HashRing([], partitions=PARTITIONS)
    by_weight: dict[int, list[str]] = {}
    for name, weight in sorted(members.items()):
        by_weight.setdefault(weight, []).append(name)
    # Each call sorts the whole ring.
    for weight, names in by_weight.items():
        ring.add_nodes(names, weight)
    return [next(iter(ring.get_nodes(str(number).encode()))) for number in range(BUCKETS)]
