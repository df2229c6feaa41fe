# SPDX-License-Identifier: Apache-2.0
"""``graphite://host:port`` sends samples to Graphite's carbon, over TCP, a line of text each."""

from __future__ import annotations

import hashlib
import re
import socket
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Final
from urllib.parse import SplitResult

import msgspec

from ceilo_agent.errors import ConfigError, Fault, Retryable
from ceilo_agent.plugins import Context, OwnFiles, Promise, Publisher
from ceilo_agent.sample import Sample

LONGEST: Final = 250
"""Bytes of a part of a path: Graphite makes a file of it, with ``.wsp`` behind."""


class GraphiteOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What ``graphite://host:port?...`` takes."""

    prefix: Annotated[
        str, msgspec.Meta(description="What every path begins with, its dot included.")
    ] = "ceilo_agent."
    names: Annotated[
        str | None,
        msgspec.Meta(description="A file of other names for meters: on each line the two names."),
    ] = None
    retention: Annotated[
        Annotated[int, msgspec.Meta(ge=0)],
        msgspec.Meta(description="Seconds that Graphite keeps points; 0: not known."),
    ] = 0
    timeout: Annotated[
        Annotated[float, msgspec.Meta(gt=0)],
        msgspec.Meta(description="Seconds that carbon is waited for."),
    ] = 10.0
    batch_size: Annotated[
        Annotated[int, msgspec.Meta(ge=1)],
        msgspec.Meta(description="Samples in one connection at most."),
    ] = 5000


class Graphite(Publisher):
    """A sample becomes a point at ``<prefix><resource>.<meter>``, in whole seconds."""

    # A point that is sent twice is written over itself. Carbon confirms nothing: not ACKED.
    promises: ClassVar[frozenset[Promise]] = frozenset(
        {Promise.IDEMPOTENT, Promise.ORDERED, Promise.DURABLE}
    )
    Options: ClassVar[type[msgspec.Struct]] = GraphiteOptions

    @classmethod
    def check(cls, url: SplitResult) -> None:
        """Look at the URL.

        Raises:
            ConfigError: it is not graphite://host:port.
        """
        if not url.hostname or not url.port or url.path:
            what = "a host and a port were expected, and no path"
            hint = "write graphite://carbon.example:2003"
            raise ConfigError([Fault("graphite://", 0, 0, what, hint)])

    def __init__(self, url: SplitResult, options: GraphiteOptions, context: Context) -> None:
        super().__init__(url, options, context)
        self._names: Mapping[str, str] = {}

    @classmethod
    def read_files(cls, options: GraphiteOptions) -> OwnFiles:
        """Look at the file of names; a reload notes that it has changed.

        Raises:
            ConfigError: it cannot be read, or a line is none.
        """
        if options.names is None:
            return OwnFiles()
        found = repr(_names(options.names))
        return OwnFiles(digest=hashlib.sha256(found.encode()).hexdigest())

    def open(self) -> None:
        """Read the file of names.

        Raises:
            ConfigError: as for `read_files`.
        """
        if self.options.names is not None:
            self._names = _names(self.options.names)

    def push(self, samples: Sequence[Sample]) -> None:
        """Send the samples.

        Raises:
            Retryable: carbon cannot be reached, or did not read all.
        """
        lines = []
        for sample in samples:
            name = self._names.get(sample.meter.name, sample.meter.name)
            parts = [sample.resource.id, *name.split(".")]
            path = self.options.prefix + ".".join(map(_part, parts))
            lines.append(f"{path} {sample.volume} {int(sample.time)}\n")
        if lines:
            self._send("".join(lines).encode())

    def outdated(self, samples: Sequence[Sample]) -> Mapping[int, str]:
        """Return those that Graphite has no place for any more."""
        retention = self.options.retention
        oldest = time.time() - retention if retention else 0.0
        return {
            index: f"Graphite keeps the last {retention} seconds"
            for index, sample in enumerate(samples)
            if sample.time < oldest
        }

    def _send(self, data: bytes) -> None:
        """Send it, and wait until carbon has read all and hangs up."""
        place, timeout = (self.url.hostname, self.url.port), self.options.timeout
        try:
            with socket.create_connection(place, timeout) as connection:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)
        except OSError as error:
            raise Retryable(f"carbon at {place[0]}:{place[1]}: {error}") from error


def _names(file: str) -> dict[str, str]:
    """Return the other names of meters."""
    try:
        lines = Path(file).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Fault(file, 0, 0, f"it cannot be read: {error}")]) from error
    faults, found = [], {}
    for number, line in enumerate(lines, start=1):
        match line.split():
            case []:
                continue
            case [meter, name]:
                found[meter] = name
            case _:
                faults.append(Fault(file, number, 1, "a meter and its other name were expected"))
    if faults:
        raise ConfigError(faults)
    return found


def _part(name: str) -> str:
    """Return a part of a path: Graphite divides paths at dots and gives other signs a meaning."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name) or "_"
    if len(plain) <= LONGEST:
        return plain
    mark = f"{zlib.crc32(plain.encode()):08x}"
    return plain[: LONGEST - len(mark)] + mark
