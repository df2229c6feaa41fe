# SPDX-License-Identifier: Apache-2.0
"""Bytes that are no frame, or none for this reader: each is refused with its reason."""

from __future__ import annotations

import hmac
import math
import resource as limits
import struct
import time
import tracemalloc
from typing import Any

import msgspec
import pytest
import zstandard

from ceilo_agent.messaging import frame as frames
from ceilo_agent.messaging import wire
from ceilo_agent.messaging.frame import HEADER, MAX_BODY, MAX_FRAME
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.message import Reason, Rejected
from ceilo_agent.messaging.wire import decode
from ceilo_agent.sample import FIRST, UNTRACKED, Previous
from tests.unit.messaging.frames import BODY, ID, NO_KEYS, SENT, body, encoded, frame, series

OLD, NEW, OTHER = b"old secret", b"new secret", b"another secret"


def reason(data: bytes, keys: Keys = NO_KEYS) -> Reason:
    """Return why a frame is refused, and see that it is nothing else that comes out."""
    with pytest.raises(Rejected) as caught:
        decode(data, keys)
    return caught.value.reason


def test_a_frame_made_by_hand_is_read() -> None:
    """So that what is refused below is refused for what was changed."""
    found = decode(frame(body()), NO_KEYS)
    assert (found.id, found.host, found.sent, found.queues, found.source) == (
        ID, "h", SENT, 10, "s",
    )  # fmt: skip
    assert [
        (each.meter.name, each.volume, each.previous, each.started) for each in found.samples
    ] == [
        ("cpu", 7, Previous(60.0, 4), None),
        ("vcpus", 2, FIRST, 9e8),
        ("cpu", 1.5, UNTRACKED, 0.0),
    ]


# -- what is cut, flipped, or appended -------------------------------------------------------------


@pytest.mark.parametrize("keys", [NO_KEYS, Keys(NEW)], ids=["unsigned", "signed"])
def test_a_frame_cut_at_any_byte_is_refused(keys: Keys) -> None:
    (whole,) = encoded(series(20), keys=keys)
    for length in range(len(whole)):
        reason(whole[:length], keys)


@pytest.mark.parametrize("extra", [b"\0", b"x" * 40, zstandard.compress(b"more")])
@pytest.mark.parametrize("keys", [NO_KEYS, Keys(NEW)], ids=["unsigned", "signed"])
def test_a_frame_with_something_behind_it_is_refused(keys: Keys, extra: bytes) -> None:
    (whole,) = encoded(series(20), keys=keys)
    assert reason(whole + extra, keys) is (Reason.SIGNATURE if keys.current else Reason.MALFORMED)


