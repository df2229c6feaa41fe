# SPDX-License-Identifier: Apache-2.0
"""How much one worker of the notification agent takes: ``python -m bench.notification``.

Samples wait in RabbitMQ; from there they go through one worker to a file of JSON. Ours in our own
format, ours with Ceilometer's messages, and Ceilometer 27's notification agent with the same
messages. Signatures are checked by ours; Ceilometer has the secret and does not check.
"""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from bench import ceilometer_venv
from bench.resident import COMMAND, running
from bench.wire import cycle
from ceilo_agent.messaging import ceilometer, topics, wire
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.sender import Sender
from ceilo_agent.sample import Sample
from tests.services import rabbitmq
from tests.services.errors import ServiceUnavailable

SECRET = "a secret of the bench"
KEYS = Keys(SECRET.encode())
QUEUES = 8
HOSTS = 32

OURS = "ours, our format"
BOTH = "ours, Ceilometer's messages"
THEIRS = "Ceilometer 27, its own"


class Figures(NamedTuple):
    """What a run gave.

    Attributes:
        samples: in all.
        rate: samples a second, from the first in the file to the last.
        cpu: seconds of the worker's processor for 1,000 samples.
        peak: its resident memory at most, MB.
        wire: bytes of a sample in the broker.
    """

    samples: int
    rate: float
    cpu: float
    peak: float
    wire: float


class AgentEnded(Exception):
    """It ended by itself; the message has the last line that it wrote."""


def main() -> int:
    """Run it; 0 done, 1 could not (one line says why)."""
    parser = argparse.ArgumentParser(prog="python -m bench.notification", description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000, help="that wait, our format")
    parser.add_argument("--messages", type=int, default=150_000, help="of Ceilometer's, in samples")
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--ceilometer", type=Path, metavar="VENV", help="one that has it")
    chosen = parser.parse_args()
    load = cycle()
    found: dict[str, list[Figures]] = {}
    try:
        venv = chosen.ceilometer or ceilometer_venv.ensure()
        with tempfile.TemporaryDirectory(prefix="ceilo_agent-bench-", dir="/var/tmp") as name:
            directory = Path(name)
            directory.chmod(0o755)
            with rabbitmq.running(directory / "rabbitmq") as broker:
                for number in range(chosen.rounds):
                    for title in (OURS, BOTH, THEIRS):
                        place = directory / f"{title.replace(' ', '-')}-{number}"
                        place.mkdir()
                        command = _command(title, venv, place, broker.url)
                        count = chosen.samples if title == OURS else chosen.messages
                        sent, size = _send(title, load, count, broker.url)
                        figures = _run(command, place, sent)._replace(wire=size / sent)
                        found.setdefault(title, []).append(figures)
                        print(f"  {title}: {figures.rate:,.0f} samples a second", flush=True)
    except (ServiceUnavailable, AgentEnded, ceilometer_venv.NoCeilometer) as error:
        print(f"bench.notification: {error}", file=sys.stderr)
        return 1
    _table(found)
    return 0


def _send(title: str, load: Sequence[Sample], count: int, url: str) -> tuple[int, int]:
    """Let at least so many samples wait in the broker; return how many, and their bytes."""
    native = title == OURS
    exchange = topics.EXCHANGE if native else topics.CEILOMETER_EXCHANGE
    sender = Sender(url, (), exchange, "bench")
    sent = size = number = 0
    envelope = len(json.dumps({"oslo.version": "2.0", "oslo.message": "x" * 300}))
    while sent < count:
        if native:
            host = f"kvm-{number % HOSTS}"
            moved = [
                Sample(s.meter, s.resource, s.time + number, s.volume, s.previous, s.started, "all")
                for s in load
            ]
            frames = wire.encode(
                moved, host=host, source="all", sent=time.time(), queues=QUEUES, keys=KEYS,
                max_bytes=1 << 20,
            )  # fmt: skip
            topic = topics.topic(topics.queue_of(host, QUEUES))
            for frame in frames:
                payload = base64.b64encode(frame).decode()
                sender.send(topic, topics.EVENT_TYPE, payload)
                size += len(payload) + envelope
            sent += len(load)
        else:
            for each in ceilometer.encode(load, keys=KEYS, max_bytes=1 << 20):
                sender.send(topics.CEILOMETER_TOPIC, topics.CEILOMETER_EVENT_TYPE, each)
                size += len(json.dumps(json.dumps(each))) + envelope
                sent += len(each["samples"])
                if sent >= count:
                    break
        number += 1
    sender.close()
    return sent, size


