# SPDX-License-Identifier: Apache-2.0
"""Windows of the notification agent, over a real broker and ends that nobody announced."""

from __future__ import annotations

import base64
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ceilo_agent.messaging import topics, wire
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.sender import PRIORITY, Sender
from ceilo_agent.notification.backlog import Backlog
from ceilo_agent.sample import FIRST, Meter, Resource, Sample, SampleType
from tests.functional import agent, split
from tests.services.rabbitmq import RabbitMQ

LONG = 10
"""Seconds of a window."""

QUEUES = 4

HOSTS = {"right": 0.0, "behind": 300.0, "ahead": -300.0}
"""What their clocks are behind ours, seconds."""

METER = Meter("hardware.cpu.count", "cpu", SampleType.GAUGE)


class Hosts:
    """Polling agents: each sends a sample a second, which has its clock's time."""

    def __init__(self, broker: RabbitMQ) -> None:
        self.sent: dict[str, list[float]] = {name: [] for name in HOSTS}
        self._sender = Sender(broker.url, (), topics.EXCHANGE, "test")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Hosts:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._sender.close()

    @property
    def count(self) -> int:
        return sum(map(len, self.sent.values()))

    def _run(self) -> None:
        while not self._stop.wait(1.0 - time.time() % 1.0):
            for host in HOSTS:
                self._send(host)

    def _send(self, host: str) -> None:
        now = time.time() - HOSTS[host]
        resource = Resource(host, None, None, "host", {})
        (frame,) = wire.encode(
            [Sample(METER, resource, now, 1, FIRST, None, "s")],
            host=host,
            source="s",
            sent=now,
            queues=QUEUES,
            keys=Keys(),
            max_bytes=1 << 20,
        )
        topic = topics.topic(topics.queue_of(host, QUEUES))
        self._sender.send(topic, topics.EVENT_TYPE, base64.b64encode(frame).decode())
        self.sent[host].append(now)


def configured(directory: Path, broker: RabbitMQ) -> split.Agent:
    step = {
        "name": "aggregator",
        "parameters": {"retention_time": LONG, "grace": 2, "method": "count"},
    }
    document = {
        "sources": [
            {"name": "s", "meters": ["hardware.*"], "sinks": ["windows"]},
            {"name": "own", "meters": ["notification.*"], "sinks": ["own"]},
        ],
        "sinks": [
            {
                "name": "windows",
                "transformers": [step],
                "publishers": [f"file://{directory}/windows"],
            },
            {"name": "own", "publishers": [f"file://{directory}/own"]},
        ],
    }
    (directory / "pipeline.yaml").write_text(json.dumps(document))
    made = split.Agent(directory, directory / "agent.conf", directory / "log")
    made.config.write_text(
        f"[DEFAULT]\nhost = n\nstate_path = {directory}/state\ntransport_url = {broker.url}\n"
        f"pipeline_cfg_file = {directory}/pipeline.yaml\n"
        f"[notification]\nqueues = {QUEUES}\nmeters_interval = 1\n"
    )
    return made


def by_window(times: list[float]) -> Mapping[float, int]:
    return Counter(at // LONG * LONG for at in times)


def windows(directory: Path, host: str) -> list[tuple[float, Any]]:
    return [
        (agent.seconds(found), found["volume"])
        for found in agent.lines(directory / "windows")
        if found["resource_id"] == host
    ]


def test_windows_are_whole_over_kills_a_backlog_and_clocks_that_differ(
    broker: RabbitMQ, tmp_path: Path
) -> None:
    made, log = configured(tmp_path, broker), tmp_path / "log"
    with Hosts(broker) as hosts:
        # Some waits before the agent is there for the first time.
        agent.wait_until(lambda: hosts.count >= 3 * len(HOSTS))
        with split.started(made):
            agent.wait_until(lambda: own(tmp_path, "notification.samples") >= 3 * len(HOSTS), 60)
            agent.wait_until(lambda: time.time() % LONG > 6)
        # Killed within a window, it is away over the end of it and the whole of the next.
        time.sleep(1.5 * LONG)
        before = hosts.count
        with split.started(made) as process:
            agent.wait_until(lambda: own(tmp_path, "notification.samples") > 0, 60)
            (worker,) = split.workers(process.pid)
            os.kill(worker, signal.SIGKILL)
            agent.wait_until(lambda: split.workers(process.pid) not in ([], [worker]), 30)
            agent.wait_until(lambda: hosts.count > before + LONG * len(HOSTS))
            last = time.time() // LONG * LONG
            agent.wait_until(
                lambda: all(
                    any(at >= last - HOSTS[h] - LONG for at, _ in windows(tmp_path, h))
                    for h in ("right", "behind")
                ),
                60,
                log.read_text(),
            )
    assert "Traceback" not in log.read_text(), log.read_text()
    for host in ("right", "behind"):
        expected = by_window(hosts.sent[host])
        got = windows(tmp_path, host)
        assert len(got) >= 3
        assert len(set(got)) == len(dict(got)), "if one comes twice, it is the same"
        for start, volume in dict(got).items():
            assert volume == expected[start], (host, start)
        starts = sorted(dict(got))
        assert starts == sorted(start for start in expected if start <= starts[-1])
    # Of a host whose clock is ahead they are closed when our time comes.
    assert windows(tmp_path, "ahead") == []


def test_how_much_waits_is_known_as_long_as_the_broker_is_there(
    broker: RabbitMQ, tmp_path: Path
) -> None:
    names = [f"{topics.topic(number)}.{PRIORITY}" for number in (900, 901)]
    sender = Sender(broker.url, (), topics.EXCHANGE, "test")
    backlog = Backlog([broker.url], (), lambda: names, lambda _when, _found: None)
    assert backlog.look() == dict.fromkeys(names, 0), "there are no such queues"
    for _ in range(5):
        sender.send(topics.topic(901), topics.EVENT_TYPE, "x")
    assert backlog.look() == {names[0]: 0, names[1]: 5}
    sender.close()
    broker.kill()
    began = time.monotonic()
    assert backlog.look() == dict.fromkeys(names)
    assert time.monotonic() - began < 10
    broker.start()
    assert backlog.look() == {names[0]: 0, names[1]: 5}
    broker.delete(names[1])
    assert backlog.look() == dict.fromkeys(names, 0)


def own(directory: Path, name: str) -> float:
    """Return the newest value of a meter of the agent itself; of a life that ended, 0."""
    found = [
        sample["volume"]
        for sample in agent.lines(directory / "own")
        if sample["name"] == name and agent.seconds(sample) > time.time() - 3
    ]
    return float(found[-1]) if found else 0.0
