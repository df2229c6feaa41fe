# SPDX-License-Identifier: Apache-2.0
"""The graph of a file as nodes and edges, and as Mermaid."""

import json
import re

import msgspec
import pytest

from ceilo_agent.definition.pipeline import Role
from ceilo_agent.pipeline.checking import check
from ceilo_agent.pipeline.graph import Kind, draw
from ceilo_agent.pipeline.mermaid import mermaid
from tests.pages import ROOT
from tests.unit.definition import probes

FILE = """\
sources:
  - {name: guests, interval: 60, meters: [cpu, memory], sinks: [store, screen]}
  - {name: host, interval: 10, meters: [hardware.cpu.util], sinks: [store]}
  - {name: bus, meters: [cpu.time], sinks: [screen]}
sinks:
  - name: store
    transformers:
      - name: rate_of_change
        meters: [cpu, "*.util"]
        keep_original: true
        parameters: {target: {name: cpu_util}}
      - name: unit_conversion
        meters: [nothing]
        parameters: {target: {scale: 8}}
    publishers: [local://, far]
  - {name: screen, publishers: [far, "console://?format=json"]}
  - {name: idle, publishers: [local]}
publishers:
  far: file:///tmp/far.json?backup_count=3
  spare: console
"""


@pytest.fixture
def drawn(tmp_path):
    def drawn(text, role=Role.LOCAL, polling=None):
        path = tmp_path / "pipeline.yaml"
        path.write_text(text)
        reports = []
        if polling is not None:
            other = tmp_path / "polling.yaml"
            other.write_text(polling)
            reports = [check(other, Role.POLLING)]
            assert reports[0].faults == []
        report = check(path, role)
        assert report.faults == []
        return draw(report, *reports)

    return drawn


def named(graph):
    """Return the edges by names; a step's is that of its transformer."""
    names = {node.id: node.name for node in graph.nodes}
    return [(names[edge.start], names[edge.end]) for edge in graph.edges]


def test_nodes(drawn):
    found = [(node.id, node.name, node.details) for node in drawn(FILE).nodes]
    assert found == [
        ("source1", "guests", ("every 60 s", "2 meters")),
        ("source2", "host", ("every 10 s", "1 meter")),
        ("source3", "bus", ("not polled", "1 meter")),
        ("sink1", "store", ()),
        (
            "sink1_step1",
            "rate_of_change",
            ("makes cpu_util", "meters: cpu, *.util", "keeps the original"),
        ),
        ("sink1_step2", "unit_conversion", ("scale: 8", "meters: nothing")),
        ("sink2", "screen", ()),
        ("sink3", "idle", ()),
        ("publisher1", "local://", ()),
        ("publisher2", "far", ("file:///tmp/far.json",)),
        ("publisher3", "console://", ()),
        ("publisher4", "spare", ("console://",)),
    ]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("filter, parameters: {expr: volume > 3}", "expr: volume > 3"),
        ("relabel, parameters: {name: other}", "name: other"),
        ("relabel, parameters: {map_from: '^', map_to: our.}", "name: ^ -> our."),
        ("relabel, parameters: {metadata: {remove: [secret]}}", "metadata: remove"),
        (
            (
                "rate_of_change, parameters: {source: {map_from: {name: (.+)}}, "
                "target: {map_to: {name: '\\1.rate'}}}"
            ),
            r"name: (.+) -> \1.rate",
        ),
        (
            (
                "arithmetic, parameters: {target: {name: free, unit: MB, type: gauge, "
                "expr: $(memory) - $(cpu)}}"
            ),
            "makes free",
        ),
        (
            "aggregator, parameters: {group_by: [project_id, user_id], retention_time: 60}",
            "group_by: project_id, user_id",
        ),
        ("accumulator, parameters: {size: 15}", "size: 15"),
    ],
)
def test_a_step_shows_what_it_makes(drawn, step, said):
    text = FILE.replace("      - name: unit_conversion\n", "      - {name: " + step + "}\n")
    text = text.replace("        meters: [nothing]\n", "").replace(
        "        parameters: {target: {scale: 8}}\n", ""
    )
    (found,) = (node for node in drawn(text).nodes if node.id == "sink1_step2")
    assert found.details == (said,)


