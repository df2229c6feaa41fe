# SPDX-License-Identifier: Apache-2.0
"""How evenly and how surely agents share work: `python -m bench.partition`.

First what the ring does, in this process: the busiest of 8 members, what a join moves, and how long
a change of 100 members takes that share 1,000,000 keys. Then agents, 3 and 8 of them, on each back
end that was named: 1,000 static resources, slots of 1 s, and members that come, go, are killed and
stopped at random. Each poll is counted, and each point in the store.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ceilo_agent.coordination.buckets import BUCKETS, bucket, owners
from tests.functional import partition

KEYS: Final = 10_000
MANY: Final = 1_000_000
BACKENDS: Final = ("file", "redis", "zookeeper", "etcd")


def main() -> int:
    """Print what was found; 1 if a poll was lost, or a point stored twice."""
    parser = argparse.ArgumentParser(prog="python -m bench.partition", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of unrest (default 60)")
    parser.add_argument("--resources", type=int, default=1000, help="that are shared")
    parser.add_argument(
        "--backends", nargs="*", default=["file", "redis"], choices=BACKENDS, help="to share by"
    )
    given = parser.parse_args()
    _balance()
    print(f"\n{'':17}{'agents':>7}{'events':>7}{'slots':>6}{'polls':>8}", end="")
    print(f"{'missed':>8}{'gap':>5}{'lost':>6}{'doubled':>9}{'extra':>7}{'points/slot':>13}")
    wrong = 0
    for name in given.backends:
        for members in (3, 8):
            wrong += _share(name, members, given.resources, given.seconds)
    print("missed: within a timeout and a slot after a crash or a pause; lost: at any other time")
    print("gap: the most slots one after another in which a resource was not polled")
    print("doubled: polls of a slot beyond the first while members change; extra: at other times")
    return int(wrong > 0)


def _balance() -> None:
    """Print what the ring does."""
    keys = [f"resource-{number}" for number in range(KEYS)]
    for size in (3, 8):
        names = {f"agent-{number}": 1 for number in range(size)}
        before, after = owners(names), owners(names | {"newcomer": 1})
        owned = Counter(before[bucket(key)] for key in keys)
        busiest = max(owned.values()) / (KEYS / size)
        moved = sum(a != b for a, b in zip(before, after, strict=True)) / BUCKETS * (size + 1)
        print(f"{size} members, {KEYS:,} resources: ", end="")
        print(f"the busiest has {busiest:.3f} x the mean; a join moves {moved:.3f}/{size + 1}")
    many = [f"resource-{number}" for number in range(MANY)]
    names = {f"agent-{number}": 1 for number in range(100)}
    began = time.perf_counter()
    found = owners(names)
    ring = time.perf_counter() - began
    mine = bytes(owner == "agent-7" for owner in found)
    count = sum(mine[bucket(key)] for key in many)
    whole = time.perf_counter() - began
    print(f"100 members, {MANY:,} resources: a change takes an agent {whole:.2f} s, ", end="")
    print(f"{ring:.2f} s of it for the ring ({count:,} are its own)")


def _share(name: str, members: int, resources: int, seconds: float) -> int:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place, _url(name, Path(place)) as url:
        directory = Path(place)
        directory.chmod(0o755)
        with partition.sharing(directory / "agents", url, members, resources) as agents:
            agents.all_poll()
            began = time.time()
            partition.unrest(agents, seconds, members, (2.0, 5.0))
            time.sleep(partition.TIMEOUT + 5)
            ended = time.time()
            time.sleep(2)
            count = agents.count(began, ended)
            events = sum(each.time >= began for each in agents.events)
            points = agents.stored(directory / "store.db")
    most = max(points.values())
    print(
        f"{name:17}{members:7}{events:7}{count.slots:6}{count.polls:8}{count.missed:8}"
        f"{count.gap:5}{len(count.lost):6}{count.doubled:9}{len(count.extra):7}{most:13}",
        flush=True,
    )
    return len(count.lost) + len(count.extra) + (most > 1)


@contextlib.contextmanager
def _url(name: str, directory: Path) -> Iterator[str]:
    if name == "file":
        yield f"file://{directory}/coordination"
        return
    with importlib.import_module(f"tests.services.{name}").running(directory / name) as made:
        yield made.url


if __name__ == "__main__":
    sys.exit(main())
