# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus scrapes the page and takes remote write: what it stores is what was read."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from ceilo_agent.definition.secret import Secret
from ceilo_agent.errors import Permanent, Retryable
from ceilo_agent.meters import catalogue
from ceilo_agent.plugins import Context
from ceilo_agent.publishers.prometheus.naming import Names
from ceilo_agent.publishers.prometheus.page import PageOptions, Prometheus
from ceilo_agent.publishers.prometheus.remote_write import RemoteWrite, RemoteWriteOptions
from ceilo_agent.sample import Meter, Sample, SampleType, microseconds
from tests.functional import agent
from tests.functional.conftest import lacking
from tests.pages import PAGES, blocks
from tests.services import certificates, faulty, prometheus
from tests.services.process import Process, free_port
from tests.unit.publishers.prometheus.guests import CPU, READ, cpu, disk, guest, host, nic
from tests.unit.publishers.prometheus.receiver import Receiver

BASE = {
    "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1, "tick": 0.01, "B": 1, "KB": 1024, "MiB": 2**20,
    "%": 0.01, "Mbit/s": 125_000, "B/s": 1,
}  # fmt: skip
"""What a unit is in base units; 1 for the others."""

OWN = {"job", "instance"}
CPU_NAME = "ceilo_cpu_seconds_total"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, prometheus.Prometheus]]:
    """Two that stay empty of each other's series: one that takes no late values, one that does."""
    directory = tmp_path_factory.mktemp("prometheus")
    with (
        prometheus.running(directory / "strict") as strict,
        prometheus.running(directory / "late", window="6h") as late,
    ):
        yield {"strict": strict, "late": late}


def writer(store: Any, job: str, **options: Any) -> RemoteWrite:
    url = urlsplit(f"remote-write://127.0.0.1:{store.port}")
    made = RemoteWrite(url, RemoteWriteOptions(job=job, **options), Context("here", {}))
    made.open()
    return made


def page(**options: Any) -> tuple[Prometheus, int]:
    port = free_port()
    url = urlsplit(f"prometheus://127.0.0.1:{port}")
    made = Prometheus(url, PageOptions(**options), Context("here", {}))
    made.open()
    return made, port


def plain(labels: prometheus.Labels) -> dict[str, str]:
    return {name: value for name, value in labels if name not in OWN}


# -- the whole agent -----------------------------------------------------------------------------


def configuration(tmp_path: Path, publishers: list[Any], meters: list[str]) -> Path:
    document = {
        "sources": [{"name": "host", "interval": 1, "meters": meters, "sinks": ["all"]}],
        "sinks": [{"name": "all", "publishers": [f"file://{tmp_path}/read", *publishers]}],
    }
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text(json.dumps(document))
    config = tmp_path / "agent.conf"
    config.write_text(
        f"[DEFAULT]\nhost = kvm-1\nstate_path = {tmp_path}/state\n"
        f"pipeline_cfg_file = {pipeline}\n[polling]\nnamespaces = host\n"
    )
    return config


def expected(samples: list[dict[str, Any]]) -> dict[tuple[str, str], dict[float, float]]:
    """Return the values that Prometheus must have, by name and resource and time."""
    names = Names(adds=False)
    found: dict[tuple[str, str], dict[float, float]] = {}
    for one in samples:
        meter = Meter(one["name"], one["unit"], SampleType(one["type"]))
        series = found.setdefault((names.family(meter).name, one["resource_id"]), {})
        milliseconds = round(microseconds(agent.seconds(one)) / 1000)
        series[milliseconds / 1000] = one["volume"] * BASE.get(one["unit"], 1)
    return found


def stored(store: Any, name: str, **labels: str) -> dict[str, dict[float, float]]:
    """Return what is stored of a metric, by resource and time."""
    wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
    found: dict[str, dict[float, float]] = {}
    for key, points in store.points(f"{name}{{{wanted}}}").items():
        assert dict(key)["resource_id"] not in found, "two series of one resource"
        found[dict(key)["resource_id"]] = dict(points)
    return found