def test_edges(drawn):
    assert named(drawn(FILE)) == [
        ("guests", "store"),
        ("guests", "screen"),
        ("host", "store"),
        ("bus", "screen"),
        ("store", "rate_of_change"),
        ("rate_of_change", "unit_conversion"),
        ("unit_conversion", "local://"),
        ("unit_conversion", "far"),
        ("screen", "far"),
        ("screen", "console://"),
        ("idle", "local://"),
    ]


def test_warnings_are_marked_on_what_they_are_about(drawn):
    graph = drawn(FILE)
    marked = {node.name: [graph.warnings[i].what for i in node.warnings] for node in graph.nodes}
    assert {name: said for name, said in marked.items() if said} == {
        "unit_conversion": ["no meter that reaches this step matches 'nothing'"],
        "idle": ["no source feeds the sink 'idle'"],
        "spare": ["no sink uses the publisher 'spare'"],
    }
    assert len(graph.warnings) == 3


def test_a_graph_has_a_json_form(drawn):
    document = json.loads(msgspec.json.encode(drawn(FILE)))
    assert document["nodes"][0]["kind"] == "source"
    assert document["edges"][0] == {"start": "source1", "end": "sink1"}


def test_bus_sources_have_no_interval_in_the_role_notification(drawn):
    source, *_ = drawn(FILE, Role.NOTIFICATION).nodes
    assert source.details == ("2 meters",)


def test_sources_of_another_file_go_by_their_name_or_their_meters(drawn):
    polling = (
        "sources:\n"
        "  - {name: bus, interval: 5, meters: [hardware.cpu.util]}\n"
        "  - {name: some_pollsters, interval: 300, meters: [cpu, memory.usage]}\n"
        "  - {name: lost, interval: 300, meters: [vcpus]}\n"
    )
    graph = drawn(FILE, Role.NOTIFICATION, polling)
    assert [(node.name, node.details[0]) for node in graph.of(Kind.SOURCE)] == [
        ("bus", "every 5 s"),
        ("some_pollsters", "every 300 s"),
        ("lost", "every 300 s"),
    ]
    assert [edge for edge in named(graph) if edge[1] in {"store", "screen", "idle"}] == [
        ("bus", "screen"),
        ("some_pollsters", "store"),
        ("some_pollsters", "screen"),
    ]


def test_polling_alone_has_sources_only(drawn):
    text = "sources: [{name: a, interval: 5, meters: [cpu], sinks: [elsewhere]}]\n"
    graph = drawn(text, Role.POLLING)
    assert [node.id for node in graph.nodes] == ["source1"]
    assert graph.edges == ()
    assert mermaid(graph).startswith("flowchart LR\n")


# -- Mermaid -------------------------------------------------------------------------------------

NODE = re.compile(r'^  (\w+)(\(\[|\{\{|\[\(|\[)"([^"]*)"(\]\)|\}\}|\)\]|\])$')
OTHER = re.compile(r"^  (%% \d+: [^{}]*|classDef warned [\w:#,-]+|class [\w,]+ warned)$")
EDGE = re.compile(r"^  (\w+) --> (\w+)$")
SHAPES = {
    "source": ("([", "])"),
    "sink": ("{{", "}}"),
    "step": ("[", "]"),
    "publisher": ("[(", ")]"),
}