def _command(title: str, venv: Path, place: Path, url: str) -> list[str]:
    """Write the configuration of an agent, and return what starts it."""
    theirs = title == THEIRS
    publisher = f"file://{place}/out?json" if theirs else f"file://{place}/out?max_bytes=0"
    # Ours has meters of its own, which would be counted.
    meters = ["*"] if theirs else ["!notification.*"]
    document = {
        "sources": [{"name": "all", "meters": meters, "sinks": ["file"]}],
        "sinks": [{"name": "file", "publishers": [publisher]}],
    }
    (place / "pipeline.yaml").write_text(json.dumps(document))
    config = place / "agent.conf"
    text = (
        f"[DEFAULT]\ntransport_url = {url}\npipeline_cfg_file = {place}/pipeline.yaml\n"
        f"[publisher]\ntelemetry_secret = {SECRET}\n[notification]\n"
    )
    if theirs:
        config.write_text(
            f"{text}pipelines = meter\nnotification_control_exchanges = ceilometer\nworkers = 1\n"
        )
        return [f"{venv}/bin/ceilometer-agent-notification", "--config-file", str(config)]
    config.write_text(
        text.replace("[DEFAULT]", f"[DEFAULT]\nhost = n\nstate_path = {place}/state")
        + f"queues = {QUEUES}\n"
        + ("ceilometer_topics = notifications\n" if title == BOTH else "")
    )
    return [*COMMAND, "--config-file", str(config), "notification"]


def _run(command: Sequence[str], place: Path, count: int) -> Figures:
    """Let an agent take all that waits.

    Raises:
        AgentEnded: it ended before.
    """
    log, out = place / "log", place / "out"
    lines, peak, cpu = 0, 0.0, 0.0
    first: tuple[float, int, float] | None = None
    with running(command, log) as process, _opened(out, process, log) as file:
        while lines < count:
            while chunk := file.read(1 << 22):
                lines += chunk.count(b"\n")
            cpu, resident = _usage(process.pid)
            peak = max(peak, resident)
            if first is None and lines:
                first = time.perf_counter(), lines, cpu
            if process.poll() is not None:
                raise AgentEnded(f"{place.name}: {log.read_text().splitlines()[-1:]}")
            time.sleep(0.02)
        assert first is not None
        taken = lines - first[1]
        return Figures(
            count,
            taken / (time.perf_counter() - first[0]),
            (cpu - first[2]) * 1000 / taken,
            peak,
            0,
        )


def _opened(out: Path, process: subprocess.Popen[bytes], log: Path):  # type: ignore[no-untyped-def]
    while not out.exists():
        if process.poll() is not None:
            raise AgentEnded(f"{log.parent.name}: {log.read_text().splitlines()[-1:]}")
        time.sleep(0.02)
    return out.open("rb")


def _usage(pid: int) -> tuple[float, float]:
    """Return the CPU seconds and the resident memory (MB) of an agent's worker, the largest."""
    cpu = resident = 0.0
    try:
        for each in psutil.Process(pid).children(recursive=True):
            times = each.cpu_times()
            cpu += times.user + times.system
            resident = max(resident, each.memory_info().rss / 1e6)
    except psutil.Error:
        pass
    return cpu, resident


def _table(found: dict[str, list[Figures]]) -> None:
    print(f"\n{'':32}samples/s   CPU ms/1,000   peak MB   bytes a sample in the broker")
    for title in found:
        best = sorted(found[title], key=lambda figures: figures.rate)[len(found[title]) // 2]
        print(
            f"{title:32}{best.rate:9,.0f}{best.cpu * 1000:15.2f}{best.peak:10.0f}{best.wire:12.1f}"
        )
    ours, both, theirs = (
        sorted(each.rate for each in found[title])[len(found[title]) // 2]
        for title in (OURS, BOTH, THEIRS)
    )
    print(f"\nours, our format / Ceilometer 27            {ours / theirs:6.1f}")
    print(f"ours, Ceilometer's messages / Ceilometer 27 {both / theirs:6.1f}        >= 3")


if __name__ == "__main__":
    sys.exit(main())
