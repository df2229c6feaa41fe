# SPDX-License-Identifier: Apache-2.0
"""Every publisher of ours, ready for the conformance suite: the one list that a new one joins.

A publisher of others takes the same tests: the environment's CEILO_AGENT_KINDS names a file of
Python with a KINDS of its own, which takes the place of the one here.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import runpy
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from ceilo_agent.definition.document import parse
from ceilo_agent.definition.nodes import MappingNode
from ceilo_agent.definition.reader import Reader as FileReader
from ceilo_agent.definition.settings import read_settings
from ceilo_agent.errors import Permanent
from ceilo_agent.plugins import PUBLISHER, Context, Publisher, load
from ceilo_agent.sample import Sample, as_document
from ceilo_agent.store.reader import Reader
from tests.services import faulty
from tests.unit.publishers import receivers
from tests.unit.publishers.prometheus import receiver as prometheus

Document = dict[str, Any]
"""What arrived of a sample. Each has at least `resource_id` and `name`, which tell series apart."""


class Place:
    """Where a publisher under test sends to.

    Attributes:
        directory: an empty one.
        printed: returns what was printed so far.
        server: the other side of a publisher that speaks HTTP, else None.
        kept: for a kind's own use.
    """

    def __init__(
        self, directory: Path, printed: Callable[[], str], server: faulty.Server | None = None
    ) -> None:
        self.directory = directory
        self.printed = printed
        self.server = server
        self.kept: dict[str, Any] = {}

    @property
    def authority(self) -> str:
        """Host and port of the server."""
        assert self.server is not None
        return f"127.0.0.1:{self.server.port}"

    @property
    def secure(self) -> bool:
        """Whether the server speaks TLS."""
        return self.server is not None and self.server.context is not None

    def requests(self) -> list[faulty.Request]:
        """Return the requests that the server answered with success."""
        assert self.server is not None
        return self.server.accepted


def documents(samples: Sequence[Sample]) -> list[Document]:
    """Return the samples as they are."""
    return [as_document(sample) for sample in samples]


def takes_all(_: Sample) -> bool:
    """Refuse nothing."""
    return False


class Kind(NamedTuple):
    """How to try one publisher.

    Attributes:
        url: what an operator writes.
        received: what arrived, in its order.
        expected: what arrives of samples: less than they say, where the protocol has no more.
        edge: makes what stands for the other side of a publisher that sends requests over HTTP:
            how a request is answered that is right. None: it sends none.
        holds: of a request, what samples it carries. Goes with edge.
        partial: answers a request as one that took its samples but for the first. None: the
            protocol has no such answer, or says it in another way than by a request's answer.
        latest: whether only the newest sample of each series can be read, and only while it is
            open.
        disk: whether what arrives is written to a file here, which a full disk stops.
        refuses: of a sample, whether the other side can never take it: the publisher says so
            itself, and names it.
        options: given beside the URL.
    """

    url: Callable[[Place], str]
    received: Callable[[Place], list[Document]]
    expected: Callable[[Sequence[Sample]], list[Document]] = documents
    edge: Callable[[Place], faulty.Behaviour] | None = None
    holds: Callable[[faulty.Request], list[Document]] | None = None
    partial: faulty.Behaviour | None = None
    latest: bool = False
    disk: bool = True
    refuses: Callable[[Sample], bool] = takes_all
    options: Mapping[str, Any] = {}


def _lines(text: str) -> list[Document]:
    return [msgspec.json.decode(line) for line in text.split("\n") if line]


def _stored(place: Place) -> list[Document]:
    samples: list[Sample] = list(Reader(place.directory / "store.db").samples())
    return documents(sorted(samples, key=lambda sample: sample.time))


def _each(holds: Callable[[faulty.Request], list[Document]]) -> Callable[[Place], list[Document]]:
    """Return what reads back all requests that a server took."""
    return lambda place: [one for request in place.requests() for one in holds(request)]


def _ok(_: Place) -> faulty.Behaviour:
    return faulty.ok()


def _http(scheme: str) -> Kind:
    # One class has both names: each server decides which of the two is asked for.
    return Kind(
        url=lambda place: f"{'https' if place.secure else scheme}://{place.authority}/samples",
        received=_each(receivers.json_samples),
        edge=_ok,
        holds=receivers.json_samples,
    )


def _port(place: Place) -> int:
    port: int = place.kept.setdefault("port", faulty.closed_port())
    return port


def _receiver(place: Place) -> prometheus.Receiver:
    made: prometheus.Receiver = place.kept.setdefault("receiver", prometheus.Receiver())
    return made


def _is_no_text(sample: Sample) -> bool:
    """Return whether the id cannot be written as UTF-8."""
    return any("\ud800" <= letter <= "\udfff" for letter in sample.resource.id)


OURS: Final[dict[str, Kind]] = {
    "console": Kind(
        url=lambda _: "console://?format=json", received=lambda place: _lines(place.printed())
    ),
    "file": Kind(
        url=lambda place: f"file://{place.directory}/samples.json?max_bytes=0",
        received=lambda place: _lines((place.directory / "samples.json").read_text("utf-8")),
    ),
    "gnocchi": Kind(
        url=lambda place: f"gnocchi://{place.authority}?ssl={str(place.secure).lower()}",
        received=receivers.gnocchi_received,
        expected=receivers.gnocchi_expected,
        edge=receivers.gnocchi_edge,
        holds=receivers.gnocchi_samples,
        refuses=receivers.gnocchi_refuses,
        options={"archive_policy": "ceilometer-low"},
    ),
    "http": _http("http"),
    "local": Kind(url=lambda place: f"local://{place.directory}/store.db", received=_stored),
    "notifier": Kind(
        url=lambda place: f"notifier://memory?driver=kombu%2Bmemory&topic={place.directory}",
        received=lambda place: documents(receivers.notified(str(place.directory))),
        disk=False,
        refuses=_is_no_text,
    ),
    "otlp": Kind(
        url=lambda place: f"otlp://{place.authority}?ssl={str(place.secure).lower()}",
        received=_each(receivers.otlp_samples),
        expected=receivers.otlp_expected,
        edge=_ok,
        holds=receivers.otlp_samples,
        partial=receivers.otlp_partial,
    ),
    "prometheus": Kind(
        url=lambda place: f"prometheus://127.0.0.1:{_port(place)}",
        received=lambda place: prometheus.scraped(f"http://127.0.0.1:{_port(place)}/metrics"),
        expected=functools.partial(prometheus.expected, adds=True),
        latest=True,
    ),
    "remote-write": Kind(
        url=lambda place: f"remote-write://{place.authority}?ssl={str(place.secure).lower()}",
        received=lambda place: prometheus.stored(_receiver(place)),
        expected=prometheus.expected,
        edge=lambda place: _receiver(place).behaviour(),
        holds=prometheus.written,
    ),
}

ALIASES: Final = {"https": "http"}
"""Names of classes that stand in OURS under another one."""


def _kinds() -> dict[str, Kind]:
    file = os.environ.get("CEILO_AGENT_KINDS")
    return runpy.run_path(file)["KINDS"] if file else OURS


KINDS: Final = _kinds()
NETWORKED: Final = {name: kind for name, kind in KINDS.items() if kind.edge is not None}


def build(text: str, directory: Path, **options: Any) -> Publisher:
    """Make a publisher from a URL and what stands beside it, as a pipeline file does.

    But for `check`: what a publisher does about a wrong URL without it is to be seen, too.
    """
    url = urlsplit(text)
    query = dict(parse_qsl(url.query))
    made = load(PUBLISHER, url.scheme)
    written = parse(json.dumps(query | options), "kinds.yaml")
    reader = FileReader("kinds.yaml", written)
    assert isinstance(written.root, MappingNode)
    chosen = read_settings(reader, made.Options, written.root, "option", query)  # type: ignore[attr-defined]
    assert chosen is not None, reader.faults
    values = {
        "store.path": str(directory / "default.db"),
        "store.max_age": 7 * 86400,
        "store.max_bytes": 1 << 30,
        "DEFAULT.host": "here",
        "DEFAULT.state_path": str(directory),
    }
    publisher: Publisher = made(url._replace(query=""), chosen, Context("here", values))
    return publisher


@contextlib.contextmanager
def trying(
    name: str, directory: Path, capture: pytest.CaptureFixture[str], **options: Any
) -> Iterator[Tried]:
    """A publisher for the length of a block, and its other side."""
    printed = ""

    def read() -> str:
        nonlocal printed
        printed += capture.readouterr().out
        return printed

    place = Place(directory, read)
    edge = KINDS[name].edge
    with contextlib.ExitStack() as stack:
        if edge is not None:
            place.server = stack.enter_context(faulty.serving())
            place.server.usual = edge(place)
        tried = Tried(name, place, **options)
        yield tried
        tried.publisher.close()


class Tried:
    """One publisher under test and what arrived."""

    def __init__(self, name: str, place: Place, **options: Any) -> None:
        self.name = name
        self.kind = KINDS[name]
        self.place = place
        self.publisher = self.another(**options)

    def another(self, **options: Any) -> Publisher:
        """Make one more for the same place."""
        beside = {**self.kind.options, **options}
        return build(self.kind.url(self.place), self.place.directory, **beside)

    def received(self) -> list[Document]:
        return self.kind.received(self.place)

    def push(self, samples: Sequence[Sample]) -> None:
        """Push as an outlet does: in batches of the publisher's size."""
        size = getattr(self.publisher.options, "batch_size", None) or self.publisher.batch_size
        for start in range(0, len(samples), size):
            batch = samples[start : start + size]
            refused = [n for n, one in enumerate(batch) if self.kind.refuses(one)]
            if not refused:
                self.publisher.push(batch)
                continue
            with pytest.raises(Permanent) as caught:
                self.publisher.push(batch)
            assert sorted(caught.value.refused or {}) == refused

    def expected(self, samples: Sequence[Sample]) -> list[Document]:
        """Return what can be read of samples when they were pushed."""
        samples = [one for one in samples if not self.kind.refuses(one)]
        if self.kind.latest:
            samples = list({(s.resource.id, s.meter.name): s for s in samples}.values())
        return self.kind.expected(samples)

    def arrived(self, samples: Sequence[Sample]) -> bool:
        """Return whether just these samples arrived, those of each series in this order."""
        return series(self.received()) == series(self.expected(samples))


def series(found: Sequence[Document]) -> dict[tuple[str, str], list[Document]]:
    """Return documents by series, in their order."""
    made: dict[tuple[str, str], list[Document]] = {}
    for one in found:
        made.setdefault((one["resource_id"], one["name"]), []).append(one)
    return made
