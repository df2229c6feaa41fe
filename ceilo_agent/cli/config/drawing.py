# SPDX-License-Identifier: Apache-2.0
"""A graph drawn with characters.

Sources stand above sinks with their steps, and those above publishers. A line goes from each node
to a lane on the right, and from the lane to the one node that it leads to. Where that is wider than
the paper, a list says the same.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len, set_cell_size

from ceilo_agent.pipeline.graph import Graph, Kind, Node
from ceilo_agent.publishers.rendering import printable

WIDTH: Final = 100
"""Cells of a line where nobody says how wide the paper is."""

_WRAP: Final = 52
"""Cells of what is said of a step before it goes on in the next line."""

_LEAST: Final = 24
"""The same where there is little room; a list is drawn where there is less."""

_LONGEST: Final = (WIDTH, 40, 28, 20)
"""Cells of a name, tried one after another until the drawing is not too wide."""


class Style(NamedTuple):
    """The characters of a drawing."""

    across: str
    down: str
    joint: str
    arrow: str
    step: str
    to: str
    more: str


BOX: Final = Style("─", "│", "●", "◀", "▼", "→", "…")
ASCII: Final = Style("-", "|", "o", "<", "v", "->", "...")


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


def drawing(graph: Graph, style: Style = BOX, width: int = WIDTH) -> str:
    """Return the graph as lines of text, warnings below it.

    Args:
        graph: what to draw.
        style: the characters.
        width: cells of a line. Only warnings are longer.
    """
    lines = _picture(graph, style, width) or [*_list(graph, style, width)]
    for index, warning in enumerate(graph.warnings, 1):
        lines += [""] * (index == 1) + [f"[!{index}] {printable(str(warning))}"]
    return "\n".join(lines) + "\n"


def _picture(graph: Graph, style: Style, width: int) -> list[str]:
    """Return the graph with lanes; nothing where it is too wide."""
    lanes = 3 * len({edge.end for edge in graph.edges} - {n.id for n in graph.of(Kind.STEP)})
    # A blank and at least one character of a line stand behind the longest text.
    room = width - lanes - 2
    for longest in _LONGEST:
        names = {node.id: _shortened(printable(node.name), longest, style) for node in graph.nodes}
        whole = {(node.kind, node.name) for node in graph.nodes if node.kind is not Kind.STEP}
        short = {(n.kind, names[n.id]) for n in graph.nodes if n.kind is not Kind.STEP}
        if len(short) < len(whole):
            break  # one cannot tell them apart any more
        rows = list(_rows(graph, style, names, min(_WRAP, max(_LEAST, room - 10))))
        if max(cell_len(row.text) for row in rows) <= room:
            return _joined(rows, style)
    return []


def _joined(rows: Sequence[_Row], style: Style) -> list[str]:
    """Draw the lanes beside the rows."""
    width = max(cell_len(row.text) for row in rows) + 2
    ends = {row.into: number for number, row in enumerate(rows) if row.into is not None}
    begins: dict[int, int] = {}
    for number, row in enumerate(rows):
        for lane in row.out:
            begins.setdefault(lane, number)
    spans = {lane: (begins[lane], ends[lane]) for lane in sorted(begins)}
    return [_line(row, number, spans, width, style) for number, row in enumerate(rows)]


def _list(graph: Graph, style: Style, width: int) -> Iterator[str]:
    """Yield the lines of a list: of each node what it is and where its samples go."""
    by_id = {node.id: node for node in graph.nodes}

    def to(ids: Iterable[str]) -> str:
        return ", ".join(printable(by_id[each].name) for each in ids)

    yield "sources"
    for source in graph.of(Kind.SOURCE):
        said = f"{_name(source)} ({', '.join(map(printable, source.details))})"
        sinks = to(graph.after(source.id))
        yield from _wrapped(said + f" {style.to} {sinks}" * bool(sinks), 2, width)
    if graph.of(Kind.SINK):
        yield from ("", "sinks")
    for sink in graph.of(Kind.SINK):
        steps, following = _steps(graph, sink)
        into = f" {style.to} {to(following)}" * bool(following)
        yield from _wrapped(_name(sink) + into * (not steps), 2, width)
        for number, step in enumerate(steps, 1):
            said = "; ".join(map(printable, step.details))
            yield from _wrapped(f"{number}. {_name(step)}" + f": {said}" * bool(said), 4, width)
        if steps:
            yield from _wrapped(into.strip(), 4, width)
    if graph.of(Kind.PUBLISHER):
        yield from ("", "publishers")
    for publisher in graph.of(Kind.PUBLISHER):
        said = "".join(f" ({printable(detail)})" for detail in publisher.details)
        yield from _wrapped(_name(publisher) + said, 2, width)


def _steps(graph: Graph, sink: Node) -> tuple[list[Node], list[str]]:
    """Return the steps of a sink, and the ids of where its samples go after them."""
    by_id = {node.id: node for node in graph.nodes}
    steps: list[Node] = []
    last = sink.id
    while (following := graph.after(last)) and by_id[following[0]].kind is Kind.STEP:
        last = following[0]
        steps.append(by_id[last])
    return steps, following


def _wrapped(text: str, indent: int, width: int) -> list[str]:
    """Return a text on lines, the later ones further to the right."""
    room = max(_LEAST, width - indent)
    lines = textwrap.wrap(text, room, subsequent_indent="    ", break_on_hyphens=False)
    return [" " * indent + line for line in lines]


def _shortened(text: str, longest: int, style: Style) -> str:
    """Return a text of so many cells, its middle left out; what is at its end tells most."""
    if cell_len(text) <= longest:
        return text
    room = longest - cell_len(style.more)
    end = set_cell_size(text[::-1], room - room // 3)[::-1].lstrip()
    return set_cell_size(text, room // 3).rstrip() + style.more + end


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


def _rows(graph: Graph, style: Style, names: Mapping[str, str], wrap: int) -> Iterator[_Row]:
    # Sinks take the inner lanes, publishers the outer ones, each in their order: the lanes that a
    # line into a node would cross have ended above it.
    nodes = [*graph.of(Kind.SINK), *graph.of(Kind.PUBLISHER)]
    lanes = {node.id: lane for lane, node in enumerate(nodes)}
    fed = {edge.end for edge in graph.edges}

    def into(node: Node) -> int | None:
        return lanes[node.id] if node.id in fed else None

    yield _Row("sources")
    sources = graph.of(Kind.SOURCE)
    for source, line in zip(sources, _columns(sources, names), strict=True):
        yield _Row("  " + line, tuple(lanes[each] for each in graph.after(source.id)))
    if graph.of(Kind.SINK):
        yield _Row("")
        yield _Row("sinks")
    for sink in graph.of(Kind.SINK):
        yield _Row("  " + _name(sink, names), (), into(sink))
        steps, following = _steps(graph, sink)
        for step in steps:
            yield _Row(f"    {style.step} {_name(step, names)}")
            yield from (_Row(f"    {style.down}     {line}") for line in _details(step, wrap))
        yield _Row(f"    {style.step}", tuple(lanes[each] for each in following))
    publishers = graph.of(Kind.PUBLISHER)
    if publishers:
        yield _Row("")
        yield _Row("publishers")
    for publisher, line in zip(publishers, _columns(publishers, names), strict=True):
        yield _Row("  " + line, (), into(publisher))


def _name(node: Node, names: Mapping[str, str] | None = None) -> str:
    marks = "".join(f" [!{index + 1}]" for index in node.warnings)
    return (printable(node.name) if names is None else names[node.id]) + marks


def _columns(nodes: Sequence[Node], names: Mapping[str, str]) -> list[str]:
    """Return a line for each node, name and details one below another."""
    rows = [(_name(node, names), *map(printable, node.details)) for node in nodes]
    columns = itertools.zip_longest(*rows, fillvalue="")
    widths = [max(map(cell_len, column)) for column in columns]
    return [
        "  ".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=False)
        ).rstrip()
        for row in rows
    ]


def _details(node: Node, wrap: int) -> Iterator[str]:
    for detail in node.details:
        yield from textwrap.wrap(printable(detail), wrap, break_on_hyphens=False)
