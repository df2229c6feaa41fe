# SPDX-License-Identifier: Apache-2.0
"""A libvirtd that was just started is not asked for what it has to find out first."""

from __future__ import annotations

import threading
import time

import libvirt
import pytest

from ceilo_agent.inspection.libvirt.lines import Lines
from ceilo_agent.inspection.libvirt.warmup import NEEDY, Warmup

STATE = libvirt.VIR_DOMAIN_STATS_STATE
CPU = libvirt.VIR_DOMAIN_STATS_CPU_TOTAL


class Daemon:
    """What opens, and finds out what its host can do while `hold` is not set."""

    def __init__(self) -> None:
        self.hold = threading.Event()
        self.asked = 0
        self.alive = True

    def __call__(self, _uri: str) -> Daemon:
        return self

    def getSecurityModel(self) -> list[str]:  # noqa: N802 - libvirt's name
        self.asked += 1
        self.hold.wait(5)
        return ["none", "0"]

    def isAlive(self) -> int:  # noqa: N802 - libvirt's name
        return self.alive

    def setKeepAlive(self, *_: int) -> None:  # noqa: N802 - libvirt's name
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    made = Daemon()
    monkeypatch.setattr(libvirt, "openReadOnly", made)
    return made


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def until_warm(lines: Lines) -> None:
    end = soon()
    while lines.answerable(STATE | CPU, soon()) != STATE | CPU:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_cold_daemon_is_asked_once_and_waited_for_no_longer_than_wanted(daemon: Daemon) -> None:
    warmup = Warmup("fake:///")
    assert not warmup.cold
    began = time.monotonic()
    warmup.begin(soon(0.1))
    warmup.begin(soon(0.1))
    assert time.monotonic() - began < 2
    assert warmup.cold
    daemon.hold.set()
    warmup.begin(soon())
    assert not warmup.cold
    assert daemon.asked == 1


def test_a_daemon_that_knows_its_host_loses_nothing(daemon: Daemon) -> None:
    daemon.hold.set()
    lines = Lines("fake:///")
    lines.take(soon(), apart=False)
    assert lines.answerable(STATE | NEEDY, soon()) == STATE | NEEDY
    lines.close()


def test_groups_that_need_nothing_begin_nothing(daemon: Daemon) -> None:
    lines = Lines("fake:///")
    lines.take(soon(), apart=False)
    assert lines.answerable(STATE, soon()) == STATE
    assert daemon.asked == 0
    lines.close()


def test_the_rest_is_read_while_the_daemon_finds_out_and_after_each_restart(
    daemon: Daemon,
) -> None:
    lines = Lines("fake:///")
    lines.take(soon(), apart=False)
    assert lines.answerable(STATE | CPU, soon(0.3)) == STATE
    daemon.hold.set()
    until_warm(lines)
    # Another line to the same daemon needs nothing; one after all were lost does.
    lines.take(soon(), apart=True)
    lines.answerable(STATE | CPU, soon())
    assert daemon.asked == 1
    daemon.alive = False
    daemon.hold.clear()
    lines.take(soon(), apart=False)
    assert lines.answerable(STATE | CPU, soon(0.3)) == STATE
    assert daemon.asked == 2
    daemon.hold.set()
    lines.close()


def test_a_driver_without_security_models_has_nothing_to_find_out() -> None:
    warmup = Warmup("test:///default")
    warmup.begin(soon())
    assert not warmup.cold
