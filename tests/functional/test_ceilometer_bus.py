# SPDX-License-Identifier: Apache-2.0
"""Ceilometer 27's agents and ours on one broker, in both directions, with real guests."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kombu
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceilo_agent.messaging import topics
from ceilo_agent.messaging.ceilometer import decode, encode
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.sender import Sender
from ceilo_agent.messaging.signature import Signer, Text
from ceilo_agent.sample import FIRST, Meter, Resource, Sample, SampleType
from tests.functional import agent, split
from tests.functional.conftest import COPY
from tests.functional.inbox import taking
from tests.guests.fleet import Guest, fleet
from tests.services import ceilometer
from tests.services.rabbitmq import RabbitMQ
from tests.unit.messaging.test_ceilometer_signature import METADATA, document

SECRET = "a secret of both"
KEYS = Keys(SECRET.encode())

THEIRS = topics.CEILOMETER_TOPIC
COUNTS = re.compile(r"publisher bus: (\d+) samples offered, (\d+) delivered, (\d+) waiting")

POLLED = {
    "cpu", "vcpus", "memory", "power.state", "disk.device.read.bytes", "disk.device.write.requests",
    "network.incoming.bytes", "network.outgoing.packets",
}  # fmt: skip
"""Some of what any guest has."""


@pytest.fixture(scope="module", autouse=True)
def _programs() -> None:
    ceilometer.programs()


@pytest.fixture(scope="module")
def guests() -> Iterator[list[Guest]]:
    """A guest that runs Linux, whose counters move, and one that has no system."""
    with fleet(booted=1, bare=1, prefix="ceilo-bus-") as made:
        made[0].wait_ready()
        yield made


@pytest.fixture(scope="module")
def code() -> Iterator[ceilometer.Code]:
    made = ceilometer.Code()
    yield made
    made.close()


def reader(directory: Path, url: str, topic: str) -> split.Agent:
    """Return a notification agent of ours that reads Ceilometer's messages into a file."""
    directory.mkdir()
    made = split.Agent(directory, directory / "agent.conf", directory / "log")
    publishers = [f"file://{directory}/out?max_bytes=0"]
    # All but what it says of itself.
    pipeline = {
        "sources": [{"name": "all", "meters": ["!notification.*"], "sinks": ["file"]}],
        "sinks": [{"name": "file", "publishers": publishers}],
    }
    (directory / "pipeline.yaml").write_text(json.dumps(pipeline))
    made.config.write_text(
        f"[DEFAULT]\nhost = n\nstate_path = {directory}/state\ntransport_url = {url}\n"
        f"pipeline_cfg_file = {directory}/pipeline.yaml\n"
        f"[publisher]\ntelemetry_secret = {SECRET}\n"
        f"[notification]\nqueues = 1\nceilometer_topics = {topic}\n"
    )
    return made


def poller(directory: Path, url: str) -> Path:
    """Return the configuration of a polling agent of ours that writes Ceilometer's messages."""
    directory.mkdir()
    pipeline = {
        "sources": [{"name": "all", "interval": 1, "meters": ["*"], "sinks": ["unused"]}],
        "sinks": [{"name": "unused", "publishers": ["gnocchi://"]}],
    }
    (directory / "pipeline.yaml").write_text(json.dumps(pipeline))
    config = directory / "agent.conf"
    config.write_text(
        f"[DEFAULT]\nhost = h\nstate_path = {directory}/state\ntransport_url = {url}\n"
        f"pipeline_cfg_file = {directory}/pipeline.yaml\n"
        f"[publisher]\ntelemetry_secret = {SECRET}\n"
        "[polling]\nnamespaces = compute,host\noutput = bus\nwire_format = ceilometer\n"
    )
    return config


def consumed(broker: RabbitMQ, topic: str, agents: int = 1) -> None:
    """Wait until so many agents consume a topic."""

    def is_so() -> bool:
        listed = broker.ctl("list_queues", "--no-table-headers", "name", "consumers")
        return [f"{topic}.sample", str(agents)] in map(str.split, listed.splitlines())

    agent.wait_until(is_so, 60, f"not {agents} agents consume {topic}")


