# SPDX-License-Identifier: Apache-2.0
"""Makes changes in the text of a file, so that its comments and its layout stay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ceilo_agent.pipeline.migration import emit
from ceilo_agent.pipeline.migration.changes import Changes, Path, Remove, Replace, Splice
from ceilo_agent.pipeline.migration.spans import Collection, Span, Spans, Unplaced

_BLANKS: Final = " \t"


class _Edit(NamedTuple):
    start: int
    end: int
    text: str


class Text:
    """The text of a file with its changes.

    Raises:
        Unplaced: the text cannot be changed in place.
    """

    def __init__(self, text: str, changes: Changes) -> None:
        self._text = text
        self._changes = changes
        self._spans = Spans(text)
        self._break = "\r\n" if "\r\n" in text else "\n"

    def changed(self) -> str:
        """Return the text with the changes made."""
        made, at = [], 0
        for edit in sorted(self._edits(), key=lambda edit: edit[:2]):
            if edit.start < at:
                raise Unplaced
            made += [self._text[at : edit.start], edit.text]
            at = edit.end
        return "".join([*made, self._text[at:]])

    def _edits(self) -> Iterator[_Edit]:
        for path, change in self._changes.values.items():
            if isinstance(change, Replace):
                yield self._replaced(path, change.value)
            elif isinstance(change, Splice):
                yield self._spliced(path, change.items)
        for path, name in self._changes.names.items():
            span = self._spans.collections[path[:-1]].keys[path]
            yield _Edit(span.start, span.end, emit.scalar(name))
        for path, collection in self._spans.collections.items():
            yield from self._removed(collection, path)
            yield from self._inserted(collection, path)

    # -- values ----------------------------------------------------------------------------------

    def _replaced(self, path: Path, value: Any) -> _Edit:
        span = self._spans.values[path]
        text = emit.flow(value)
        if span.start == span.end:  # nothing stood there
            text = " " + text
        old = self._spans.collections.get(path)
        if old is not None and not old.flow:
            return self._below(path, span, text)
        return _Edit(*span, text)

    def _below(self, path: Path, span: Span, text: str) -> _Edit:
        """Put a value that fits in one line behind its key, in the place of one below the key."""
        key = self._spans.collections[path[:-1]].keys.get(path)
        if key is None:
            return _Edit(*span, text)
        between = self._text[key.end : span.start].rstrip(_BLANKS + "-")
        if between.partition(":")[2].strip():  # a comment
            raise Unplaced
        return _Edit(key.end, span.end, f": {text}")

    def _spliced(self, path: Path, items: tuple[Any, ...]) -> _Edit:
        collection = self._spans.collections[path[:-1]]
        span = self._spans.values[path]
        if collection.flow:
            return _Edit(*span, ", ".join(map(emit.flow, items)))
        dash = self._dash(path)
        column = dash - self._line(dash)
        lines = emit.block(list(items), column)
        return _Edit(dash, span.end, self._break.join(lines).lstrip(" "))

    # -- entries ---------------------------------------------------------------------------------

    def _removed(self, collection: Collection, path: Path) -> Iterator[_Edit]:
        """Yield one edit for each run of neighbours that go."""
        children = collection.children
        gone = [isinstance(self._changes.values.get(child), Remove) for child in children]
        if all(gone):
            if children:
                span = self._spans.values[path]
                text = "{}" if collection.keys else "[]"
                yield _Edit(*span, text) if collection.flow else self._below(path, span, text)
            return
        index = 0
        while index < len(children):
            if not gone[index]:
                index += 1
                continue
            after = index
            while after < len(children) and gone[after]:
                after += 1
            yield self._run(collection, index, after)
            index = after

    def _run(self, collection: Collection, first: int, after: int) -> _Edit:
        """Take the entries from `first` to before `after` away."""
        children, values = collection.children, self._spans.values
        start = collection.start(children[first], values)
        end = values[children[after - 1]].end
        behind = children[after] if after < len(children) else None
        if collection.flow:
            if behind is not None:
                return _Edit(start, collection.start(behind, values), "")
            return _Edit(values[children[first - 1]].end, end, "")
        begin = start if collection.keys else self._dash(children[first])
        line = self._line(begin)
        if self._text[line:begin].strip(_BLANKS):
            # What stands before it in the line, a dash, belongs to the entry behind then.
            if behind is None or not collection.keys:
                raise Unplaced
            return _Edit(start, collection.start(behind, values), "")
        return _Edit(line, self._behind(end), "")

    def _inserted(self, collection: Collection, path: Path) -> Iterator[_Edit]:
        for insert in self._changes.inserts.get(path, ()):
            entry = f"{emit.scalar(insert.key)}: {emit.flow(insert.value)}"
            if not collection.children:
                yield _Edit(*self._spans.values[path], "{" + entry + "}")
                continue
            behind = (*path, insert.after)
            if behind not in collection.keys:
                behind = collection.children[-1]
            end = self._spans.values[behind].end
            if collection.flow:
                yield _Edit(end, end, f", {entry}")
                continue
            first = collection.keys[collection.children[0]].start
            margin = " " * (first - self._line(first))
            at = self._behind(end)
            if self._text[at - 1 : at] == "\n":
                yield _Edit(at, at, f"{margin}{entry}{self._break}")
            else:
                yield _Edit(at, at, f"{self._break}{margin}{entry}")

    # -- places ----------------------------------------------------------------------------------

    def _dash(self, path: Path) -> int:
        """Return where the dash of a list item in block style stands."""
        start = self._spans.values[path].start
        dash = self._text.rfind("-", 0, start)
        if dash < 0 or self._text[dash + 1 : start].strip():
            raise Unplaced
        return dash

    def _line(self, offset: int) -> int:
        """Return where the line of an offset begins."""
        return self._text.rfind("\n", 0, offset) + 1

    def _behind(self, offset: int) -> int:
        """Return where the line after that of an offset begins; a comment may end the line."""
        end = self._text.find("\n", offset)
        end = len(self._text) if end < 0 else end + 1
        rest = self._text[offset:end].strip()
        if rest and not rest.startswith("#"):
            raise Unplaced
        return end
