# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from ceilo_agent.definition.secret import Secret
from ceilo_agent.errors import ConfigError, Misfit, Permanent, Retryable
from ceilo_agent.plugins import Context
from ceilo_agent.publishers.prometheus import server
from ceilo_agent.publishers.prometheus.page import PORT, PageOptions, Prometheus
from ceilo_agent.sample import Resource, Sample
from tests.services import certificates
from tests.services.process import free_port
from tests.unit.publishers.prometheus.guests import (
    CPU,
    DELTA,
    LOAD,
    MEMORY,
    NOW,
    READ,
    cpu,
    disk,
    guest,
    host,
    nic,
)

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def page(url: str = "prometheus://127.0.0.1:0", **options: Any) -> Prometheus:
    return Prometheus(urlsplit(url), PageOptions(**options), Context("here", {}))


@pytest.fixture
def opened() -> Iterator[Prometheus]:
    made = page()
    made.open()
    yield made
    made.close()


def address(made: Prometheus, scheme: str = "http") -> str:
    host, port = made.address
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def get(made: Prometheus, path: str = "/metrics", **more: Any) -> requests.Response:
    return requests.get(address(made) + path, timeout=10, **more)


def series(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in read_text(text)
        for sample in family.samples
    }


SAMPLES = [
    cpu(0, 1_500_000_000),
    Sample(MEMORY, guest(), NOW, 0.5),
    Sample(READ, disk(), NOW, 4096),
    Sample(DELTA, nic(), NOW, 10),
    Sample(LOAD, host(), NOW, 0.25),
]


# -- what stands there ---------------------------------------------------------------------------


def test_the_page_as_text(opened: Prometheus) -> None:
    opened.push(SAMPLES)
    reply = get(opened)
    assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert reply.text == TEXT


TEXT = """\
# HELP ceilo_host_info The host; join it by host.
# TYPE ceilo_host_info gauge
ceilo_host_info{host="kvm-1",resource_id="kvm-1"} 1.0
# HELP ceilo_instance_info What is known of a guest; join it by instance_id.
# TYPE ceilo_instance_info gauge
ceilo_instance_info{flavor="m1.small",host="kvm-1",image_id="image-1",instance_id="5a0e-1",\
name="web-1",project_id="blue",resource_id="5a0e-1",user_id="anna"} 1.0
# HELP ceilo_cpu_seconds_total CPU time of the guest: time and wait of all its vCPUs; the host \
process's CPU time where a vCPU lacks them. (meter cpu in ns)
# TYPE ceilo_cpu_seconds_total counter
ceilo_cpu_seconds_total{instance_id="5a0e-1",resource_id="5a0e-1"} 1.5
# HELP ceilo_disk_device_read_bytes_total Bytes that the guest read. (meter disk.device.read.bytes \
in B)
# TYPE ceilo_disk_device_read_bytes_total counter
ceilo_disk_device_read_bytes_total{device="vda",instance_id="5a0e-1",resource_id="5a0e-1-vda"} \
4096.0
# HELP ceilo_hardware_cpu_load_1min Load average over 1 minute: processes that run, wait for a CPU \
or wait for a disk. (meter hardware.cpu.load.1min in process)
# TYPE ceilo_hardware_cpu_load_1min gauge
ceilo_hardware_cpu_load_1min{host="kvm-1",resource_id="kvm-1"} 0.25
# HELP ceilo_memory_usage_bytes Memory in use in the guest: available less usable, or less unused; \
absent without the balloon driver. (meter memory.usage in MiB)
# TYPE ceilo_memory_usage_bytes gauge
ceilo_memory_usage_bytes{instance_id="5a0e-1",resource_id="5a0e-1"} 524288.0
# HELP ceilo_network_incoming_delta_bytes_total Bytes that reached the guest since the reading \
before; absent at the first reading. Added up since the series began. (meter \
network.incoming.bytes.delta in B)
# TYPE ceilo_network_incoming_delta_bytes_total counter
ceilo_network_incoming_delta_bytes_total{device="tap0",instance_id="5a0e-1",\
resource_id="instance-00000001-5a0e-1-tap0"} 10.0
"""


def test_the_page_as_openmetrics_says_the_same(opened: Prometheus) -> None:
    opened.push(SAMPLES)
    reply = get(opened, headers={"Accept": OPENMETRICS})
    assert reply.headers["Content-Type"].startswith("application/openmetrics-text")
    assert reply.text.endswith("# EOF\n")
    found = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in read_openmetrics(reply.text)
        for sample in family.samples
    }
    assert found == series(TEXT)
    kinds = {family.name: family.type for family in read_openmetrics(reply.text)}
    assert kinds["ceilo_cpu_seconds"] == "counter"
    assert kinds["ceilo_instance"] == "info"
    assert kinds["ceilo_memory_usage_bytes"] == "gauge"