def copy(broker: RabbitMQ) -> None:
    """Have what is sent to Ceilometer's topic come to the other as well, whose queue exists."""
    url = broker.url.replace("rabbit://", "amqp://")
    with kombu.Connection(url) as connection, connection.channel() as channel:
        channel.queue_bind(f"{COPY}.sample", topics.CEILOMETER_EXCHANGE, f"{THEIRS}.sample")


def drained(broker: RabbitMQ) -> None:
    agent.wait_until(lambda: not any(broker.depths().values()), 60, "messages wait")


def comparable(each: dict[str, Any]) -> str:
    """Return what both agents' files have of a sample; when it was read as one moment."""
    moment = datetime.fromisoformat(each["timestamp"])
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    names = ("name", "type", "unit", "volume", "resource_id", "project_id", "user_id")
    shown = {name: each[name] for name in (*names, "resource_metadata")}
    return json.dumps({**shown, "timestamp": moment.isoformat()}, sort_keys=True)


def test_what_ceilometer_polls_is_the_same_through_its_agent_and_ours(
    broker: RabbitMQ, guests: list[Guest], tmp_path: Path
) -> None:
    made = reader(tmp_path / "ours", broker.url, COPY)
    theirs_at, polling_at = tmp_path / "theirs", tmp_path / "polling"
    theirs_at.mkdir()
    polling_at.mkdir()
    with split.running(made), ceilometer.notification(theirs_at, broker.url) as theirs:
        consumed(broker, THEIRS)
        consumed(broker, COPY)
        copy(broker)
        with ceilometer.polling(polling_at, broker.url, SECRET) as polling:

            def polled() -> bool:
                found = Counter(
                    each["name"] for each in theirs.samples()
                    if guests[0].uuid in each["resource_id"]
                )  # fmt: skip
                return all(found[name] > 1 for name in POLLED)

            with contextlib.suppress(AssertionError):
                agent.wait_until(polled, 90)
            assert polled(), polling.log.read_text()[-3000:]
        drained(broker)
        wanted = Counter(map(comparable, theirs.samples()))
        agent.wait_until(lambda: len(agent.lines(made.directory / "out")) >= wanted.total())
        assert Counter(map(comparable, agent.lines(made.directory / "out"))) == wanted
        assert made.letters() == []
    counted = {
        each["name"] for each in theirs.samples()
        if each["volume"] and guests[0].uuid in each["resource_id"]
    }  # fmt: skip
    assert counted >= POLLED, "the guest has done something"


def test_what_we_poll_arrives_through_ceilometer_s_agent(
    broker: RabbitMQ, guests: list[Guest], code: ceilometer.Code, tmp_path: Path
) -> None:
    config = poller(tmp_path / "ours", broker.url)
    log = tmp_path / "log"
    at = tmp_path / "theirs"
    at.mkdir()
    with (
        ceilometer.notification(at, broker.url) as theirs,
        taking(broker.url, (topics.CEILOMETER_EXCHANGE, COPY)) as inbox,
    ):
        consumed(broker, THEIRS)
        consumed(broker, COPY)
        copy(broker)
        with agent.running("polling", config=config, log=log):
            agent.wait_until(
                lambda: sum(each["name"] == "vcpus" for each in theirs.samples()) > 5, 60, "none"
            )
        offered, delivered, waiting = map(int, COUNTS.findall(log.read_text())[-1])
        assert (delivered, waiting) == (offered, 0)
        drained(broker)
        agent.wait_until(lambda: len(theirs.samples()) >= offered, 30)
    samples = theirs.samples()
    assert len(samples) == len({each["id"] for each in samples}) == offered
    assert {each["resource_id"] for each in samples} >= {guest.uuid for guest in guests}
    assert {each["name"] for each in samples} >= POLLED
    payloads = [message.payload for message in inbox.messages]
    sent = [document for payload in payloads for document in payload["samples"]]
    assert max(len(payload["samples"]) for payload in payloads) == 50
    stored = {each["id"]: each for each in samples}
    for each in sent:
        found = stored[each["message_id"]]
        for name in ("resource_id", "project_id", "user_id", "timestamp", "resource_metadata"):
            assert found[name] == each[name]
        for name in ("name", "type", "unit", "volume"):
            assert found[name] == each[f"counter_{name}"]
    for payload in payloads:
        assert all(code.read(payload, SECRET)["verified"])
        assert not any(code.read(payload, "another")["verified"])
        assert not decode(payload, KEYS).refused


