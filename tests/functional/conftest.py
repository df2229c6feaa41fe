# SPDX-License-Identifier: Apache-2.0
"""The real things that functional tests run on: guests, a broker; started here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator
from types import ModuleType
from typing import NoReturn

import pytest

from ceilo_agent.messaging import topics
from tests.guests.errors import GuestsUnavailable
from tests.guests.fleet import Guest, fleet
from tests.services import etcd, rabbitmq, redis, zookeeper
from tests.services.backend import Backend
from tests.services.errors import ServiceUnavailable
from tests.services.rabbitmq import RabbitMQ

COPY = "copy"
"""A topic to which tests bind what goes to others too."""

QUEUES = [
    f"{topic}.sample" for topic in (COPY, topics.CEILOMETER_TOPIC, *map(topics.topic, range(8)))
]
"""All that a test may leave at the broker."""

BACKENDS = [redis, *(pytest.param(each, marks=pytest.mark.long) for each in (zookeeper, etcd))]


def lacking(reason: str) -> NoReturn:
    """Fail where daemons are owed (CI); elsewhere skip, and say what was left out."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must run this: {reason}")
    pytest.skip(f"LEFT OUT: {reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    with _lacking_what_cannot_be_had():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    with _lacking_what_cannot_be_had():
        yield


@contextlib.contextmanager
def _lacking_what_cannot_be_had() -> Iterator[None]:
    """Make a daemon or guest that cannot be had something that is lacking."""
    try:
        yield
    except (ServiceUnavailable, GuestsUnavailable) as error:
        lacking(str(error))


@pytest.fixture(scope="session")
def booted() -> Iterator[list[Guest]]:
    """Two guests that run Linux and whose counters move: the first has two vCPUs."""
    with fleet(booted=2, prefix="ceilo-test-", iothreads=1) as guests:
        for guest in guests:
            guest.wait_ready()
        yield guests


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """The broker of a module; tests take `broker`."""
    with rabbitmq.running(tmp_path_factory.mktemp("rabbitmq")) as made:
        yield made


@pytest.fixture
def broker(rabbit: RabbitMQ) -> RabbitMQ:
    """A broker without a queue of an earlier test."""
    rabbit.delete(*QUEUES)
    return rabbit


@pytest.fixture(scope="module", params=BACKENDS, ids=["redis", "zookeeper", "etcd"])
def backend(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backend]:
    """What agents agree through."""
    module: ModuleType = request.param
    with module.running(tmp_path_factory.mktemp("backend")) as made:
        yield made
