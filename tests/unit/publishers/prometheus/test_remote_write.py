# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import logging
import math
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest

from ceilo_agent.errors import ConfigError, Misfit, Permanent, Retryable
from ceilo_agent.plugins import Context
from ceilo_agent.publishers.prometheus.naming import Names
from ceilo_agent.publishers.prometheus.remote_write import RemoteWrite, RemoteWriteOptions
from ceilo_agent.publishers.prometheus.wire import Write, decode, encode
from ceilo_agent.publishers.prometheus.writes import INFO_EVERY
from ceilo_agent.sample import Meter, Resource, Sample, SampleType
from tests.services import certificates, faulty
from tests.unit.publishers.prometheus.guests import (
    CPU,
    DELTA,
    NOW,
    READ,
    cpu,
    disk,
    guest,
    nic,
)
from tests.unit.publishers.prometheus.receiver import Receiver

NAME = "ceilo_cpu_seconds_total"


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def server(receiver: Receiver) -> Iterator[faulty.Server]:
    with faulty.serving(receiver.behaviour()) as found:
        yield found


@pytest.fixture
def publisher(server: faulty.Server) -> Iterator[RemoteWrite]:
    made = writer(server)
    yield made
    made.close()


def writer(server: faulty.Server, path: str = "", **options: Any) -> RemoteWrite:
    url = urlsplit(f"remote-write://127.0.0.1:{server.port}{path}")
    made = RemoteWrite(url, RemoteWriteOptions(**options), Context("here", {}))
    made.open()
    return made


def push(publisher: RemoteWrite, samples: Sequence[Sample]) -> dict[int, str]:
    """Push and return what was refused, without whom that came from."""
    try:
        publisher.push(samples)
    except Permanent as error:
        refused = error.refused or {}
        return {index: why.rpartition(": ")[2] for index, why in refused.items()}
    return {}


def names(receiver: Receiver) -> list[str]:
    return [dict(labels)["__name__"] for labels, _, _ in receiver.taken]


# -- what is written -----------------------------------------------------------------------------


def test_a_value_and_the_metadata_of_its_guest(
    publisher: RemoteWrite, server: faulty.Server, receiver: Receiver
) -> None:
    publisher.push([cpu(0.25, 1_500_000_000)])
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/api/v1/write")
    assert request.headers["User-Agent"].startswith("ceilo_agent/")
    stamp = round((NOW + 0.25) * 1000)
    series = {"instance_id": "5a0e-1", "resource_id": "5a0e-1"}
    own = {"job": "ceilo_agent", "instance": "here"}
    metadata = {
        "name": "web-1", "project_id": "blue", "user_id": "anna", "flavor": "m1.small",
        "image_id": "image-1", "host": "kvm-1",
    }  # fmt: skip
    assert [(dict(labels), time, value) for labels, time, value in receiver.taken] == [
        ({"__name__": NAME, **own, **series}, stamp, 1.5),
        ({"__name__": "ceilo_instance_info", **own, **series, **metadata}, stamp, 1.0),
    ]
    assert receiver.types == {NAME: 1}


def test_deltas_are_written_as_they_are(publisher: RemoteWrite, receiver: Receiver) -> None:
    publisher.push([Sample(DELTA, nic(), NOW + n, 100 + n) for n in range(3)])
    (points,) = receiver.points("ceilo_network_incoming_delta_bytes").values()
    assert points == [(NOW + n, 100.0 + n) for n in range(3)]
    assert receiver.types == {"ceilo_network_incoming_delta_bytes": 2}


def test_labels_for_all_series(server: faulty.Server, receiver: Receiver) -> None:
    made = writer(server, job="", instance="kvm", labels={"cloud": "north", "empty": ""})
    made.push([cpu()])
    for labels, _, _ in receiver.taken:
        named = dict(labels)
        assert (named["cloud"], named["instance"]) == ("north", "kvm")
        assert not {"job", "empty"} & set(named)


def test_the_path_of_the_url(server: faulty.Server) -> None:
    writer(server, "/api/v1/push").push([cpu()])
    writer(server, "/").push([cpu()])
    assert [request.path for request in server.requests] == ["/api/v1/push", "/api/v1/write"]


def test_a_request_holds_one_value_of_each_series_the_oldest_first(
    publisher: RemoteWrite, server: faulty.Server, receiver: Receiver
) -> None:
    batch = [cpu(60 * n, n, guest(g)) for n in (2, 0, 1) for g in (1, 2)]
    batch.append(Sample(READ, disk(), NOW, 1))
    publisher.push(batch)
    assert len(server.requests) == 3
    for number in (1, 2):
        assert receiver.points(NAME)[f"5a0e-{number}"] == [
            (NOW + 60 * n, pytest.approx(n / 10**9)) for n in range(3)
        ]


def test_metadata_are_written_now_and_then(publisher: RemoteWrite, receiver: Receiver) -> None:
    for second in range(0, 10 * int(INFO_EVERY), 15):
        publisher.push([cpu(second - 600)])
    assert names(receiver).count("ceilo_instance_info") == 10
    assert names(receiver).count(NAME) == 40