def test_an_empty_page(opened: Prometheus) -> None:
    assert get(opened).text == ""
    assert get(opened, headers={"Accept": OPENMETRICS}).text == "# EOF\n"


def test_a_part_of_the_page(opened: Prometheus) -> None:
    opened.push(SAMPLES)
    wanted = ["ceilo_cpu_seconds_total", "ceilo_instance_info"]
    reply = get(opened, params={"name[]": wanted})
    assert {name for name, _ in series(reply.text)} == set(wanted)


def test_packed_only_for_who_takes_it(opened: Prometheus) -> None:
    opened.push(SAMPLES)
    for accepted in ("gzip", "deflate, GZIP;q=0.5"):
        with get(opened, headers={"Accept-Encoding": accepted}, stream=True) as reply:
            assert reply.headers["Content-Encoding"] == "gzip"
            assert gzip.decompress(reply.raw.read()).decode() == TEXT
    for accepted in ("identity", "gzip;q=0", "br"):
        reply = get(opened, headers={"Accept-Encoding": accepted})
        assert "Content-Encoding" not in reply.headers


def test_words_of_owners_do_not_break_the_page(opened: Prometheus) -> None:
    word = 'a"b\\c\nd\u00e4\u65e5\U0001f680{}#\udc80'
    owner = Resource(word, word, word, "instance", {"display_name": word})
    opened.push([cpu(resource=owner), cpu(resource=guest(2))])
    clean = word.replace("\udc80", "?")
    for reply, read in (
        (get(opened), read_text),
        (get(opened, headers={"Accept": OPENMETRICS}), read_openmetrics),
    ):
        reply.encoding = "utf-8"
        samples = [sample for family in read(reply.text) for sample in family.samples]
        assert len(samples) == 4
        assert {"resource_id": clean, "instance_id": clean} in [one.labels for one in samples]


def test_values_with_the_time_when_they_were_read() -> None:
    made = page(timestamps=True)
    made.open()
    made.push([cpu(0.25)])
    stamp = int(NOW * 1000 + 250)
    assert (
        f'ceilo_cpu_seconds_total{{instance_id="5a0e-1",resource_id="5a0e-1"}} 1.0 {stamp}\n'
        in (get(made).text)
    )
    (family,) = [
        each
        for each in read_openmetrics(get(made, headers={"Accept": OPENMETRICS}).text)
        if each.type == "counter"
    ]
    assert float(family.samples[0].timestamp) == NOW + 0.25
    made.close()


@pytest.mark.parametrize("volume", [0, 2**53, 2**64 - 1, -1, 0.1, 1e300, 1e-300, 5e-324])
def test_values_stand_there_exactly(opened: Prometheus, volume: float) -> None:
    opened.push([Sample(LOAD, host(), NOW, volume)])
    for accept in ("", OPENMETRICS):
        text = get(opened, headers={"Accept": accept}).text
        (line,) = [line for line in text.splitlines() if line.startswith("ceilo_hardware_cpu_load")]
        assert float(line.split()[-1]) == float(volume)


def test_what_cannot_be_shown_is_named(opened: Prometheus) -> None:
    with pytest.raises(Permanent) as caught:
        opened.push([cpu(0), cpu(60, 10**400)])
    assert caught.value.refused == {1: "it is beyond what a double can hold"}
    assert "ceilo_cpu_seconds_total" in get(opened).text


def test_the_page_stays_while_another_batch_is_read(opened: Prometheus) -> None:
    opened.push(SAMPLES)
    gaps = []
    ended = threading.Event()

    def scrape() -> None:
        while not ended.is_set():
            if len(series(get(opened).text)) != len(series(TEXT)):
                gaps.append(1)

    thread = threading.Thread(target=scrape)
    thread.start()
    for turn in range(1, 200):
        opened.push([Sample(s.meter, s.resource, s.time + turn, 1) for s in SAMPLES])
    ended.set()
    thread.join()
    assert not gaps


# -- where it listens ----------------------------------------------------------------------------


def test_other_paths_point_to_the_page(opened: Prometheus) -> None:
    reply = get(opened, "/")
    assert (reply.status_code, reply.text) == (404, "The metrics are at /metrics\n")


