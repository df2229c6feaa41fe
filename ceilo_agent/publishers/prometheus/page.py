# SPDX-License-Identifier: Apache-2.0
"""``prometheus://[host][:port][/path]`` is a page that Prometheus scrapes.

Where the URL names none, the host is 127.0.0.1, the port 9101 and the path ``/metrics``. With
``0.0.0.0`` or ``[::]`` for the host the page is there on all addresses.

A meter is called as Prometheus's own rules have it: ``cpu`` (ns) is ``ceilo_cpu_seconds_total``,
``memory.usage`` (MiB) is ``ceilo_memory_usage_bytes``, ``disk.device.read.bytes`` is
``ceilo_disk_device_read_bytes_total``, ``hardware.cpu.util`` (%) is
``ceilo_hardware_cpu_util_ratio``, from 0 to 1. Units become seconds, bytes and ratios; counters
are counters, also those that Ceilometer calls gauges. The volumes of delta meters are added up to a
counter that begins with the series. Two meters that would come to one name are told in the log, and
the second gets a mark behind its name.

Series have labels that never change: ``resource_id``, for guests and their parts ``instance_id``,
for the host and its parts ``host``, for a part ``device``. What may change stands once per guest in
``ceilo_instance_info``: name, project, user, flavor, image, host. It is joined in a query::

    rate(ceilo_cpu_seconds_total[5m])
      * on (instance_id) group_left (name, project_id) ceilo_instance_info

The page always shows what was read last, also while the agent polls. A series without a new value
for three of its intervals (30 s at least, an hour at most or one and a half intervals where that is
more) vanishes, as do the metadata of a guest without any series.
"""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from typing import Annotated, ClassVar, Final
from urllib.parse import SplitResult, unquote

import msgspec

from ceilo_agent.definition.secret import Secret
from ceilo_agent.errors import ConfigError, Fault, Misfit, Permanent, Retryable
from ceilo_agent.plugins import Context, OwnFiles, Promise, Publisher
from ceilo_agent.publishers.named_files import NamedFiles
from ceilo_agent.publishers.prometheus.exposition import Exposition, render
from ceilo_agent.publishers.prometheus.naming import PREFIX, Names
from ceilo_agent.publishers.prometheus.series import Board
from ceilo_agent.publishers.prometheus.server import Access, Address, Certificate, Server
from ceilo_agent.sample import Sample

LOG = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
PORT: Final = 9101
"""As Ceilometer's exporter."""
PATH: Final = "/metrics"


class PageOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What ``prometheus://...?...`` takes."""

    prefix: Annotated[
        Annotated[str, msgspec.Meta(pattern="^([a-zA-Z_][a-zA-Z0-9_]*)?$")],
        msgspec.Meta(description="What the names of all metrics begin with."),
    ] = PREFIX
    expire: Annotated[
        Annotated[float, msgspec.Meta(ge=1)] | None,
        msgspec.Meta(
            description="Seconds after which a series without a new value vanishes; without it "
            "three of its intervals."
        ),
    ] = None
    timestamps: Annotated[
        bool,
        msgspec.Meta(
            description="Give each value the time when it was read. Prometheus then shows a series "
            "that vanished for five minutes more."
        ),
    ] = False
    certfile: Annotated[
        str | None,
        msgspec.Meta(description="The file of the page's certificate, PEM: the page speaks TLS."),
    ] = None
    keyfile: Annotated[
        str | None, msgspec.Meta(description="The file of its key, without it certfile has both.")
    ] = None
    client_cafile: Annotated[
        str | None,
        msgspec.Meta(
            description="The file of certificates, PEM: only who shows a certificate that one of "
            "them signed may read."
        ),
    ] = None
    username: Annotated[
        str | None, msgspec.Meta(description="Only who gives this name may read.")
    ] = None
    password: Annotated[Secret | None, msgspec.Meta(description="Goes with username.")] = None

    def __post_init__(self) -> None:
        for name in ("keyfile", "client_cafile"):
            if getattr(self, name) is not None and self.certfile is None:
                raise Misfit(f"option '{name}' needs certfile", name)
        if (self.username is None) != (self.password is None):
            given, other = ("username", "password")
            if self.username is None:
                given, other = other, given
            raise Misfit(f"option '{given}' needs {other}", given)