def test_a_backlog_has_its_metadata_all_along(publisher: RemoteWrite, receiver: Receiver) -> None:
    publisher.push([cpu(second - 600) for second in range(0, 600, 15)])
    times = [time for time, _ in receiver.points("ceilo_instance_info")["5a0e-1"]]
    assert max(after - before for before, after in itertools.pairwise(times)) <= 2 * INFO_EVERY
    assert len(times) >= 9


def test_metadata_that_change_end_the_series_of_the_old_ones(
    publisher: RemoteWrite, receiver: Receiver
) -> None:
    publisher.push([cpu(0)])
    publisher.push([cpu(5, resource=guest(display_name="db"))])
    publisher.push([cpu(10, resource=guest(display_name="db"))])
    found = [
        (dict(labels)["name"], time / 1000 - NOW, value)
        for labels, time, value in receiver.taken
        if dict(labels)["__name__"] == "ceilo_instance_info"
    ]
    assert [one[:2] for one in found] == [("web-1", 0), ("web-1", 5), ("db", 5)]
    assert math.isnan(found[1][2])
    assert found[2][2] == 1


def test_a_disk_does_not_contradict_its_guest(publisher: RemoteWrite, receiver: Receiver) -> None:
    publisher.push([cpu(0)])
    publisher.push([Sample(READ, disk(display_name="other"), NOW + 1, 1)])
    push(publisher, [Sample(READ, disk(display_name="other"), NOW - 9, 1)])
    info = [dict(labels) for labels, _, _ in receiver.taken if "name" in dict(labels)]
    assert [labels["name"] for labels in info] == ["web-1"]


def test_names_that_are_no_text_are_written(publisher: RemoteWrite, receiver: Receiver) -> None:
    odd = Resource("a\udc80\n\x00", None, None, "", {})
    publisher.push([cpu(resource=odd)])
    assert list(receiver.points(NAME)) == ["a?\n\x00"]


# -- what is refused -----------------------------------------------------------------------------


def test_one_that_is_out_of_order_is_found_and_the_others_arrive(
    publisher: RemoteWrite, receiver: Receiver
) -> None:
    publisher.push([cpu(30, resource=guest(7))])
    batch = [cpu(n, resource=guest(n)) for n in range(1, 21)]
    assert push(publisher, batch) == {6: "out of order sample"}
    assert len(receiver.points(NAME)) == 20


def test_another_value_of_the_same_millisecond_is_refused(publisher: RemoteWrite) -> None:
    batch = [cpu(0, 10**9), cpu(0.0001, 2 * 10**9), cpu(0.0001, 10**9)]
    assert push(publisher, batch) == {1: "duplicate sample for timestamp"}


@pytest.mark.parametrize(("window", "why"), [(0, "out of bounds"), (7200, "too old sample")])
def test_a_backlog_that_is_too_old_costs_few_requests(
    receiver: Receiver, server: faulty.Server, publisher: RemoteWrite, window: int, why: str
) -> None:
    receiver.window = window * 1000
    publisher.push([cpu(0, resource=guest(0))])
    server.requests.clear()
    old = [cpu(-9000 - n, resource=guest(n)) for n in range(1, 501)]
    new = [cpu(1, resource=guest(n)) for n in range(501, 511)]
    assert push(publisher, old + new) == dict.fromkeys(range(500), why)
    assert len(receiver.points(NAME)) == 11
    assert len(server.requests) < 50


def test_what_lies_in_the_future_is_not_written(publisher: RemoteWrite, receiver: Receiver) -> None:
    ahead = time.time() - NOW
    batch = [cpu(ahead + 700), cpu(ahead + 500, resource=guest(2))]
    assert push(publisher, batch) == {
        0: "its time lies in the future, it would shut out all others"
    }
    assert list(receiver.points(NAME)) == ["5a0e-2"]


def test_a_volume_beyond_a_double_is_refused(publisher: RemoteWrite) -> None:
    assert push(publisher, [cpu(0), cpu(1, 10**400), cpu(2)]) == {
        1: "it is beyond what a double can hold"
    }


def test_the_message_names_a_meter_and_the_reason(publisher: RemoteWrite) -> None:
    publisher.push([cpu(30)])
    with pytest.raises(Permanent) as caught:
        publisher.push([cpu(0), cpu(60)])
    assert re.fullmatch(
        r"1 of 2 samples refused, cpu: http://127.0.0.1:\d+/api/v1/write answers 400: "
        "out of order sample",
        str(caught.value),
    )


# -- what is sent again --------------------------------------------------------------------------


def test_a_batch_that_was_taken_in_part_goes_on_where_it_failed(
    publisher: RemoteWrite, server: faulty.Server, receiver: Receiver
) -> None:
    batch = [cpu(n) for n in range(5)]
    server.script(receiver.behaviour(), receiver.behaviour(), faulty.status(503))
    with pytest.raises(Retryable):
        publisher.push(batch)
    publisher.push(batch)
    assert len(receiver.points(NAME)["5a0e-1"]) == 5
    assert len(server.accepted) == 5