def test_a_path_of_its_own() -> None:
    made = page("prometheus://127.0.0.1:0/kvm/metrics")
    made.open()
    assert get(made, "/kvm/metrics").status_code == 200
    assert get(made, "/metrics").status_code == 404
    made.close()


def test_head_and_other_methods(opened: Prometheus) -> None:
    opened.push(SAMPLES)
    there, plain = f"{address(opened)}/metrics", {"Accept-Encoding": "identity"}
    reply = requests.head(there, headers=plain, timeout=10)
    assert (reply.status_code, reply.content) == (200, b"")
    assert int(reply.headers["Content-Length"]) == len(TEXT)
    assert requests.post(there, timeout=10).status_code == 501


@pytest.mark.parametrize("at", ["[::1]", "[::]", "localhost", "0.0.0.0"])
def test_addresses(at: str) -> None:
    made = page(f"prometheus://{at}:0")
    made.open()
    _, port = made.address
    reached = {"[::]": "127.0.0.1", "0.0.0.0": "127.0.0.1"}.get(at, at)
    assert requests.get(f"http://{reached}:{port}/metrics", timeout=10).ok
    made.close()


def test_the_address_without_one_in_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PORT == 9101
    port = free_port()
    monkeypatch.setattr("ceilo_agent.publishers.prometheus.page.PORT", port)
    for url in ("prometheus://", "prometheus:///", "prometheus://127.0.0.1"):
        Prometheus.check(urlsplit(url))
        made = page(url)
        made.open()
        assert made.address == ("127.0.0.1", port)
        assert get(made).ok
        made.close()


def test_a_taken_port_is_told(opened: Prometheus) -> None:
    _, port = opened.address
    other = page(f"prometheus://anna:secret@127.0.0.1:{port}")
    with pytest.raises(ConfigError) as caught:
        other.open()
    assert str(caught.value) == (
        f"prometheus://127.0.0.1:{port}: another process listens there (take another port)"
    )
    other.close()


def test_it_may_be_opened_again_at_once(opened: Prometheus) -> None:
    _, port = opened.address
    opened.push([cpu()])
    assert get(opened).ok
    opened.close()
    other = page(f"prometheus://127.0.0.1:{port}")
    other.open()
    assert get(other).text == ""
    other.close()
    other.close()


