# SPDX-License-Identifier: Apache-2.0
"""Whatever is in a file, nothing but ConfigError comes out of the loader.

And what it takes can be made and takes samples.
"""

import copy
import functools
import json
import textwrap
import unicodedata

import pytest
import yaml
from hypothesis import strategies as st

from ceilo_agent import plugins
from ceilo_agent.definition.pipeline import Role, load, unknown_meters
from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.meters.catalogue import known
from ceilo_agent.pipeline.chain import build
from ceilo_agent.sample import FIRST, Meter, Previous, Resource, Sample, SampleType
from tests.fuzzing import twice
from tests.pages import PAGES, ROOT, blocks

FILES = [*ROOT.glob("tests/bad/*.yaml"), *ROOT.glob("tests/golden/*.yaml")]
SEEDS = [path.read_text("utf-8") for path in [*sorted(FILES), ROOT / "etc" / "pipeline.yaml"]]
SEEDS += [block.text for page in PAGES for block in blocks(page) if block.language == "yaml"]

_KEYS = """
    sources sinks name meters publishers transformers parameters interval tests url resources
    discovery keep_original given expect until at volume meter resource untracked restarted project
    metadata sink source target map_from map_to unit type scale max growth_only size retention
    retention_time group_by method grace timestamp expr window set rename remove
    accumulator aggregator arithmetic delta filter rate_of_change relabel unit_conversion probe
"""
KEYS = _KEYS.split()
words = st.sampled_from(
    [
        *KEYS,
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
        "-1",
        ".nan",
        "true",
        "9" * 5000,
        "local://",
        "sender://u:p@[h?x=%ff&x#",
        "//[",
        "$(cpu)",
        "volume * 2",
        "(a",
        "\\1",
        "é",
        "\U0001f600",
    ]
)
pieces = st.one_of(words, st.text(max_size=5))

METERS = [
    Meter("cpu", "ns", SampleType.CUMULATIVE),
    Meter("memory.usage", "MB", SampleType.GAUGE),
    Meter("disk.bytes", "B", SampleType.DELTA),
]
GUEST = Resource("vm-1", "blue", None, "instance", {"cpu_number": 2, "flavor": {"name": "s"}})
SAMPLES = [
    Sample(meter, GUEST, 1_767_225_600.0 + at, volume, *previous)
    for meter in METERS
    for at, volume, *previous in ((0, 5), (9, 0, FIRST), (60, 2**64 - 1, Previous(60.0, 7)))
]


@pytest.fixture
def check(tmp_path, monkeypatch):
    path = tmp_path / "pipeline.yaml"
    # To look an entry point up takes longer than the rest.
    monkeypatch.setattr(plugins, "load", functools.cache(plugins.load))

    def loaded(data, role):
        path.write_bytes(data)
        try:
            file = load(path, role)
        except ConfigError as error:
            return None, error.faults or ["a ConfigError without a fault"]
        return file, unknown_meters(file, known())

    def check(data, role=Role.LOCAL):
        file, found = loaded(data, role)
        lines = data.count(b"\n") + data.count(b"\r") + 2
        for fault in found:
            assert isinstance(fault, Fault)
            assert len(str(fault).splitlines()) == 1, "one line for each"
            assert not any(unicodedata.category(each) == "Cc" for each in str(fault))
            assert (fault.line == 0) == (fault.column == 0)
            # Other breaks of lines of YAML are of several bytes.
            assert fault.line <= lines + data.count(b"\xc2\x85") + data.count(b"\xe2\x80")
        for sink in file.sinks if file else ():
            chain = build(sink)
            chain(SAMPLES)
            if chain.stateful:
                chain.tick(1_767_225_900.0)
            assert chain.lost == 0, "an exception of a transformer"
        return not found

    return check


roles = st.sampled_from(Role)


def of_bytes(check, data):
    check(data)


test_bytes, test_bytes_long = twice(
    of_bytes,
    st.binary(max_size=200),
    short=120,
    long=20_000,
    examples=[(b"\xff",), (b"[" * 100_000,)],
)


