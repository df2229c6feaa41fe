# SPDX-License-Identifier: Apache-2.0
"""What is particular to ``otlp://``: the data model, the conventions, partial success."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality as Temporality

from ceilo_agent import __version__
from ceilo_agent.errors import Permanent, Retryable
from ceilo_agent.meters.catalogue import NAMESPACES, catalogue
from ceilo_agent.plugins import Publisher
from ceilo_agent.publishers.otlp.conventions import attributes, unit
from ceilo_agent.publishers.otlp.publisher import target
from ceilo_agent.sample import (
    FIRST,
    UNTRACKED,
    Meter,
    Previous,
    Resource,
    Sample,
    SampleType,
    isotime,
)
from tests.services import faulty
from tests.unit.publishers.kinds import build
from tests.unit.publishers.receivers import otlp_answer, otlp_request

NOW = 1_790_000_000.25
NANOS = 1_790_000_000_250_000_000
GUEST = Resource("guest-1", "project", "user", "instance", {"display_name": "web"})
HOST = Resource("node-1", None, None, "host", {"resource_url": "node-1"})
CPU = Meter("cpu", "ns", SampleType.CUMULATIVE)
LOAD = Meter("hardware.cpu.load.1min", "process", SampleType.GAUGE)
PROTOBUF = {"Content-Type": "application/x-protobuf"}


@pytest.fixture
def server() -> Iterator[faulty.Server]:
    with faulty.serving() as found:
        yield found


def made(server: faulty.Server, tmp_path: Path, **options: Any) -> Publisher:
    found = build(f"otlp://127.0.0.1:{server.port}", tmp_path, **options)
    found.open()
    return found


def sent(server: faulty.Server, tmp_path: Path, *samples: Sample, **options: Any) -> Any:
    """Push samples and return the message that arrived."""
    publisher = made(server, tmp_path, **options)
    publisher.push(samples)
    publisher.close()
    return otlp_request(server.requests[-1])


def only_point(message: Any) -> Any:
    ((metric,),) = [scope.metrics for scope in message.resource_metrics[0].scope_metrics]
    (point,) = getattr(metric, metric.WhichOneof("data")).data_points
    return metric, point


def named(message: Any) -> dict[str, Any]:
    (found,) = message.resource_metrics
    return {one.key: plain(one.value) for one in found.resource.attributes}


def plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {item.key: plain(item.value) for item in value.kvlist_value.values}
    return None if kind is None else getattr(value, kind)


# -- the data model ------------------------------------------------------------------------------


def test_a_gauge(server: faulty.Server, tmp_path: Path) -> None:
    one = Sample(LOAD, HOST, NOW, 0.25, Previous(60.0, 1), started=NOW - 9)
    metric, point = only_point(sent(server, tmp_path, one))
    assert (metric.name, metric.unit) == ("hardware.cpu.load.1min", "{process}")
    assert metric.WhichOneof("data") == "gauge"
    assert (point.as_double, point.time_unix_nano, point.start_time_unix_nano) == (0.25, NANOS, 0)


def test_a_counter_starts_when_it_began(server: faulty.Server, tmp_path: Path) -> None:
    one = Sample(CPU, GUEST, NOW, 2**63 - 1, Previous(60.0, 1), started=NOW - 9)
    metric, point = only_point(sent(server, tmp_path, one))
    assert metric.sum.is_monotonic
    assert metric.sum.aggregation_temporality == Temporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    assert (point.as_int, point.time_unix_nano) == (2**63 - 1, NANOS)
    assert point.start_time_unix_nano == NANOS - 9_000_000_000


@pytest.mark.parametrize("started", [None, NOW + 5.0])
def test_a_counter_whose_start_is_not_known_or_later(
    server: faulty.Server, tmp_path: Path, started: float | None
) -> None:
    one = Sample(CPU, GUEST, NOW, 1, UNTRACKED, started=started)
    _, point = only_point(sent(server, tmp_path, one))
    assert point.start_time_unix_nano == (0 if started is None else NANOS)


@pytest.mark.parametrize(
    ("previous", "started", "start"),
    [
        (FIRST, NOW - 60.0, NANOS - 60_000_000_000),
        (Previous(10.0, 5), None, NANOS - 10_000_000_000),
        (Previous(10.0, 5), NOW - 60.0, NANOS - 60_000_000_000),
        (UNTRACKED, None, 0),
    ],
)
def test_a_delta_starts_at_the_reading_before(
    server: faulty.Server, tmp_path: Path, previous: Any, started: float | None, start: int
) -> None:
    meter = Meter("network.incoming.bytes.delta", "B", SampleType.DELTA)
    metric, point = only_point(
        sent(server, tmp_path, Sample(meter, GUEST, NOW, -3, previous, started))
    )
    assert metric.sum.aggregation_temporality == Temporality.AGGREGATION_TEMPORALITY_DELTA
    assert not metric.sum.is_monotonic
    assert (point.as_int, point.start_time_unix_nano) == (-3, start)


@pytest.mark.parametrize("volume", [2**63, 2**64 - 1, -(2**63) - 1])
def test_integers_beyond_64_bits_with_sign_become_doubles(
    server: faulty.Server, tmp_path: Path, volume: int
) -> None:
    _, point = only_point(sent(server, tmp_path, Sample(CPU, GUEST, NOW, volume)))
    assert point.WhichOneof("value") == "as_double"
    assert point.as_double == float(volume)


def test_times_keep_their_microseconds(server: faulty.Server, tmp_path: Path) -> None:
    """As `isotime` shows them, also where two roundings would differ."""
    times = [1_790_000_000.123457, *(1_763_847_677.66688 + n * 2.0**-22 for n in range(50))]
    message = sent(server, tmp_path, *(Sample(CPU, GUEST, time, 1) for time in times))
    points = message.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points
    shown = [datetime.fromisoformat(isotime(time)) for time in times]
    since = datetime(1970, 1, 1, tzinfo=UTC)
    assert [point.time_unix_nano for point in points] == [
        (one - since) // timedelta(microseconds=1) * 1000 for one in shown
    ]


@pytest.mark.parametrize("time", [-1.0, 2e10, float("inf"), float("nan")])
def test_a_time_that_the_protocol_cannot_say_is_none(
    server: faulty.Server, tmp_path: Path, time: float
) -> None:
    _, point = only_point(sent(server, tmp_path, Sample(CPU, GUEST, time, 1)))
    assert point.time_unix_nano == 0


def test_samples_are_grouped_by_resource_and_meter(server: faulty.Server, tmp_path: Path) -> None:
    batch = [
        Sample(meter, resource, NOW + second, second)
        for second in range(3)
        for resource in (GUEST, HOST)
        for meter in (CPU, LOAD)
    ]
    message = sent(server, tmp_path, *batch)
    assert len(message.resource_metrics) == 2
    for found in message.resource_metrics:
        (scope,) = found.scope_metrics
        assert (scope.scope.name, scope.scope.version) == ("ceilo_agent", __version__)
        assert [metric.name for metric in scope.metrics] == [CPU.name, LOAD.name]
        assert [point.as_int for point in scope.metrics[0].sum.data_points] == [0, 1, 2]


# -- the conventions -----------------------------------------------------------------------------


def described(kind: str, metadata: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    values = {"id": "guest-1", "project_id": None, "user_id": None} | changes
    resource = Resource(type=kind, metadata=metadata, **values)
    return attributes(resource, all_metadata=False)


ALWAYS = {
    "service.name": "ceilo_agent",
    "service.instance.id": "guest-1",
    "ceilo_agent.resource_id": "guest-1",
}
METADATA = {
    "display_name": "web",
    "name": "instance-0001",
    "instance_id": "uuid-1",
    "instance_host": "node-1",
    "instance_type": "m1.small",
    "architecture": "x86_64",
    "status": "active",
    "state": "running",
    "state_reason": "booted",
    "task_state": "",
    "image": {"id": "image-1"},
    "flavor": {"name": "m1.small", "ram": 512},
    "image_ref_url": None,
}


def test_a_guest() -> None:
    assert described("instance", METADATA, project_id="p", user_id="u") == ALWAYS | {
        "ceilo_agent.resource_type": "instance",
        "cloud.account.id": "p",
        "user.id": "u",
        "host.id": "uuid-1",
        "host.name": "web",
        "host.type": "m1.small",
        "host.arch": "amd64",
        "host.image.id": "image-1",
    }


def test_a_disk_and_an_interface_of_a_guest() -> None:
    disk = described("instance_disk", {"instance_id": "uuid-1", "disk_name": "vda"})
    assert disk == ALWAYS | {
        "ceilo_agent.resource_type": "instance_disk",
        "host.id": "uuid-1",
        "system.device": "vda",
    }
    nic = described(
        "instance_network_interface",
        {"instance_id": "uuid-1", "name": "tap0", "mac": "fa:16:3e:00:00:01"},
    )
    assert nic == ALWAYS | {
        "ceilo_agent.resource_type": "instance_network_interface",
        "host.id": "uuid-1",
        "network.interface.name": "tap0",
        "host.mac": ["FA-16-3E-00-00-01"],
    }


def test_a_host_and_its_disk() -> None:
    found = described("host", {"resource_url": "node-1"})
    assert found == ALWAYS | {"ceilo_agent.resource_type": "host", "host.name": "node-1"}
    found = described("host_disk", {"resource_url": "node-1", "device": "sda"})
    assert (found["host.name"], found["system.device"]) == ("node-1", "sda")


def test_a_resource_of_others() -> None:
    assert described("volume", {"size": 3}) == ALWAYS | {"ceilo_agent.resource_type": "volume"}


def test_an_unknown_architecture_stays() -> None:
    assert described("instance", {"architecture": "riscv64"})["host.arch"] == "riscv64"


def test_other_metadata_follow_but_for_those_that_change(
    server: faulty.Server, tmp_path: Path
) -> None:
    odd = {"tags": ["a", 1, None], "up": True, "share": 0.5, "big": 2**64, "many": [{"k": "v"}]}
    guest = Resource("guest-1", None, None, "instance", METADATA | odd)
    found = named(sent(server, tmp_path, Sample(CPU, guest, NOW, 1)))
    ours = {name: value for name, value in found.items() if name.startswith("ceilo_agent.")}
    assert ours == {
        "ceilo_agent.resource_id": "guest-1",
        "ceilo_agent.resource_type": "instance",
        "ceilo_agent.display_name": "web",
        "ceilo_agent.name": "instance-0001",
        "ceilo_agent.instance_id": "uuid-1",
        "ceilo_agent.instance_host": "node-1",
        "ceilo_agent.instance_type": "m1.small",
        "ceilo_agent.architecture": "x86_64",
        "ceilo_agent.image.id": "image-1",
        "ceilo_agent.flavor.name": "m1.small",
        "ceilo_agent.flavor.ram": 512,
        "ceilo_agent.tags": ["a", 1, None],
        "ceilo_agent.up": True,
        "ceilo_agent.share": 0.5,
        "ceilo_agent.big": str(2**64),
        "ceilo_agent.many": [{"k": "v"}],
    }


def test_other_metadata_can_be_left_out(server: faulty.Server, tmp_path: Path) -> None:
    guest = Resource("guest-1", None, None, "instance", METADATA)
    found = named(sent(server, tmp_path, Sample(CPU, guest, NOW, 1), metadata=False))
    assert {name for name in found if name.startswith("ceilo_agent.")} == {
        "ceilo_agent.resource_id",
        "ceilo_agent.resource_type",
    }


def test_metadata_do_not_take_the_place_of_what_is_ours(
    server: faulty.Server, tmp_path: Path
) -> None:
    guest = Resource("guest-1", None, None, "instance", {"resource_id": "other"})
    found = named(sent(server, tmp_path, Sample(CPU, guest, NOW, 1)))
    assert found["ceilo_agent.resource_id"] == "guest-1"


@pytest.mark.parametrize(
    ("ours", "ucum"),
    [
        ("", "1"),
        ("%", "%"),
        ("ns", "ns"),
        ("B", "By"),
        ("KB", "KiBy"),
        ("MB", "MiBy"),
        ("MiB", "MiBy"),
        ("MiB/s", "MiBy/s"),
        ("B/s", "By/s"),
        ("packet", "{packet}"),
        ("request/s", "{request}/s"),
        ("Mbit/s", "Mbit/s"),
        ("kWh", "kW.h"),
        ("vcpu", "{vcpu}"),
        ("a {b}", "{ab}"),
        ("日本", "1"),
    ],
)
def test_units(ours: str, ucum: str) -> None:
    assert unit(ours) == ucum


def test_every_unit_of_our_meters_is_ucum() -> None:
    words = {"process", "packet", "page", "fault", "request", "tick", "inode", "vcpu", "cpu"}
    words |= {"switch", "interrupt", "blocks", "datagrams", "requests", "instance", "period", "RPM"}
    words |= {"message", "sample", "object", "container", "recordset", "serial", "health", "status"}
    words |= {"ip", "vpnservice", "ipsec_site_connection", "firewall", "firewall_policy"}
    words |= {"evaluation_result_count"}
    found = {entry.unit for name in NAMESPACES for entry in catalogue(name).meters}
    counted = {one.split("/")[0] for one in found if unit(one).startswith("{")}
    assert counted <= words


# -- the request ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "ssl", "found"),
    [
        ("otlp://host", False, "http://host:4318/v1/metrics"),
        ("otlp://host/", True, "https://host:4318/v1/metrics"),
        ("otlp://u:p@host:80/otlp/v1/metrics", False, "http://u:p@host:80/otlp/v1/metrics"),
        ("otlp://[::1]", False, "http://[::1]:4318/v1/metrics"),
        ("otlp://host:", False, "http://host:4318/v1/metrics"),
    ],
)
def test_where_it_goes(url: str, ssl: bool, found: str) -> None:
    assert target(urlsplit(url), ssl=ssl).geturl() == found


@pytest.mark.parametrize(("compression", "header"), [("gzip", "gzip"), ("none", None)])
def test_compression(
    server: faulty.Server, tmp_path: Path, compression: str, header: str | None
) -> None:
    sent(server, tmp_path, Sample(CPU, GUEST, NOW, 1), compression=compression)
    (request,) = server.requests
    assert request.path == "/v1/metrics"
    assert request.headers.get("Content-Encoding") == header


# -- the answer ----------------------------------------------------------------------------------


def answered(server: faulty.Server, tmp_path: Path, *behaviour: faulty.Behaviour) -> None:
    server.script(*behaviour)
    publisher = made(server, tmp_path)
    try:
        publisher.push([Sample(CPU, GUEST, NOW + n, n) for n in range(3)])
    finally:
        publisher.close()


@pytest.mark.parametrize(
    "behaviour",
    [
        faulty.ok(),
        faulty.status(202),
        faulty.ok(b"", PROTOBUF),
        faulty.ok(otlp_answer(0, ""), PROTOBUF),
        faulty.ok(b"{}", {"Content-Type": "application/json"}),
        faulty.ok(b'{"partialSuccess": {}}', {"Content-Type": "application/json"}),
        faulty.ok(b"fine", {"Content-Type": "text/plain"}),
    ],
    ids=["empty", "202", "empty protobuf", "nothing rejected", "json", "empty json", "words"],
)
def test_success(server: faulty.Server, tmp_path: Path, behaviour: faulty.Behaviour) -> None:
    answered(server, tmp_path, behaviour)


@pytest.mark.parametrize(
    "behaviour",
    [
        faulty.ok(otlp_answer(2, "too\nold"), PROTOBUF),
        faulty.ok(
            b'{"partialSuccess": {"rejectedDataPoints": "2", "errorMessage": "too old"}}',
            {"Content-Type": "application/json"},
        ),
    ],
    ids=["protobuf", "json"],
)
def test_partial_success_is_counted_and_not_sent_again(
    server: faulty.Server, tmp_path: Path, behaviour: faulty.Behaviour
) -> None:
    with pytest.raises(Permanent) as caught:
        answered(server, tmp_path, behaviour)
    assert (caught.value.refused, caught.value.lost) == (None, 2)
    assert str(caught.value).endswith("/v1/metrics threw 2 of 3 samples away: too old")


def test_when_all_were_thrown_away_it_is_known_which(server: faulty.Server, tmp_path: Path) -> None:
    with pytest.raises(Permanent) as caught:
        answered(server, tmp_path, faulty.ok(otlp_answer(3, "too old"), PROTOBUF))
    assert caught.value.lost == 0
    assert caught.value.refused is not None
    assert list(caught.value.refused) == [0, 1, 2]
    assert caught.value.refused[0].endswith("threw it away: too old")


def test_a_warning_of_the_receiver_is_told_once(
    server: faulty.Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.usual = faulty.ok(otlp_answer(0, "use other\nnames"), PROTOBUF)
    publisher = made(server, tmp_path)
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            publisher.push([Sample(CPU, GUEST, NOW + number, number)])
    publisher.close()
    (told,) = caplog.messages
    assert told.endswith("/v1/metrics took the samples and says: use other names")


@pytest.mark.parametrize(
    "behaviour",
    [
        faulty.ok(b"<html><h1>Please log in</h1></html>", {"Content-Type": "text/html"}),
        faulty.ok(b"\xff\xff\xff", PROTOBUF),
        faulty.ok(b"{", {"Content-Type": "application/json"}),
    ],
    ids=["page", "no protobuf", "no json"],
)
def test_who_does_not_speak_otlp_did_not_take_the_samples(
    server: faulty.Server, tmp_path: Path, behaviour: faulty.Behaviour
) -> None:
    with pytest.raises(Retryable, match="answers 200, but not in OTLP"):
        answered(server, tmp_path, behaviour)


def test_the_words_of_a_status_in_protobuf_are_told(server: faulty.Server, tmp_path: Path) -> None:
    # google.rpc.Status: code 3, message "no such tenant", a detail.
    status = b"\x08\x03\x12\x0eno such tenant\x1a\x03\x0a\x01x"
    with pytest.raises(Retryable, match=r"answers 403: no such tenant$"):
        answered(server, tmp_path, faulty.status(403, status, PROTOBUF))


def test_without_its_extra_it_says_what_to_install() -> None:
    code = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from ceilo_agent import errors, plugins
try:
    plugins.load(plugins.PUBLISHER, "otlp")
except errors.PluginError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "the publisher 'otlp' needs 'opentelemetry', which is not installed: "
        "pip install 'ceilo_agent[otlp]'\n"
    )


@pytest.mark.parametrize(
    ("ours", "ucum"), [("µs", "us"), ("PB", "PiBy"), ("PiB", "PiBy"), ("percent", "%")]
)
def test_units_of_foreign_producers(ours: str, ucum: str) -> None:
    assert unit(ours) == ucum