def test_an_address_that_is_not_there_yet() -> None:
    # 192.0.2.0/24 is for documentation (RFC 5737).
    with pytest.raises(Retryable, match=r"//192.0.2.1:9101: cannot listen: this host has no such"):
        page("prometheus://192.0.2.1:9101").open()


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("prometheus://gateway:9091/metrics/job/agent", "a push gateway takes no part here"),
        ("prometheus://127.0.0.1:0/metrics", "its port is none"),
    ],
)
def test_urls_that_cannot_work(url: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        Prometheus.check(urlsplit(url))


# -- who may read --------------------------------------------------------------------------------


def test_a_user_and_a_password(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("s\u00e9cret\n", "utf-8")
    made = page(username="anna", password=Secret.parse(f"file:{file}"))
    made.open()
    made.push(SAMPLES)
    refused = get(made)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Basic ")
    assert "ceilo" not in refused.text
    for user in (("anna", "wrong"), ("berta", "s\u00e9cret"), ("", ""), ("anna", "")):
        assert get(made, auth=tuple(map(str.encode, user))).status_code == 401
    assert get(made, auth=(b"anna", "s\u00e9cret".encode())).ok
    file.write_text("renewed\n")
    assert get(made, auth=("anna", "renewed")).ok
    file.unlink()
    assert get(made, auth=("anna", "renewed")).status_code == 500
    made.close()


def test_a_user_and_a_password_in_the_url() -> None:
    made = page("prometheus://anna:p%40ss@127.0.0.1:0")
    made.open()
    assert get(made).status_code == 401
    assert get(made, auth=("anna", "p@ss")).ok
    made.close()


def test_two_users_are_too_many() -> None:
    made = page("prometheus://anna:x@127.0.0.1:0", username="berta", password=Secret("y"))
    with pytest.raises(ConfigError, match="both say who may read"):
        made.open()


def test_tls_and_a_renewed_certificate(tmp_path: Path) -> None:
    own = certificates.certificate(tmp_path)
    made = page(certfile=str(own.cert), keyfile=str(own.key))
    made.open()
    made.push(SAMPLES)
    there = f"{address(made, 'https')}/metrics"
    assert series(requests.get(there, verify=str(own.cert), timeout=10).text) == series(TEXT)
    with pytest.raises(requests.ConnectionError):
        get(made)
    before = ssl.get_server_certificate(made.address)
    certificates.certificate(tmp_path)
    assert ssl.get_server_certificate(made.address) != before
    own.cert.write_text("half of a")
    # What cannot be used now does not stop the page.
    assert ssl.get_server_certificate(made.address) != before
    made.close()


def test_only_who_shows_a_certificate(tmp_path: Path) -> None:
    own = certificates.certificate(tmp_path)
    (tmp_path / "other").mkdir()
    client = certificates.certificate(tmp_path / "other", "prometheus.example")
    made = page(certfile=str(own.cert), keyfile=str(own.key), client_cafile=str(client.cert))
    made.open()
    there = f"{address(made, 'https')}/metrics"
    pair = (str(client.cert), str(client.key))
    assert requests.get(there, verify=str(own.cert), cert=pair, timeout=10).ok
    with pytest.raises(requests.ConnectionError):
        requests.get(there, verify=str(own.cert), timeout=10)
    made.close()


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("prometheus://127.0.0.1:0", "http://127.0.0.1:{}/metrics"),
        ("prometheus://127.0.0.1:0/own", "http://127.0.0.1:{}/own"),
        ("prometheus://0.0.0.0:0", "http://here:{}/metrics"),
    ],
)
def test_the_log_tells_the_address_to_scrape(
    url: str, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    made = page(url)
    made.open()
    told = place.format(made.address[1])
    made.close()
    assert f"Prometheus finds the metrics at {told}" in caplog.text


def test_files_of_tls_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a file of TLS cannot be read: .*/none"):
        page(certfile=str(tmp_path / "none")).open()
    (tmp_path / "empty").write_text("")
    with pytest.raises(ConfigError, match=r"no certificate with its key in .*/empty"):
        page(certfile=str(tmp_path / "empty")).open()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"keyfile": "/k"}, "option 'keyfile' needs certfile"),
        ({"client_cafile": "/k"}, "option 'client_cafile' needs certfile"),
        ({"username": "anna"}, "option 'username' needs password"),
        ({"password": Secret("x")}, "option 'password' needs username"),
    ],
)
def test_options_that_need_others(options: dict[str, Any], what: str) -> None:
    with pytest.raises(Misfit) as caught:
        PageOptions(**options)
    assert str(caught.value) == what


# -- clients that misbehave ----------------------------------------------------------------------


def test_clients_that_say_nothing_do_not_hold_the_page_up(
    opened: Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "IDLE_AT_MOST", 0.3)
    silent = [socket.create_connection(opened.address) for _ in range(server.AT_ONCE)]
    began = time.monotonic()
    while True:  # until the silent ones are cut, the page is busy
        try:
            assert get(opened).ok
            break
        except requests.ConnectionError:
            assert time.monotonic() - began < 30
    for one in silent:
        assert one.recv(1) == b""
        one.close()


def test_clients_that_drip_are_cut(opened: Prometheus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "WITHIN", 0.5)
    with socket.create_connection(opened.address) as client:
        client.settimeout(10)
        until = time.monotonic() + 10
        with contextlib.suppress(OSError):
            while time.monotonic() < until:
                client.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() < until


def test_garbage_is_answered_and_the_page_goes_on(opened: Prometheus) -> None:
    with socket.create_connection(opened.address) as client:
        client.settimeout(10)
        client.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
        assert b"400" in client.recv(1000)
    with socket.create_connection(opened.address) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n")
    assert get(opened).ok


def test_it_ends_while_clients_hang(opened: Prometheus) -> None:
    with socket.create_connection(opened.address):
        opened.close()


def test_scrapes_at_the_same_time(opened: Prometheus) -> None:
    opened.push([cpu(resource=guest(n)) for n in range(200)] + SAMPLES[1:])
    found = []

    def scrape() -> None:
        found.append(get(opened).text)

    threads = [threading.Thread(target=scrape) for _ in range(server.AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == server.AT_ONCE
    assert len(set(found)) == 1
    assert CPU.name in found[0]


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=abc",
        "application/openmetrics-text;version=",
        ";;,=;version",
        "text/plain; version=x; escaping=y",
    ],
)
def test_an_accept_header_that_makes_no_sense(opened: Prometheus, accept: str) -> None:
    opened.push(SAMPLES)
    reply = get(opened, headers={"Accept": accept})
    assert (reply.status_code, "ceilo_cpu_seconds" in reply.text) == (200, True)
