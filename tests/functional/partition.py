# SPDX-License-Identifier: Apache-2.0
"""Agents that share static resources while members come, go, are killed and stopped; and the count.

The agents are the product's own processes; only what they discover and read is made up, by a plugin
of a few lines. Each writes its samples to a file of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from ceilo_agent.sample import UNTRACKED, Meter, Resource, Sample, SampleType
from ceilo_agent.store.reader import Reader
from ceilo_agent.store.writer import Writer
from tests import example_plugin
from tests.functional import agent

TIMEOUT: Final = 4
"""Seconds after which a silent member is none any more."""

SLACK: Final = 1.0
"""Seconds between a heartbeat that is due and what comes of it, on a machine that is busy."""

PLUGIN: Final = """
import time
from ceilo_agent.plugins import Column, Discovery, Inspector, Listing, Observation, Snapshot, Target
from ceilo_agent.sample import Meter, Resource, SampleType

COLUMNS = (Column(Meter("shared.value", "thing", SampleType.GAUGE)),)
LISTING = Listing([Target(f"resource-{{number}}") for number in range({resources})])


class Things(Discovery):
    shared = True

    def discover(self, deadline):
        return LISTING


class Reader(Inspector):
    discovery = "things"

    def meters(self):
        return [column.meter for column in COLUMNS]

    def inspect(self, targets, wanted, deadline):
        now, clock = time.time(), time.clock_gettime(time.CLOCK_BOOTTIME)
        return Snapshot([
            Observation(Resource(t.id, None, None, "thing", {{}}), COLUMNS, (1,), now, clock, t.id)
            for t in targets if self.may_read(t)
        ])
