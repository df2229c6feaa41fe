# SPDX-License-Identifier: Apache-2.0
"""What comes is accepted once, and what cannot be is set aside: nothing comes for ever."""

from __future__ import annotations

import base64
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from ceilo_agent.messaging import ceilometer, topics, wire
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.message import Message
from ceilo_agent.notification.intake import AT_ONCE, Intake
from ceilo_agent.notification.letterfile import FILE
from ceilo_agent.notification.letters import Letters, Shelf
from ceilo_agent.notification.receiver import Receiver
from ceilo_agent.sample import FIRST, Batch, Meter, Resource, Sample, SampleType

KEYS = Keys(b"secret")
METER = Meter("cpu", "ns", SampleType.CUMULATIVE)


def samples(count: int, source: str | None = "all", start: int = 0) -> list[Sample]:
    resource = Resource("guest", "p", "u", "instance", {"a": 1})
    return [
        Sample(METER, resource, 1.7e9 + start + n, n, FIRST, None, source) for n in range(count)
    ]


def native(count: int, source: str | None = "all", keys: Keys = KEYS, start: int = 0) -> Message:
    (frame,) = wire.encode(
        samples(count, source, start), host="kvm-1", source=source, sent=time.time(), queues=8,
        keys=keys, max_bytes=1 << 27,
    )  # fmt: skip
    payload = base64.b64encode(frame).decode()
    return Message("ceilo_agent.samples.0", "ceilo_agent.kvm-1", topics.EVENT_TYPE, payload, "m")


def theirs(count: int, number: str = "n1", keys: Keys = KEYS) -> Message:
    (payload,) = ceilometer.encode(samples(count), keys=keys, max_bytes=1 << 20)
    return Message("notifications", "ceilometer.polling", "telemetry.polling", payload, number)


class Pipeline:
    """Takes batches; fails with those that a test names."""

    def __init__(self) -> None:
        self.transactions: list[list[Batch]] = []
        self.fails_with: float | None = None
        self.stored = True

    def accept(self, *batches: Batch) -> None:
        if any(each.volume == self.fails_with for batch in batches for each in batch.samples):
            raise ZeroDivisionError("by a transformer")
        self.transactions.append(list(batches))

    @property
    def samples(self) -> list[Sample]:
        return [each for many in self.transactions for batch in many for each in batch.samples]


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline()


@pytest.fixture
def receiver(tmp_path: Path, pipeline: Pipeline) -> Receiver:
    letters = Letters(tmp_path, 1 << 20)
    return Receiver(Intake(KEYS, 8), letters, pipeline.accept, lambda: pipeline.stored)


def letters(tmp_path: Path) -> list[str]:
    return [each.reason for each in Shelf(tmp_path / FILE).letters()]


def test_messages_of_one_take_are_one_transaction(receiver: Receiver, pipeline: Pipeline) -> None:
    assert receiver.take([native(3), native(2, start=10), native(2, "other"), theirs(4)])
    ((first, second, third),) = pipeline.transactions
    assert [batch.source for batch in (first, second, third)] == ["all", "other", None]
    assert [len(batch.samples) for batch in (first, second, third)] == [5, 2, 4]
    assert first.samples[0] == pipeline.samples[0]
    assert receiver.counters.samples == 11
    assert receiver.counters.messages == 4


def test_what_holds_much_is_taken_in_parts(receiver: Receiver, pipeline: Pipeline) -> None:
    assert receiver.take([native(AT_ONCE - 1, start=n) for n in range(3)])
    assert [sum(len(b.samples) for b in each) for each in pipeline.transactions] == [
        2 * (AT_ONCE - 1),
        AT_ONCE - 1,
    ]


