# SPDX-License-Identifier: Apache-2.0
"""The split deployment: hosts that send batches, and a notification agent that writes a file."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ceilo_agent.errors import Retryable
from ceilo_agent.messaging import topics, wire
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.sender import Sender
from ceilo_agent.sample import FIRST, Meter, Resource, Sample, SampleType
from tests.functional import agent

QUEUES = 8
SECRET = "a secret of tests"
METERS = [Meter(f"cpu.{n}", "ns", SampleType.CUMULATIVE) for n in range(4)]

Point = tuple[str, str, float]
"""Resource, meter, time: what a store keeps once."""


class Hosts:
    """Sends batches of some hosts in turn, one sample of each meter at a time, from a thread.

    Args:
        url: of the broker.
        count: hosts.
        prefix: of their names.
        pause: seconds between two batches.

    Attributes:
        sent: what the broker has confirmed, in order.
    """

    def __init__(
        self, url: str, count: int = 12, pause: float = 0.005, prefix: str = "kvm"
    ) -> None:
        self.sent: list[Point] = []
        self.refused = 0
        self._names = [f"{prefix}-{number}" for number in range(count)]
        self._pause = pause
        self._sender = Sender(url, (), topics.EXCHANGE, "hosts")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Hosts:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(120)
        assert not self._thread.is_alive(), "a batch could not be sent"
        self._sender.close()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            name = self._names[number % len(self._names)]
            made = batch(name, 1.7e9 + number)
            self._send(name, frame(made, name))
            self.sent += map(point, made)
            number += 1
            time.sleep(self._pause)

    def _send(self, name: str, data: bytes) -> None:
        """Send it until the broker has it, as the polling agent does."""
        topic = topics.topic(topics.queue_of(name, QUEUES))
        while True:
            try:
                payload = base64.b64encode(data).decode()
                self._sender.send(topic, topics.EVENT_TYPE, payload, timeout=5)
            except Retryable:
                self.refused += 1
                time.sleep(0.2)
            else:
                return


def batch(host: str, at: float) -> list[Sample]:
    resource = Resource(f"guest-on-{host}", None, None, "instance", {"host": host})
    return [Sample(meter, resource, at, int(at) % 1000, FIRST, at, "all") for meter in METERS]


def frame(samples: Sequence[Sample], host: str, secret: str = SECRET, source: str = "all") -> bytes:
    (data,) = wire.encode(
        samples, host=host, source=source, sent=time.time(), queues=QUEUES,
        keys=Keys(secret.encode()), max_bytes=1 << 20,
    )  # fmt: skip
    return data


def point(sample: Sample) -> Point:
    return sample.resource.id, sample.meter.name, sample.time


class Agent(NamedTuple):
    """A notification agent that writes what comes to a file.

    Attributes:
        directory: of its files.
        config: its configuration file.
        log: where its output goes.
    """

    directory: Path
    config: Path
    log: Path

    @classmethod
    def made(
        cls, directory: Path, url: str, workers: int = 1, secret: str = SECRET, more: str = ""
    ) -> Agent:
        directory.mkdir(parents=True, exist_ok=True)
        made = cls(directory, directory / "agent.conf", directory / "log")
        document = {
            "sources": [{"name": "all", "meters": ["cpu.*"], "sinks": ["file"]}],
            "sinks": [{"name": "file", "publishers": [f"file://{directory}/out?max_bytes=0"]}],
        }
        (directory / "pipeline.yaml").write_text(json.dumps(document))
        made.configure(url, workers, secret, more)
        return made

    def configure(self, url: str, workers: int = 1, secret: str = SECRET, more: str = "") -> None:
        self.config.write_text(
            f"[DEFAULT]\nhost = n\nstate_path = {self.directory}/state\ntransport_url = {url}\n"
            f"pipeline_cfg_file = {self.directory}/pipeline.yaml\n"
            f"[publisher]\ntelemetry_secret = {secret}\n"
            f"[notification]\nqueues = {QUEUES}\nworkers = {workers}\n{more}"
        )

    def points(self) -> list[Point]:
        """Return what is in the file, in its order."""
        return [
            (each["resource_id"], each["name"], agent.seconds(each))
            for each in agent.lines(self.directory / "out")
        ]

    def has(self, points: Sequence[Point], seconds: float = 90) -> list[Point]:
        """Wait until all of these points are in the file, and return what is."""
        wanted = set(points)

        def missing() -> int:
            return len(wanted - set(self.points()))

        end = time.monotonic() + seconds
        while missing():
            assert time.monotonic() < end, (
                f"{missing()} are missing: {self.log.read_text()[-3000:]}"
            )
            time.sleep(0.2)
        return self.points()

    def letters(self) -> list[dict[str, Any]]:
        """Return what `ceilo-agent letters list` prints."""
        printed = agent.run(
            "letters", "list", "--output", "json", "--last", "100000", config=self.config
        ).stdout
        found: list[dict[str, Any]] = json.loads(printed)
        return found


@contextlib.contextmanager
def started(made: Agent) -> Iterator[subprocess.Popen[bytes]]:
    """Run the agent for the length of a block; then all of its processes are killed."""
    with made.log.open("a") as output:
        process = subprocess.Popen(
            [*agent.COMMAND, "--config-file", str(made.config), "notification"],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def running(made: Agent) -> Iterator[subprocess.Popen[bytes]]:
    """Run the agent for the length of a block; it must end in order."""
    with started(made) as process:
        yield process
        process.terminate()
        code = process.wait(60)
    assert code == 0, made.log.read_text()[-3000:]
    assert "Traceback" not in made.log.read_text(), made.log.read_text()


def workers(pid: int) -> list[int]:
    """Return the processes that an agent started and that run."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found