class Prometheus(Publisher):
    """A page with the last value of each series."""

    promises: ClassVar[frozenset[Promise]] = frozenset({Promise.PULL})
    Options: ClassVar[type[msgspec.Struct]] = PageOptions
    one_process: ClassVar[str] = "a page is served by one process"
    for_several: ClassVar[str] = "remote-write://"
    # All of a poll at once: who looks sees it whole.
    batch_size: ClassVar[int] = 100_000

    _server: Server | None = None
    _thread: threading.Thread | None = None

    def __init__(self, url: SplitResult, options: PageOptions, context: Context) -> None:
        super().__init__(url, options, context)
        self._names = Names(options.prefix, adds=True)
        self._path = url.path if url.path.strip("/") else PATH
        self._board = Board(self._names, options.expire, time.monotonic)

    @classmethod
    def check(cls, url: SplitResult) -> None:
        """Look whether the URL says where to listen."""
        where = _shown(url)
        if "/job/" in url.path:
            what = "a push gateway takes no part here: the agent is scraped, or writes by itself"
            hint = f"write prometheus://{HOST}:{PORT}, or remote-write:// to Prometheus itself"
            raise ConfigError([Fault(where, 0, 0, what, hint)])
        try:
            port = url.port
        except ValueError:
            port = 0
        if port == 0:
            raise ConfigError([Fault(where, 0, 0, "its port is none", f"write :{PORT}")])

    @classmethod
    def read_files(cls, options: PageOptions) -> OwnFiles:
        """Look at the files of certificates and of the password."""
        files = NamedFiles()
        files.certificate("certfile", options.certfile, "keyfile", options.keyfile)
        files.authorities("client_cafile", options.client_cafile)
        files.secret("password", options.password)
        return files.own()

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port that it listens on."""
        assert self._server is not None
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    @property
    def place(self) -> str:
        """The URL that Prometheus scrapes; with this host's name where it listens everywhere."""
        host, port = self.address
        if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not listened on
            host = self.context.host
        shown = f"[{host}]" if ":" in host else host
        scheme = "http" if self.options.certfile is None else "https"
        return f"{scheme}://{shown}:{port}{self._path}"

    def open(self) -> None:
        """Listen.

        Raises:
            ConfigError: another process listens there, or a file of TLS cannot be used.
            Retryable: this host does not have the address now.
        """
        self.close()
        server = self._listen(self._access(), self._certificate())
        self._server, self._thread = server, server.run()
        LOG.info("publisher %s: Prometheus finds the metrics at %s", _shown(self.url), self.place)

    def push(self, samples: Sequence[Sample]) -> None:
        """Show the samples, all of them from one moment on.

        Raises:
            Permanent: volumes that no double can hold; the others are shown.
        """
        if refused := self._board.add(samples):
            raise Permanent(f"{len(refused)} samples cannot be shown", refused)

    def close(self) -> None:
        """Stop listening."""
        server, self._server = self._server, None
        if server is None:
            return
        server.stop()
        if self._thread is not None:
            self._thread.join()

    def _render(self, accept: str, wanted: Sequence[str]) -> tuple[bytes, str]:
        stamps = self.options.timestamps
        shown = self._board.shown()
        return render(Exposition(shown, self._names, timestamps=stamps, only=wanted), accept)

    def _access(self) -> Access:
        user, password = self.url.username, self.url.password
        if user is not None and self.options.username is not None:
            what = "the URL and the options both say who may read"
            raise self._fault(what, "take the user out of the URL")
        if user is not None:
            return Access(unquote(user), lambda: unquote(password or ""))
        secret = self.options.password
        return Access() if secret is None else Access(self.options.username, secret.read)

    def _certificate(self) -> Certificate | None:
        options = self.options
        if options.certfile is None:
            return None
        try:
            return Certificate(options.certfile, options.keyfile, options.client_cafile)
        except ssl.SSLError as error:
            files = options.certfile, options.keyfile, options.client_cafile
            names = ", ".join(filter(None, files))
            what = f"no certificate with its key in {names}: {error.reason or error}"
            raise self._fault(what) from error
        except OSError as error:
            raise self._fault(f"a file of TLS cannot be read: {error}") from error

    def _listen(self, access: Access, certificate: Certificate | None) -> Server:
        host = self.url.hostname or HOST
        port = PORT if self.url.port is None else self.url.port
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            address = Address(found[0], found[4])
            return Server(address, self._path, self._render, access, certificate)
        except OSError as error:
            raise self._not_there(error, port) from error

    def _not_there(self, error: OSError, port: int) -> Exception:
        if error.errno == errno.EADDRINUSE:
            return self._fault("another process listens there", "take another port")
        if error.errno in (errno.EACCES, errno.EPERM):
            hint = "take a port from 1024 on" if port < 1024 else ""
            return self._fault(f"it may not listen there: {error.strerror}", hint)
        if isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN:
            return self._fault(f"no address of this host: {error.strerror}")
        # An address may come with its interface, after the agent.
        what = "this host has no such address" if error.errno == errno.EADDRNOTAVAIL else ""
        return Retryable(f"{_shown(self.url)}: cannot listen: {what or error.strerror}")

    def _fault(self, what: str, hint: str = "") -> ConfigError:
        return ConfigError([Fault(_shown(self.url), 0, 0, what, hint)])


def _shown(url: SplitResult) -> str:
    """Return a URL without user name and password."""
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
