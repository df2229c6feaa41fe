# SPDX-License-Identifier: Apache-2.0
"""The test vectors of our format are read as they say, and still written so."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import zstandard

from ceilo_agent.messaging import wire
from ceilo_agent.messaging.frame import HEADER
from ceilo_agent.messaging.keys import Keys
from ceilo_agent.messaging.message import Rejected
from tests.pages import ROOT, blocks
from tests.vectors.wire import DIRECTORY, KEYS, document, vectors

NAMES = sorted(path.stem for path in DIRECTORY.glob("*.bin"))


def read(name: str) -> tuple[bytes, dict[str, Any], Keys]:
    said = json.loads((DIRECTORY / f"{name}.json").read_text("utf-8"))
    return (
        (DIRECTORY / f"{name}.bin").read_bytes(),
        said,
        Keys(*[each.encode() for each in said["secrets"]]),
    )


def test_each_vector_is_there() -> None:
    assert sorted(vectors()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_vector_is_read_as_it_says(name: str) -> None:
    data, said, keys = read(name)
    if "refused" in said:
        with pytest.raises(Rejected) as caught:
            wire.decode(data, keys)
        assert caught.value.reason == said["refused"]
    else:
        # As text: 1 and 1.0 are not the same, nor are 0.0 and -0.0.
        found = json.dumps(document(wire.decode(data, keys)), sort_keys=True)
        assert found == json.dumps(said["envelope"], sort_keys=True)


@pytest.mark.parametrize("name", ["one", "guest", "volumes", "signed", "signed-before"])
def test_what_a_vector_holds_is_still_written_so(name: str) -> None:
    """All but what Zstandard makes of it, which its versions may do better."""
    data, said, keys = read(name)
    made = vectors()[name][0]
    start = HEADER.size + (32 if said["secrets"] else 0)
    assert made[:16] == data[:16]
    assert zstandard.decompress(made[start:]) == zstandard.decompress(data[start:])
    assert keys in {Keys(), KEYS}


def test_the_bytes_in_the_documentation_are_those_of_a_vector() -> None:
    page = ROOT / "doc" / "source" / "wire.rst"
    (block,) = [each for each in blocks(page) if each.name == "wire-frame"]
    shown = "".join(line[:25] for line in block.text.splitlines())
    assert bytes.fromhex(shown) == (DIRECTORY / "one.bin").read_bytes()


def test_the_body_in_the_documentation_is_that_of_a_vector() -> None:
    page = ROOT / "doc" / "source" / "wire.rst"
    (block,) = [each for each in blocks(page) if each.name == "wire-body"]
    data = (DIRECTORY / "one.bin").read_bytes()
    assert json.loads(block.text) == msgspec.msgpack.decode(
        zstandard.decompress(data[HEADER.size :])
    )
