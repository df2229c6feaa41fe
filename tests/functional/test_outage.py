# SPDX-License-Identifier: Apache-2.0
"""A publisher is away or fails in every way, and the agent is killed meanwhile: nothing is lost."""

import contextlib
import fcntl
import json
import random
import re
import signal
import subprocess
import time

import pytest

from tests.functional import agent
from tests.functional.agent import COMMAND
from tests.services import faulty

METERS = ["hardware.cpu.*", "hardware.memory.*", "hardware.uptime", "power.state", "vcpus"]

COUNTS = re.compile(
    r"publisher (\w+): (\d+) samples offered, (\d+) delivered, (\d+) waiting, (\d+) set aside, "
    r"(\d+) dropped"
)


KILLS = [3, pytest.param(50, marks=[pytest.mark.long, pytest.mark.timeout(1800)])]


class Place:
    """A directory with an agent's files, and two publishers: one can be taken away."""

    def __init__(self, directory):
        self.directory = directory
        self.url = f"file://{directory}/away.json"
        self.config = agent.configure(directory)
        self.log = directory / "log"
        self.away = directory / "away.json"
        self.there = directory / "there.json"
        self.write()

    def write(self, **options):
        """Write the files, with these options for the publisher that is away."""
        source = {"name": "s", "interval": 1, "meters": METERS, "sinks": ["t"]}
        document = {
            "sources": [source],
            "sinks": [{"name": "t", "publishers": ["away", "there"]}],
            "publishers": {
                "away": {"url": self.url, **options},
                "there": f"file://{self.there}",
            },
        }
        (self.directory / "pipeline.yaml").write_text(json.dumps(document))

    @contextlib.contextmanager
    def outage(self):
        """Take the publisher away: its file is somebody else's as long as the block lasts."""
        with self.away.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def started(self):
        with self.log.open("a") as output:
            return subprocess.Popen(
                [*COMMAND, "--config-file", str(self.config), "polling"],
                stdout=output,
                stderr=output,
            )

    def kill_one(self, chance):
        """Start an agent, and kill it at some moment after its first samples."""
        before = size(self.there)
        process = self.started()
        agent.wait_until(lambda: size(self.there) > before)
        time.sleep(chance.uniform(0, 2.5))
        process.send_signal(signal.SIGKILL)
        process.wait()

    def running(self):
        return agent.running("polling", config=self.config, log=self.log)

    def counts(self):
        """Return the last counters that the agent told, by publisher, and print them."""
        found = {}
        for line in self.log.read_text().splitlines():
            if told := COUNTS.search(line):
                found[told[1]] = tuple(map(int, told.groups()[1:]))
        for name, (offered, delivered, waiting, aside, dropped) in found.items():
            print(
                f"{name}: {offered} offered = {delivered} delivered + {waiting} waiting + "
                f"{aside} set aside + {dropped} dropped"
            )
            assert offered == delivered + waiting + aside + dropped
        return found


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def keys(path):
    return [(s["name"], s["resource_id"], s["timestamp"]) for s in agent.lines(path)]


def size(path):
    return path.stat().st_size if path.exists() else 0


@pytest.mark.parametrize("kills", KILLS)
def test_an_agent_that_is_killed_while_a_publisher_is_away_loses_nothing(place, kills):
    chance = random.Random(kills)
    with place.outage():
        for _ in range(kills):
            place.kill_one(chance)
        assert keys(place.away) == []
        # What waits does not hang on the options that it was offered under.
        place.write(backup_count=7)
        count = len(keys(place.there))
        with place.running():
            agent.wait_until(lambda: len(keys(place.there)) > count)
        waiting = place.counts()["away"][2]
        assert waiting > 0
        assert f"publisher away: {waiting} samples wait on disk" in place.log.read_text()
    with place.running() as process:
        agent.wait_until(lambda: len(keys(place.away)) >= waiting)
        place.write(backup_count=8)
        process.send_signal(signal.SIGHUP)
        agent.wait_until(lambda: "reloaded: " in place.log.read_text())
        count = len(keys(place.away))
        agent.wait_until(lambda: len(keys(place.away)) > count)
    counts = place.counts()
    away, there = keys(place.away), keys(place.there)
    assert len(away) == len(set(away)), "it was never killed while it delivered these"
    assert set(away) == set(there)
    # All that was accepted, by the log's own count over all lives.
    assert counts["away"] == (len(away), len(away), 0, 0, 0)
    assert counts["there"][0] == len(away)
    assert counts["there"] == (len(away), len(away), 0, 0, 0)
    times = [time for name, _, time in away if name == "hardware.uptime"]
    assert times == sorted(times), "in the order in which they were read"
    # Sent, and killed before that was written down: such a batch comes twice.
    doubles = len(there) - len(set(there))
    print(f"{kills} kills: {len(away)} samples, {doubles} of them twice at the one that was there")
    assert doubles <= kills * len(there) / len(times)


