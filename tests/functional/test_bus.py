# SPDX-License-Identifier: Apache-2.0
"""A real RabbitMQ between agents: what is offered arrives, whatever happens to the broker."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kombu
import pytest

from ceilo_agent.errors import Retryable
from ceilo_agent.messaging import ceilometer, topics
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.listener import Listener
from ceilo_agent.messaging.sender import Sender
from ceilo_agent.sample import Previous, Sample
from tests.functional import agent
from tests.functional.conftest import QUEUES
from tests.functional.inbox import Inbox, taking
from tests.services.rabbitmq import RabbitMQ

METERS = ["hardware.cpu.*", "hardware.memory.*", "hardware.uptime", "power.state", "vcpus"]

COUNTS = re.compile(r"publisher bus: (\d+) samples offered, (\d+) delivered, (\d+) waiting, (\d+)")

FIRST = topics.topic(0)


class Host:
    """A host that polls, with output = bus."""

    def __init__(self, directory: Path, url: str, more: str = "", polling: str = "") -> None:
        self.log = directory / "log"
        self.config = agent.configure(directory, namespaces="compute,host", more=more)
        text = self.config.read_text()
        text = text.replace("[DEFAULT]\n", f"[DEFAULT]\ntransport_url = {url}\n")
        text = text.replace("[polling]\n", f"[polling]\noutput = bus\n{polling}")
        self.config.write_text(text)
        source = {"name": "all", "interval": 1, "meters": METERS, "sinks": ["unused"]}
        sink = {"name": "unused", "publishers": ["gnocchi://"]}
        pipeline = directory / "pipeline.yaml"
        pipeline.write_text(json.dumps({"sources": [source], "sinks": [sink]}))

    def running(self) -> contextlib.AbstractContextManager[Any]:
        return agent.running("polling", config=self.config, log=self.log)

    def waiting(self) -> int:
        """Return how many samples wait now; a cycle's may, at any time."""
        listed = agent.run("spool", "list", "--output", "json", config=self.config).stdout
        return sum(int(row["waiting"]) for row in json.loads(listed))

    def counts(self) -> tuple[int, int, int, int]:
        """Return what was offered, delivered, left waiting and set aside since the first start."""
        offered, delivered, waiting, aside = COUNTS.findall(self.log.read_text())[-1]
        return int(offered), int(delivered), int(waiting), int(aside)


