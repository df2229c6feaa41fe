# SPDX-License-Identifier: Apache-2.0
"""The notification agent on a real broker: what was sent is stored, whatever happens."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kombu
import pytest

from ceilo_agent.messaging import topics
from ceilo_agent.messaging.sender import Sender
from tests.functional import agent, split
from tests.functional.split import Agent, Hosts
from tests.services.rabbitmq import RabbitMQ


def in_order(points: list[split.Point]) -> bool:
    """Return whether each series comes in order, but for what comes once more."""
    latest: dict[tuple[str, str], float] = {}
    for resource, meter, at in dict.fromkeys(points):
        if at < latest.get((resource, meter), 0):
            return False
        latest[resource, meter] = at
    return True


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.long)])
def test_workers_that_are_killed_lose_nothing(broker: RabbitMQ, tmp_path: Path, kills: int) -> None:
    made = Agent.made(tmp_path, broker.url, workers=4)
    chance = random.Random(kills)
    with split.running(made) as process, Hosts(broker.url) as hosts:
        agent.wait_until(lambda: len(split.workers(process.pid)) == 4)
        for _ in range(kills):
            before = len(hosts.sent)
            agent.wait_until(lambda: len(hosts.sent) > before + 200)  # noqa: B023
            killed = chance.choice(split.workers(process.pid))
            os.kill(killed, signal.SIGKILL)
            agent.wait_until(
                lambda: len(set(split.workers(process.pid)) - {killed}) == 4  # noqa: B023
            )
        agent.wait_until(lambda: len(made.points()) > 0)
        hosts.__exit__()
        stored = made.has(hosts.sent)
        assert set(stored) == set(hosts.sent)
        assert in_order(stored)
        agent.wait_until(lambda: not any(broker.depths().values()), 30)


def restarted(broker: RabbitMQ) -> None:
    broker.stop()
    broker.start()


def killed(broker: RabbitMQ) -> None:
    broker.kill()
    broker.start()


def out_of_disk(broker: RabbitMQ) -> None:
    broker.block()
    broker.unblock()


@pytest.mark.parametrize(
    "fault", [restarted, killed, RabbitMQ.cut, out_of_disk], ids=lambda each: each.__name__
)
def test_a_broker_that_fails_loses_nothing(
    broker: RabbitMQ, tmp_path: Path, fault: Callable[[RabbitMQ], None]
) -> None:
    made = Agent.made(tmp_path, broker.url, workers=2)
    with split.running(made), Hosts(broker.url) as hosts:
        agent.wait_until(lambda: len(hosts.sent) > 400 and made.points())
        fault(broker)
        before = len(hosts.sent)
        agent.wait_until(lambda: len(hosts.sent) > before + 400, 90)
        hosts.__exit__()
        assert set(made.has(hosts.sent)) == set(hosts.sent)


def consumers(made: Agent) -> int:
    """Return how many workers consume, 0 while a queue has none."""
    told = re.findall(r"\[(\d+)\] \S+ queues consumed: (.*)", made.log.read_text())
    queues = [each.split(", ") for each in dict(told).values() if each != "none"]
    return len(queues) if sum(map(len, queues)) == split.QUEUES else 0


def test_workers_may_be_raised_and_lowered_while_samples_flow(
    broker: RabbitMQ, tmp_path: Path
) -> None:
    made = Agent.made(tmp_path, broker.url, workers=1)
    with split.running(made) as process, Hosts(broker.url) as hosts:
        agent.wait_until(made.points)
        for count in (3, 1, 2):
            before = len(hosts.sent)
            agent.wait_until(lambda: len(hosts.sent) > before + 300)  # noqa: B023
            made.configure(broker.url, workers=count)
            told = made.log.read_text().count("reloaded:")
            os.kill(process.pid, signal.SIGHUP)
            agent.wait_until(lambda: made.log.read_text().count("reloaded:") > told, 60)  # noqa: B023
            # The queues have changed hands, too, before the next reload.
            agent.wait_until(lambda: consumers(made) == count, 60)  # noqa: B023
        before = len(hosts.sent)
        agent.wait_until(lambda: len(hosts.sent) > before + 300)
        hosts.__exit__()
        stored = made.has(hosts.sent)
    assert sorted(stored) == sorted(hosts.sent), "nothing lost, nothing twice"
    assert in_order(stored)
    # Another start takes over what those left that are no more.
    with split.running(made) as process:
        agent.wait_until(lambda: len(split.workers(process.pid)) == 2)
    assert sorted(made.points()) == sorted(hosts.sent)


def test_a_hang_up_while_the_agent_starts_waits(broker: RabbitMQ, tmp_path: Path) -> None:
    made = Agent.made(tmp_path, broker.url, workers=1)
    with split.running(made) as process, Hosts(broker.url) as hosts:
        agent.wait_until(lambda: agent.holds_hang_ups(process.pid))
        os.kill(process.pid, signal.SIGHUP)
        agent.wait_until(lambda: len(hosts.sent) > 300 and made.points())
        hosts.__exit__()
        assert set(made.has(hosts.sent)) == set(hosts.sent)


def send(broker: RabbitMQ, *payloads: Any, event_type: str = topics.EVENT_TYPE) -> None:
    sender = Sender(broker.url, (), topics.EXCHANGE, "test")
    for payload in payloads:
        sender.send(topics.topic(0), event_type, payload)
    sender.close()


def test_what_cannot_be_read_is_set_aside_and_the_rest_goes_on(
    broker: RabbitMQ, tmp_path: Path
) -> None:
    made = Agent.made(tmp_path, broker.url)
    samples = split.batch("kvm-1", 1.7e9)
    good = split.frame(samples, "kvm-1")
    newer = good[:4] + bytes((9,)) + good[5:]
    forged = split.frame(split.batch("kvm-2", 1.7e9), "kvm-2", "another secret")
    bad = [newer, forged, good[:-1], b"", b"\0" * 100, good[:6]]
    with split.running(made) as process:
        send(broker, *[base64.b64encode(each).decode() for each in bad], None, {"x": [1]}, "ä")
        send(broker, {"samples": []}, event_type="compute.instance.update")
        send(broker, *3 * [base64.b64encode(good).decode()])
        made.has([split.point(each) for each in samples])
        agent.wait_until(lambda: not any(broker.depths().values()), 30)
        reasons = [letter["reason"] for letter in made.letters()]
        assert len(made.points()) == len(samples), "what comes again is not stored again"
        assert sorted(reasons) == sorted(
            ["version", "signature", "signature", *6 * ["malformed"], "unknown"]
        )
        # The operator finds that a secret was forgotten, and has them tried again.
        made.configure(broker.url, more="[publisher]\nprevious_telemetry_secret = another secret\n")
        os.kill(process.pid, signal.SIGHUP)
        agent.wait_until(lambda: "reloaded:" in made.log.read_text())
        told = agent.run("letters", "replay", "--all", config=made.config).stdout
        assert told == "10 letters will be tried again by their agent\n"
        made.has([split.point(each) for each in split.batch("kvm-2", 1.7e9)])
        agent.wait_until(lambda: len(made.letters()) == 9)
    shown = agent.run("letters", "list", config=made.config).stdout
    assert "worker 0: 9 kept" in shown
    (first, *_) = made.letters()
    assert agent.run("letters", "show", first["letter"], config=made.config).stdout
    assert agent.run("letters", "discard", "--all", config=made.config).stdout == (
        "9 letters discarded\n"
    )
    assert made.letters() == []


def test_what_is_no_notification_at_all_ends_nothing(broker: RabbitMQ, tmp_path: Path) -> None:
    made = Agent.made(tmp_path, broker.url)
    samples = split.batch("kvm-1", 1.7e9)
    with split.running(made):
        send(broker, "first")
        agent.wait_until(made.letters)
        url = broker.url.replace("rabbit://", "amqp://")
        with kombu.Connection(url) as connection, connection.channel() as channel:
            exchange = kombu.Exchange(topics.EXCHANGE, "topic", passive=True)
            producer = kombu.Producer(channel, exchange, auto_declare=False)
            for body, kind in (
                (b"\xff\xfe", "application/octet-stream"),
                (b"{", "application/json"),
                (b"[]", "application/json"),
                (b"null", "application/json"),
                (b'{"oslo.version": "2.0", "oslo.message": "{"}', "application/json"),
                (b'{"oslo.version": "9.0", "oslo.message": "{}"}', "application/json"),
                (b'{"payload": 1, "event_type": 2, "priority": 3}', "application/json"),
                (b"x" * (8 << 20), "text/plain"),
                (b"cos\nsystem\n(S'false'\ntR.", "application/x-python-serialize"),
            ):
                producer.publish(
                    body,
                    routing_key=f"{topics.topic(0)}.sample",
                    content_type=kind,
                    content_encoding="utf-8",
                )
        send(broker, base64.b64encode(split.frame(samples, "kvm-1")).decode())
        made.has([split.point(each) for each in samples])
        agent.wait_until(lambda: not any(broker.depths().values()), 30)


@pytest.mark.parametrize(
    ("publisher", "more", "told"),
    [
        ("prometheus://127.0.0.1:9", "workers = 2\n", "one process"),
        ("console://", "[DEFAULT]\ntransport_url =\n", "transport_url is not given"),
        ("console://", "[DEFAULT]\ntransport_url = nonsense://u:pw@h/\n", "no broker's URL"),
        ("console://", "[publisher]\ntelemetry_secret = file:/not/there\n", "cannot be read"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(
    tmp_path: Path, publisher: str, more: str, told: str
) -> None:
    made = Agent.made(tmp_path, "rabbit://guest:pw@127.0.0.1:1/", more=more)
    document = json.loads((tmp_path / "pipeline.yaml").read_text())
    document["sinks"][0]["publishers"] = [publisher]
    (tmp_path / "pipeline.yaml").write_text(json.dumps(document))
    done = agent.run("notification", config=made.config, check=False)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "pw" not in done.stderr
