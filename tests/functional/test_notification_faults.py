# SPDX-License-Identifier: Apache-2.0
"""The notification agent when what is around it fails: its disk, one broker of two, its files."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ceilo_agent.messaging import topics
from ceilo_agent.messaging.sender import Sender
from ceilo_agent.sample import Resource, Sample
from tests.functional import agent, disk, split
from tests.functional.split import Agent, Hosts
from tests.services import rabbitmq
from tests.services.rabbitmq import RabbitMQ


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    with disk.small(tmp_path / "disk", "1m") as path:
        yield path


def send(broker: RabbitMQ, host: str, *frames: bytes) -> None:
    """Send batches on the topic of a host."""
    sender = Sender(broker.url, (), topics.EXCHANGE, "test")
    topic = topics.topic(topics.queue_of(host, split.QUEUES))
    for each in frames:
        sender.send(topic, topics.EVENT_TYPE, base64.b64encode(each).decode())
    sender.close()


def waiting(broker: RabbitMQ) -> int:
    return sum(broker.depths().values())


def hosts_of(*queues: int) -> list[str]:
    """Return a host for each of these queues."""
    found: dict[int, str] = {}
    for number in range(1000):
        found.setdefault(topics.queue_of(f"kvm-{number}", split.QUEUES), f"kvm-{number}")
    return [found[queue] for queue in queues]


def large(number: int) -> list[Sample]:
    """Return samples that take some 50 KiB on disk, whatever compresses them."""
    chance = random.Random(number)
    resource = Resource("guest", None, None, "instance", {})
    return [
        Sample(split.METERS[n % 4], resource, 1.7e9 + number * 5000 + n, chance.getrandbits(60))
        for n in range(5000)
    ]


def test_what_cannot_be_set_aside_is_not_acknowledged_and_the_rest_comes_once(
    broker: RabbitMQ, tmp_path: Path, small_disk: Path
) -> None:
    made = Agent.made(tmp_path, broker.url, more=f"[delivery]\nspool_dir = {small_disk}\n")
    forged = split.frame(split.batch("kvm-1", 1.6e9), "kvm-1", "another secret")
    batches = [split.batch("kvm-1", 1.7e9 + number) for number in range(100)]
    frames = [split.frame(each, "kvm-1") for each in batches]
    with split.running(made):
        send(broker, "kvm-1", frames[0])
        made.has([split.point(each) for each in batches[0]])
        filler = disk.fill(small_disk)
        send(broker, "kvm-1", *frames[1:50], forged, *frames[50:])
        agent.wait_until(lambda: "letters.db cannot be written" in made.log.read_text())
        assert waiting(broker) > 0
        filler.unlink()
        stored = made.has([split.point(each) for batch in batches for each in batch])
        agent.wait_until(lambda: waiting(broker) == 0)
        assert sorted(stored) == sorted(split.point(each) for batch in batches for each in batch)
        assert [each["reason"] for each in made.letters()] == ["signature"]


def test_what_a_full_disk_cannot_hold_stays_at_the_broker(
    broker: RabbitMQ, tmp_path: Path, small_disk: Path
) -> None:
    made = Agent.made(tmp_path, broker.url, more=f"[delivery]\nspool_dir = {small_disk}\n")
    document = json.loads((tmp_path / "pipeline.yaml").read_text())
    # Nobody is there: what is for it fills the disk. The file has all from memory meanwhile.
    document["sinks"][0]["publishers"].append("http://127.0.0.1:1/?timeout=1")
    (tmp_path / "pipeline.yaml").write_text(json.dumps(document))
    batches = [large(number) for number in range(20)]
    with split.running(made) as process:
        send(broker, "kvm-1", *[split.frame(each, "kvm-1") for each in batches[:2]])
        made.has([split.point(each) for batch in batches[:2] for each in batch])
        filler = disk.fill(small_disk)
        send(broker, "kvm-1", *[split.frame(each, "kvm-1") for each in batches[2:]])
        agent.wait_until(lambda: "not acknowledged" in made.log.read_text(), 60)
        assert waiting(broker) > 0
        # What was taken and not written down dies with its worker; the broker has it still.
        os.kill(split.workers(process.pid)[0], signal.SIGKILL)
        agent.wait_until(lambda: made.log.read_text().count("not acknowledged") > 1, 60)
        assert waiting(broker) > 0
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
        stored = made.has([split.point(each) for batch in batches for each in batch])
        agent.wait_until(lambda: waiting(broker) == 0, 60)
        assert set(stored) == {split.point(each) for batch in batches for each in batch}
        assert "can be written again" in made.log.read_text()


def test_several_brokers_are_read_and_one_that_fails_holds_up_no_other(
    broker: RabbitMQ, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with rabbitmq.running(tmp_path_factory.mktemp("second")) as second:
        made = Agent.made(tmp_path, broker.url, workers=2)
        made.configure(
            "rabbit://guest:pw@127.0.0.1:1/",
            workers=2,
            more=f"messaging_urls = {broker.url}\nmessaging_urls = {second.url}\n",
        )
        with split.running(made):
            with (
                Hosts(broker.url, prefix="one") as ones,
                Hosts(second.url, prefix="other") as others,
            ):
                agent.wait_until(lambda: len(ones.sent) > 400 and len(others.sent) > 400)
                second.kill()
                before = len(ones.sent)
                agent.wait_until(lambda: len(ones.sent) > before + 400)
                made.has(ones.sent[before : before + 400])
                second.start()
                later = len(others.sent)
                agent.wait_until(lambda: len(others.sent) > later + 400, 90)
            stored = made.has([*ones.sent, *others.sent])
            assert set(stored) == {*ones.sent, *others.sent}
        assert "guest@" not in made.log.read_text(), "no part of a URL that is secret"


def test_samples_of_an_unknown_source_go_by_their_meters(broker: RabbitMQ, tmp_path: Path) -> None:
    made = Agent.made(tmp_path, broker.url)
    foreign = split.batch("kvm-1", 1.7e9)
    with split.running(made):
        document = json.loads((tmp_path / "pipeline.yaml").read_text())
        assert document["sources"][0]["meters"] == ["cpu.*"]
        send(broker, "kvm-1", split.frame(foreign, "kvm-1", source="of a newer file"))
        made.has([split.point(each) for each in foreign])
    told = made.log.read_text()
    assert told.count("no source is named 'of a newer file'") == 1
    assert "1 batches of a source that is not in the file" in told


def test_a_mistake_in_the_files_ends_no_worker(broker: RabbitMQ, tmp_path: Path) -> None:
    made = Agent.made(tmp_path, broker.url, workers=2)
    pipeline = tmp_path / "pipeline.yaml"
    good = pipeline.read_text()
    hosts = hosts_of(0, 1)
    with split.running(made) as process:
        agent.wait_until(lambda: len(split.workers(process.pid)) == 2)
        agent.wait_until(lambda: made.log.read_text().count("queues consumed: ") == 2)
        # What three workers cannot have, and then what nobody can.
        page = json.loads(good)
        page["sinks"][0]["publishers"].append("prometheus://127.0.0.1:9")
        for text, told in ((json.dumps(page), "one process"), ("sources: [", "pipeline.yaml:1:")):
            pipeline.write_text(text)
            made.configure(broker.url, workers=3)
            refused = made.log.read_text().count("reload refused")
            os.kill(process.pid, signal.SIGHUP)
            agent.wait_until(
                lambda: made.log.read_text().count("reload refused") == refused + 2  # noqa: B023
            )
            assert told in made.log.read_text()
        before = split.workers(process.pid)
        assert len(before) == 2
        # One that dies meanwhile goes on as before.
        os.kill(before[0], signal.SIGKILL)
        agent.wait_until(lambda: "stays in force" in made.log.read_text())
        samples = [split.batch(host, 1.7e9) for host in hosts]
        for host, each in zip(hosts, samples, strict=True):
            send(broker, host, split.frame(each, host))
        made.has([split.point(each) for batch in samples for each in batch])
        pipeline.write_text(good)
        os.kill(process.pid, signal.SIGHUP)
        agent.wait_until(lambda: len(split.workers(process.pid)) == 3)


def test_letters_of_workers_that_are_no_more_go_to_those_that_are(
    broker: RabbitMQ, tmp_path: Path
) -> None:
    made = Agent.made(tmp_path, broker.url, workers=4)
    hosts = hosts_of(*range(split.QUEUES))
    samples = {host: split.batch(host, 1.7e9) for host in hosts}
    taken = split.batch(hosts[1], 1.6e9)
    with split.running(made):
        # Worker 1 has a log besides, workers 2 and 3 have letters alone.
        send(broker, hosts[1], split.frame(taken, hosts[1]))
        for host, each in samples.items():
            send(broker, host, split.frame(each, host, "another secret"))
        made.has([split.point(each) for each in taken])
        agent.wait_until(lambda: len(made.letters()) == len(hosts))
        workers = {each["letter"].partition("/")[0] for each in made.letters()}
        assert workers == {"0", "1", "2", "3"}
    made.configure(broker.url, workers=1, secret="another secret")
    with split.running(made):
        agent.wait_until(lambda: {e["letter"].partition("/")[0] for e in made.letters()} == {"0"})
        assert len(made.letters()) == len(hosts)
        agent.run("letters", "replay", "--all", config=made.config)
        made.has([split.point(each) for batch in samples.values() for each in batch])
        agent.wait_until(lambda: made.letters() == [])
    spool = tmp_path / "state" / "spool" / "notification"
    assert not (spool / "1").exists()
    assert "worker 1" not in agent.run("letters", "list", config=made.config).stdout
    assert not list((spool / "0").glob("from-*"))


def test_a_key_on_the_terminal_ends_it_in_order(broker: RabbitMQ, tmp_path: Path) -> None:
    made = Agent.made(tmp_path, broker.url, workers=2)
    samples = split.batch("kvm-1", 1.7e9)
    with split.running(made) as process:
        send(broker, "kvm-1", split.frame(samples, "kvm-1"))
        made.has([split.point(each) for each in samples])
        os.killpg(os.getpgid(process.pid), signal.SIGINT)
        process.wait(30)
    assert made.log.read_text().count("publisher file-") == 2, "each worker ended in order"
