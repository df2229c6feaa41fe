# SPDX-License-Identifier: Apache-2.0
"""Whatever is in a file, nothing but ConfigError comes out of the loader."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ceilo_agent.definition.pipeline import load, unknown_meters
from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.meters.catalogue import known

ROOT = Path(__file__).parents[3]
SEEDS = [path.read_text("utf-8") for path in sorted(ROOT.glob("tests/bad/*.yaml"))]
SEEDS.append((ROOT / "etc" / "pipeline.yaml").read_text("utf-8"))

words = st.sampled_from(
    [
        "sources",
        "sinks",
        "name",
        "meters",
        "publishers",
        "transformers",
        "parameters",
        "interval",
        "tests",
        "url",
        "&a",
        "*a",
        "!!str",
        "!",
        "<<",
        "---",
        "...",
        "|",
        ">",
        "? ",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "'",
        '"',
        "#",
        "%",
        "@",
        "\\",
        "\t",
        "\n",
        "\n  ",
        "\r",
        "\x85",
        "\u2028",
        "\ufeff",
        "\0",
        "~",
        "60",
        "1e9",
        "9" * 5000,
        "probe",
        "local://",
        "sender://u:p@[h?x=%ff&x#",
        "//[",
        "é",
        "\U0001f600",
    ]
)
pieces = st.one_of(words, st.text(max_size=5))

# tmp_path and the probes are the same for all examples.
quick = settings(
    deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def check(tmp_path):
    path = tmp_path / "pipeline.yaml"

    def faults(data):
        path.write_bytes(data)
        try:
            return unknown_meters(load(path), known())
        except ConfigError as error:
            return error.faults or ["a ConfigError without a fault"]

    def check(data):
        found = faults(data)
        for fault in found:
            assert isinstance(fault, Fault)
            assert "\n" not in str(fault), "one line for each"
            assert (fault.line == 0) == (fault.column == 0)
        return not found

    return check


@quick
@given(st.binary(max_size=200))
@example(b"\xff")
@example(b"[" * 100_000)
def test_bytes(check, data):
    check(data)


@quick
@given(st.lists(pieces, max_size=30).map("".join))
@example("sources: [{name: a, meters: ['[z-a]', '[', '[!'], sinks: [s]}]\nsinks: [{name: s}]")
@example("a: &a\n  <<: *a")
@example("? *a\n: &a b")
def test_text(check, text):
    check(text.encode("utf-8", "surrogatepass"))


@quick
@given(st.data())
def test_mutated_files(check, data):
    text = data.draw(st.sampled_from(SEEDS))
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(begin, min(len(text), begin + 10)))
        text = text[:begin] + data.draw(pieces) + text[end:]
    check(text.encode("utf-8", "surrogatepass"))


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words, st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


@settings(quick, max_examples=60)
@given(st.data())
def test_any_value_at_any_place(check, data):
    document = {
        "sources": [{"name": "a", "interval": 60, "meters": ["cpu"], "sinks": ["s"]}],
        "sinks": [
            {
                "name": "s",
                "transformers": [{"name": "probe", "parameters": {"size": 1, "target": {}}}],
                "publishers": ["local://", {"url": "sender://h", "timeout": 1}],
            }
        ],
        "publishers": {"x": "console://"},
    }
    node = document
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            break
        node = node[key]
    node[key] = data.draw(values)
    check(json.dumps(document).encode())


def test_the_document_of_the_last_test_is_right(check):
    assert check((ROOT / "etc" / "pipeline.yaml").read_bytes())