def test_what_the_agent_read_is_what_prometheus_has(tmp_path: Path) -> None:
    port = free_port()
    scrape = [
        {"job_name": "page", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]},
    ]
    with prometheus.running(tmp_path / "store", scrape=scrape, window="1h") as store:
        _follow(tmp_path, store, port)


def _follow(tmp_path: Path, store: prometheus.Prometheus, port: int) -> None:
    publishers = [f"prometheus://127.0.0.1:{port}", f"remote-write://127.0.0.1:{store.port}"]
    config = configuration(tmp_path, publishers, ["hardware.*"])
    uptime = "ceilo_hardware_uptime_seconds"
    with agent.running("polling", config=config, log=tmp_path / "log"):
        agent.wait_until(lambda: len(store.points(uptime)) == 2)
        agent.wait_until(lambda: all(len(p) > 7 for p in store.points(uptime).values()))
        kinds = store.metadata()
        (target,) = store.targets()
    assert target["health"] == "up", target
    assert kinds[uptime]["type"] == "gauge"
    # OpenMetrics calls a counter by its name without `_total`.
    assert kinds["ceilo_hardware_cpu_user_seconds"]["type"] == "counter"
    read = expected(agent.lines(tmp_path / "read"))
    assert len(read) > 50
    scraped = 0
    for name in {name for name, _ in read}:
        for resource, points in stored(store, name, job="ceilo_agent").items():
            assert points == pytest.approx(read[name, resource], rel=1e-15), (name, resource)
        for resource, points in stored(store, name, job="page").items():
            values = [pytest.approx(value, rel=1e-15) for value in read[name, resource].values()]
            assert all(value in values for value in points.values()), (name, resource)
            scraped += 1
    assert scraped >= len(read)
    ups = store.points(f'up{{job="page",instance="127.0.0.1:{port}"}}')
    (pages,) = ups.values()
    first = min(time for time, value in pages if value)
    shown = stored(store, uptime, job="page")["kvm-1"]
    # From the first value on there is one in every scrape.
    begun = [time for time, value in pages if value and time >= min(shown)]
    assert first <= min(shown)
    assert sorted(shown) == begun
    print(f"{sum(map(len, read.values()))} samples of {len(read)} series are there")


def test_an_outage_and_an_end_by_force_lose_and_double_nothing(tmp_path: Path) -> None:
    with prometheus.running(tmp_path / "store", window="1h") as store:
        _outage(tmp_path, store)


def _outage(tmp_path: Path, store: prometheus.Prometheus) -> None:
    publishers = [f"remote-write://127.0.0.1:{store.port}"]
    config = configuration(tmp_path, publishers, ["hardware.memory.*"])
    read = tmp_path / "read"

    def more(count: int) -> None:
        before = len(agent.lines(read))
        agent.wait_until(lambda: len(agent.lines(read)) >= before + count)

    command = [*agent.COMMAND, "--config-file", str(config), "polling"]
    # Killed while it writes, twice, and once while nobody takes what it writes.
    for up in (True, True, False):
        process = Process(command, tmp_path / "killed.log")
        more(30)
        if not up:
            store.kill()
            more(50)
        process.kill()
    with agent.running("polling", config=config, log=tmp_path / "log"):
        more(50)
        store.start()
        total = "ceilo_hardware_memory_total_bytes"
        agent.wait_until(lambda: bool(store.points(total)))
        more(50)
    found = expected(agent.lines(read))
    for name in {name for name, _ in found}:
        for resource, points in stored(store, name).items():
            assert points == pytest.approx(found[name, resource], rel=1e-15), (name, resource)
    counted = [
        line.rpartition(": ")[2]
        for line in (tmp_path / "log").read_text().splitlines()
        if f"publisher remote-write-127.0.0.1:{store.port}: " in line and " offered, " in line
    ]
    print(*counted)
    assert re.fullmatch(
        r"(\d+) samples offered, \1 delivered, 0 waiting, 0 set aside, 0 dropped", counted[-1]
    )


# -- remote write --------------------------------------------------------------------------------