def until(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    agent.wait_until(condition, seconds, what)


def send(sender: Sender, topic: str, payload: object, seconds: float = 60.0) -> None:
    """Send until the broker has it."""
    end = time.monotonic() + seconds
    while True:
        try:
            return sender.send(topic, "test", payload, timeout=5)
        except Retryable:
            assert time.monotonic() < end
            time.sleep(0.2)


@contextlib.contextmanager
def sending(url: str, exchange: str = topics.EXCHANGE) -> Iterator[Sender]:
    sender = Sender(url, (), exchange, "test")
    try:
        yield sender
    finally:
        sender.close()


def in_order(samples: list[Sample]) -> None:
    """See that no sample of a series comes before an earlier one, and each follows the last."""
    last: dict[tuple[str, str], Sample] = {}
    for sample in samples:
        series = (sample.meter.name, sample.resource.id)
        if (before := last.get(series)) is not None:
            assert sample.time > before.time, series
            assert isinstance(sample.previous, Previous)
            assert sample.previous.volume == before.volume, series
        last[series] = sample


# -- the polling agent ---------------------------------------------------------------------------


def test_what_is_polled_arrives_once_and_in_order_whatever_happens_to_the_broker(
    broker: RabbitMQ, tmp_path: Path
) -> None:
    host = Host(tmp_path, broker.url, "[notification]\nqueues = 1\n")
    queue = f"{FIRST}.sample"
    with taking(broker.url, (topics.EXCHANGE, FIRST)) as inbox:

        def more() -> None:
            before = len(inbox.messages)
            until(lambda: len(inbox.messages) > before + 3, "nothing more arrives")

        with host.running():
            more()
            broker.cut()
            more()
            broker.stop()
            time.sleep(2)
            broker.start()
            more()
            broker.kill()
            broker.start()
            more()
            broker.block()
            time.sleep(2)
            until(lambda: broker.depth(queue) == 0, "messages wait")
            broker.delete(queue)
            broker.unblock()
            more()
            # After so many faults it may wait for a minute before it tries again.
            until(lambda: host.waiting() < 1000, "it has not caught up", 120)
        offered, delivered, waiting, aside = host.counts()
        assert (offered, waiting, aside) == (delivered, 0, 0)
        until(lambda: len(inbox.samples) >= offered, f"{len(inbox.samples)} of {offered} arrived")
        time.sleep(0.5)
        assert len(inbox.samples) == offered
        in_order(inbox.samples)
    said = host.log.read_text()
    assert said.count("samples go to the bus") == 1
    assert "guest:guest" not in said


def test_a_broker_that_is_away_at_the_start_is_waited_for(broker: RabbitMQ, tmp_path: Path) -> None:
    host = Host(tmp_path, broker.url)
    broker.kill()
    with host.running():
        until(lambda: "nobody listens there" in host.log.read_text(), "it is not told")
    offered, _, waiting, _ = host.counts()
    assert waiting == offered > 0
    rows = json.loads(agent.run("spool", "list", "--output", "json", config=host.config).stdout)
    assert [(row["publisher"], row["waiting"]) for row in rows] == [("bus", waiting)]
    broker.start()
    topic = topics.topic(topics.queue_of("h", 8))
    with taking(broker.url, (topics.EXCHANGE, topic)) as inbox:
        with host.running():
            until(lambda: len(inbox.samples) > waiting, "what waited does not arrive")
        offered = host.counts()[0]
        until(lambda: len(inbox.samples) >= offered, "not all arrives")
        assert len(inbox.samples) == offered
        in_order(inbox.samples)


def test_an_agent_ends_in_time_while_the_broker_holds_it_up(
    broker: RabbitMQ, tmp_path: Path
) -> None:
    host = Host(tmp_path, broker.url, "[notification]\nqueues = 1\n")
    try:
        with taking(broker.url, (topics.EXCHANGE, FIRST)) as inbox:
            with host.running():  # which sees that it takes less than 5 s to end
                until(lambda: inbox.messages, "nothing arrives")
                broker.block()
                time.sleep(3)
            broker.unblock()
            taken = len(inbox.messages)
            with host.running():
                until(lambda: len(inbox.messages) > taken + 2, "nothing more arrives")
            offered = host.counts()[0]
            until(lambda: len(inbox.samples) >= offered, "not all arrives")
            assert len(inbox.samples) == offered
            in_order(inbox.samples)
    finally:
        broker.unblock()


def test_ceilometers_messages_are_sent_where_its_agents_listen(
    broker: RabbitMQ, tmp_path: Path
) -> None:
    secret = "[publisher]\ntelemetry_secret = s3cr3t\n"
    host = Host(tmp_path, broker.url, secret, "wire_format = ceilometer\n")
    with taking(broker.url, ("ceilometer", "notifications")) as inbox:
        with host.running():
            until(lambda: inbox.messages, "nothing arrives")
        offered = host.counts()[0]
        until(lambda: len(_theirs(inbox)) >= offered, "not all arrives")
        assert len(_theirs(inbox)) == offered
    assert {message.event_type for message in inbox.messages} == {"telemetry.polling"}


def _theirs(inbox: Inbox) -> list[Sample]:
    keys = Keys(b"s3cr3t")
    return [s for name in inbox.names for s in ceilometer.decode(name, keys).samples]


def test_a_password_that_changes_is_read_again(broker: RabbitMQ, tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(broker.url.replace("guest:guest", "guest:hunter2"))
    file.chmod(0o600)
    host = Host(tmp_path, f"file:{file}", "[notification]\nqueues = 1\n")
    with taking(broker.url, (topics.EXCHANGE, FIRST)) as inbox, host.running():
        until(lambda: "refuses the user or the password" in host.log.read_text(), "it is not told")
        file.write_text(broker.url)
        until(lambda: inbox.messages, "nothing arrives")
    assert "hunter2" not in host.log.read_text()


# -- the command line ----------------------------------------------------------------------------


def test_without_a_broker_it_is_refused(tmp_path: Path) -> None:
    host = Host(tmp_path, "")
    done = agent.run("polling", config=host.config, check=False)
    assert done.returncode == 2
    assert "[DEFAULT] transport_url is not given" in done.stderr
    done = agent.run("config", "check", "--role", "polling", config=host.config, check=False)
    assert done.returncode == 1
    assert "[DEFAULT] transport_url is not given" in done.stderr


@pytest.mark.parametrize(
    "url",
    ["rabbit://u:hunter2/x@h:1/", "u:hunter2@h", "nosuch://u:hunter2@h/", "rabbit://u:hunter2,@h"],
)
def test_what_is_no_url_of_a_broker_is_refused_without_its_password(
    tmp_path: Path, url: str
) -> None:
    host = Host(tmp_path, url)
    done = agent.run("polling", config=host.config, check=False)
    assert done.returncode == 2, done.stderr
    assert "is no broker's URL" in done.stderr
    assert "hunter2" not in done.stderr


def test_up_has_nothing_to_show(tmp_path: Path) -> None:
    host = Host(tmp_path, "rabbit://h/")
    done = agent.run("up", config=host.config, check=False)
    assert done.returncode == 2
    assert "`ceilo-agent polling` sends to the bus" in done.stderr


def test_sections_of_oslo_messaging_are_its_own(broker: RabbitMQ, tmp_path: Path) -> None:
    more = "[oslo_messaging_rabbit]\nheartbeat_rate = 2\n[oslo_messaging_kafka]\n[other]\nx = 1\n"
    host = Host(tmp_path, broker.url, more)
    with host.running():
        until(lambda: "samples go to the bus" in host.log.read_text(), "it does not start")
    said = host.log.read_text()
    assert "oslo_messaging" not in said
    assert "no section is named [other]" in said


# -- what takes ----------------------------------------------------------------------------------


def test_a_listener_goes_on_after_all_that_happens_to_a_broker(
    broker: RabbitMQ, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with taking(broker.url, (topics.EXCHANGE, FIRST)) as inbox, sending(broker.url) as sender:
        for number, happens in enumerate(
            (lambda: None, broker.cut, broker.kill, lambda: broker.delete(f"{FIRST}.sample"))
        ):
            happens()
            if happens == broker.kill:
                broker.start()
            send(sender, FIRST, number)
            until(lambda expected=number: expected in inbox.names, f"{number} does not arrive")
    lines = [record.getMessage() for record in caplog.records]
    began = [line for line in lines if "it is tried again until" in line]
    ended = [line for line in lines if "the broker is there again" in line]
    assert 1 <= len(began) == len(ended) <= 4, lines
    assert not [record for record in caplog.records if record.exc_info]


def test_a_listener_waits_for_a_broker_and_can_be_stopped_meanwhile(broker: RabbitMQ) -> None:
    with sending(broker.url) as sender:
        send(sender, FIRST, "first")
    broker.kill()
    left = Inbox(broker.url, [(topics.EXCHANGE, FIRST)])
    left.listener.start()
    time.sleep(1)
    began = time.monotonic()
    left.listener.stop()
    assert time.monotonic() - began < 2
    with taking(broker.url, (topics.EXCHANGE, FIRST)) as inbox:
        time.sleep(1)
        assert not inbox.listener.alive
        broker.start()
        until(lambda: inbox.names == ["first"], "it does not arrive")
        assert inbox.listener.alive
    assert left.messages == []


def test_what_is_not_taken_stays_in_order_and_at_the_broker(broker: RabbitMQ) -> None:
    queue = f"{FIRST}.sample"
    with sending(broker.url) as sender:
        for number in range(50):
            send(sender, FIRST, number)
    with taking(broker.url, (topics.EXCHANGE, FIRST), prefetch=10) as inbox:
        inbox.refusing.set()
        time.sleep(2.5)
        assert broker.depth(queue) == 50
    assert inbox.messages == []
    assert broker.depth(queue) == 50
    with taking(broker.url, (topics.EXCHANGE, FIRST), prefetch=10) as inbox:
        inbox.refusing.set()
        time.sleep(1)
        inbox.refusing.clear()
        until(lambda: len(inbox.messages) >= 50, "not all arrives")
        until(lambda: broker.depth(queue) == 0, "not all is acknowledged")
    assert inbox.names == list(range(50))


def test_what_is_not_taken_for_long_is_asked_for_anew(
    broker: RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ceilo_agent.messaging.listener.HOLD", 0.5)
    with sending(broker.url) as sender:
        for number in range(30):
            send(sender, FIRST, number)
    with taking(broker.url, (topics.EXCHANGE, FIRST), prefetch=10) as inbox:
        inbox.refusing.set()
        time.sleep(4)
        inbox.refusing.clear()
        until(lambda: len(inbox.messages) >= 30, "not all arrives")
    assert inbox.names == list(range(30))


def test_a_connection_cut_while_messages_are_taken_loses_none(broker: RabbitMQ) -> None:
    with sending(broker.url) as sender:
        for number in range(40):
            send(sender, FIRST, number)
    with taking(broker.url, (topics.EXCHANGE, FIRST), prefetch=10) as inbox:
        inbox.refusing.set()
        until(lambda: inbox.listener.alive, "it does not listen")
        time.sleep(1)
        broker.cut()
        inbox.refusing.clear()
        # Those at hand come again: nobody knows whether the broker heard of them.
        until(lambda: set(inbox.names) == set(range(40)), "not all arrives")
        until(lambda: broker.depth(f"{FIRST}.sample") == 0, "some are never acknowledged")
    assert list(dict.fromkeys(inbox.names)) == list(range(40))


def test_what_is_no_notification_is_told_apart_and_done_once(broker: RabbitMQ) -> None:
    queue = f"{FIRST}.sample"
    odd: list[tuple[bytes, str]] = [
        (b"{broken", "application/json"),
        (b"[1,2]", "application/json"),
        (b"", "application/json"),
        (b"\x80\x04K\x01.", "application/x-python-serialize"),
        (b"\xff\xfe", "text/plain"),
        (b"x", "no/such"),
        (b'{"oslo.version":"9.0","oslo.message":"{}"}', "application/json"),
        (b'{"oslo.version":"2.0","oslo.message":"{br"}', "application/json"),
        (b'{"oslo.version":2,"oslo.message":3}', "application/json"),
        (b'{"event_type":5,"payload":1,"priority":5}', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"A" * (20 << 20), "text/plain"),
    ]
    with taking(broker.url, (topics.EXCHANGE, FIRST), prefetch=3) as inbox:
        until(lambda: inbox.listener.alive, "it does not listen")
        with kombu.Connection(broker.url.replace("rabbit", "amqp")) as connection:
            producer = connection.Producer()
            for body, kind in odd:
                producer.publish(
                    body,
                    exchange="",
                    routing_key=queue,
                    content_type=kind,
                    content_encoding="utf-8",
                )
            producer.publish(
                b"x", exchange="", routing_key=queue, content_type="application/json",
                content_encoding="utf-8", headers={"compression": "nosuch"},
            )  # fmt: skip
        with sending(broker.url) as sender:
            send(sender, FIRST, "sound")
        until(lambda: "sound" in inbox.names, "what is sound does not arrive")
        until(lambda: broker.depth(queue) == 0, "some stay")
    kinds = [message.event_type for message in inbox.messages]
    assert kinds == [""] * (len(odd) + 1) + ["test"]
    assert {message.topic for message in inbox.messages} == {FIRST}
    assert inbox.names[0] == "{broken"


def test_queues_of_ours_outlive_the_broker_and_others_are_as_oslo_has_them(
    broker: RabbitMQ, tmp_path: Path
) -> None:
    with sending(broker.url) as sender, sending(broker.url, "ceilometer") as other:
        send(sender, FIRST, 1)
        send(other, "notifications", 1)
    assert _durable(broker) == {f"{FIRST}.sample": True, "notifications.sample": False}
    # One connection is for both, and another for neither, if the operator says so.
    targets = ((topics.EXCHANGE, FIRST), ("ceilometer", "notifications"))
    with taking(broker.url, *targets) as inbox:
        until(lambda: len(inbox.messages) == 2, "not both arrive")
    broker.delete(*QUEUES)
    file = tmp_path / "agent.conf"
    file.write_text("[oslo_messaging_rabbit]\namqp_durable_queues = true\n")
    listener = Listener(
        broker.url, [str(file)], targets, lambda _: True,
        batch_size=1, batch_timeout=0.1, prefetch=1,
    )  # fmt: skip
    broker.ctl("eval", _WITHOUT_EXCHANGE)
    listener.start()
    until(lambda: len(_durable(broker)) == 2, "it does not declare")
    listener.stop()
    assert _durable(broker) == {f"{FIRST}.sample": True, "notifications.sample": True}


_WITHOUT_EXCHANGE = (
    'rabbit_exchange:delete(rabbit_misc:r(<<"/">>,exchange,<<"ceilometer">>),false,<<"test">>).'
)


def _durable(broker: RabbitMQ) -> dict[str, bool]:
    lines = broker.ctl("list_queues", "--no-table-headers", "name", "durable").splitlines()
    return {name: flag == "true" for name, flag in (line.split() for line in lines if line)}