def test_an_answer_that_was_lost(
    publisher: RemoteWrite, server: faulty.Server, receiver: Receiver
) -> None:
    take = receiver.behaviour()

    def lose(exchange: faulty.Exchange) -> None:
        take(exchange.mute())
        exchange.cut()

    batch = [cpu(n) for n in range(5)]
    server.script(take, lose, take, lose)
    for _ in range(2):
        with pytest.raises(Retryable):
            publisher.push(batch)
    publisher.push(batch)
    assert receiver.points(NAME)["5a0e-1"] == [(NOW + n, 1.0) for n in range(5)]


def test_after_a_restart_what_is_sent_again_is_stored_once(
    publisher: RemoteWrite, server: faulty.Server, receiver: Receiver
) -> None:
    batch = [cpu(n) for n in range(3)]
    publisher.push(batch)
    # As Prometheus is by default: what it has is refused, but for the last of a series.
    again = dict.fromkeys(range(2), "out of order sample")
    assert push(writer(server), batch) == again
    receiver.window = 3600_000
    assert push(writer(server), batch) == {}
    assert receiver.points(NAME)["5a0e-1"] == [(NOW + n, 1.0) for n in range(3)]


def test_metadata_that_could_not_be_written_are_written_with_the_next_try(
    publisher: RemoteWrite, server: faulty.Server, receiver: Receiver
) -> None:
    server.script(faulty.status(503))
    with pytest.raises(Retryable):
        publisher.push([cpu()])
    publisher.push([cpu()])
    assert names(receiver) == [NAME, "ceilo_instance_info"]


# -- where it is written -------------------------------------------------------------------------


def test_tls(receiver: Receiver, tmp_path: Any) -> None:
    own = certificates.certificate(tmp_path)
    with faulty.serving(receiver.behaviour(), certificates.tls(own)) as server:
        made = writer(server, ssl=True, verify_ssl=str(own.cert))
        made.push([cpu()])
        made.close()
    assert receiver.points(NAME)


def test_a_receiver_that_is_not_switched_on_is_waited_for(
    publisher: RemoteWrite, server: faulty.Server
) -> None:
    server.script(faulty.status(404, b"remote write receiver needs to be enabled with --web."))
    with pytest.raises(Retryable, match="needs to be enabled"):
        publisher.push([cpu()])


@pytest.mark.parametrize(
    ("url", "what"),
    [("remote-write:///api/v1/write", "it names no host"), ("remote-write://h:0", "0 is no port")],
)
def test_urls_that_cannot_work(url: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        RemoteWrite.check(urlsplit(url))


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        ({"a-b": "x"}, "'a-b' is no name of a label"),
        ({"__name__": "x"}, "'__name__' is no name of a label"),
        ({"name": "x"}, "series have a label 'name' of their own"),
        ({"project_id": "x"}, "series have a label 'project_id' of their own"),
        ({"resource_id": "x"}, "series have a label 'resource_id' of their own"),
    ],
)
def test_labels_that_cannot_be(labels: dict[str, str], what: str) -> None:
    with pytest.raises(Misfit, match=re.escape(what)) as caught:
        RemoteWriteOptions(labels=labels)
    assert caught.value.path == ("labels", *labels)


# -- the form of a request -----------------------------------------------------------------------


def test_a_request_reads_back_as_it_was() -> None:
    family = Names(adds=False).family(CPU)
    labels = (("__name__", "m"), ("a", "\u00e4\U0001f680"), ("b", "x" * 10_000))
    writes = [
        Write(labels, 2**52, 0.1),
        Write(labels[:1], -1, math.inf),
        Write(labels[:2], 0, -0.0),
    ]
    message = decode(encode(writes, [family]))
    found = [
        Write(
            tuple((label.name, label.value) for label in each.labels),
            each.samples[0].timestamp,
            each.samples[0].value,
        )
        for each in message.timeseries
    ]
    assert found == writes
    (metadata,) = message.metadata
    assert (metadata.type, metadata.metric_family_name, metadata.help) == (1, NAME, family.help)


def test_the_bytes_of_a_request() -> None:
    # Written by hand from the numbers and the types of the fields.
    name, value = b"\x0a\x08__name__", b"\x12\x01m"
    label = b"\x0a\x0d" + name + value
    sample = b"\x12\x0b" + b"\x09\x00\x00\x00\x00\x00\x00\xf0\x3f" + b"\x10\x03"
    body = encode([Write((("__name__", "m"),), 3, 1.0)])
    assert decode(body).SerializeToString() == b"\x0a\x1c" + label + sample


def test_odd_meters_do_not_share_a_series(
    publisher: RemoteWrite, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        publisher.push(
            [
                Sample(Meter(name, "", SampleType.GAUGE), guest(), NOW, number)
                for number, name in enumerate(("a.b", "a_b", "a b"))
            ]
        )
    assert len({name for name in names(receiver) if name.startswith("ceilo_a_b")}) == 3
    assert len(caplog.records) == 2
