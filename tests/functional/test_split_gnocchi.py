# SPDX-License-Identifier: Apache-2.0
"""Four workers, a store that is away, and workers that are killed: Gnocchi has every point once.

Its archive policy takes nothing older than what it has of a metric (``back_window`` 0): a point
that came out of its order would be missing.
"""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path

from tests.functional import agent, split, stored
from tests.functional.split import Agent, Hosts
from tests.services import gnocchi, rabbitmq
from tests.services.gnocchi import Gnocchi

KILLS = 3


def test_no_point_is_missing_doubled_or_cut_whatever_waits(tmp_path: Path) -> None:
    (tmp_path / "gnocchi").mkdir()
    with (
        gnocchi.running(tmp_path / "gnocchi") as server,
        rabbitmq.running(tmp_path / "rabbitmq") as broker,
    ):
        stored.prepare(server)
        _deliver(server, broker.url, tmp_path / "agent")


def _deliver(server: Gnocchi, url: str, directory: Path) -> None:
    made = Agent.made(directory, url, workers=4)
    to = f"gnocchi://127.0.0.1:{server.port}?archive_policy={stored.SECOND}"
    document = json.loads((directory / "pipeline.yaml").read_text())
    document["sinks"][0]["publishers"] = [to]
    (directory / "pipeline.yaml").write_text(json.dumps(document))
    chance = random.Random(1)
    with split.running(made) as process, Hosts(url, pause=0.02) as hosts:

        def sends(count: int) -> None:
            before = len(hosts.sent)
            agent.wait_until(lambda: len(hosts.sent) > before + count, 60)

        agent.wait_until(lambda: len(split.workers(process.pid)) == 4)
        sends(200)
        server.stop()
        sends(400)  # wait on the workers' disks
        server.start()
        sends(100)
        for _ in range(KILLS):
            os.kill(chance.choice(split.workers(process.pid)), signal.SIGKILL)
            sends(200)
        hosts.__exit__()
        wanted: dict[tuple[str, str], list[float]] = {}
        for resource, meter, at in hosts.sent:
            wanted.setdefault((resource, meter), []).append(at)

        def missing() -> int:
            server.drain()
            found = server.points({resource for resource, _ in wanted})
            return sum(len({*times} - {at for at, _ in found.get(key, [])})
                       for key, times in wanted.items())  # fmt: skip

        agent.wait_until(lambda: not missing(), 120, "points are missing")
    counts = server.points({resource for resource, _ in wanted}, "count")
    assert {key: [at for at, _ in points] for key, points in counts.items()} == wanted
    assert all(count == 1 for points in counts.values() for _, count in points)
