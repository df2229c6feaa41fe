# SPDX-License-Identifier: Apache-2.0
"""Which meters a source takes: deny first, then allow; only exclusions allow the rest."""

import fnmatch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceilo_agent.definition.matching import Matcher

METERS = ["cpu", "cpu.time", "disk.device.read.bytes", "disk.device.write.bytes", "memory.usage"]

CASES = [
    (["*"], METERS),
    (["cpu"], ["cpu"]),
    (["cpu*"], ["cpu", "cpu.time"]),
    (["cpu.*"], ["cpu.time"]),
    (["CPU"], []),
    (["*.bytes"], ["disk.device.read.bytes", "disk.device.write.bytes"]),
    (["cpu", "memory.usage"], ["cpu", "memory.usage"]),
    (["disk.device.[rw]*.bytes"], ["disk.device.read.bytes", "disk.device.write.bytes"]),
    (["disk.device.????.bytes"], ["disk.device.read.bytes"]),
    (["!disk.*"], ["cpu", "cpu.time", "memory.usage"]),
    (["!disk.*", "!cpu"], ["cpu.time", "memory.usage"]),
    (["*", "!disk.*"], ["cpu", "cpu.time", "memory.usage"]),
    (["*.bytes", "!disk.device.read.*"], ["disk.device.write.bytes"]),
    (["disk.device.{way}"], ["disk.device.read.bytes", "disk.device.write.bytes"]),
    (["!disk.device.{way}"], ["cpu", "cpu.time", "memory.usage"]),
    (["!*"], []),
    (["!cpu", "cpu"], []),
    ([], []),
    (["cpu\n"], []),
    (["."], []),
]


@pytest.mark.parametrize(("patterns", "taken"), CASES, ids=str)
def test_case(patterns, taken):
    matcher = Matcher(patterns)
    assert [name for name in METERS if matcher(name)] == taken


def test_memory_is_bounded():
    matcher = Matcher(["cpu*"])
    assert all(matcher(f"cpu{number}") for number in range(20_000))
    assert not matcher("memory")
    assert len(matcher._answers) <= 4096


def test_answers_stay_right_when_asked_again():
    matcher = Matcher(["!cpu"])
    assert [matcher(name) for name in ("cpu", "x", "cpu", "x")] == [False, True, False, True]


def test_names_are_looked_up_and_only_globs_are_tried_in_turn():
    matcher = Matcher([f"meter.{number}" for number in range(5000)] + ["disk.*"])
    assert matcher("meter.4999")
    assert matcher("disk.x")
    assert not matcher("meter.5000")
    assert matcher._included._globs.pattern == fnmatch.translate("disk.*")


patterns = st.lists(
    st.tuples(st.sampled_from(["", "!"]), st.text("ab.*?[]!-^\n", min_size=1, max_size=6)).map(
        "".join
    ),
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@given(patterns, st.text("ab.\n", max_size=5))
def test_agrees_with_the_definition(patterns, name):
    denied = any(fnmatch.fnmatchcase(name, p[1:]) for p in patterns if p.startswith("!"))
    allowed = any(fnmatch.fnmatchcase(name, p) for p in patterns if not p.startswith("!"))
    rest = bool(patterns) and all(p.startswith("!") for p in patterns)
    assert Matcher(patterns)(name) is (not denied and (allowed or rest))
