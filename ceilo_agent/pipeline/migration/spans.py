# SPDX-License-Identifier: Apache-2.0
"""Where the keys and values of a file begin and end in its text."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
import yaml

from ceilo_agent.pipeline.migration.changes import Path

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Unplaced(Exception):
    """What must be changed cannot be told apart in the text (aliases, unusual styles)."""


class Span(NamedTuple):
    """Offsets in the text: of the first character and behind the last."""

    start: int
    end: int


class Collection(msgspec.Struct, frozen=True):
    """A mapping or list.

    Attributes:
        flow: whether it stands in brackets.
        keys: of a mapping, the spans of its keys; empty for a list.
        children: the paths of its values, in the order of the text.
    """

    flow: bool
    keys: dict[Path, Span]
    children: list[Path]

    def start(self, child: Path, values: dict[Path, Span]) -> int:
        """Return where an entry begins: its key, or the item itself."""
        return self.keys[child].start if self.keys else values[child].start


class Spans:
    """The places in one text.

    Args:
        text: YAML that `ceilo_agent.definition.document` took: bounded in size and depth.

    Attributes:
        values: by path. A collection in block style ends with its last value, not with the
            comments behind it.
        collections: by path.

    Raises:
        Unplaced: it holds aliases or merged keys, so that one place has several paths.
    """

    def __init__(self, text: str) -> None:
        self.values: dict[Path, Span] = {}
        self.collections: dict[Path, Collection] = {}
        self._text = text
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=_LOADER)):
            raise Unplaced
        root = yaml.compose(text, Loader=_LOADER)
        if root is not None:
            self._walk(root, (), 0)

    def _walk(self, node: yaml.Node, path: Path, begin: int) -> int:
        """Note a value and what is in it; return where it ends.

        Args:
            node: the value.
            path: of it.
            begin: the offset behind what stands before it.
        """
        start, end = node.start_mark.index, node.end_mark.index
        if isinstance(node, yaml.ScalarNode):
            if start == end:
                start = end = begin  # nothing stands there
            elif node.style in ("|", ">"):  # the line breaks behind it are its own
                end = start + len(self._text[start:end].rstrip())
        elif isinstance(node, yaml.MappingNode):
            keys: dict[Path, Span] = {}
            self.collections[path] = Collection(node.flow_style is True, keys, [])
            last = begin
            for key, value in node.value:
                at = (*path, str(key.value))
                keys[at] = Span(key.start_mark.index, key.end_mark.index)
                colon = self._text.find(":", keys[at].end) + 1
                last = self._child(path, at, value, colon)
            end = end if node.flow_style else last
        elif isinstance(node, yaml.SequenceNode):
            self.collections[path] = Collection(node.flow_style is True, {}, [])
            last = begin
            for index, value in enumerate(node.value):
                last = self._child(path, (*path, index), value, last)
            end = end if node.flow_style else last
        self.values[path] = Span(start, end)
        return end

    def _child(self, path: Path, at: Path, node: yaml.Node, begin: int) -> int:
        self.collections[path].children.append(at)
        return self._walk(node, at, begin)
