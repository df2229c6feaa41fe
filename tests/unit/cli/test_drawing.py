# SPDX-License-Identifier: Apache-2.0
"""The drawing in the terminal: lines that can be followed from one end to the other."""

import pytest
from rich.cells import cell_len

from ceilo_agent.cli.config.drawing import ASCII, BOX, drawing
from ceilo_agent.errors import Fault
from ceilo_agent.pipeline.graph import Edge, Graph, Kind, Node

SMALL = Graph(
    (
        Node("source1", Kind.SOURCE, "guests", ("every 60 s", "2 meters")),
        Node("source2", Kind.SOURCE, "host", ("every 5 s", "1 meter"), (0,)),
        Node("sink1", Kind.SINK, "store"),
        Node("sink1_step1", Kind.STEP, "rate", ("meters: cpu", "keeps the original"), (1,)),
        Node("sink2", Kind.SINK, "screen"),
        Node("publisher1", Kind.PUBLISHER, "local", ("local://",)),
        Node("publisher2", Kind.PUBLISHER, "console", ("console://",)),
    ),
    (
        Edge("source1", "sink1"),
        Edge("source2", "sink1"),
        Edge("source2", "sink2"),
        Edge("sink1", "sink1_step1"),
        Edge("sink1_step1", "publisher1"),
        Edge("sink2", "publisher1"),
        Edge("sink2", "publisher2"),
    ),
    (Fault("p.yaml", 3, 5, "one"), Fault("p.yaml", 8, 9, "two", "a hint")),
)


def test_box():
    assert (
        drawing(SMALL)
        == """\
sources
  guests     every 60 s  2 meters ───●
  host [!1]  every 5 s   1 meter ────●──●
                                     │  │
sinks                                │  │
  store ◀────────────────────────────●  │
    ▼ rate [!2]                         │
    │     meters: cpu                   │
    │     keeps the original            │
    ▼ ──────────────────────────────────│──●
  screen ◀──────────────────────────────●  │
    ▼ ─────────────────────────────────────●──●
                                           │  │
publishers                                 │  │
  local    local:// ◀──────────────────────●  │
  console  console:// ◀───────────────────────●

[!1] p.yaml:3:5: one
[!2] p.yaml:8:9: two (a hint)
"""
    )


def test_ascii_is_the_same_in_other_characters():
    found = drawing(SMALL, ASCII)
    assert found.isascii()
    assert found == drawing(SMALL).translate(
        {ord(box): plain for box, plain in zip(BOX, ASCII, strict=True)}
    )


def reached(text, style=BOX):
    """Follow every line on the paper; return pairs of names that it connects."""
    lines = text.partition("\n[!")[0].splitlines()
    names, ends = {}, []
    for number, line in enumerate(lines):
        head = line.split(style.across)[0].split(style.down)[0]
        if style.arrow in line or style.across in line:
            names[number] = head.replace(style.arrow, "").strip().partition("  ")[0]
    # Cells, so that wide letters count as two.
    grid = ["".join(letter + "\0" * (cell_len(letter) - 1) for letter in line) for line in lines]
    pairs = []
    for number, line in enumerate(grid):
        if style.arrow not in line:
            continue
        joint = line.rindex(style.joint)
        for above in range(number - 1, -1, -1):
            sign = grid[above][joint] if joint < len(grid[above]) else " "
            if sign == style.joint:
                pairs.append((above, number))
            elif sign != style.down:
                break
    for above, below in pairs:
        name = names[above]
        row = above
        while name == style.step or not name:  # the way out of a sink
            row -= 1
            if style.arrow in lines[row] or (lines[row].startswith("  ") and lines[row][2] != " "):
                name = lines[row].split(style.arrow)[0].split(style.down)[0].strip()
        ends.append((name, names[below]))
    return sorted(ends)


@pytest.mark.parametrize(("sources", "sinks"), [(2, 1), (5, 3), (20, 6)])
def test_every_edge_can_be_followed_and_no_other(sources, sinks):
    nodes = [Node(f"source{n}", Kind.SOURCE, f"in-{n}", ("x",)) for n in range(sources)]
    nodes += [Node(f"sink{n}", Kind.SINK, f"sink-{n}") for n in range(sinks)]
    nodes += [Node(f"publisher{n}", Kind.PUBLISHER, f"out-{n}") for n in range(3)]
    pairs = [(a, b) for a in range(sources) for b in range(sinks) if a * b % 3 != 1]
    edges = [Edge(f"source{a}", f"sink{b}") for a, b in pairs]
    edges += [Edge(f"sink{b}", f"publisher{c}") for b in range(sinks) for c in range(3) if b != c]
    names = {node.id: node.name for node in nodes}
    text = drawing(Graph(tuple(nodes), tuple(edges), ()))
    assert reached(text) == sorted((names[edge.start], names[edge.end]) for edge in edges)
    assert max(map(cell_len, text.splitlines())) <= 80


