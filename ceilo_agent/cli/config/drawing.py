# SPDX-License-Identifier: Apache-2.0
"""A graph drawn with characters.

Sources stand above sinks with their steps, and those above publishers. A line goes from each node
to a lane on the right, and from the lane to the one node that it leads to.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len

from ceilo_agent.pipeline.graph import Graph, Kind, Node
from ceilo_agent.publishers.rendering import printable

_WRAP: Final = 52
"""Cells of what is said of a node before it goes on in the next line."""


class Style(NamedTuple):
    """The characters of a drawing."""

    across: str
    down: str
    joint: str
    arrow: str
    step: str


BOX: Final = Style("─", "│", "●", "◀", "▼")
ASCII: Final = Style("-", "|", "o", "<", "v")


class _Row(NamedTuple):
    """A line of the drawing.

    Attributes:
        text: what stands on the left.
        out: lanes that begin here or are joined.
        into: the lane that ends here.
    """

    text: str
    out: tuple[int, ...] = ()
    into: int | None = None


def drawing(graph: Graph, style: Style = BOX) -> str:
    """Return the graph as lines of text, warnings below it."""
    rows = list(_rows(graph, style))
    # A blank and at least one character of a line stand behind the longest text.
    width = max((cell_len(row.text) for row in rows), default=0) + 2
    ends = {row.into: number for number, row in enumerate(rows) if row.into is not None}
    begins: dict[int, int] = {}
    for number, row in enumerate(rows):
        for lane in row.out:
            begins.setdefault(lane, number)
    spans = {lane: (begins[lane], ends[lane]) for lane in sorted(begins)}
    lines = [_line(row, number, spans, width, style) for number, row in enumerate(rows)]
    for index, warning in enumerate(graph.warnings, 1):
        lines += [""] * (index == 1) + [f"[!{index}] {printable(str(warning))}"]
    return "\n".join(lines) + "\n"


def _line(
    row: _Row, number: int, spans: dict[int, tuple[int, int]], width: int, style: Style
) -> str:
    """Draw one row: its text, and each lane that passes it, begins or ends there."""
    joined = {*row.out, *(() if row.into is None else (row.into,))} & spans.keys()
    last = max(joined, default=-1)
    arrow = row.into in spans
    line = row.text + " " * (width - cell_len(row.text))
    if joined:
        begin = cell_len(row.text) + 1
        line = row.text + " " + (style.arrow if arrow else style.across)
        line += style.across * (width - begin - 1)
    for lane, (begin, end) in spans.items():
        before = (style.across if lane <= last else " ") * 2
        if lane in joined:
            sign = style.joint
        elif begin < number < end:
            sign = style.down
        else:
            sign = style.across if lane < last else " "
        line += before + sign
    return line.rstrip()


def _rows(graph: Graph, style: Style) -> Iterator[_Row]:
    # Sinks take the inner lanes, publishers the outer ones, each in their order: the lanes that a
    # line into a node would cross have ended above it.
    nodes = [*graph.of(Kind.SINK), *graph.of(Kind.PUBLISHER)]
    lanes = {node.id: lane for lane, node in enumerate(nodes)}
    fed = {edge.end for edge in graph.edges}
    by_id = {node.id: node for node in graph.nodes}

    def into(node: Node) -> int | None:
        return lanes[node.id] if node.id in fed else None

    yield _Row("sources")
    sources = graph.of(Kind.SOURCE)
    for source, line in zip(sources, _columns(sources), strict=True):
        yield _Row("  " + line, tuple(lanes[each] for each in graph.after(source.id)))
    if graph.of(Kind.SINK):
        yield _Row("")
        yield _Row("sinks")
    for sink in graph.of(Kind.SINK):
        yield _Row("  " + _name(sink), (), into(sink))
        last = sink.id
        while (following := graph.after(last)) and by_id[following[0]].kind is Kind.STEP:
            last = following[0]
            yield _Row(f"    {style.step} {_name(by_id[last])}")
            yield from (_Row(f"    {style.down}     {line}") for line in _details(by_id[last]))
        yield _Row(f"    {style.step}", tuple(lanes[each] for each in following))
    publishers = graph.of(Kind.PUBLISHER)
    if publishers:
        yield _Row("")
        yield _Row("publishers")
    for publisher, line in zip(publishers, _columns(publishers), strict=True):
        yield _Row("  " + line, (), into(publisher))


def _name(node: Node) -> str:
    marks = "".join(f" [!{index + 1}]" for index in node.warnings)
    return printable(node.name) + marks


def _columns(nodes: Sequence[Node]) -> list[str]:
    """Return a line for each node, name and details one below another."""
    rows = [(_name(node), *map(printable, node.details)) for node in nodes]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _details(node: Node) -> Iterator[str]:
    for detail in node.details:
        yield from textwrap.wrap(printable(detail), _WRAP, break_on_hyphens=False)
