# SPDX-License-Identifier: Apache-2.0
"""What a reader does with a newer frame, and what a newer reader does with one of today."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ceilo_agent.messaging import frame as frames
from ceilo_agent.messaging import wire
from ceilo_agent.messaging.frame import VERSION
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.message import Reason, Rejected
from ceilo_agent.messaging.wire import decode
from tests.unit.messaging.frames import BODY, NO_KEYS, body, encoded, frame, series
from tests.unit.messaging.test_packing import whole

SECRET = Keys(b"secret")


class NextBody(wire.Body[dict[str, Any]], array_like=True, gc=False):
    """What the next version may be: an item more, with a default."""

    region: str = "none"


@pytest.fixture
def next_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the reader and the writer be those of the next version."""
    monkeypatch.setattr(frames, "VERSION", VERSION + 1)
    monkeypatch.setattr(wire, "_DECODER", msgspec.msgpack.Decoder(NextBody))


def reason(data: bytes) -> Reason:
    with pytest.raises(Rejected) as caught:
        decode(data, NO_KEYS)
    return caught.value.reason


@pytest.mark.parametrize("more", [(), ("region",), ([1, 2], {"a": None}, b"x", 2**64 - 1)])
@pytest.mark.parametrize("flags", [0, 0x02, 0x0E])
def test_a_reader_takes_the_next_version_and_passes_over_what_it_does_not_know(
    more: tuple[Any, ...], flags: int
) -> None:
    known = decode(frame(body()), NO_KEYS)
    for key in (b"", b"secret"):
        data = frame(body(*more), version=VERSION + 1, flags=flags, key=key)
        found = decode(data, SECRET if key else NO_KEYS)
        assert list(map(whole, found.samples)) == list(map(whole, known.samples))


def test_a_reader_passes_over_what_the_next_version_appends_to_tables() -> None:
    meters = [[*each, "more", {}] for each in BODY["meters"]]
    resources = [[*each, 7] for each in BODY["resources"]]
    data = frame(body(meters=meters, resources=resources), version=VERSION + 1)
    assert [each.meter.name for each in decode(data, NO_KEYS).samples] == ["cpu", "vcpus", "cpu"]


def test_a_reader_passes_over_the_reserved_bytes_of_a_header() -> None:
    data = bytearray(frame(body()))
    data[6:8] = b"\xff\xff"
    assert len(decode(bytes(data), NO_KEYS).samples) == 3


@pytest.mark.usefixtures("next_version")
def test_the_next_version_reads_one_of_today() -> None:
    found = decode(frame(body(), version=VERSION), NO_KEYS)
    assert len(found.samples) == 3
    assert wire._DECODER.decode(body()).region == "none"  # type: ignore[attr-defined]


def test_what_the_next_version_writes_is_read_today(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(frames, "VERSION", VERSION + 1)
        (data,) = encoded(series(4), keys=SECRET)
    assert data[4] == VERSION + 1
    assert len(decode(data, SECRET).samples) == 4


@pytest.mark.parametrize("version", [0, *range(VERSION + 2, 256)])
def test_a_version_that_is_no_neighbour_is_refused(version: int) -> None:
    assert reason(frame(body(), version=version)) is Reason.VERSION


@pytest.mark.usefixtures("next_version")
def test_the_next_but_one_does_not_read_one_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(decode(frame(body(), version=VERSION + 2), NO_KEYS).samples) == 3
    monkeypatch.setattr(frames, "VERSION", VERSION + 2)
    assert reason(frame(body(), version=VERSION)) is Reason.VERSION


@pytest.mark.parametrize("version", [VERSION, VERSION + 1])
@pytest.mark.parametrize("bit", range(4, 8))
def test_a_flag_that_must_be_known_is_refused(bit: int, version: int) -> None:
    assert reason(frame(body(), version=version, flags=1 << bit)) is Reason.VERSION


def test_an_old_frame_that_lacks_what_must_be_there_is_malformed() -> None:
    short = msgspec.msgpack.encode(list(BODY.values())[:-1])
    assert reason(frame(short, version=VERSION)) is Reason.MALFORMED
