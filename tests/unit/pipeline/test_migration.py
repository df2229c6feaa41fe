# SPDX-License-Identifier: Apache-2.0
"""Files of Ceilometer become ours: whole cases, and the edits that make them."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ceilo_agent import plugins
from ceilo_agent.cli.main import main
from ceilo_agent.definition import document
from ceilo_agent.definition.nodes import plain
from ceilo_agent.definition.pipeline import load, unknown_meters
from ceilo_agent.errors import ConfigError
from ceilo_agent.meters.catalogue import known
from ceilo_agent.pipeline.migration.changes import (
    Changes,
    Insert,
    Remove,
    Rename,
    Replace,
    Splice,
)
from ceilo_agent.pipeline.migration.draft import says, written_anew
from ceilo_agent.pipeline.migration.edits import Text
from ceilo_agent.pipeline.migration.migrate import migrate
from ceilo_agent.pipeline.migration.spans import Unplaced

CASES = sorted((Path(__file__).parents[2] / "migrate").iterdir())
FINE = [case for case in CASES if (case / "report.txt").read_text("utf-8").endswith("exit 0\n")]
PUBLISHERS = ("console", "file", "local")


@pytest.fixture(autouse=True)
def _publishers(monkeypatch):
    """Have the publishers that the cases were written with."""
    found = plugins.names
    monkeypatch.setattr(
        plugins,
        "names",
        lambda namespace: PUBLISHERS if namespace == plugins.PUBLISHER else found(namespace),
    )


def run(words):
    result = CliRunner().invoke(main, words, standalone_mode=False)
    assert result.exception is None, result.exception
    return result.return_value, result.stdout, result.stderr


# -- whole cases ---------------------------------------------------------------------------------


def counts_left_out(report):
    """Leave the number of meters out, which grows with the catalogue."""
    return re.sub(r"\band \d+ more\b", "and N more", report)


def test_there_are_cases():
    assert len(CASES) >= 10


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case, monkeypatch):
    monkeypatch.chdir(case)
    first, *report, last = Path("report.txt").read_text("utf-8").splitlines()
    code, out, err = run(shlex.split(first)[2:])
    assert counts_left_out(err).splitlines() == [counts_left_out(line) for line in report]
    assert f"exit {code}" == last
    expected = Path("expected.yaml")
    assert out == (expected.read_text("utf-8") if expected.exists() else "")


@pytest.mark.parametrize("case", FINE, ids=lambda case: case.name)
def test_the_outcome_loads_when_the_exit_code_is_0_and_needs_no_change_then(case):
    expected = case / "expected.yaml"
    assert unknown_meters(load(expected), known()) == []
    again = migrate(expected)
    assert not again.changed
    assert again.text == expected.read_text("utf-8")


def test_a_file_of_mitaka_loads_as_it_is_and_is_printed_as_it_is():
    case = next(case for case in CASES if case.name == "mitaka_no_change")
    path = case / "pipeline.yaml"
    found = load(path)
    assert [source.interval for source in found.sources] == [600] * 4
    made = migrate(path)
    assert (made.text, made.changed) == (path.read_text("utf-8"), False)


def test_comments_and_layout_stay_where_nothing_is_changed():
    case = next(case for case in CASES if case.name == "mitaka_old_keys")
    before = case.joinpath("pipeline.yaml").read_text("utf-8").splitlines()
    after = case.joinpath("expected.yaml").read_text("utf-8").splitlines()
    assert [line for line in before if "#" in line and "Glance" not in line] == [
        line for line in after if "#" in line
    ]


# -- the edits -----------------------------------------------------------------------------------


def changed(text, *changes):
    made = Text(text, Changes(changes)).changed()
    assert says(made, Changes(changes).apply(plain(document.parse(text, "f").root)))
    return made


BLOCK = """\
# top
a:
  - x: 1   # one
    # about y
    y: [1, 2, 3]
    z:
  - x: 2
