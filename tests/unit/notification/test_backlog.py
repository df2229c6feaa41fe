# SPDX-License-Identifier: Apache-2.0
"""How many messages wait, as far as brokers tell; the real one is in the functional tests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping

import pytest

from ceilo_agent.errors import ConfigError
from ceilo_agent.notification import backlog
from ceilo_agent.notification.backlog import Backlog

HERE = "rabbit://me:hush@127.0.0.1:1/"
"""Nobody listens there."""


def made(urls: list[str], queues: Collection[str] = ("q", "r")) -> Backlog:
    return Backlog(urls, (), lambda: queues, lambda _when, _found: None)


def answers(monkeypatch: pytest.MonkeyPatch, *depths: Mapping[str, int] | None) -> None:
    """Let brokers tell these, one each."""
    told = iter(depths)
    monkeypatch.setattr(backlog._Broker, "depths", lambda _self, _names: next(told))


def test_what_waits_at_several_brokers_is_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, {"q": 3, "r": 0}, {"q": 4, "r": 1})
    assert made([HERE, HERE]).look() == {"q": 7, "r": 1}


def test_with_one_broker_away_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, {"q": 3, "r": 0}, None)
    assert made([HERE, HERE]).look() == {"q": None, "r": None}


def test_a_broker_that_is_away_is_told_without_its_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "ceilo_agent")
    one = made([HERE])
    for _ in range(3):
        assert one.look() == {"q": None, "r": None}
    assert len(caplog.messages) == 1, "told once"
    assert "hush" not in caplog.text


def test_only_rabbitmq_is_asked() -> None:
    one = made(["fake://"])
    assert not one.asks
    one.start()
    one.stop()
    assert one.waiting is None


def test_no_url_of_a_broker() -> None:
    with pytest.raises(ConfigError) as caught:
        made(["rabbit://me:hush@host:port/"])
    assert "hush" not in str(caught.value)


def test_it_looks_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "EVERY", 0.01)
    depths = iter([{"q": 3}, None, {"q": 1}])
    monkeypatch.setattr(backlog._Broker, "depths", lambda _self, _names: next(depths))
    seen: list[int | None] = []
    done = threading.Event()

    def looked(_when: float, found: Mapping[str, int | None]) -> None:
        seen.extend(found.values())
        if len(seen) == 3:
            done.set()

    one = Backlog([HERE], (), lambda: ["q"], looked)
    one.start()
    assert done.wait(10)
    one.stop()
    assert seen == [3, None, 1]
