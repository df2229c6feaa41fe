# SPDX-License-Identifier: Apache-2.0
"""What is particular to ``http://``: Ceilometer's form, a request for each sample, the URL."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ceilo_agent.errors import ConfigError, Retryable
from ceilo_agent.plugins import Publisher
from ceilo_agent.sample import Meter, Resource, Sample, SampleType
from tests.services import faulty
from tests.unit.publishers.kinds import build

CPU = Meter("cpu", "ns", SampleType.CUMULATIVE)
GUEST = Resource("guest-1", "project", "user", "instance", {"display_name": "web"})

CEILOMETER = {
    "name",
    "type",
    "unit",
    "volume",
    "user_id",
    "user_name",
    "project_id",
    "project_name",
    "resource_id",
    "timestamp",
    "resource_metadata",
    "source",
    "id",
    "monotonic_time",
}
"""What `ceilometer.sample.Sample` of Ceilometer 27 has: its publisher posts all of it."""


@pytest.fixture
def server() -> Iterator[faulty.Server]:
    with faulty.serving() as found:
        yield found


def made(server: faulty.Server, tmp_path: Path, path: str = "/in", **options: Any) -> Publisher:
    found = build(f"{server.url}{path}", tmp_path, **options)
    found.open()
    return found


def sample(number: int = 0) -> Sample:
    return Sample(CPU, GUEST, 1_790_000_000.25 + number, 7 + number)


def bodies(server: faulty.Server) -> list[Any]:
    return [msgspec.json.decode(request.body) for request in server.requests]


def test_a_document_is_ceilometers(server: faulty.Server, tmp_path: Path) -> None:
    publisher = made(server, tmp_path)
    publisher.push([sample()])
    ((found,),) = bodies(server)
    assert set(found) == CEILOMETER
    assert uuid.UUID(found.pop("id"))
    assert found == {
        "name": "cpu",
        "type": "cumulative",
        "unit": "ns",
        "volume": 7,
        "user_id": "user",
        "user_name": None,
        "project_id": "project",
        "project_name": None,
        "resource_id": "guest-1",
        "timestamp": "2026-09-21T14:13:20.250000+00:00",
        "resource_metadata": {"display_name": "web"},
        "source": "openstack",
        "monotonic_time": None,
    }
    publisher.close()


def test_ids_tell_readings_apart_and_repeats_not(server: faulty.Server, tmp_path: Path) -> None:
    publisher = made(server, tmp_path)
    publisher.push([sample(0), sample(1)])
    publisher.push([sample(0)])
    (first, second), (again,) = ([one["id"] for one in body] for body in bodies(server))
    assert first != second
    assert again == first
    publisher.close()


def test_a_batch_is_one_request_with_a_list(server: faulty.Server, tmp_path: Path) -> None:
    publisher = made(server, tmp_path)
    publisher.push([sample(n) for n in range(3)])
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/in")
    assert request.headers["Content-Type"] == "application/json"
    assert [one["volume"] for one in bodies(server)[0]] == [7, 8, 9]
    publisher.close()


@pytest.mark.parametrize("url", ["/in?batch=False", "/in"])
def test_without_batch_each_sample_is_a_request(
    server: faulty.Server, tmp_path: Path, url: str
) -> None:
    options = {} if "?" in url else {"batch": False}
    publisher = made(server, tmp_path, url, **options)
    assert publisher.options.batch_size == 1
    publisher.push([sample(0), sample(1)])
    assert [body["volume"] for body in bodies(server)] == [7, 8]
    publisher.close()


def test_options_that_ceilometers_files_have(server: faulty.Server, tmp_path: Path) -> None:
    query = "timeout=1&max_retries=2&batch=True&verify_ssl=False"
    publisher = made(server, tmp_path, f"/in?{query}")
    publisher.push([sample()])
    assert server.requests[0].path == "/in"
    publisher.close()


def test_a_query_of_the_receivers_own(server: faulty.Server, tmp_path: Path) -> None:
    publisher = made(server, tmp_path, "/in?query=a%3Db%26c%3Dd", timeout=3)
    publisher.push([sample()])
    assert server.requests[0].path == "/in?a=b&c=d"
    publisher.close()


def test_the_user_in_the_url_asks_and_is_not_shown(tmp_path: Path) -> None:
    port = faulty.closed_port()
    publisher = build(f"http://me:hunter2@127.0.0.1:{port}/in?query=key%3Dhunter2", tmp_path)
    publisher.open()
    with pytest.raises(Retryable) as caught:
        publisher.push([sample()])
    assert str(caught.value) == f"http://127.0.0.1:{port}/in: Connection refused"


def test_a_secret_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    publisher = build("http://host/in", tmp_path, bearer_token="file:/no/such")
    with pytest.raises(ConfigError, match="/no/such cannot be read: No such file or directory"):
        publisher.open()