# end
b: text
"""


@pytest.mark.parametrize(
    ("changes", "before", "after"),
    [
        pytest.param([Remove(("a", 0, "y"))], "    y: [1, 2, 3]\n", "", id="key"),
        pytest.param([Remove(("a", 0, "z"))], "    z:\n", "", id="key without a value"),
        pytest.param([Remove(("a", 0, "x"))], "x: 1   # one\n    # about y\n    ", "", id="first"),
        pytest.param([Remove(("a", 1))], "  - x: 2\n", "", id="item"),
        pytest.param([Remove(("a", 0, "y", 0))], "1, 2", "2", id="first in brackets"),
        pytest.param([Remove(("a", 0, "y", 2))], ", 3", "", id="last in brackets"),
        pytest.param(
            [Remove(("a", 0, "y", n)) for n in range(3)], "[1, 2, 3]", "[]", id="all in brackets"
        ),
        pytest.param([Remove(("a", 0)), Remove(("a", 1))], None, None, id="all items"),
        pytest.param([Replace(("a", 0, "z"), 5)], "z:", "z: 5", id="nothing"),
        pytest.param([Replace(("b",), ["t", "u v"])], "b: text", 'b: [t, "u v"]', id="value"),
        pytest.param([Rename(("b",), "c")], "b: text", "c: text", id="name"),
        pytest.param(
            [Insert(("a", 0), "k", 1, "x")], "# one\n", "# one\n    k: 1\n", id="behind a key"
        ),
        pytest.param([Insert(("a", 1), "k", 1)], "x: 2\n", "x: 2\n    k: 1\n", id="at the end"),
        pytest.param(
            [Splice(("a", 1), ({"p": 1, "q": ["v"]}, {"p": 2}))],
            "  - x: 2\n",
            "  - p: 1\n    q: [v]\n  - p: 2\n",
            id="items for one",
        ),
    ],
)
def test_only_what_is_changed_changes(changes, before, after):
    made = changed(BLOCK, *changes)
    if before is not None:
        assert made == BLOCK.replace(before, after)


def test_a_change_inside_what_goes_is_nothing():
    gone = [Remove(("a", 0)), Replace(("a", 0, "y"), 3), Rename(("a", 0, "x"), "w")]
    assert changed(BLOCK, *gone) == changed(BLOCK, Remove(("a", 0)))


def test_line_ends_of_windows_stay():
    text = BLOCK.replace("\n", "\r\n")
    made = changed(text, Insert(("a", 1), "k", 1), Remove(("a", 0, "y")))
    assert made.count("\n") == made.count("\r\n") == text.count("\n")


def test_a_file_without_a_line_end_gets_a_key():
    assert changed("a: 1", Insert((), "b", [1])) == "a: 1\nb: [1]"


def test_what_has_two_places_is_not_edited():
    with pytest.raises(Unplaced):
        Text("a: &x [1]\nb: *x\n", Changes([Remove(("b",))]))


KEYS = st.sampled_from(["a", "b", "c d", "e:f", "name"])
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(
    ["x", "", "# no", "a: b", "it's", "l1\nl2\n", "- z", "\\d", "*", "!q", "yes", "1e9", "0o7", "é"]
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=4) | st.dictionaries(KEYS, v, max_size=4), max_leaves=12
)


class Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True


def paths(value, path=()):
    inner = enumerate(value) if isinstance(value, list) else ()
    for step, each in value.items() if isinstance(value, dict) else inner:
        yield (*path, step), each
        yield from paths(each, (*path, step))


@st.composite
def edited(draw):
    """Return a text, what it says, and changes to it."""
    value = draw(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4))
    style, indent = draw(st.sampled_from([None, False, True])), draw(st.sampled_from([2, 4]))
    text = yaml.dump(value, Dumper=Dumper, default_flow_style=style, sort_keys=False, indent=indent)
    data = plain(document.parse(text, "f").root)
    changes = []
    for key in data:  # changes at one place may contradict each other
        path, at = draw(st.sampled_from([place for place in paths(data) if place[0][0] == key]))
        kinds = [Remove(path), Replace(path, draw(VALUES))]
        kinds += [Insert(path, "new", [1], draw(KEYS))] if isinstance(at, dict) else []
        kinds += [Rename(path, f"new {key}")] if isinstance(path[-1], str) else []
        kinds += [Splice(path, ({"n": [1]}, {"n": 2}))] if isinstance(path[-1], int) else []
        changes.append(draw(st.sampled_from(kinds)))
    return text, data, Changes(changes)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(edited())
def test_what_is_written_anew_says_what_is_meant_and_so_does_what_is_edited(drawn):
    text, data, changes = drawn
    wanted = changes.apply(data)
    assert says(written_anew(wanted), wanted)
    try:
        made = Text(text, changes).changed()
    except Unplaced:
        return
    assert says(made, wanted)


# -- any file ------------------------------------------------------------------------------------

ODD = st.sampled_from([None, True, 0, 1.5, "", "x", [], {}, [1], {"a": 1}, [[]], "60", -1, 10**30])


def often(values):
    return st.integers(0, 9).flatmap(lambda n: values if n else ODD)


def mapping(**fields):
    return st.fixed_dictionaries({}, optional={key: often(v) for key, v in fields.items()})


NAMES = st.sampled_from(["a", "b", "c"])
METERS = st.sampled_from(["cpu", "disk.*", "*", "!volume.*", "!cpu", "volume.size", "cpu_l3_cache"])
SOURCE = mapping(
    name=NAMES, interval=st.sampled_from([60, "60", 60.0]), meters=st.lists(METERS, max_size=3),
    counters=st.lists(METERS, max_size=3), sinks=st.lists(NAMES, max_size=2), resources=ODD,
    discovery=st.lists(st.sampled_from(["local_instances", "endpoint"]), max_size=2), other=ODD,
)  # fmt: skip
MAP = mapping(name=st.just("(a)"), unit=st.just("B"))
PART = mapping(
    unit=st.just("B"), name=st.just("x"), scale=st.sampled_from([2, 0, "volume*2", "1"]), max=ODD,
    map_from=MAP, map_to=MAP, expr=ODD, other=ODD,
)  # fmt: skip
STEP = mapping(
    name=st.sampled_from(["rate_of_change", "delta", "aggregator", "unit_conversion"]),
    parameters=mapping(source=PART, target=PART, size=ODD, timestamp=ODD, user_id=ODD, other=ODD),
)
SINK = mapping(
    name=NAMES, transformers=st.lists(often(STEP), max_size=2), triggers=ODD,
    publishers=st.lists(often(st.sampled_from(["gnocchi://", "local", "rpc"])), max_size=2),
)  # fmt: skip
FILE = mapping(
    sources=st.lists(often(SOURCE), max_size=2), sinks=st.lists(often(SINK), max_size=2), other=ODD
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(often(FILE), st.none() | often(FILE), st.sampled_from([None, "local"]))
def test_any_file_is_migrated_or_refused_with_a_reason(tmp_path, pipeline, polling, publisher):
    one, other = tmp_path / "pipeline.yaml", tmp_path / "polling.yaml"
    one.write_text(yaml.safe_dump(pipeline, sort_keys=False))
    other.write_text(yaml.safe_dump(polling, sort_keys=False))
    try:
        made = migrate(one, other if polling is not None else None, publisher)
    except ConfigError:
        return
    one.write_text(made.text)
    if made.faults:
        with pytest.raises(ConfigError) as refused:
            load(one)
        assert [fault[1:] for fault in refused.value.faults] == [fault[1:] for fault in made.faults]
        return
    found = load(one)
    assert unknown_meters(found, known()) == []
    if all(source.interval for source in found.sources):
        assert not migrate(one).changed
