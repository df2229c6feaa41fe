# SPDX-License-Identifier: Apache-2.0
"""A cloud moves from Ceilometer to ours and back, step by step: nothing is lost or stored twice.

The steps are those of `doc/source/rolling_upgrade.rst`, on a real broker with real guests.
"""

from __future__ import annotations

import base64
import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kombu
import pytest

from ceilo_agent.messaging import topics, wire
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.message import Message
from tests.functional import agent, split
from tests.functional.conftest import COPY
from tests.functional.inbox import Inbox, taking
from tests.guests.fleet import fleet
from tests.services import ceilometer
from tests.services.rabbitmq import RabbitMQ

SECRET = "a secret of both"
Point = tuple[str, str, float]
"""Resource, meter, time: what a store keeps once."""


@pytest.fixture(scope="module", autouse=True)
def _guests() -> Iterator[None]:
    """Guests to poll; and what polls them as Ceilometer does."""
    ceilometer.programs()
    with fleet(bare=2, prefix="ceilo-roll-"):
        yield


class Cloud:
    """The agents of one host and of one controller, which come and go.

    Args:
        broker: that all of them use.
        directory: for their files.
        inbox: of a copy of all that is sent.
    """

    def __init__(self, broker: RabbitMQ, directory: Path, inbox: Inbox) -> None:
        self._broker, self._directory, self._inbox = broker, directory, inbox
        self._running: dict[str, ExitStack] = {}
        self._theirs: list[ceilometer.Agent] = []
        self._started = 0
        self.ours = self._reader()

    def start(self, name: str) -> None:
        """Start an agent by its name."""
        starts: dict[str, Callable[[], AbstractContextManager[Any]]] = {
            "their notification": self._their_notification,
            "their polling": lambda: ceilometer.polling(
                self._place("their-polling"), self._broker.url, SECRET, 1
            ),
            "our notification": lambda: split.running(self.ours),
            "our polling, ceilometer": lambda: self._our_polling("ceilometer"),
            "our polling, native": lambda: self._our_polling("native"),
        }
        stack = self._running[name] = ExitStack()
        stack.enter_context(starts[name]())

    def stop(self, name: str) -> None:
        """End an agent in order."""
        self._running.pop(name).close()

    def close(self) -> None:
        for name in list(self._running):
            with contextlib.suppress(Exception):
                self.stop(name)

    def goes_on(self) -> None:
        """Wait until samples are stored that were polled after now."""
        now = datetime.now(UTC).timestamp()
        agent.wait_until(
            lambda: sum(at > now for _, _, at in self.stored()) > 40, 90, "nothing is stored"
        )

    def sent(self) -> Counter[Point]:
        """Return what was sent."""
        return Counter(each for message in self._inbox.messages for each in points(message))

    def stored(self) -> Counter[Point]:
        """Return what both kinds of notification agents have stored."""
        documents = agent.lines(self.ours.directory / "out")
        for theirs in self._theirs:
            documents += theirs.samples()
        return Counter((each["resource_id"], each["name"], moment(each)) for each in documents)

    def _place(self, name: str) -> Path:
        self._started += 1
        made = self._directory / f"{name}-{self._started}"
        made.mkdir()
        return made

    @contextlib.contextmanager
    def _their_notification(self) -> Iterator[None]:
        with ceilometer.notification(self._place("theirs"), self._broker.url) as made:
            self._theirs.append(made)
            yield

    def _reader(self) -> split.Agent:
        place = self._place("ours")
        made = split.Agent(place, place / "agent.conf", place / "log")
        document = {
            "sources": [{"name": "all", "meters": ["!notification.*"], "sinks": ["file"]}],
            "sinks": [{"name": "file", "publishers": [f"file://{place}/out?max_bytes=0"]}],
        }
        (place / "pipeline.yaml").write_text(json.dumps(document))
        made.configure(
            self._broker.url, secret=SECRET, more=f"ceilometer_topics = {topics.CEILOMETER_TOPIC}\n"
        )
        return made

    def _our_polling(self, wire_format: str) -> AbstractContextManager[Any]:
        place = self._directory / "our-polling"
        place.mkdir(exist_ok=True)
        document = {"sources": [{"name": "all", "interval": 1, "meters": ["*"]}]}
        (place / "pipeline.yaml").write_text(json.dumps(document))
        config = place / "agent.conf"
        config.write_text(
            f"[DEFAULT]\nhost = h\nstate_path = {place}/state\n"
            f"transport_url = {self._broker.url}\npipeline_cfg_file = {place}/pipeline.yaml\n"
            f"[publisher]\ntelemetry_secret = {SECRET}\n[notification]\nqueues = {split.QUEUES}\n"
            f"[polling]\nnamespaces = compute\noutput = bus\nwire_format = {wire_format}\n"
        )
        return agent.running("polling", config=config, log=place / "log")