def flipped(data: bytes, bit: int) -> bytes:
    return bytes(each ^ (1 << bit % 8 if n == bit // 8 else 0) for n, each in enumerate(data))


def test_one_flipped_bit_breaks_a_signature_wherever_it_is() -> None:
    (whole,) = encoded(series(5), keys=Keys(NEW))
    for bit in range(len(whole) * 8):
        found = reason(flipped(whole, bit), Keys(NEW))
        expected = {Reason.SIGNATURE}
        if bit < 32:
            expected = {Reason.MALFORMED}
        elif bit < 48:
            expected = {Reason.VERSION, Reason.SIGNATURE}
        assert found in expected, bit


def test_one_flipped_bit_of_an_unsigned_body_is_noticed_by_its_checksum() -> None:
    (whole,) = encoded(series(5))
    for bit in range(HEADER.size * 8, len(whole) * 8):
        try:
            found = decode(flipped(whole, bit), NO_KEYS)
        except Rejected:
            continue
        # Zstandard has a bit that is not used, and one that says that there is no checksum.
        assert bit // 8 - HEADER.size == 4, bit
        assert len(found.samples) == 5


def test_one_flipped_bit_of_an_unsigned_header_harms_nobody() -> None:
    (whole,) = encoded(series(5))
    for bit in range(HEADER.size * 8):
        try:
            found = decode(flipped(whole, bit), NO_KEYS)
        except Rejected:
            continue
        assert len(found.samples) == 5
        assert 0 <= found.sent <= wire.LATEST


@pytest.mark.parametrize("data", [b"", b"c", b"ceAg", b"ceAg\1", b"{}", b"\0" * 100, b"CEAG" * 20])
def test_what_does_not_begin_as_a_frame_is_malformed(data: bytes) -> None:
    assert reason(data) is Reason.MALFORMED
    assert reason(data, Keys(NEW)) is Reason.MALFORMED


@pytest.mark.parametrize("sent", [math.nan, math.inf, -1.0, 253402300800.0, 1e300])
def test_a_frame_that_was_sent_at_no_date_is_malformed(sent: float) -> None:
    assert reason(frame(body(), sent=sent)) is Reason.MALFORMED


# -- signatures ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signer", "accepted", "taken"),
    [
        (Keys(), Keys(), True),
        (Keys(NEW), Keys(), True),
        (Keys(NEW), Keys(NEW), True),
        (Keys(OLD), Keys(NEW, OLD), True),
        (Keys(NEW), Keys(NEW, OLD), True),
        (Keys(NEW, OLD), Keys(OLD), False),
        (Keys(OLD), Keys(NEW), False),
        (Keys(OTHER), Keys(NEW, OLD), False),
        (Keys(), Keys(NEW), False),
        (Keys(), Keys(NEW, OLD), False),
    ],
)
def test_a_frame_is_taken_by_who_knows_the_secret(
    signer: Keys, accepted: Keys, taken: bool
) -> None:
    (data,) = encoded(series(3), keys=signer)
    if taken:
        assert len(decode(data, accepted).samples) == 3
    else:
        assert reason(data, accepted) is Reason.SIGNATURE


def test_a_signature_is_of_all_bytes_but_itself() -> None:
    """As the documentation says it, computed apart."""
    (data,) = encoded(series(3), keys=Keys(NEW))
    assert data[32:64] == hmac.new(NEW, data[:32] + data[64:], "sha256").digest()


def test_a_signature_of_the_same_body_under_another_header_does_not_fit() -> None:
    first = frame(body(), key=NEW)
    second = frame(body(), key=NEW, sent=SENT + 1)
    assert reason(second[:32] + first[32:], Keys(NEW)) is Reason.SIGNATURE


def test_a_signed_frame_whose_flag_is_taken_away_is_refused() -> None:
    data = bytearray(frame(body(), key=NEW))
    data[5] = 0
    assert reason(bytes(data), Keys(NEW)) is Reason.SIGNATURE
    assert reason(bytes(data)) is Reason.MALFORMED


def test_a_body_is_not_opened_before_its_signature_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def opened(*_: Any) -> bytes:
        raise AssertionError("it was opened")

    monkeypatch.setattr(frames, "_decompressed", opened)
    assert reason(frame(body(), key=OTHER), Keys(NEW)) is Reason.SIGNATURE
    assert reason(frame(body()), Keys(NEW)) is Reason.SIGNATURE


def test_each_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """`compare_digest` and both of the keys, though the first fits."""
    made: list[bytes] = []
    plain = hmac.compare_digest

    def compare(given: Any, each: Any) -> bool:
        made.append(bytes(each))
        return plain(given, each)

    monkeypatch.setattr(frames.hmac, "compare_digest", compare)
    decode(frame(body(), key=NEW), Keys(NEW, OLD))
    assert len(made) == 2


# -- sizes -----------------------------------------------------------------------------------------


def claiming(size: int) -> bytes:
    """Return a frame of Zstandard that says that it has so many bytes, and has none."""
    return b"\x28\xb5\x2f\xfd" + b"\xe0" + struct.pack("<Q", size) + b"\x01\x00\x00"


@pytest.mark.parametrize("size", [MAX_BODY + 1, 1 << 30, 1 << 40, (1 << 63) - 1, (1 << 64) - 3])
def test_a_body_that_claims_to_be_huge_is_too_large_and_takes_no_memory(size: int) -> None:
    data = frame(claiming(size), compress=False)
    tracemalloc.start()
    try:
        assert reason(data) is Reason.TOO_LARGE
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [0, 1, 100, MAX_BODY])
def test_a_body_that_claims_more_than_it_has_is_malformed(size: int) -> None:
    assert reason(frame(claiming(size), compress=False)) is Reason.MALFORMED


def test_a_body_that_does_not_say_how_large_it_is_is_malformed() -> None:
    plain = zstandard.ZstdCompressor(write_content_size=False).compress(body())
    assert reason(frame(plain, compress=False)) is Reason.MALFORMED


def test_a_bomb_of_zstandard_is_too_large() -> None:
    bomb = frame(bytes(1 << 28))
    assert len(bomb) < 100_000
    assert reason(bomb) is Reason.TOO_LARGE


def test_a_bomb_that_lies_about_its_size_is_malformed() -> None:
    """The size that it claims is all that is made room for."""
    bomb = bytearray(frame(bytes(1 << 28)))
    start = HEADER.size
    assert bomb[start + 4] >> 6 == 2, "the size has four bytes"
    at = start + 5 if bomb[start + 4] & 0x20 else start + 6
    bomb[at : at + 4] = struct.pack("<I", 1000)
    assert reason(bytes(bomb)) is Reason.MALFORMED