def test_where_it_does_not_fit_a_list_says_the_same():
    assert (
        drawing(SMALL, width=45)
        == """\
sources
  guests (every 60 s, 2 meters) → store
  host [!1] (every 5 s, 1 meter) → store,
      screen

sinks
  store
    1. rate [!2]: meters: cpu; keeps the
        original
    → local
  screen → local, console

publishers
  local (local://)
  console (console://)

[!1] p.yaml:3:5: one
[!2] p.yaml:8:9: two (a hint)
"""
    )
    assert drawing(SMALL, ASCII, 45) == drawing(SMALL, width=45).replace("→", "->")


def long(*names):
    nodes = [Node("source1", Kind.SOURCE, "guests", ("every 60 s",))]
    nodes += [Node(f"sink{n}", Kind.SINK, name) for n, name in enumerate(names)]
    edges = tuple(Edge("source1", f"sink{n}") for n in range(len(names)))
    return Graph(tuple(nodes), edges, ())


@pytest.mark.parametrize("style", [BOX, ASCII])
def test_long_names_are_shortened_before_a_list_is_drawn(style):
    one, other = ("/var/log/" + "a" * 60 + f"/samples-{n}.json" for n in (1, 2))
    text = drawing(long(one, other), style, 60)
    assert max(map(cell_len, text.splitlines())) <= 60
    assert f"{style.more}" in text
    assert text.count("-1.json") == text.count("-2.json") == 1
    assert style.joint in text
    assert one in drawing(long(one, other), style)


def test_names_that_would_look_alike_are_not_shortened():
    one, other = ("/var/log/" + "a" * 20 + letter + "b" * 40 for letter in "xy")
    text = drawing(long(one, other), width=60)
    assert BOX.joint not in text
    assert text.replace("\n", "").replace(" ", "").count(one) == 2


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 150])
def test_no_line_is_wider_than_the_paper(width):
    nodes = [Node(f"source{n}", Kind.SOURCE, f"in-{n}", ("every 60 s", "3")) for n in range(10)]
    nodes += [Node(f"sink{n}", Kind.SINK, f"sink-{n}") for n in range(6)]
    nodes += [
        Node(f"sink{n}_step1", Kind.STEP, "filter", (f"expr: volume > {n} and " * 4,))
        for n in range(6)
    ]
    nodes += [Node(f"publisher{n}", Kind.PUBLISHER, "file:///var/" * n) for n in range(1, 7)]
    edges = [Edge(f"source{a}", f"sink{b}") for a in range(10) for b in range(6)]
    edges += [Edge(f"sink{b}", f"sink{b}_step1") for b in range(6)]
    edges += [Edge(f"sink{b}_step1", f"publisher{c}") for b in range(6) for c in range(1, 7)]
    text = drawing(Graph(tuple(nodes), tuple(edges), ()), width=width)
    assert max(map(cell_len, text.splitlines())) <= width


def test_each_thing_stands_once():
    text = drawing(SMALL).partition("\n[!")[0]
    for name in ("guests", "host", "store", "screen", "rate"):
        assert text.count(f" {name} ") == 1


def test_wide_letters_keep_the_lanes_straight():
    nodes = tuple(
        Node(node.id, node.kind, "名前" if node.id == "source1" else node.name, node.details)
        for node in SMALL.nodes
    )
    text = drawing(Graph(nodes, SMALL.edges, ()))
    columns = {cell_len(line[: line.index("●")]) for line in text.splitlines()[1:3]}
    assert len(columns) == 1


def test_what_could_steer_a_terminal_is_not_printed():
    nodes = (Node("source1", Kind.SOURCE, "a\x1b[31m\n", ("b\x07",)),)
    text = drawing(Graph(nodes, (), (Fault("p\x1b", 1, 1, "c\r"),)))
    assert all(line.isprintable() for line in text.splitlines())


def test_nothing_is_fed():
    nodes = (Node("sink1", Kind.SINK, "s"), Node("publisher1", Kind.PUBLISHER, "p", ("p://",)))
    assert drawing(Graph(nodes, (), ())) == (
        "sources\n\nsinks\n  s\n    ▼\n\npublishers\n  p  p://\n"
    )