REFUSED = "hardware.memory.total"
"""The store takes no sample of this meter, nor anything that comes with one."""


class Store:
    """Takes samples over HTTP, and fails in any way as long as it is out of order."""

    FAULTS = (
        faulty.status(500),
        faulty.status(503),
        faulty.status(429, headers={"Retry-After": "1"}),
        faulty.garbage(),
        faulty.hang,
        faulty.cut_request,
        faulty.cut_amid_request,
        faulty.cut_before_reply,
        faulty.cut_amid_reply,
    )

    def __init__(self, server, chance):
        self.server = server
        self.broken = True
        self._chance = chance
        server.usual = self.behave

    def behave(self, exchange):
        if self.broken and self._chance.random() < 0.7:
            self._chance.choice(self.FAULTS)(exchange)
        elif REFUSED in exchange.peek().body.decode():
            faulty.status(400, b"no " + REFUSED.encode())(exchange)
        else:
            faulty.ok()(exchange)

    def keys(self):
        """Return what was taken and confirmed, in order."""
        return [
            (one["name"], one["resource_id"], one["timestamp"])
            for request in self.server.accepted
            for one in json.loads(request.body)
        ]


@pytest.mark.parametrize("kills", KILLS)
def test_a_store_that_fails_in_every_way_gets_all_that_it_takes(place, kills):
    chance = random.Random(kills)
    with faulty.serving() as server:
        store = Store(server, chance)
        place.url = f"{server.url}/samples"
        place.write(batch_size=20, timeout=1)
        for number in range(kills):
            place.kill_one(chance)
            if number % 2:
                server.stop()
                place.kill_one(chance)
                server.start()
        store.broken = False
        # Each fault at least once; what works between them keeps the pauses short.
        for fault in chance.sample(Store.FAULTS, len(Store.FAULTS)):
            server.script(fault, store.behave)
        with place.running():
            expected = {key for key in keys(place.there) if key[0] != REFUSED}
            agent.wait_until(lambda: set(store.keys()) >= expected, 120)
        counts, got, there = place.counts(), store.keys(), set(keys(place.there))
    refused = {key for key in there if key[0] == REFUSED}
    failed = len(server.requests) - len(server.accepted)
    print(f"{failed} requests met a store out of order; {len(got) - len(set(got))} came twice")
    assert set(got) == there - refused
    assert counts["away"] == (len(there), len(there) - len(refused), 0, len(refused), 0)
    assert counts["there"][0] == len(there)
    first = {}
    for name, resource, when in got:
        first.setdefault((name, resource), []).append(when)
    for times in first.values():
        once = list(dict.fromkeys(times))
        assert once == sorted(once), "in the order in which they were read"


def test_a_second_agent_on_the_directory_is_refused(place):
    with place.running() as process:
        agent.wait_until(lambda: keys(place.there))
        other = agent.run("polling", config=place.config, check=False)
        assert other.returncode == 2
        told = other.stderr
        assert f"process {process.pid} " in told
        assert f"{place.directory}/state/spool/polling/0" in told
        count = len(keys(place.there))
        agent.wait_until(lambda: len(keys(place.there)) > count)


def test_the_end_does_not_wait_for_a_publisher_that_hangs(place):
    # Long enough in each push that the end falls into one.
    with place.outage():
        for _ in range(2):
            with place.running():
                count = len(keys(place.there))
                agent.wait_until(lambda count=count: len(keys(place.there)) > count)
    assert place.counts()["away"][4] == 0
    assert size(place.away) == 0