def test_a_frame_that_is_huge_is_too_large() -> None:
    assert reason(frame(body()) + bytes(MAX_FRAME)) is Reason.TOO_LARGE


def test_a_reader_may_take_less(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Rejected) as caught:
        decode(frame(body()), NO_KEYS, max_body=20)
    assert caught.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize("magic", [b"\x50\x2a\x4d\x18", b"\x37\xa4\x30\xec"])
def test_what_is_skippable_or_a_dictionary_is_malformed(magic: bytes) -> None:
    assert reason(frame(magic + struct.pack("<I", 4) + b"abcd", compress=False)) is Reason.MALFORMED


# -- bodies ----------------------------------------------------------------------------------------

HUGE = {
    "array": b"\xdd\xff\xff\xff\xff",
    "map": b"\xdf\xff\xff\xff\xff",
    "text": b"\xdb\xff\xff\xff\xff",
    "bytes": b"\xc6\xff\xff\xff\xff",
    "extension": b"\xc9\xff\xff\xff\xff\x01",
}


@pytest.mark.parametrize("place", range(-1, 12))
@pytest.mark.parametrize("kind", HUGE)
def test_what_claims_four_thousand_million_items_takes_no_memory(kind: str, place: int) -> None:
    items = [msgspec.msgpack.encode(each) for each in BODY.values()]
    data = HUGE[kind]
    if place >= 0:
        data = bytes([0x90 + len(items)]) + b"".join([*items[:place], data, *items[place + 1 :]])
    tracemalloc.start()
    try:
        assert reason(frame(data)) is Reason.MALFORMED
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("unit", [b"\xdd\x0f\xff\xff\xff", b"\x91", b"\x81\xa1a", b"\xc7"])
def test_metadata_nested_without_end_are_malformed(unit: bytes) -> None:
    content = body().replace(b"\x81\xa1a\x01", b"\x81\xa1a" + unit * 100_000 + b"\xc0")
    assert reason(frame(content)) is Reason.MALFORMED


def test_more_samples_than_are_ever_sent_are_malformed_at_once() -> None:
    """A bomb of one byte each: 4,000,000 would take 100 MB as numbers."""
    count = MAX_BODY - 200
    bomb = msgspec.msgpack.encode(list(BODY.values())[:7]) + b""
    bomb = b"\x9c" + bomb[1:] + b"\xdd" + struct.pack(">I", count) + bytes(count)
    tracemalloc.start()
    try:
        began = time.process_time()
        assert reason(frame(bomb)) is Reason.MALFORMED
        assert tracemalloc.get_traced_memory()[1] < 2 * MAX_BODY
        assert time.process_time() - began < 5
    finally:
        tracemalloc.stop()


def test_the_worst_body_is_bounded_in_memory() -> None:
    """Empty mappings of one byte are what takes most memory."""
    before = limits.getrusage(limits.RUSAGE_SELF).ru_maxrss
    head = body(resources=[["r", "p", None, "instance", {"a": "HERE"}]])
    count = MAX_BODY - 200
    bomb = head.replace(b"\xa4HERE", b"\xdd" + struct.pack(">I", count) + b"\x80" * count)
    decode(frame(bomb), NO_KEYS)
    grown = (limits.getrusage(limits.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 100 * MAX_BODY


@pytest.mark.parametrize("length", [0, 2, 4])
@pytest.mark.parametrize("column", list(BODY)[5:])
def test_columns_that_differ_in_length_are_malformed(column: str, length: int) -> None:
    changed = (BODY[column] * 2)[:length]
    assert reason(frame(body(**{column: changed}))) is Reason.MALFORMED


@pytest.mark.parametrize("index", [2, 100, -1, -2, 2**63, 2**64 - 1, 0.0, True, None, "0", [0]])
@pytest.mark.parametrize("column", ["meter", "resource"])
def test_an_index_of_nothing_is_malformed(column: str, index: Any) -> None:
    assert reason(frame(body(**{column: [0, index, 0]}))) is Reason.MALFORMED


@pytest.mark.parametrize(
    ("item", "values"),
    [
        ("host", [None, 7, b"h", ["h"]]),
        ("queues", [None, 0, -1, 1.5, True, "10"]),
        ("source", [7, b"s", ["s"]]),
        ("meters", [None, {}, [7], [["cpu"]], [["cpu", "ns", "other"]] * 2, [[None, "", "gauge"]],
                    [["cpu", None, "gauge"]] * 2, [{"name": "cpu"}], []]),
        ("resources", [None, {}, [7], [["r"]], [["r", "p", None, "instance", None]],
                       [["r", "p", None, "instance", []]], [["r", 7, None, "instance", {}]],
                       [[None, "p", None, "instance", {}]], [["r", "p", None, 7, {}]], []]),
    ],
)  # fmt: skip
def test_items_of_the_wrong_type_are_malformed(item: str, values: list[Any]) -> None:
    for value in values:
        assert reason(frame(body(**{item: value}))) is Reason.MALFORMED, value


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("time", [None, True, "1", math.nan, math.inf, -math.inf, -1.0, -1, 253402300800.0,
                  2**64 - 1]),
        ("volume", [None, True, "1", [1], b"1"]),
        ("started", [True, "1", math.nan, math.inf, -1e-9, 1e12]),
        ("elapsed", [None, "1", math.nan, math.inf, 0, 0.0, -0.0, -60.0, 1e300]),
        ("change", [None, True, "1", [], [1, 2], ["1"], [None], [[1]], {}]),
    ],
)  # fmt: skip
def test_values_of_the_wrong_type_or_range_are_malformed(column: str, values: list[Any]) -> None:
    for value in values:
        changed = [value, *BODY[column][1:]]
        assert reason(frame(body(**{column: changed}))) is Reason.MALFORMED, value