def test_what_comes_twice_is_accepted_once(receiver: Receiver, pipeline: Pipeline) -> None:
    one, other = native(3), theirs(2)
    assert receiver.take([one, one, other])
    assert receiver.take([other, one])
    assert len(pipeline.samples) == 5
    assert receiver.counters.repeated == 3


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (native(1, keys=Keys()), "signature"),
        (native(1, keys=Keys(b"other")), "signature"),
        (theirs(1, keys=Keys(b"other")), "signature"),
        (native(1)._replace(payload="AAAA"), "malformed"),
        (native(1)._replace(payload="\u00e4"), "malformed"),
        (native(1)._replace(payload=None), "malformed"),
        (native(1)._replace(event_type="", payload={"any": "thing"}), "unknown"),
        (native(1)._replace(event_type="compute.instance.update", payload={}), "unknown"),
        (theirs(1)._replace(event_type="hardware.ipmi", payload={"nodes": []}), "unknown"),
    ],
)
def test_what_cannot_be_read_is_set_aside_and_is_done(
    receiver: Receiver, pipeline: Pipeline, tmp_path: Path, message: Message, reason: str
) -> None:
    assert receiver.take([message, native(2)])
    assert len(pipeline.samples) == 2
    assert letters(tmp_path) == [reason]
    assert receiver.counters.letters == {reason: 1}


def test_one_bad_sample_of_a_message_does_not_cost_the_others(
    receiver: Receiver, pipeline: Pipeline, tmp_path: Path
) -> None:
    message = theirs(3, keys=Keys())
    message.payload["samples"][1]["counter_volume"] = None
    receiver.intake.keys = Keys()
    assert receiver.take([message])
    assert [each.volume for each in pipeline.samples] == [0, 2]
    (kept,) = Shelf(tmp_path / FILE).letters()
    assert kept.message.payload[0]["counter_volume"] is None


def test_a_message_that_the_pipeline_fails_with_is_found(
    receiver: Receiver, pipeline: Pipeline, tmp_path: Path
) -> None:
    pipeline.fails_with = 7
    assert receiver.take([native(3), native(8, start=50), native(2, start=90)])
    assert len(pipeline.samples) == 5
    (kept,) = Shelf(tmp_path / FILE).letters()
    assert "ZeroDivisionError: by a transformer" in kept.words
    assert receiver.counters.samples == 5


def test_nothing_is_acknowledged_before_it_is_on_disk(
    receiver: Receiver, pipeline: Pipeline
) -> None:
    pipeline.stored = False
    answers: list[bool] = []
    taking = threading.Thread(target=lambda: answers.append(receiver.take([native(1)])))
    taking.start()
    time.sleep(0.3)
    assert answers == []
    pipeline.stored = True
    taking.join(10)
    assert answers == [True]


def test_what_waits_for_a_disk_goes_back_at_the_end(receiver: Receiver, pipeline: Pipeline) -> None:
    pipeline.stored = False
    answers: list[bool] = []
    taking = threading.Thread(target=lambda: answers.append(receiver.take([native(1)])))
    taking.start()
    receiver.stop()
    taking.join(10)
    assert answers == [False]
    assert receiver.counters.messages == 0


def test_letters_that_cannot_be_written_are_waited_for_and_nothing_comes_twice(
    receiver: Receiver, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ceilo_agent.notification.receiver.LETTERS_EVERY", 0.05)
    refused = threading.Event()

    def full(_letters: Any) -> None:
        refused.set()
        raise sqlite3.OperationalError("database or disk is full")

    messages = [native(2), native(1, keys=Keys())]
    answers: list[bool] = []
    with monkeypatch.context() as patch:
        patch.setattr(receiver.letters, "put", full)
        taking = threading.Thread(target=lambda: answers.append(receiver.take(messages)))
        taking.start()
        assert refused.wait(10)
        assert receiver.replay() == 0, "it does not wait for the disk"
        assert answers == []
    taking.join(10)
    assert answers == [True]
    assert len(pipeline.samples) == 2
    assert letters(tmp_path) == ["signature"]


def test_letters_that_cannot_be_written_go_back_at_the_end(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_letters: Any) -> None:
        receiver.stop()
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(receiver.letters, "put", full)
    assert not receiver.take([native(1, keys=Keys())])


def test_letters_are_tried_again_with_the_secrets_of_now(
    receiver: Receiver, pipeline: Pipeline, tmp_path: Path
) -> None:
    assert receiver.take([native(2, keys=Keys(b"new")), native(1)._replace(payload="no base64!")])
    assert pipeline.samples == []
    assert receiver.replay() == 0
    Shelf(tmp_path / FILE).replay()
    receiver.intake.keys = Keys(b"new", b"secret")
    assert receiver.replay() == 2
    assert len(pipeline.samples) == 2
    assert letters(tmp_path) == ["malformed"]
    assert receiver.replay() == 0
