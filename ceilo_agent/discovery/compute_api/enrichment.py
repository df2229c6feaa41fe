# SPDX-License-Identifier: Apache-2.0
"""Keeps what Nova's API says of this host's servers, on a thread that no cycle waits for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from ceilo_agent.discovery.compute_api.server import Reserved, Server, is_deleted, parse
from ceilo_agent.errors import ConfigError, Unavailable
from ceilo_agent.plugins import Context

if TYPE_CHECKING:
    from ceilo_agent.discovery.compute_api.client import Client

LOG = logging.getLogger(__name__)

SECTION: Final = "service_credentials"
"""Whose credentials are used, as in Ceilometer."""

OVERLAP: Final = 60.0
"""Seconds that two requests for changes overlap: Nova notes a change before it can be seen."""

NOT_BEFORE: Final = 10.0
"""Seconds from one request to the next at least: after a fault, or for guests that are new."""


class Enrichment:
    """The servers of this host, as Nova last told of them.

    All of them are asked for at the start and every `resource_cache_expiry` seconds, in between
    those that changed: one bulk request every `extra_metadata_interval`, sooner for a new guest.
    """

    def __init__(self, context: Context) -> None:
        options = context.options
        self._context = context
        self._interval = float(options["compute.extra_metadata_interval"])
        self._expiry = float(options["compute.resource_cache_expiry"])
        self._reserved = Reserved(
            tuple(options["DEFAULT.reserved_metadata_namespace"]),
            tuple(options["DEFAULT.reserved_metadata_keys"] or ()),
            options["DEFAULT.reserved_metadata_length"],
        )
        self._servers: Mapping[str, Server] = {}
        self._lacking: set[str] = set()
        self._client: Client | None = None
        self._whole = 0.0
        self._since: float | None = None
        self._fault: str | None = None
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def of(self, present: Collection[str]) -> Mapping[str, Server]:
        """Return the servers that are known, by id, and see to it that others are asked for.

        Returns at once, whatever Nova does.

        Args:
            present: ids of the guests of Nova's that this host has now.
        """
        servers = self._servers
        lacking = {uuid for uuid in present if uuid not in servers}
        new = lacking - self._lacking
        self._lacking = lacking
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="nova", daemon=True)
            self._thread.start()
        elif new:
            self._wake.set()
        return servers

    def close(self) -> None:
        """End the thread; a request that it may be in keeps nobody waiting."""
        self._stop.set()
        self._wake.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self._refresh()
            except (Unavailable, ConfigError, ImportError) as error:
                self._tell(_words(error))
            except Exception:
                LOG.exception("Nova's metadata cannot be read")
                self._client = None
            else:
                self._tell(None)
            self._stop.wait(NOT_BEFORE)
            # What cannot be had is asked for again at its time, not at every new guest.
            if self._fault is None:
                self._wake.wait(max(0.0, self._interval - NOT_BEFORE))
            else:
                self._stop.wait(max(0.0, self._interval - NOT_BEFORE))

    def _refresh(self) -> None:
        if self._client is None:
            from ceilo_agent.discovery.compute_api.client import Client  # noqa: PLC0415 - heavy

            self._client = Client(self._context.options, SECTION)
        began = time.monotonic()
        whole = self._since is None or began - self._whole >= self._expiry
        try:
            answer = self._client.servers(self._context.host, None if whole else self._since)
        except Unavailable:
            self._client = None  # its secrets may have changed: they are read anew
            raise
        servers = {} if whole else dict(self._servers)
        for shown in answer.servers:
            server = parse(shown, self._reserved)
            if server is None:
                continue
            if is_deleted(shown):
                servers.pop(server.id, None)
            else:
                servers[server.id] = server
        self._servers = servers
        self._since = answer.moment - OVERLAP
        if whole:
            self._whole = began
        if not servers and self._lacking:
            raise Unavailable(
                f"Nova knows no servers on host {self._context.host!r}: is [DEFAULT] host the name "
                "that nova-compute has there?"
            )

    def _tell(self, fault: str | None) -> None:
        """Log a fault when it comes and when it goes, not at every request."""
        if fault is not None and fault != self._fault:
            LOG.warning("samples lack what only Nova knows of their instances: %s", fault)
        elif fault is None and self._fault is not None:
            LOG.info("Nova tells of its instances again")
        self._fault = fault


def _words(error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"{error.name} is not installed: pip install 'ceilo_agent[nova]'"
    if isinstance(error, ConfigError):
        return "; ".join(str(fault) for fault in error.faults)
    return str(error)
