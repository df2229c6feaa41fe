# SPDX-License-Identifier: Apache-2.0
"""Whatever befalls the agents, each shared resource is polled in each slot, and stored once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from tests.functional import partition
from tests.services import etcd, redis, zookeeper

RESOURCES: Final = 1000


@contextlib.contextmanager
def directory(path: Path) -> Iterator[Any]:
    """No daemon: a directory of this host."""
    yield SimpleNamespace(url=f"file://{path}")


BACKENDS: Final = {
    "file": directory,
    "redis": redis.running,
    "zookeeper": zookeeper.running,
    "etcd": etcd.running,
}


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with BACKENDS[request.param](tmp_path / "backend") as made:
        yield made.url


def check(directory: Path, url: str, members: int, seconds: float, seed: int, pauses: Any) -> None:
    """Share for so long, amid changes, and count."""
    with partition.sharing(directory / "agents", url, members, RESOURCES) as agents:
        agents.all_poll()
        began = time.time()
        partition.unrest(agents, seconds, seed, pauses)
        # The last change is followed by slots without any.
        time.sleep(partition.TIMEOUT + 5)
        ended = time.time()
        time.sleep(2)
        count = agents.count(began, ended)
        told = {name: agents.log(name)[-2000:] for name in agents.names}
        print(count, *agents.events, sep="\n")
        assert count.lost == [], told
        assert count.extra == [], told
        assert count.polls + count.missed - count.doubled == count.slots * RESOURCES
        points = agents.stored(directory / "store.db")
        assert set(points.values()) == {1}
        assert len(points) >= count.polls - count.doubled
    for name in agents.names:
        assert "Traceback" not in agents.log(name)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("url", "members"), [("file", 3), ("redis", 8)], indirect=["url"])
def test_every_resource_is_polled_in_every_slot_through_all_changes(
    tmp_path: Path, url: str, members: int
) -> None:
    check(tmp_path, url, members, seconds=60, seed=1, pauses=(2.0, 4.0))


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("members", [3, 8])
@pytest.mark.parametrize("url", sorted(BACKENDS), indirect=True)
def test_the_same_for_ten_minutes(tmp_path: Path, url: str, members: int) -> None:
    check(tmp_path, url, members, seconds=600, seed=members, pauses=(10.0, 20.0))
