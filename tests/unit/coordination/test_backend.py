# SPDX-License-Identifier: Apache-2.0
"""What is not installed, and what is no back end, is told with what to do."""

from __future__ import annotations

import sys

import pytest

from ceilo_agent.coordination.backend import coordinator
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
        coordinator(url, "one", 30)
    assert str(caught.value).endswith(told)
    assert "secret" not in str(caught.value)


def test_a_scheme_that_is_none_is_told_with_the_nearest(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError) as caught:
        coordinator("zokeeper://:secret@ctl", "one", 30)
    assert str(caught.value) == (
        "options: [coordination] backend_url zokeeper://***@ctl: there is no driver for "
        "'zokeeper': file, redis, zookeeper (kazoo) or etcd3+http was expected "
        "(did you mean 'zookeeper'?)"
    )
    assert caplog.text == "", "the drivers' own loader says nothing"
