# SPDX-License-Identifier: Apache-2.0
"""One agent cannot reach the back end, and the others can."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.functional import agent, partition
from tests.services import redis, relay
from tests.services.backend import Backend
from tests.services.etcd import Etcd
from tests.services.redis import Redis
from tests.services.relay import Relay
from tests.services.zookeeper import ZooKeeper

RESOURCES: Final = 200
GRACE: Final = 10
ALONE: Final = "agent-9"
LONG: Final = 120
"""A timeout of heartbeats, and so of calls, by which no agent has ended that waits for it."""

GIVES_UP: Final = "nothing that is shared is polled: the back end has been away for too long"


@pytest.mark.parametrize("cut", [Relay.hang, Relay.refuse], ids=["silent", "refused"])
def test_others_take_the_part_of_one_that_is_cut_off_and_it_comes_back(
    tmp_path: Path, cut: Callable[[Relay], None]
) -> None:
    with (
        redis.running(tmp_path / "redis") as backend,
        relay.before(backend.port) as way,
        partition.sharing(tmp_path / "agents", backend.url, 2, RESOURCES) as agents,
    ):
        agents.join(ALONE, f"redis://127.0.0.1:{way.port}", f"grace = {GRACE}\n")
        agent.wait_until(lambda: ALONE in agents.joined)
        agents.all_poll()
        began = int(time.time())
        cut(way)
        agent.wait_until(lambda: GIVES_UP in agents.log(ALONE), 60)
        given_up = int(time.time())
        agents.all_poll()
        mended = int(time.time())
        way.mend()
        agent.wait_until(lambda: any(slot > mended for _, slot in agents.polls(ALONE)), 60)
        time.sleep(partition.TIMEOUT)  # both may poll until the others know
        agents.all_poll()
        back = int(time.time())
        time.sleep(3)
        polls, its = agents.polls(), agents.polls(ALONE)
        points = agents.stored(tmp_path / "store.db")
    slots = range(began, back + 2)
    names = [f"resource-{number}" for number in range(RESOURCES)]
    missed = [(name, slot) for name in names for slot in slots if not polls[name, slot]]
    assert missed == [], "it polls on until the others have its part"
    assert not any(given_up < slot < mended for _, slot in its), "it has no part any more"
    assert given_up - began <= GRACE + partition.TIMEOUT
    assert all(polls[name, slot] == 1 for name in names for slot in (back, back + 1))
    assert set(points.values()) == {1}


@pytest.mark.parametrize(
    "kind",
    [Redis, *(pytest.param(each, marks=pytest.mark.long) for each in (ZooKeeper, Etcd))],
    ids=lambda kind: kind.name,
)
def test_an_agent_ends_when_told_though_the_back_end_is_silent(
    tmp_path: Path, kind: type[Backend]
) -> None:
    with (
        kind.running(tmp_path / "backend") as backend,
        relay.before(backend.port) as way,
        partition.sharing(tmp_path / "agents", backend.url, 1, RESOURCES) as agents,
    ):
        agents.join(ALONE, f"{kind.scheme}://127.0.0.1:{way.port}?timeout={LONG}")
        agent.wait_until(lambda: ALONE in agents.joined)
        agent.wait_until(lambda: bool(agents.polls(ALONE)))
        way.hang()
        agents.leave(ALONE)
        assert "the back end does not answer" in agents.log(ALONE)
        assert "samples offered" in agents.log(ALONE), "it told what became of them"
