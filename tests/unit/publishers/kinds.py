# SPDX-License-Identifier: Apache-2.0
"""Every publisher of ours, ready for the conformance suite: the one list that a new one joins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from ceilo_agent import plugins
from ceilo_agent.plugins import Context, Publisher
from ceilo_agent.sample import Sample, as_document
from ceilo_agent.store.reader import Reader

Document = dict[str, Any]
Received = Callable[[], list[Document]]


class Kind(NamedTuple):
    """How to try one publisher.

    Attributes:
        url: what an operator writes, for a directory.
        received: given the directory and what was printed, the JSON documents of the samples that
            arrived, in order.
    """

    url: Callable[[Path], str]
    received: Callable[[Path, Callable[[], str]], list[Document]]


def _lines(text: str) -> list[Document]:
    return [msgspec.json.decode(line) for line in text.split("\n") if line]


def _stored(directory: Path, _: Callable[[], str]) -> list[Document]:
    samples: list[Sample] = list(Reader(directory / "store.db").samples())
    return [as_document(sample) for sample in sorted(samples, key=lambda sample: sample.time)]


KINDS: Final[dict[str, Kind]] = {
    "console": Kind(lambda _: "console://?format=json", lambda _, printed: _lines(printed())),
    "file": Kind(
        lambda directory: f"file://{directory}/samples.json?max_bytes=0",
        lambda directory, _: _lines((directory / "samples.json").read_text("utf-8")),
    ),
    "local": Kind(lambda directory: f"local://{directory}/store.db", _stored),
}


def build(text: str, directory: Path) -> Publisher:
    """Make a publisher from a URL, as a pipeline does."""
    url = urlsplit(text)
    publisher: Publisher
    made = plugins.load(plugins.PUBLISHER, url.scheme)
    options = msgspec.convert(dict(parse_qsl(url.query)), made.Options, strict=False)  # type: ignore[attr-defined]
    values = {
        "store.path": str(directory / "default.db"),
        "store.max_age": 7 * 86400,
        "store.max_bytes": 1 << 30,
        "DEFAULT.host": "here",
    }
    publisher = made(url._replace(query=""), options, Context("here", values))
    return publisher


class Tried:
    """One publisher under test and what arrived."""

    def __init__(self, name: str, directory: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.name = name
        self.directory = directory
        self._capture = capture
        self._printed = ""
        self.publisher = self.another()

    def another(self) -> Publisher:
        return build(KINDS[self.name].url(self.directory), self.directory)

    def received(self) -> list[Document]:
        return KINDS[self.name].received(self.directory, self._read)

    def _read(self) -> str:
        self._printed += self._capture.readouterr().out
        return self._printed
