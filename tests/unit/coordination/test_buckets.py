# SPDX-License-Identifier: Apache-2.0
"""Who owns what: evenly, the same on every host, and little of it moves."""

from collections import Counter

import pytest

from ceilo_agent.coordination.buckets import BUCKETS, bucket, owners

KEYS = [f"GET volumes http://10.0.0.1:8776/v3/{number}" for number in range(10_000)]


def group(size, first=0):
    return {f"controller-{number}": 1 for number in range(first, first + size)}


def test_a_key_is_in_the_same_bucket_on_every_host_and_version():
    assert [bucket(key) for key in ("", "a", "resource-1", "größe", "\udcff")] == [
        0,
        3651,
        1897,
        2441,
        2439,
    ]


def test_owners_are_the_same_on_every_host_whatever_the_order():
    members = {"c": 1, "a": 2, "b": 1}
    found = owners(members)
    assert found == owners(dict(reversed(members.items())))
    assert "".join(found[:24]) == "acccaccbababaacbabbaaacb"


@pytest.mark.parametrize("size", [2, 3, 8])
def test_the_busiest_has_little_more_than_the_mean(size):
    found = owners(group(size))
    owned = Counter(found[bucket(key)] for key in KEYS)
    assert len(owned) == size
    assert max(owned.values()) <= 1.1 * len(KEYS) / size


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_join_moves_little_more_than_the_newcomers_part_and_only_to_it(size):
    before, after = owners(group(size)), owners(group(size + 1))
    moved = {new for old, new in zip(before, after, strict=True) if old != new}
    assert moved == {f"controller-{size}"}
    count = sum(old != new for old, new in zip(before, after, strict=True))
    assert count <= 1.2 * BUCKETS / (size + 1)


def test_a_part_is_as_large_as_the_weight():
    owned = Counter(owners({"a": 1, "b": 2, "c": 5}))
    for name, weight in (("a", 1), ("b", 2), ("c", 5)):
        assert owned[name] == pytest.approx(BUCKETS * weight / 8, rel=0.15)


def test_one_alone_has_all():
    assert set(owners({"a": 3})) == {"a"}