def batches() -> list[list[Sample]]:
    """Return batches with everything that a receiver refuses."""
    now = float(int(time.time()))
    of = [guest(n) for n in range(20)]

    def at(second: float, number: int, value: float = 10**9) -> Sample:
        return Sample(CPU, of[number], now - 60 + second, value)

    return [
        [at(n, g, n * 10**9) for n in range(5) for g in range(10)],
        [at(n, g, n * 10**9) for n in range(5) for g in range(10)],  # again
        [at(10, 0), at(3.5, 1), at(10, 2), at(4, 3, 7), at(4, 4, 4 * 10**9), at(11, 0)],
        [at(12, 5), at(12, 5, 2 * 10**9), at(13, 5)],
        [*(at(-7200 - g, g) for g in range(10, 20)), at(14, 6)],
        [*(at(-30000 - g, g) for g in range(10, 20)), at(15, 6)],
        [at(16, 7), Sample(READ, disk(7), now - 50, 2**63), Sample(READ, disk(7), now - 51, 1)],
        [at(9999, 8), at(17, 8)],
    ]


def refused(publisher: RemoteWrite, batch: list[Sample]) -> dict[int, str]:
    try:
        publisher.push(batch)
    except Permanent as error:
        return {index: why.rpartition(": ")[2] for index, why in (error.refused or {}).items()}
    return {}


@pytest.mark.parametrize(("kind", "window"), [("strict", 0), ("late", 6 * 3600)])
def test_refusals_are_found_one_by_one_and_are_those_of_the_receiver_of_unit_tests(
    stores: dict[str, prometheus.Prometheus], kind: str, window: int
) -> None:
    store, twin = stores[kind], Receiver(window * 1000)
    ours = writer(store, "refusals")
    with faulty.serving(twin.behaviour()) as server:
        theirs = writer(server, "refusals")
        for number, batch in enumerate(batches()):
            if number == 1:  # as after a restart: it remembers nothing
                ours, theirs = writer(store, "refusals"), writer(server, "refusals")
            assert refused(ours, batch) == refused(theirs, batch), f"batch {number}"
    for name in (CPU_NAME, "ceilo_disk_device_read_bytes_total"):
        found = store.points(f'{name}{{job="refusals"}}')
        assert {dict(key)["resource_id"]: points for key, points in found.items()} == (
            twin.points(name)
        )


def test_metadata_are_joined_and_old_ones_end_at_once(
    stores: dict[str, prometheus.Prometheus],
) -> None:
    store = stores["strict"]
    ours = writer(store, "metadata")
    now = time.time() - 2
    own = {"meter": CPU, "volume": 10**9}
    ours.push([Sample(resource=guest(90), time=now - 10, **own)])
    join = (
        f'{CPU_NAME}{{job="metadata"}} * on (instance_id) group_left (name, host) '
        'ceilo_instance_info{job="metadata"}'
    )
    (series,) = store.query(join)
    assert series["metric"]["name"] == "web-90"
    moved = guest(90, instance_host="kvm-2", display_name="db")
    ours.push([Sample(resource=moved, time=now, **own), cpu(0, resource=guest(91))])
    (series,) = [one for one in store.query(join) if one["metric"]["instance_id"] == "5a0e-90"]
    assert (series["metric"]["name"], series["metric"]["host"]) == ("db", "kvm-2")


def test_an_answer_that_was_lost_on_the_way(stores: dict[str, prometheus.Prometheus]) -> None:
    store = stores["strict"]
    with faulty.serving(faulty.forward(store.url)) as proxy:
        ours = writer(proxy, "lost")
        batch = [cpu(n, n * 10**9) for n in range(5)]
        proxy.script(faulty.forward(store.url), faulty.forward(store.url, lose=True))
        with pytest.raises(Retryable):
            ours.push(batch)
        ours.push(batch)
    (points,) = store.points(f'{CPU_NAME}{{job="lost"}}').values()
    assert [value for _, value in points] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_the_configurations_in_the_documentation_are_prometheuss(tmp_path: Path) -> None:
    found = {block.name: block.text for page in PAGES for block in blocks(page)}
    file = tmp_path / "prometheus.yml"
    file.write_text(found["scrape-config"] + "\n" + found["receiver-config"])
    # The files that it names are not here.
    told = promtool("check", "config", "--syntax-only", str(file))
    assert told.returncode == 0, told.stderr