def moment(document: dict[str, Any]) -> float:
    found = datetime.fromisoformat(document["timestamp"])
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def points(message: Message) -> Iterator[Point]:
    """Yield what a notification holds, of our format or Ceilometer's."""
    if message.event_type == topics.EVENT_TYPE:
        frame = base64.b64decode(message.payload)
        for each in wire.decode(frame, Keys(SECRET.encode())).samples:
            # A float of seconds has no more digits than its text.
            text = datetime.fromtimestamp(each.time, UTC).isoformat(timespec="microseconds")
            yield each.resource.id, each.meter.name, moment({"timestamp": text})
    else:
        for document in message.payload["samples"]:
            yield document["resource_id"], document["counter_name"], moment(document)


def copy_all(broker: RabbitMQ) -> None:
    """Have all that is sent come to the copy as well."""
    url = broker.url.replace("rabbit://", "amqp://")
    with kombu.Connection(url) as connection, connection.channel() as channel:
        for exchange, key, durable in (
            (topics.CEILOMETER_EXCHANGE, f"{topics.CEILOMETER_TOPIC}.sample", False),
            (topics.EXCHANGE, f"{topics.PREFIX}#", True),
        ):
            kombu.Exchange(exchange, "topic", durable=durable)(channel).declare()
            channel.queue_bind(f"{COPY}.sample", exchange, key)


def test_each_step_there_and_back_loses_and_doubles_nothing(
    broker: RabbitMQ, tmp_path: Path
) -> None:
    with (
        taking(broker.url, (topics.CEILOMETER_EXCHANGE, COPY)) as inbox,
        contextlib.closing(Cloud(broker, tmp_path, inbox)) as cloud,
    ):
        agent.wait_until(lambda: f"{COPY}.sample" in broker.depths(), 60)
        copy_all(broker)
        for step, name in (
            ("start", "their notification"),
            ("start", "their polling"),
            ("start", "our notification"),
            ("stop", "their polling"),
            ("start", "our polling, ceilometer"),
            ("stop", "their notification"),
            ("stop", "our polling, ceilometer"),
            ("start", "our polling, native"),
            # and back
            ("stop", "our polling, native"),
            ("start", "our polling, ceilometer"),
            ("start", "their notification"),
            ("stop", "our polling, ceilometer"),
            ("start", "their polling"),
            ("stop", "our notification"),
        ):
            getattr(cloud, step)(name)
            if any("polling" in each for each in cloud._running):
                cloud.goes_on()
        cloud.stop("their polling")
        agent.wait_until(lambda: not any(broker.depths().values()), 60, "messages wait")
        agent.wait_until(lambda: not cloud.sent() - cloud.stored(), 30, "points are missing")
        sent, stored = cloud.sent(), cloud.stored()
        assert cloud.ours.letters() == []
    assert stored == sent
    assert set(stored.values()) == {1}, "a point is stored twice"
    assert len(stored) > 500
