# SPDX-License-Identifier: Apache-2.0
"""What is not installed, and what is no back end, is told with what to do."""

from __future__ import annotations

import sys

import pytest

from ceilo_agent.coordination.backend import coordinator, words
from ceilo_agent.errors import ConfigError


@pytest.mark.parametrize(
    ("missing", "url", "told"),
    [
        ("redis", "redis://:secret@ctl", "redis is not installed (pip install 'tooz[redis]')"),
        ("kazoo", "kazoo://ctl", "kazoo is not installed (pip install 'tooz[zookeeper]')"),
        ("etcd3gw", "etcd3+http://ctl", "etcd3gw is not installed (pip install 'tooz[etcd3gw]')"),
        ("tooz", "file:///tmp", "tooz is not installed (pip install 'ceilo_agent[central]')"),
    ],
)
def test_what_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, missing: str, url: str, told: str
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in (missing, "tooz")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError) as caught:
        coordinator(url, b"one", 30)
    assert str(caught.value).endswith(told)
    assert "secret" not in str(caught.value)


def test_a_scheme_that_is_none_is_told_with_the_nearest(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError) as caught:
        coordinator("zokeeper://:secret@ctl", b"one", 30)
    assert str(caught.value) == (
        "options: [coordination] backend_url zokeeper://***@ctl: there is no driver for "
        "'zokeeper': file, redis, zookeeper (kazoo) or etcd3+http was expected "
        "(did you mean 'zookeeper'?)"
    )
    assert caplog.text == "", "the drivers' own loader says nothing"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://:secret@ctl:port", "the port is no number from 0 to 65535"),
        ("etcd3+http://ctl:70000", "the port is no number from 0 to 65535"),
        (
            "file://state/agents",
            "the path of a directory must begin with / (write file:///path)",
        ),
        ("file:agents", "the path of a directory must begin with / (write file:///path)"),
    ],
)
def test_what_no_try_could_mend_is_refused_at_once(url: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        coordinator(url, b"one", 30)
    assert str(caught.value).endswith(f": {told}")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://[::1]:6379", "redis://ctl", "redis:///run/redis.sock"])
def test_urls_without_a_mistake_are_taken(url: str) -> None:
    assert coordinator(url, b"one", 30) is not None


def test_what_a_driver_does_not_say_is_told_from_the_name_of_its_error() -> None:
    class ConnectionFailedError(Exception):
        """As etcd's driver has it, which says nothing."""

    assert words(ConnectionFailedError()) == "connection failed"
    error = ValueError()
    error.__cause__ = ConnectionFailedError("refused by redis://:secret@ctl\nand so on")
    assert words(error) == "refused by redis://***@ctl"