@pytest.mark.parametrize(
    ("volume", "gain"), [(0, 2**63 + 1), (2**64 - 1, -1), (-(2**63), 1), (2**63, -(2**63))]
)
def test_a_gain_that_leads_out_of_64_bits_is_malformed(volume: int, gain: int) -> None:
    changed = {"volume": [volume, 2, 1.5], "change": [gain, 0, 0.0]}
    assert reason(frame(body(**changed))) is Reason.MALFORMED


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"\xc4\x02x\xff", "x\\xff"),  # bytes
        (b"\xd4\x05x", "x"),  # an extension
        (b"\xd6\xff\x00\x00\x00\x00", "1970-01-01 00:00:00+00:00"),
        (b"\x81\x07\x01", {"7": 1}),  # a key that is a number
        (b"\x81\x90\x01", {"()": 1}),  # a key that is an array
        (b"\x81\xc4\x01x\x01", {"b'x'": 1}),  # a key that is bytes
        (b"\x91\x81\xa1x\xc4\x01x", [{"x": "x"}]),
        (b"\x91" * 8 + b"\xc4\x01x", [[[[[[[["x"]]]]]]]]),
    ],
)
def test_metadata_that_json_could_not_hold_are_text(value: bytes, kept: Any) -> None:
    """A publisher that writes JSON would stumble over them, again and again."""
    content = body().replace(b"\x81\xa1a\x01", b"\x81\xa1a" + value)
    found = decode(frame(content), NO_KEYS).samples[0].resource.metadata
    assert found == {"a": kept}
    assert msgspec.json.decode(msgspec.json.encode(found)) == found


@pytest.mark.parametrize(
    "value",
    [
        b"\x81\x80\x01",  # a key that is a mapping
        b"\xa1\xff",  # text that is none
        b"\xa3\xed\xa0\x80",  # a surrogate
        b"\xd7\xff" + b"\xff" * 8,  # a date that is none
        b"\xc1",
    ],
)
def test_metadata_that_cannot_be_read_are_malformed(value: bytes) -> None:
    content = body().replace(b"\x81\xa1a\x01", b"\x81\xa1a" + value)
    assert content != body()
    assert reason(frame(content)) is Reason.MALFORMED


def test_what_is_in_a_table_twice_is_two_things() -> None:
    twice = {"meters": BODY["meters"][:1] * 2, "resources": BODY["resources"] * 2}
    found = decode(frame(body(**twice, resource=[0, 1, 0])), NO_KEYS)
    assert [each.meter.name for each in found.samples] == ["cpu"] * 3


def test_a_key_of_metadata_that_comes_twice_is_the_last_one() -> None:
    content = body().replace(b"\x81\xa1a\x01", b"\x82\xa1a\x01\xa1a\x02")
    assert decode(frame(content), NO_KEYS).samples[0].resource.metadata == {"a": 2}


def test_a_frame_of_no_samples_is_taken() -> None:
    none = {column: [] for column in list(BODY)[3:]}
    assert list(decode(frame(body(**none)), NO_KEYS).samples) == []


@pytest.mark.parametrize("content", [b"", b"\xc0", b"\x90", b"\x80", b"\x9c", b"\x07", b"[]"])
def test_a_body_that_is_no_array_is_malformed(content: bytes) -> None:
    assert reason(frame(content)) is Reason.MALFORMED


@pytest.mark.parametrize("count", range(12))
def test_a_body_that_lacks_items_is_malformed(count: int) -> None:
    assert reason(frame(msgspec.msgpack.encode(list(BODY.values())[:count]))) is Reason.MALFORMED
