# SPDX-License-Identifier: Apache-2.0
"""Reads one YAML file into nodes with positions, in bounded time and memory.

The parser's events are composed here and not by PyYAML's composer, which recurses (a file of
brackets overflows the C stack) and drops what it need not keep (the position of a duplicate key).
"""

from __future__ import annotations

import functools
import hashlib
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import yaml

from ceilo_agent.definition import syntax
from ceilo_agent.definition.nodes import ListNode, MappingNode, Node, Position, ScalarNode, describe
from ceilo_agent.definition.scalars import resolve
from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.shown import shown

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 50
MAX_VALUES: Final = 100_000
"""Values of one file, those that aliases repeat included."""

# The same parser without libyaml, where PyYAML was built without it.
_PARSER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STANDARD_TAG: Final = "tag:yaml.org,2002:"
_ALLOWED_TAGS: Final = {
    yaml.ScalarEvent: ("!", _STANDARD_TAG + "str"),
    yaml.SequenceStartEvent: ("!", _STANDARD_TAG + "seq"),
    yaml.MappingStartEvent: ("!", _STANDARD_TAG + "map"),
}
# What YAML calls printable, section 5.1 of the specification.
_NOT_ALLOWED: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)


class Content(NamedTuple):
    """The text of a file and the SHA-256 of its bytes, in hexadecimal."""

    text: str
    digest: str


class Document(NamedTuple):
    """What a file says.

    Attributes:
        root: None when the file holds nothing but comments.
        faults: mistakes beside which the rest could be read.
    """

    root: Node | None
    faults: list[Fault]


def read(path: Path) -> Content:
    """Read a file.

    Raises:
        ConfigError: it is missing, unreadable, no regular file, too large or not UTF-8.
    """
    file = str(path)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a directory" if stat.S_ISDIR(mode) else "no regular file"
            raise ConfigError([Fault(file, 0, 0, f"a file was expected, this is {kind}")])
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError([Fault(file, 0, 0, "no such file")]) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError([Fault(file, 0, 0, f"cannot be read: {reason}")]) from None
    if len(data) > MAX_BYTES:
        raise ConfigError([Fault(file, 0, 0, "larger than 1 MiB")])
    return Content(_decode(data, file), hashlib.sha256(data).hexdigest())


