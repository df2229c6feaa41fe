# SPDX-License-Identifier: Apache-2.0
"""Whatever the bytes are, samples or a rejection come out: 100,000 cases, 2,000 in each run."""

from __future__ import annotations

import random
from typing import Any

import msgspec
from hypothesis import strategies as st

from ceilo_agent.messaging import packing
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.message import Reason, Rejected
from ceilo_agent.messaging.wire import decode
from tests.fuzzing import twice
from tests.unit.messaging.frames import BODY, NO_KEYS, body, encoded, frame, series

SECRET = Keys(b"secret")
WHOLE = [*encoded(series(30)), *encoded(series(30), keys=SECRET), frame(body(), version=2)]
PACKED = body()
LIST = [list(each) if isinstance(each, list) else each for each in BODY.values()]
HEADS = (0x80, 0x90, 0xA0, 0xC0, 0xC1, 0xC4, 0xC7, 0xCA, 0xCB, 0xCF, 0xD3, 0xD4, 0xDB, 0xDD, 0xDF)

VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(),
        st.text(max_size=3),
        st.binary(max_size=3),
        st.datetimes(),
        st.builds(msgspec.msgpack.Ext, st.integers(-2, 127), st.binary(max_size=3)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.text(max_size=2), st.integers(0, 3)), inner, max_size=2),
    ),
    max_leaves=6,
)


def check(data: bytes, keys: Keys = NO_KEYS) -> Reason | None:
    """Return why bytes are refused; what is taken must be fit to be kept."""
    try:
        found = decode(data, keys)
    except Rejected as error:
        return error.reason
    # As the durable log does with what was taken, and as each publisher of JSON.
    samples = packing.unpack(packing.pack(found.samples))
    assert len(samples) == len(found.samples)
    msgspec.json.encode([each.resource.metadata for each in samples])
    return None


def bytes_of_any_kind(data: bytes, version: int, flags: int) -> None:
    check(data)
    check(b"ceAg" + data)
    check(b"ceAg" + bytes([version, flags]) + data)
    check(frame(data, version=1 + version % 2, flags=flags & 0x0F))


test_bytes, test_bytes_long = twice(
    bytes_of_any_kind,
    st.binary(max_size=200),
    st.integers(0, 255),
    st.integers(0, 255),
    short=500,
    long=25_000,
)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return bytes with a few of them changed, put in, taken away or repeated."""
    made = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        place, kind = chance.randrange(len(made) + 1), chance.randrange(5)
        if kind == 0:
            made[place : place + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            made[place:place] = bytes([chance.choice(HEADS), *chance.randbytes(4)])
        elif kind == 2:
            del made[place : place + chance.randrange(1, 9)]
        elif kind == 3:
            made[place : place + 1] = bytes([chance.choice(HEADS)])
        else:
            made[place:place] = made[place : place + chance.randrange(1, 40)]
    return bytes(made)


def frames_that_were_damaged(seed: int) -> None:
    chance = random.Random(seed)
    data = mutated(chance.choice(WHOLE), chance)
    check(data)
    if data not in WHOLE:
        assert check(data, SECRET) is not None


test_frames, test_frames_long = twice(
    frames_that_were_damaged, st.integers(0, 2**64), short=500, long=25_000
)


def bodies_that_were_damaged(seed: int) -> None:
    chance = random.Random(seed)
    data = mutated(PACKED, chance)
    check(frame(data))
    assert check(frame(data, key=b"another")) == check(frame(data))
    assert check(frame(data, key=b"another"), SECRET) is Reason.SIGNATURE


test_bodies, test_bodies_long = twice(
    bodies_that_were_damaged, st.integers(0, 2**64), short=500, long=25_000
)


def bodies_that_hold_what_they_should_not(place: int, item: int, value: Any) -> None:
    made = list(LIST)
    within = made[place]
    check(frame(msgspec.msgpack.encode([*made[:place], value, *made[place + 1 :]])))
    if isinstance(within, list):
        made[place] = [*within[:item], value, *within[item + 1 :]]
        check(frame(msgspec.msgpack.encode(made)))
        if place in (3, 4):
            row = list(BODY["meters" if place == 3 else "resources"][0])
            row[item % len(row)] = value
            made[place] = [row, row]
            check(frame(msgspec.msgpack.encode(made)))


test_values, test_values_long = twice(
    bodies_that_hold_what_they_should_not,
    st.integers(0, 11),
    st.integers(0, 4),
    VALUES,
    short=500,
    long=25_000,
)


def test_the_fuzzing_reaches_what_is_taken_and_what_is_not() -> None:
    """Else the tests above would say nothing of what is behind the first gate."""
    chance = random.Random(1)
    found = [check(frame(mutated(PACKED, chance))) for _ in range(500)]
    assert found.count(None) >= 20
    assert found.count(Reason.MALFORMED) >= 200
    kept = [check(mutated(chance.choice(WHOLE), chance)) for _ in range(1000)]
    assert set(kept) >= {Reason.MALFORMED, Reason.VERSION}
