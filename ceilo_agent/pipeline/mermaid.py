# SPDX-License-Identifier: Apache-2.0
"""A graph as a Mermaid flowchart (https://mermaid.js.org/syntax/flowchart.html)."""

from __future__ import annotations

import re
from typing import Final

from ceilo_agent.pipeline.graph import Graph, Kind, Node

_SHAPES: Final = {
    Kind.SOURCE: ("([", "])"),
    Kind.SINK: ("{{", "}}"),
    Kind.STEP: ("[", "]"),
    Kind.PUBLISHER: ("[(", ")]"),
}

# Mermaid gives meanings to many signs, quotes or not: comments, entities, Markdown. Only these and
# letters and digits stand for themselves; the rest is written as its number.
_PLAIN: Final = frozenset(" .,:/_-")
_LIST_ITEM: Final = re.compile(r"^(\d*)([.\-])(?= |$)")


def mermaid(graph: Graph) -> str:
    """Return the flowchart, warnings below it as comments."""
    lines = ["flowchart LR"]
    for node in graph.nodes:
        begin, end = _SHAPES[node.kind]
        lines.append(f'  {node.id}{begin}"{_label(node)}"{end}')
    lines += [f"  {edge.start} --> {edge.end}" for edge in graph.edges]
    if warned := [node.id for node in graph.nodes if node.warnings]:
        lines += [
            "  classDef warned stroke:#c00000,stroke-width:2px",
            f"  class {','.join(warned)} warned",
        ]
    lines += [f"  %% {index}: {_comment(str(w))}" for index, w in enumerate(graph.warnings, 1)]
    return "\n".join(lines) + "\n"


def _label(node: Node) -> str:
    marks = [f"warning {index + 1}" for index in node.warnings]
    return "<br/>".join(map(_escaped, (node.name, *node.details, *marks)))


def _escaped(text: str) -> str:
    """Return text that Mermaid shows as it is."""
    coded = "".join(
        letter if letter.isalnum() or letter in _PLAIN else f"#{ord(letter)};" for letter in text
    )
    # A line that begins like an item of a list would be taken for one.
    return _LIST_ITEM.sub(lambda found: f"{found[1]}#{ord(found[2])};", coded)


def _comment(text: str) -> str:
    """Return text on one line; braces in a comment could begin a directive."""
    return "".join(
        letter if letter.isprintable() and letter not in "{}" else "?" for letter in text
    )