def promtool(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    command = ["promtool", *arguments]
    try:
        return subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    except FileNotFoundError:
        lacking("promtool is not installed")
        raise


# -- the page ------------------------------------------------------------------------------------


def every_meter(turn: int) -> list[Sample]:
    parts = {
        "instance": guest, "instance_disk": disk, "instance_network_interface": nic,
    }  # fmt: skip
    found = []
    for namespace in ("compute", "host"):
        for entry in catalogue(namespace).meters:
            meter = Meter(entry.name, entry.unit, entry.type)
            if namespace == "host":
                of = [host() if entry.kind == "host" else host("sda")]
            else:
                of = [parts.get(entry.kind, guest)(n) for n in (1, 2)]
            found += [Sample(meter, one, time.time(), 1000 + turn) for one in of]
    return found


def test_every_meter_passes_prometheuss_own_lint() -> None:
    made, port = page()
    made.push(every_meter(0))
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    made.close()
    lint = promtool("check", "metrics", text=text)
    assert (lint.returncode, lint.stdout + lint.stderr) == (0, "")


def test_prometheus_scrapes_over_tls_with_a_password_and_a_certificate(tmp_path: Path) -> None:
    own = certificates.certificate(tmp_path)
    (tmp_path / "client").mkdir()
    client = certificates.certificate(tmp_path / "client", "prometheus.example")
    made, port = page(
        certfile=str(own.cert),
        keyfile=str(own.key),
        client_cafile=str(client.cert),
        username="prometheus",
        password=Secret("s3cret"),
    )
    tls = {"ca_file": str(own.cert), "cert_file": str(client.cert), "key_file": str(client.key)}
    common = {"scheme": "https", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    right = {"username": "prometheus", "password": "s3cret"}
    scrape = [
        {"job_name": "right", "tls_config": tls, "basic_auth": right, **common},
        {"job_name": "no password", "tls_config": tls, **common},
        {"job_name": "no certificate", "tls_config": {"ca_file": str(own.cert)},
         "basic_auth": right, **common},
    ]  # fmt: skip
    made.push([cpu(time.time() - 1 - cpu().time)])
    try:
        with prometheus.running(tmp_path / "store", scrape=scrape) as store:
            agent.wait_until(lambda: _asked(store) == len(scrape))
            health = {t["labels"]["job"]: (t["health"], t["lastError"]) for t in store.targets()}
            agent.wait_until(lambda: bool(store.query(CPU_NAME)))
            (key,) = store.values(CPU_NAME)
    finally:
        made.close()
    assert dict(key)["job"] == "right"
    assert health["right"] == ("up", "")
    assert "401" in health["no password"][1]
    assert health["no certificate"][0] == "down"


def _asked(store: prometheus.Prometheus) -> int:
    return sum(target["health"] != "unknown" for target in store.targets())


def test_a_guest_that_is_gone_vanishes_and_the_others_have_no_gap(tmp_path: Path) -> None:
    made, port = page(expire=2)
    scrape = [{"job_name": "page", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}]
    both, one = [guest(1), guest(2)], [guest(2)]
    turn = 0

    def push(guests: list[Any]) -> bool:
        nonlocal turn
        turn += 1
        made.push([Sample(CPU, each, time.time(), turn * 10**9) for each in guests])
        return False

    try:
        with prometheus.running(tmp_path / "store", scrape=scrape) as store:
            agent.wait_until(lambda: push(both) or len(store.values(CPU_NAME)) == 2)
            agent.wait_until(lambda: push(one) or len(store.values(CPU_NAME)) == 1)
            agent.wait_until(lambda: push(one) or len(store.query("ceilo_instance_info")) == 1)
            found = store.points(CPU_NAME)
            (ups,) = store.points("up").values()
    finally:
        made.close()
    times = {
        dict(key)["instance_id"]: [when for when, _ in points] for key, points in found.items()
    }
    begun = min(times["5a0e-2"])
    assert times["5a0e-2"] == [at for at, up in ups if at >= begun and up]
    assert max(times["5a0e-1"]) < max(times["5a0e-2"])
