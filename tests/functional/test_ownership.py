# SPDX-License-Identifier: Apache-2.0
"""Queues have one consumer each, over processes, back ends and all that befalls them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from tests.functional import agent

TIMEOUT: Final = 4.0
QUEUES: Final = 8
TICK: Final = 0.2

WORKER: Final = f"""
import json, sys, time
from ceilo_agent.coordination.membership import Membership
from ceilo_agent.notification.claims import SharedClaims
from ceilo_agent.notification.ownership import Ownership, queue_names, share

url, member, path = sys.argv[1:]
membership = Membership(url, "test", member, {TIMEOUT}, 0.3)
names = queue_names({QUEUES}, ceilometer=False)
file = open(path, "a", buffering=1)

def consume(queues):
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    file.write(json.dumps([now, sorted(queues)]) + "\\n")

def wanted():
    return share(names, membership.members, member) if membership.members else ownership.owned

ownership = Ownership(wanted, SharedClaims(membership), consume)
membership.start()
while True:
    ownership.tick()
    time.sleep({TICK})
"""


class Worker:
    """A process that takes queues and says so.

    Attributes:
        ends: moments at which it could do nothing any more, CLOCK_BOOTTIME.
    """

    def __init__(self, url: str, name: str, directory: Path) -> None:
        self.path = directory / name
        self.path.touch()
        self.ends: list[float] = []
        self.process = subprocess.Popen([sys.executable, "-c", WORKER, url, name, str(self.path)])

    @property
    def said(self) -> list[tuple[float, set[str]]]:
        return [(at, set(queues)) for at, queues in map(json.loads, self.path.open())]

    @property
    def owned(self) -> set[str]:
        if self.process.poll() is not None or not self.said:
            return set()
        return self.said[-1][1]

    def signal(self, number: int) -> None:
        if number in (signal.SIGKILL, signal.SIGSTOP):
            self.ends.append(now())
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()

    def held(self) -> Iterator[tuple[str, float, float]]:
        """Yield each queue with the moments from and to which it was consumed."""
        since: dict[str, float] = {}
        for at, queues in [*self.said, (now(), set[str]())]:
            for queue in set(since) - queues:
                began = since.pop(queue)
                yield queue, began, min([at, *(end for end in self.ends if end > began)])
            for queue in queues:
                since.setdefault(queue, at)


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def settled(*workers: Worker) -> Callable[[], bool]:
    def check() -> bool:
        owned = [worker.owned for worker in workers]
        return (
            sum(map(len, owned)) == QUEUES == len(set().union(*owned))
            and max(map(len, owned)) - min(map(len, owned)) <= 1
        )

    return check


def test_each_queue_has_one_consumer_through_all_that_happens(backend: Any, tmp_path: Path) -> None:
    made: list[Worker] = []

    def start() -> Worker:
        made.append(Worker(backend.url, f"w{len(made)}", tmp_path))
        return made[-1]

    with contextlib.ExitStack() as ending:
        ending.callback(lambda: [each.process.kill() for each in made])
        first, second = start(), start()
        agent.wait_until(settled(first, second), 30, "two share")
        third = start()
        agent.wait_until(settled(first, second, third), 30, "a third joins")
        second.signal(signal.SIGKILL)
        agent.wait_until(settled(first, third), 30, "one was killed")
        third.signal(signal.SIGSTOP)
        agent.wait_until(settled(first), 30, "one is stopped for longer than the timeout")
        resumed = now()
        third.signal(signal.SIGCONT)
        agent.wait_until(settled(first, third), 30, "it goes on")
        # What it believed to own when it was stopped it gave up before anything else.
        after = [at for at, queues in third.said if at > resumed and not queues]
        assert after[0] - resumed < 1.0, "it went on with queues that others have"
        backend.stop()
        agent.wait_until(lambda: not (first.owned or third.owned), 3 * TIMEOUT, "nobody is sure")
        backend.start()
        agent.wait_until(settled(first, third), 60, "the back end is there again")
        spans = sorted(
            (queue, began, ended, number)
            for number, worker in enumerate(made)
            for queue, began, ended in worker.held()
        )
    for (queue, _, ended, one), (other, began, _, two) in itertools.pairwise(spans):
        assert queue != other or one == two or ended <= began, f"{queue}: {one} and {two}"


def test_a_back_end_that_is_away_at_first_is_joined_when_it_is_there(
    backend: Any, tmp_path: Path
) -> None:
    backend.stop()
    worker = Worker(backend.url, "late", tmp_path)
    try:
        time.sleep(2)
        assert worker.process.poll() is None
        assert worker.owned == set()
        backend.start()
        agent.wait_until(settled(worker), 60)
    finally:
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.wait()