def test_both_agents_share_a_topic_and_nothing_goes_round_for_ever(
    broker: RabbitMQ, tmp_path: Path
) -> None:
    made = reader(tmp_path / "ours", broker.url, THEIRS)
    at = tmp_path / "theirs"
    at.mkdir()
    meter = Meter("cpu", "ns", SampleType.CUMULATIVE)
    resource = Resource("9f", "p", "u", "instance", {"host": "kvm-1"})
    samples = [Sample(meter, resource, 1.7e9 + n, n, FIRST, None, None) for n in range(5000)]
    # Its agent fails with these and gives them back; without ours they come for ever.
    bad: list[dict[str, Any]] = [{"samples": [{}]}, {"no": "samples"}]
    with split.running(made), ceilometer.notification(at, broker.url) as theirs:
        consumed(broker, THEIRS, agents=2)
        sender = Sender(broker.url, (), topics.CEILOMETER_EXCHANGE, "test")
        for number, payload in enumerate(encode(samples, keys=KEYS, max_bytes=1 << 20)):
            sender.send(THEIRS, topics.CEILOMETER_EVENT_TYPE, payload)
            if number % 25 == 12:
                for each in bad:
                    sender.send(THEIRS, topics.CEILOMETER_EVENT_TYPE, each)
        sender.close()

        def found() -> list[str]:
            both = [*theirs.samples(), *agent.lines(made.directory / "out")]
            return [comparable(each) for each in both]

        drained(broker)
        agent.wait_until(lambda: len(found()) >= len(samples), 60, "not all arrives")
        once = Counter(found())
        assert len(once) == once.total() == len(samples)
        assert theirs.samples()
        assert agent.lines(made.directory / "out")
        letters = made.letters()
        assert len(letters) == 4 * len(bad)
        assert {each["reason"] for each in letters} == {"signature", "unknown"}


@settings(deadline=None, max_examples=200)
@given(metadata=METADATA, volume=st.integers(0, 2**64 - 1) | st.floats(0, 1e300))
def test_signatures_are_those_of_ceilometer_s_own_code(
    code: ceilometer.Code, metadata: dict[str, Any], volume: float
) -> None:
    made = json.loads(json.dumps(document(resource_metadata=metadata, counter_volume=volume)))
    (expected,) = code.read({"samples": [made]}, SECRET)["signatures"]
    sign = Signer(SECRET.encode())
    assert sign(Text()(made)) == sign(Text.exact(made)) == expected
    assert not decode([made | {"message_signature": expected}], KEYS).refused


@settings(deadline=None, max_examples=100)
@given(metadata=METADATA, time=st.floats(0, 2e9), volume=st.integers(0, 2**64 - 1))
def test_what_we_write_its_own_code_reads_and_verifies(
    code: ceilometer.Code, metadata: dict[str, Any], time: float, volume: int
) -> None:
    resource = Resource("9f", None, "u", "instance", metadata)
    meter = Meter("cpu", "ns", SampleType.CUMULATIVE)
    made = Sample(meter, resource, time, volume, FIRST, None, None)
    (payload,) = encode([made], keys=KEYS, max_bytes=1 << 20)
    answer = code.read(payload, SECRET)
    assert answer["verified"] == [True]
    (built,) = answer["samples"]
    assert (built["name"], built["volume"], built["resource_id"]) == ("cpu", volume, "9f")
    assert built["resource_metadata"] == payload["samples"][0]["resource_metadata"]
