# SPDX-License-Identifier: Apache-2.0
"""What `notifier://` sends, and what it sends again; a broker in the test's memory takes it."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import urlsplit

import pytest

from ceilo_agent.errors import ConfigError, Permanent, Retryable
from ceilo_agent.plugins import Context
from ceilo_agent.publishers.notifier import Notifier, NotifierOptions, cycles
from ceilo_agent.sample import UNTRACKED, Meter, Resource, Sample, SampleType

NOW = 1_700_000_000.0


def sample(
    time: float = NOW, guest: str = "g", source: str | None = "s", kind: str = "instance"
) -> Sample:
    owner = Resource(guest, None, None, kind, {})
    return Sample(
        Meter("cpu", "ns", SampleType.CUMULATIVE), owner, time, 7, UNTRACKED, None, source
    )


class Broker:
    """Takes what is sent, but for the one of a number, once.

    Attributes:
        taken: payloads.
    """

    def __init__(self, fails_at: int = -1) -> None:
        self.taken: list[Any] = []
        self._fails_at = fails_at

    def send(self, topic: str, event_type: str, payload: Any) -> None:
        if len(self.taken) == self._fails_at:
            self._fails_at = -1
            raise Retryable("away")
        self.taken.append(payload)


def notifier(
    broker: Broker, options: dict[str, Any] | None = None, agent: dict[str, Any] | None = None
) -> Notifier:
    known = {"DEFAULT.transport_url": "rabbit://h/", "notification.queues": 8}
    values = known | (agent or {})
    made = Notifier(
        urlsplit("notifier://"), NotifierOptions(**(options or {})), Context("h", values)
    )
    made.open()
    made._sender = broker  # type: ignore[assignment]
    return made


def sizes(samples: list[Sample]) -> list[int]:
    return [len(part) for part in cycles(samples)]


def test_a_part_is_of_one_source_kind_and_cycle() -> None:
    assert sizes([]) == []
    assert sizes([sample(guest="a"), sample(guest="b")]) == [2]
    assert sizes([sample(guest="a"), sample(guest="b", source="other")]) == [1, 1]
    assert sizes([sample(guest="a"), sample(guest="a")]) == [1, 1]
    assert sizes([sample(guest="a"), sample(NOW + 1, guest="b")]) == [1, 1]
    assert sizes([sample(guest="a"), sample(guest="a", kind="host")]) == [1, 1]
    assert sizes([sample(guest="a", kind="instance_disk"), sample(guest="b")]) == [2]


def test_parts_do_not_depend_on_what_waits_behind() -> None:
    found = [
        sample(NOW + 60 * cycle, guest=str(guest), kind=kind, source=source)
        for cycle in range(3)
        for source in ("one", "two")
        for kind in ("instance", "host")
        for guest in range(5)
    ]
    whole = [part[0] for part in cycles(found)]
    for end in range(5, len(found), 5):
        begun = [part[0] for part in cycles(found[:end])]
        assert begun == whole[: len(begun)]
        assert [len(part) for part in cycles(found[:end])] == [5] * (end // 5)


def test_a_push_that_failed_goes_on_where_it_was() -> None:
    reference, broker = Broker(), Broker(fails_at=2)
    samples = [sample(NOW + number, str(number)) for number in range(5)]
    notifier(reference).push(samples)
    tried = notifier(broker)
    with pytest.raises(Retryable):
        tried.push(samples[:4])
    assert len(broker.taken) == 2
    # Read from disk again, and with one more behind.
    again = [sample(each.time, each.resource.id) for each in samples]
    tried.push(again)
    assert len(broker.taken) == len(reference.taken) == 5
    assert len(set(broker.taken)) == 5


def test_another_push_after_one_that_failed_is_sent_whole() -> None:
    broker = Broker(fails_at=1)
    tried = notifier(broker)
    with pytest.raises(Retryable):
        tried.push([sample(guest="a"), sample(NOW + 9, "a")])
    tried.push([sample(NOW + 9, "a"), sample(NOW + 10, "a")])
    assert len(broker.taken) == 3


@pytest.mark.parametrize("wire_format", ["native", "ceilometer"])
def test_what_no_message_holds_is_named_and_the_rest_arrives(wire_format: str) -> None:
    broker = Broker()
    agent = {"publisher.max_message_bytes": 1 << 13}
    tried = notifier(broker, {"wire_format": wire_format}, agent)
    noise = {str(n): hashlib.sha256(bytes([n])).hexdigest() for n in range(256)}
    large = Resource(
        "b", None, None, "instance", {"x": noise, "y": {v: n for n, v in noise.items()}}
    )
    samples = [sample(guest="a"), _of(large), sample(guest="c")]
    with pytest.raises(Permanent, match="too large") as caught:
        tried.push(samples)
    assert set(caught.value.refused or {}) == {1}
    assert broker.taken
    tried.push([sample(NOW + 60)])


def _of(owner: Resource) -> Sample:
    meter = Meter("cpu", "ns", SampleType.CUMULATIVE)
    return Sample(meter, owner, NOW, 7, UNTRACKED, None, "s")


def test_ceilometers_messages_have_fifty_samples_at_most() -> None:
    broker = Broker()
    tried = notifier(broker, {"wire_format": "ceilometer"})
    tried.push([sample(guest=str(number)) for number in range(120)])
    assert [len(payload["samples"]) for payload in broker.taken] == [50, 50, 20]


def test_options_of_ceilometers_that_mean_nothing_are_accepted() -> None:
    taken = {"policy": "queue", "max_queue_length": 10, "max_retry": 3, "retry": 1}
    notifier(Broker(), taken).push([sample()])
    with pytest.raises(ConfigError, match="per_meter_topic"):
        notifier(Broker(), {"per_meter_topic": True})


def test_without_a_broker_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="transport_url is not given"):
        notifier(Broker(), agent={"DEFAULT.transport_url": None})