def parsed(text):
    """Return the labels' lines by id, the shapes by id, and the edges; every line must be known."""
    first, *lines = text.splitlines()
    assert first == "flowchart LR"
    labels, shapes, edges = {}, {}, []
    for line in lines:
        if node := NODE.match(line):
            assert node[1] not in labels
            shapes[node[1]] = (node[2], node[4])
            coded = node[3].split("<br/>")
            labels[node[1]] = [re.sub(r"#(\d+);", lambda n: chr(int(n[1])), part) for part in coded]
            rest = re.sub(r"#\d+;|<br/>", "", node[3])
            assert re.fullmatch(r"[\w .,:/-]*", rest), rest
        elif edge := EDGE.match(line):
            edges.append((edge[1], edge[2]))
        else:
            assert OTHER.match(line)
    return labels, shapes, edges


def test_mermaid_is_the_graph(drawn):
    graph = drawn(FILE)
    labels, shapes, edges = parsed(mermaid(graph))
    assert [*labels] == [node.id for node in graph.nodes]
    assert edges == [(edge.start, edge.end) for edge in graph.edges]
    for node in graph.nodes:
        marks = [f"warning {index + 1}" for index in node.warnings]
        assert labels[node.id] == [node.name, *node.details, *marks]
        assert shapes[node.id] == SHAPES[node.kind.value]


def test_warned_nodes_have_a_style(drawn):
    text = mermaid(drawn(FILE))
    assert "\n  class sink1_step2,sink3,publisher4 warned\n" in text
    assert text.count("\n  %% ") == 3
    clean = mermaid(drawn((ROOT / "etc" / "pipeline.yaml").read_text("utf-8")))
    assert "warned" not in clean
    assert "%%" not in clean


NAMES = [
    "end",
    "subgraph",
    "a \"quoted\" 'name'",
    "[brackets] (and) {braces} <b>tags</b>",
    "a --> b; c",
    "%%{init: {}}%%",
    "#quot; &amp; #35;",
    "`code` *bold* _low_ ~~x~~",
    "1. one",
    "- one",
    "名前 ÄÖÜ 🚀",
    "back\\slash | pipe",
]


@pytest.mark.parametrize("name", NAMES)
def test_mermaid_shows_every_name_as_it_is(drawn, name):
    quoted = json.dumps(name, ensure_ascii=False)
    text = (
        f"sources: [{{name: {quoted}, interval: 5, meters: [cpu], sinks: [{quoted}]}}]\n"
        f"sinks: [{{name: {quoted}, publishers: [console]}}]\n"
    ).replace("</b>", "<b>")
    shown = name.replace("</b>", "<b>")
    labels, _, edges = parsed(mermaid(drawn(text)))
    assert labels["source1"][0] == labels["sink1"][0] == shown
    assert edges == [("source1", "sink1"), ("sink1", "publisher1")]


def test_a_label_never_begins_like_a_list(drawn):
    for name in ("1. one", "- one", "12."):
        text = FILE.replace("guests", f'"{name}"')
        assert f'"{name}' not in mermaid(drawn(text)), "Mermaid would take it for Markdown"


SECRET = "hunter2"


def test_a_password_in_a_strange_place_is_not_shown_either(drawn):
    graph = drawn(FILE.replace("[nothing]", f"['local://joe:{SECRET}@h']"))
    assert SECRET not in mermaid(graph) + repr(graph)


def test_passwords_are_not_shown(drawn, tmp_path_factory):
    with probes.installed(tmp_path_factory.mktemp("probes")):
        graph = drawn(
            FILE.replace(
                "file:///tmp/far.json?backup_count=3",
                f"sender://joe:{SECRET}@example.org/x?topic={SECRET.rstrip('2')}",
            )
        )
    assert [node.details for node in graph.nodes if node.name == "far"] == [
        ("sender://example.org/x",)
    ]
    said = mermaid(graph) + repr(graph)
    assert "joe" not in said
    assert SECRET.rstrip("2") not in said
    (far,) = (node for node in graph.nodes if node.name == "far")
    assert "holds a user name or password" in graph.warnings[far.warnings[0]].what
