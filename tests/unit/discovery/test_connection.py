# SPDX-License-Identifier: Apache-2.0
"""Connections to sockets that refuse, are silent or come late; the client library is the real one.

No daemon is needed: what listens here never speaks libvirt's protocol.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from ceilo_agent.discovery.libvirt import connection, opening
from ceilo_agent.discovery.libvirt.connection import Connection, is_gone
from ceilo_agent.discovery.libvirt.opening import FIRST_PAUSE, LONGEST_PAUSE, Opening, Pause
from ceilo_agent.discovery.libvirt.unreachable import explain, explain_silence, is_local
from ceilo_agent.errors import Unavailable


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def eventually(condition: Callable[[], Any]) -> None:
    end = soon()
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def uri_of(path: Path) -> str:
    return f"qemu+unix:///system?socket={path}"


class Silent:
    """A daemon that takes connections and says nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(16)

    def end(self) -> None:
        """End, as a daemon that was killed does: its socket's file stays."""
        self._socket.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sock"


@pytest.fixture
def silent(path: Path) -> Iterator[Silent]:
    made = Silent(path)
    yield made
    made.end()
    eventually(lambda: not opening._under_way)


def fault(made: Connection, seconds: float = 5.0) -> str:
    with pytest.raises(Unavailable) as caught:
        made.get(soon(seconds))
    return str(caught.value)


class Said(libvirt.libvirtError):
    """An error of libvirt with a text, a code and a domain of our choice."""

    def __init__(self, text: str, code: int = 38, domain: int = libvirt.VIR_FROM_RPC) -> None:
        super().__init__(text)
        self.err = (code, domain, text, 2, None, None, None, 0, 0)


def test_a_socket_that_is_not_there_is_named_with_the_next_step(path: Path) -> None:
    said = fault(Connection(uri_of(path), "t"))
    assert said.startswith(f"libvirt at {uri_of(path)} cannot be reached: ")
    assert str(path) in said
    assert "the socket is not there: is libvirtd or virtqemud running?" in said