def _decode(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = _end(data[: error.start].decode("utf-8-sig"))
        what = f"not UTF-8: the byte 0x{data[error.start]:02x}"
        raise ConfigError([Fault(file, *place, what)]) from None


def _end(before: str) -> Position:
    """Return the position right behind a text."""
    return Position(before.count("\n") + 1, len(before) - before.rfind("\n"))


def parse(text: str, file: str) -> Document:
    """Parse the text of a file, whose name goes into the faults.

    Raises:
        ConfigError: it is not one YAML document, or breaks a bound.
    """
    if found := _NOT_ALLOWED.search(text):
        place = _end(text[: found.start()])
        what = f"the character U+{ord(found[0]):04X} is not allowed"
        raise ConfigError([Fault(file, *place, what)])
    composer = _Composer(file)
    parser = _PARSER(text)
    try:
        while parser.check_event():
            composer.take(parser.get_event())
    except yaml.YAMLError as error:
        raise ConfigError([*composer.faults, syntax.explain(error, text, file)]) from None
    finally:
        parser.dispose()
    return Document(composer.root, composer.faults)


class _Finished(NamedTuple):
    """A complete node; `size` counts its values, `height` the levels below it."""

    node: Node
    size: int = 1
    height: int = 0


class _Frame:
    """A list or mapping whose end has not come yet.

    Attributes:
        take: what to do with the next value; None in a mapping where a key comes next.
        merged: the mappings that `<<` takes in.
    """

    def __init__(self, node: ListNode | MappingNode, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.take: Callable[[Node], None] | None = None
        self.merged: list[MappingNode] = []
        self.size = 1
        self.height = 1
        if isinstance(node, ListNode):
            self.take = node.items.append

    def finish(self) -> _Finished:
        """Take in what was merged; a key of the mapping itself goes before it."""
        if isinstance(self.node, MappingNode):
            for merged in self.merged:
                for key, value in merged.entries.items():
                    if key not in self.node.entries:
                        self.node.entries[key] = value
                        self.node.keys[key] = merged.keys[key]
        return _Finished(self.node, self.size, self.height)


class _Composer:
    """Builds the nodes from the parser's events, with a stack of its own."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Node | None = None
        self.faults: list[Fault] = []
        self._stack: list[_Frame] = []
        self._anchors: dict[str, _Finished | None] = {}
        self._documents = 0
        self._values = 0

    def take(self, event: Any) -> None:
        """Take the next event.

        Raises:
            ConfigError: a bound is broken; what comes after cannot be read.
        """
        place = syntax.position(event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, place)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(str(event.anchor), place)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._begin(event, place)
        elif isinstance(event, yaml.CollectionEndEvent):
            frame = self._stack.pop()
            self._finish(frame.finish(), frame.anchor)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._refuse(place, "a second document begins here", "one file holds one")

    def _scalar(self, event: Any, place: Position) -> None:
        self._check_tag(event, place)
        self._count(1, place)
        value = resolve(event.value) if event.tag is None and event.implicit[0] else event.value
        node = ScalarNode(value, event.value, place, _shift(event))
        merges = event.value == "<<" and event.tag is None and event.implicit[0]
        self._finish(_Finished(node), event.anchor, merges=merges)

    def _alias(self, anchor: str, place: Position) -> None:
        found = self._anchors.get(anchor)
        if found is None:
            name = shown(f"*{anchor}")
            if anchor in self._anchors:
                self._fault(place, f"the alias '{name}' stands inside its own anchor")
            else:
                self._fault(place, f"'{name}' is an alias of YAML without an anchor", syntax.QUOTE)
            found = _Finished(ScalarNode(None, "", place))
        self._count(found.size, place)
        if len(self._stack) + found.height > MAX_DEPTH:
            self._refuse(place, f"nested deeper than {MAX_DEPTH} levels")
        self._add(found, place)

    def _begin(self, event: Any, place: Position) -> None:
        self._check_tag(event, place)
        self._count(1, place)
        if len(self._stack) >= MAX_DEPTH:
            self._refuse(place, f"nested deeper than {MAX_DEPTH} levels")
        mapping = isinstance(event, yaml.MappingStartEvent)
        node = MappingNode({}, {}, place) if mapping else ListNode([], place)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._stack.append(_Frame(node, event.anchor))

    def _finish(self, found: _Finished, anchor: str | None, *, merges: bool = False) -> None:
        if anchor is not None:
            self._anchors[anchor] = found
        self._add(found, found.node.position, merges=merges)

    def _add(self, found: _Finished, place: Position, *, merges: bool = False) -> None:
        """Put a node where it belongs.

        Args:
            found: the node.
            place: where it stands; for an alias, not where its anchor does.
            merges: whether it is `<<`, which has a meaning of its own as a key.
        """
        if not self._stack:
            self.root = found.node
            return
        frame = self._stack[-1]
        frame.size += found.size
        frame.height = max(frame.height, found.height + 1)
        if frame.take is None:
            frame.take = self._merger(frame) if merges else self._key(frame, found.node, place)
            return
        frame.take(found.node)
        if isinstance(frame.node, MappingNode):
            frame.take = None

    def _key(self, frame: _Frame, node: Node, place: Position) -> Callable[[Node], None]:
        """Return what takes the value of a key."""
        assert isinstance(frame.node, MappingNode)
        entries, keys = frame.node.entries, frame.node.keys
        if not isinstance(node, ScalarNode):
            self._fault(place, f"a key must be a text, found {describe(node)}")
            return _drop
        key = node.text
        if key in keys:
            hint = f"first in line {keys[key].line}"
            self._fault(place, f"the key '{shown(key)}' stands twice", hint)
            return _drop
        keys[key] = place
        return functools.partial(entries.__setitem__, key)

    def _merger(self, frame: _Frame) -> Callable[[Node], None]:
        """Return what takes the value of `<<`."""

        def merge(node: Node) -> None:
            for part in node.items if isinstance(node, ListNode) else [node]:
                if isinstance(part, MappingNode):
                    frame.merged.append(part)
                else:
                    what = f"'<<' takes in mappings, found {describe(part)}"
                    self._fault(part.position, what)

        return merge

    def _check_tag(self, event: Any, place: Position) -> None:
        if event.tag is None or event.tag in _ALLOWED_TAGS[type(event)]:
            return
        tag = shown(event.tag.replace(_STANDARD_TAG, "!!"))
        self._fault(place, f"'{tag}' is a tag of YAML, which has no meaning here", syntax.QUOTE)

    def _count(self, values: int, place: Position) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            what = f"more than {MAX_VALUES} values, those that aliases repeat included"
            self._refuse(place, what)

    def _fault(self, place: Position, what: str, hint: str = "") -> None:
        self.faults.append(Fault(self.file, *place, what, hint))

    def _refuse(self, place: Position, what: str, hint: str = "") -> NoReturn:
        raise ConfigError([*self.faults, Fault(self.file, *place, what, hint)])


def _shift(event: Any) -> int | None:
    """Return where the text of a scalar begins in its line, from its first character."""
    begin, end = event.start_mark, event.end_mark
    quotes = 1 if event.style in ("'", '"') else 0
    written = end.column - begin.column if begin.line == end.line else -1
    return quotes if written == len(event.value) + 2 * quotes else None


def _drop(node: Node) -> None:
    """Take the value of a key that is a mistake itself."""