"""

METER: Final = Meter("shared.value", "thing", SampleType.GAUGE)

ENTRY_POINTS: Final = """
[ceilo_agent.discovery]
things = partition_plugin:Things
[ceilo_agent.inspector]
things = partition_plugin:Reader
"""


class Event(NamedTuple):
    """What happened to a member; with a crash or a pause slots may be missed."""

    time: float
    what: str
    member: str
    misses: bool


class Count(NamedTuple):
    """What came of it.

    Attributes:
        slots: whole ones that were counted.
        polls: of all resources in them.
        missed: polls that are missing within the time that a crash may cost.
        gap: the most slots one after another in which one resource was not polled.
        lost: that are missing at any other time, as resource and slot.
        doubled: polls beyond the first, while members changed.
        extra: those at any other time, as resource and slot.
    """

    slots: int
    polls: int
    missed: int
    gap: int
    lost: list[tuple[str, int]]
    doubled: int
    extra: list[tuple[str, int]]


class Agents:
    """Agents on one back end.

    Args:
        directory: where all of them have their files.
        url: of the back end.
        resources: how many they share.
    """

    def __init__(self, directory: Path, url: str, resources: int) -> None:
        self.events: list[Event] = []
        self.resources = resources
        self._directory, self._url = directory, url
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._said: dict[str, int] = {}
        self._stopped: set[str] = set()
        plugin = directory / "plugin"
        plugin.mkdir(parents=True)
        (plugin / "partition_plugin.py").write_text(PLUGIN.format(resources=resources))
        example_plugin.describe(plugin, "partition-plugin", "1", ENTRY_POINTS)

    @property
    def names(self) -> list[str]:
        """The members that run."""
        return sorted(self._running)

    @property
    def joined(self) -> list[str]:
        """Those of them that have been given a part; one that starts cannot leave yet."""
        return [name for name in self.names if "buckets" in self.log(name)[self._said[name] :]]

    def join(self, name: str, url: str | None = None, more: str = "") -> None:
        """Start one, on the same back end by another way if a URL is given."""
        home = self._directory / name
        home.mkdir(exist_ok=True)
        (home / "pipeline.yaml").write_text(
            json.dumps(
                {
                    "sources": [{"name": "s", "interval": 1, "meters": ["*"], "sinks": ["out"]}],
                    "sinks": [
                        {"name": "out", "publishers": [f"file://{home}/samples.json?max_bytes=0"]}
                    ],
                }
            )
        )
        coordination = (
            f"[coordination]\nbackend_url = {url or self._url}\nheartbeat_timeout = {TIMEOUT}\n"
        )
        config = agent.configure(home, name, "things", coordination + more)
        with (home / "log").open("ab") as log:
            self._said[name] = len(self.log(name))
            self._running[name] = subprocess.Popen(
                [*agent.COMMAND, "--config-file", str(config), "polling"],
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": str(self._directory / "plugin")},
            )
        self._note("join", name, misses=False)

    def leave(self, name: str) -> None:
        """End one as an operator does."""
        process = self._running.pop(name)
        self._note("leave", name, misses=False)
        process.terminate()
        code = process.wait(20)
        assert code == 0, (code, self.log(name))
        self._note("left", name, misses=False)

    def kill(self, name: str) -> None:
        """Kill one."""
        process = self._running.pop(name)
        process.kill()
        self._note("kill", name, misses=True)
        process.wait()

    def pause(self, name: str) -> None:
        """Stop one; `go_on` lets it go on."""
        self._running[name].send_signal(signal.SIGSTOP)
        self._stopped.add(name)
        self._note("pause", name, misses=True)

    def go_on(self) -> None:
        """Let those that were stopped go on."""
        for name in self._stopped:
            self._running[name].send_signal(signal.SIGCONT)
            self._note("go on", name, misses=False)
        self._stopped.clear()

    def end(self) -> None:
        """End all, whatever they are at."""
        self.go_on()
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()

    def log(self, name: str) -> str:
        """Return what one said."""
        return (self._directory / name / "log").read_text()

    def polls(self, name: str = "*") -> Counter[tuple[str, int]]:
        """Return how often each resource was polled in each slot, by one agent or by all."""
        found: Counter[tuple[str, int]] = Counter()
        for path in self._directory.glob(f"{name}/samples.json*"):
            for sample in agent.lines(path):
                found[sample["resource_id"], int(agent.seconds(sample))] += 1
        return found

    def stored(self, path: Path) -> Counter[tuple[str, int]]:
        """Return how many points each slot of each resource has in one store for all of them."""
        writer = Writer(path, 3600, 1 << 30)
        writer.open()
        try:
            for file in self._directory.glob("*/samples.json*"):
                writer.append([_sample(each) for each in agent.lines(file)])
        finally:
            writer.close()
        return Counter((s.resource.id, int(s.time)) for s in Reader(path).samples("shared.value"))

    def all_poll(self, seconds: float = 60.0) -> None:
        """Wait until every resource is polled, and each by one, for some slots."""

        def steady() -> bool:
            last = int(time.time()) - 2
            polls = self.polls()
            wanted = {(f"resource-{n}", last - 1) for n in range(self.resources)}
            return all(polls[each] == 1 for each in wanted)

        agent.wait_until(steady, seconds, "they never share")

    def count(self, begin: float, end: float) -> Count:
        """Count the slots that began in a time."""
        polls = self.polls()
        missed = doubled = 0
        lost: list[tuple[str, int]] = []
        extra: list[tuple[str, int]] = []
        slots = range(int(begin) + 1, int(end))
        silent: Counter[int] = Counter()
        gap = 0
        for slot in slots:
            excused = any(
                each.misses and each.time - 1 <= slot <= each.time + TIMEOUT + 1 + SLACK
                for each in self.events
            )
            changing = any(
                each.time - 2 <= slot <= each.time + TIMEOUT + 2 + SLACK for each in self.events
            )
            for number in range(self.resources):
                key = (f"resource-{number}", slot)
                times = polls[key]
                silent[number] = 0 if times else silent[number] + 1
                gap = max(gap, silent[number])
                if times == 0 and excused:
                    missed += 1
                elif times == 0:
                    lost.append(key)
                elif times > 1:
                    doubled += times - 1
                    if not changing:
                        extra.append(key)
        counted = sum(polls[f"resource-{n}", slot] for slot in slots for n in range(self.resources))
        return Count(len(slots), counted, missed, gap, lost, doubled, extra)

    def _note(self, what: str, member: str, *, misses: bool) -> None:
        self.events.append(Event(time.time(), what, member, misses))


def _sample(document: dict[str, Any]) -> Sample:
    resource = Resource(document["resource_id"], None, None, "thing", {})
    moment = agent.seconds(document)
    return Sample(METER, resource, moment, document["volume"], UNTRACKED, None, None)


@contextlib.contextmanager
def sharing(directory: Path, url: str, members: int, resources: int) -> Iterator[Agents]:
    """Run agents that share for the length of a block."""
    agents = Agents(directory, url, resources)
    try:
        for number in range(members):
            agents.join(f"agent-{number}")
        yield agents
    finally:
        agents.end()


def unrest(agents: Agents, seconds: float, seed: int, every: tuple[float, float]) -> None:
    """Have members join, leave, be killed and stopped at random for some seconds."""
    chance = random.Random(seed)
    end = time.monotonic() + seconds
    number = 100
    while time.monotonic() < end:
        what = chance.choice(("join", "leave", "kill", "pause", "again"))
        able = agents.joined if what == "leave" else agents.names
        if what in ("leave", "kill", "pause") and able and len(agents.names) > 1:
            name = chance.choice(able)
            getattr(agents, what)(name)
            if what == "pause":
                time.sleep(TIMEOUT + 2)
                agents.go_on()
        elif what == "again" and len(agents.names) > 1:
            # Killed, and started again before the others have noticed.
            name = chance.choice(agents.names)
            agents.kill(name)
            agents.join(name)
        else:
            agents.join(f"agent-{number}")
            number += 1
        time.sleep(chance.uniform(*every))