def of_text(check, role, text):
    check(text.encode("utf-8", "surrogatepass"), role)


test_text, test_text_long = twice(
    of_text,
    roles,
    st.lists(pieces, max_size=30).map("".join),
    short=120,
    long=20_000,
    examples=[
        (
            Role.LOCAL,
            "sources: [{name: a, meters: ['[z-a]', '[', '[!'], sinks: [s]}]\nsinks: [{name: s}]",
        ),
        (Role.LOCAL, "a: &a\n  <<: *a"),
        (Role.LOCAL, "? *a\n: &a b"),
    ],
)


def of_mutated_files(check, data):
    text = data.draw(st.sampled_from(SEEDS))
    for _ in range(data.draw(st.integers(0, 4))):
        begin = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(begin, min(len(text), begin + 10)))
        text = text[:begin] + data.draw(pieces) + text[end:]
    check(text.encode("utf-8", "surrogatepass"), data.draw(roles))


test_mutated_files, test_mutated_files_long = twice(
    of_mutated_files, st.data(), short=120, long=10_000
)


# -- any value at any place ----------------------------------------------------------------------

DOCUMENT = yaml.safe_load(r"""
sources:
  - {name: a, interval: 60, meters: [cpu, "disk.*"], resources: [], discovery: [libvirt],
     sinks: [s, t]}
  - {name: b, meters: [memory.usage], sinks: [s]}
sinks:
  - name: s
    transformers:
      - {name: probe, parameters: {size: 1, target: {}}}
      - name: unit_conversion
        meters: ["!cpu"]
        keep_original: true
        parameters:
          source: {unit: B, map_from: {name: "disk\\.(.*)", unit: B}}
          target: {name: a, unit: b, type: gauge, scale: volume * 2, max: 5,
                   map_to: {name: 'x\1', unit: b}}
      - name: rate_of_change
        meters: [cpu]
        parameters:
          source: {unit: ns, map_from: {name: c}}
          target: {unit: '%', scale: 0.5, max: 100, type: gauge, map_to: {name: d}}
          retention: 60
      - name: delta
        parameters: {source: {unit: B}, target: {name: a}, growth_only: true}
      - name: filter
        parameters: {expr: "volume > 5 and name in ('cpu', 'a')"}
  - name: t
    transformers:
      - name: relabel
        parameters:
          map_from: ^
          map_to: my.
          metadata: {set: {a: 1, b: x}, rename: {c: d}, remove: [e]}
      - {name: accumulator, parameters: {size: 2, retention_time: 30}}
      - name: aggregator
        parameters:
          {size: 3, retention_time: 60, grace: 5, user_id: first, project_id: last,
           resource_metadata: drop, timestamp: last, method: max, source: {unit: MB},
           target: {name: m, scale: 2, max: 9}}
      - name: aggregator
        parameters: {retention_time: 60, group_by: [project_id, resource_metadata.flavor.name]}
      - name: arithmetic
        parameters:
          {target: {name: q, unit: u, type: gauge, expr: $(cpu) / $(memory.usage)}, window: 3}
    publishers: [x, {url: "sender://h", timeout: 1}]
publishers: {x: "console://", y: {url: "sender://h", topic: a, policy: drop}}
tests:
  - name: one
    source: a
    given:
      - {meter: cpu, resource: vm-1, at: 0, volume: 1, unit: ns, type: cumulative, project: p,
         user: u, metadata: {cpu_number: 2}, resource_type: instance, source: a}
      - {meter: cpu, resource: vm-1, at: 60, volume: 2, restarted: true}
      - {meter: cpu, resource: vm-2, at: 61.5, volume: 2, untracked: true}
    until: 90
    meters: ["cpu*"]
    expect:
      - {meter: cpu, resource: vm-1, at: 60, volume: 1.5, unit: '%', type: gauge, sink: s,
         project: p, user: null, metadata: {a: [1]}, resource_type: instance}
""")
DOCUMENT["sinks"][0]["publishers"] = ["local://"]

leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words, st.text(max_size=5))
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


def places(node, above=()):
    """Yield the way to each value of a document."""
    steps = node.items() if isinstance(node, dict) else enumerate(node)
    for step, inner in steps:
        yield (*above, step)
        if isinstance(inner, dict | list):
            yield from places(inner, (*above, step))


PLACES = list(places(DOCUMENT))


def at(document, place):
    """Return what holds the value at a place, and the last step to it."""
    *way, last = place
    for step in way:
        document = document[step]
    return document, last


def of_any_value_at_any_place(check, place, value, what, role):
    document = copy.deepcopy(DOCUMENT)
    node, last = at(document, place)
    if what == "value":
        node[last] = value
    elif what == "gone":
        del node[last]
    elif isinstance(node, dict):
        node[str(value)] = node.pop(last)
    else:
        node.append(value)
    check(json.dumps(document).encode(), role)


test_any_value_at_any_place, test_any_value_at_any_place_long = twice(
    of_any_value_at_any_place,
    st.sampled_from(PLACES),
    values,
    st.sampled_from(["value", "value", "gone", "more"]),
    roles,
    short=100,
    long=5_000,
)


# -- expressions and patterns in their files -----------------------------------------------------

TEXTS = [
    place
    for place in PLACES
    if place[-1] in ("scale", "expr") or "map_from" in place or "map_to" in place
    if isinstance(at(DOCUMENT, place)[0][place[-1]], str | int | float)
]
"""Where a text has a meaning of its own."""

TOKENS = r"""
    volume name unit type resource_metadata $(cpu) $(memory.usage) $( .x .__class__ ["x"] [0] cpu
    0 1 2 10 0.5 1e308 9999999999 2j 'a' "b" f'{1}' True None lambda : := = , ; if else or and not
    + - * / // % ** @ & | ^ ~ < > == != in ( ) [ ] { } min( max( abs( round( eval( __import__( \
    # é \N{ ^ $ . * + ? {2,} \1 \2 \g<a> (?P<a> (?:a) (?= (?i) [a-z] [z-a] \d \p a|b a*
"""
texts = st.lists(st.sampled_from([*TOKENS.split(), " ", "\n"]), max_size=12).map("".join)


WRITTEN = {
    "plain": lambda text: text.replace("\n", "\n" + " " * 40),
    "in quotes": json.dumps,
    "in single quotes": lambda text: "'" + text.replace("'", "''") + "'",
    "as a block": lambda text: "|-\n" + textwrap.indent(text, " " * 40),
    "folded": lambda text: ">\n" + textwrap.indent(text, " " * 40),
}
"""The ways of YAML to write a text."""


def of_expressions_in_files(check, place, text, way):
    document = copy.deepcopy(DOCUMENT)
    node, last = at(document, place)
    node[last] = "PLACE"
    written = yaml.safe_dump(document, width=1000).replace("PLACE", WRITTEN[way](text), 1)
    check(written.encode())


test_expressions_in_files, test_expressions_in_files_long = twice(
    of_expressions_in_files,
    st.sampled_from(TEXTS),
    texts,
    st.sampled_from(sorted(WRITTEN)),
    short=100,
    long=5_000,
)


# -- what is fuzzed is right before --------------------------------------------------------------


def test_the_files_that_are_changed_are_right(check):
    assert check((ROOT / "etc" / "pipeline.yaml").read_bytes())
    assert check(json.dumps(DOCUMENT).encode())
    for way, written in WRITTEN.items():
        text = yaml.safe_dump(DOCUMENT).replace("volume * 2", written("volume\n* 3"))
        assert check(text.encode()), way


def test_every_transformer_is_in_the_document():
    used = {step["name"] for sink in DOCUMENT["sinks"] for step in sink["transformers"]}
    assert used >= set(KEYS[KEYS.index("accumulator") :])
    assert len(TEXTS) >= 8