def test_a_socket_that_nobody_serves_is_told_and_tried_in_every_cycle(
    path: Path, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent.end()
    attempts = []
    real = libvirt.openReadOnly
    monkeypatch.setattr(libvirt, "openReadOnly", lambda uri: attempts.append(uri) or real(uri))
    made = Connection(uri_of(path), "t")
    said = {fault(made) for _ in range(3)}
    assert len(attempts) == 3
    assert len(said) == 1  # the same words, so that they are logged once
    assert "nobody serves the socket: is libvirtd or virtqemud running?" in said.pop()


def test_a_socket_that_may_not_be_opened_names_the_user() -> None:
    text = "Failed to connect socket to '/run/libvirt/libvirt-sock-ro': Permission denied"
    said = explain("qemu:///system", Said(text))
    assert said.startswith(f"libvirt at qemu:///system cannot be reached: {text} (user ")
    assert "may not open it: see unix_sock_ro_perms" in said


@pytest.mark.parametrize(
    ("uri", "code", "step"),
    [
        ("qemu:///system", libvirt.VIR_ERR_AUTH_FAILED, "auth_unix_ro"),
        ("nothing:///", libvirt.VIR_ERR_NO_CONNECT, "is [libvirt] uri right?"),
        ("qemu+tls://far/system", libvirt.VIR_ERR_SYSTEM_ERROR, "is that host up"),
        ("qemu:///system", libvirt.VIR_ERR_INTERNAL_ERROR, "is libvirtd or virtqemud running?"),
    ],
)
def test_each_cause_has_its_next_step(uri: str, code: int, step: str) -> None:
    assert step in explain(uri, Said("something", code))


@pytest.mark.parametrize(
    ("uri", "local"),
    [
        ("qemu:///system", True),
        ("qemu+unix:///system?socket=/run/x", True),
        ("test:///default", True),
        ("qemu+ssh://far/system", False),
        ("qemu+tcp:///system", False),
        ("qemu://far/system", False),
    ],
)
def test_local_uris_are_told_from_others(uri: str, local: bool) -> None:
    assert is_local(uri) is local
    assert uri in explain_silence(uri)


@pytest.mark.usefixtures("silent")
def test_an_attempt_that_hangs_keeps_nobody_beyond_the_deadline_and_goes_on(path: Path) -> None:
    made = Connection(uri_of(path), "t")
    began = time.monotonic()
    said = {fault(made, 0.2) for _ in range(3)}
    assert time.monotonic() - began < 3
    assert said == {explain_silence(made.uri)}
    assert len(opening._under_way) == 1
    made.close()


def test_an_attempt_that_hangs_for_long_is_given_up_and_tried_anew_after_a_pause(
    path: Path, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0.1)
    made = Connection(uri_of(path), "t")
    fault(made, 0.2)
    assert "does not answer" in fault(made, 0.2)  # in the pause nothing is begun
    assert len(opening._under_way) == 1
    time.sleep(FIRST_PAUSE)
    fault(made, 0.2)
    assert len(opening._under_way) == 2
    silent.end()
    eventually(lambda: not opening._under_way)
    time.sleep(2 * FIRST_PAUSE)
    assert "nobody serves" in fault(made)


@pytest.mark.usefixtures("silent")
def test_no_more_than_a_few_attempts_of_the_process_hang(path: Path) -> None:
    made = [Connection(uri_of(path), f"t{n}") for n in range(opening.MAX_HANGING + 3)]
    for each in made:
        assert "does not answer" in fault(each, 0.05)
    assert len(opening._under_way) == opening.MAX_HANGING
    threads = [t for t in threading.enumerate() if t.name.endswith("-open")]
    assert len(threads) == opening.MAX_HANGING
    assert all(thread.daemon for thread in threads)
    for each in made:
        each.close()


@pytest.mark.parametrize("given_up_first", [True, False])
def test_what_comes_of_an_attempt_that_was_given_up_is_closed_once(given_up_first: bool) -> None:
    hold = threading.Event()
    closed: list[int] = []

    class Handle:
        def close(self) -> None:
            closed.append(1)

    def open_() -> tuple[Any, list[int]]:
        hold.wait(5)
        return Handle(), []

    made = Opening.begin("t", open_)
    assert made is not None
    if given_up_first:
        made.give_up()
    hold.set()
    eventually(lambda: not opening._under_way)
    if not given_up_first:
        made.give_up()
    eventually(lambda: closed)
    time.sleep(0.05)
    assert closed == [1]


def test_pauses_grow_to_a_limit_differ_and_end() -> None:
    pause = Pause()
    assert not pause.left(0.0)
    lengths = []
    for _ in range(12):
        pause.grow(0.0)
        lengths.append(pause._until)
    assert FIRST_PAUSE / 2 <= lengths[0] <= FIRST_PAUSE
    assert LONGEST_PAUSE / 2 <= lengths[-1] <= LONGEST_PAUSE
    assert len(set(lengths[-5:])) == 5
    assert pause.left(0.0)
    pause.end()
    assert not pause.left(0.0)


def test_a_far_hypervisor_is_not_tried_in_every_cycle(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []

    def refuse(uri: str) -> None:
        attempts.append(uri)
        raise Said("unable to connect to server at 'far:16514'")

    monkeypatch.setattr(libvirt, "openReadOnly", refuse)
    made = Connection("qemu+tls://far/system", "t")
    assert len({fault(made) for _ in range(5)}) == 1
    assert len(attempts) == 1


def test_errors_of_the_connection_are_told_from_those_of_a_guest() -> None:
    assert is_gone(Said("end of file while reading", 38, libvirt.VIR_FROM_RPC))
    assert not is_gone(Said("no domain", libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_FROM_QEMU))


def test_a_connection_that_opens_is_kept_until_it_is_closed() -> None:
    made = Connection("test:///default", "t")
    handle = made.get(soon())
    assert made.get(soon()) is handle
    assert made.alive
    made.close()
    assert not made.alive
    with contextlib.suppress(libvirt.libvirtError):
        handle.close()
