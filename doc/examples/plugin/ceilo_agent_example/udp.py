# SPDX-License-Identifier: Apache-2.0
"""``udp://host:port`` sends samples as lines of JSON, as many in a datagram as fit."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar
from urllib.parse import SplitResult

import msgspec

from ceilo_agent.errors import ConfigError, Fault, Permanent, Retryable
from ceilo_agent.plugins import Promise, Publisher
from ceilo_agent.sample import Sample, as_document


class UdpOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What ``udp://host:port?...`` takes."""

    max_bytes: Annotated[
        Annotated[int, msgspec.Meta(ge=512, le=65507)],
        msgspec.Meta(description="Bytes of a datagram at most; a longer sample is refused."),
    ] = 8192


class Udp(Publisher):
    """Datagrams may be lost on the way, doubled or overtake one another: it promises nothing."""

    promises: ClassVar[frozenset[Promise]] = frozenset()
    Options: ClassVar[type[msgspec.Struct]] = UdpOptions

    _socket: socket.socket | None = None

    @classmethod
    def check(cls, url: SplitResult) -> None:
        """Look at the URL.

        Raises:
            ConfigError: it is not udp://host:port.
        """
        if not url.hostname or not url.port or url.path:
            what = "a host and a port were expected, and no path"
            raise ConfigError([Fault("udp://", 0, 0, what, "write udp://collector.example:5140")])

    def open(self) -> None:
        """Connect.

        Raises:
            Retryable: the host's name cannot be resolved now.
        """
        self._connect()

    def push(self, samples: Sequence[Sample]) -> None:
        """Send the samples.

        Raises:
            Permanent: some are longer than a datagram may be; the others were sent.
            Retryable: the host cannot be reached, or nobody listens there.
        """
        lines, refused, limit = [], {}, self.options.max_bytes
        for index, sample in enumerate(samples):
            line = msgspec.json.encode(as_document(sample)) + b"\n"
            if len(line) > limit:
                refused[index] = f"it is {len(line)} bytes long, {limit} are possible"
            else:
                lines.append(line)
        try:
            for datagram in _joined(lines, limit):
                self._connect().send(datagram)
        except OSError as error:
            self.close()
            raise Retryable(f"{self.url.hostname}: {error.strerror or error}") from error
        if refused:
            raise Permanent(f"{len(refused)} of {len(samples)} samples are too long", refused)

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> socket.socket:
        """Return the connected socket: the kernel tells one if nobody listens."""
        if self._socket is None:
            try:
                family, kind, protocol, _, address = socket.getaddrinfo(
                    self.url.hostname, self.url.port, type=socket.SOCK_DGRAM
                )[0]
            except socket.gaierror as error:
                raise Retryable(f"{self.url.hostname}: {error.strerror}") from error
            made = socket.socket(family, kind, protocol)
            try:
                made.connect(address)
            except OSError as error:
                made.close()
                raise Retryable(f"{self.url.hostname}: {error.strerror}") from error
            self._socket = made
        return self._socket


def _joined(lines: Sequence[bytes], limit: int) -> Iterator[bytes]:
    """Yield whole lines, as many as fit."""
    found = b""
    for line in lines:
        if len(found) + len(line) > limit:
            yield found
            found = b""
        found += line
    if found:
        yield found
