# SPDX-License-Identifier: Apache-2.0
"""How many messages wait at the brokers: RabbitMQ says so when a queue is declared passively.

It needs no plugin of the broker, and no right that a consumer does not have. Other brokers are not
asked.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from ceilo_agent.definition.secret import masked
from ceilo_agent.messaging.reasons import words
from ceilo_agent.messaging.transport import RABBIT, connect

LOG = logging.getLogger(__name__)

EVERY: Final = 2.0
"""Seconds from one look to the next; more where a look takes long."""

WITHIN: Final = 2.0
"""Seconds that a broker may take to answer."""

_NOT_FOUND: Final = 404
"""AMQP's reply code where there is no such queue."""

Looked = Callable[[float, Mapping[str, int | None]], None]
"""Takes the moment at which a look began (UTC seconds), and what waited by queue; None: unknown."""


class Backlog:
    """Looks again and again, in a thread of its own.

    Args:
        urls: of the brokers.
        config_files: that have oslo.messaging's options.
        queues: returns the names of the queues to look at, as the brokers have them.
        looked: is told what each look found.

    Attributes:
        waiting: messages in all of the queues, at all brokers, at the last look; None: unknown.

    Raises:
        ConfigError: a URL is none of a broker.
    """

    def __init__(
        self,
        urls: Sequence[str],
        config_files: Sequence[str],
        queues: Callable[[], Collection[str]],
        looked: Looked,
    ) -> None:
        self.waiting: int | None = None
        self._queues = queues
        self._looked = looked
        self._brokers = [
            _Broker(url, config_files) for url in urls if urlsplit(url).scheme == RABBIT
        ]
        self._partly = len(self._brokers) < len(urls)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="backlog", daemon=True)

    @property
    def asks(self) -> bool:
        """Whether there is a broker that can be asked."""
        return bool(self._brokers)

    def start(self) -> None:
        """Begin to look, if there is a broker that can be asked."""
        if self._brokers:
            self._thread.start()

    def stop(self) -> None:
        """End; a broker that does not answer is left alone."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def look(self) -> Mapping[str, int | None]:
        """Return how many messages wait in each queue; None where a broker does not tell."""
        names = list(self._queues())
        found: dict[str, int | None] = dict.fromkeys(names, 0)
        for broker in self._brokers:
            depths = broker.depths(names)
            for name, before in found.items():
                if depths is None or before is None:
                    found[name] = None
                else:
                    found[name] = before + depths.get(name, 0)
        return found

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            began, when = time.monotonic(), time.time()
            try:
                found = self.look()
                known = [count for count in found.values() if count is not None]
                whole = len(known) == len(found) and not self._partly
                self.waiting = sum(known) if whole else None
                self._looked(when, found)
            except Exception:
                LOG.exception("the backlog is not known")
            pause = max(EVERY, 10 * (time.monotonic() - began))
        for broker in self._brokers:
            broker.close()


class _Broker:
    """A connection of its own to one broker, made when it is first needed."""

    def __init__(self, url: str, config_files: Sequence[str]) -> None:
        self._place = masked(url)
        driver = connect(url, config_files)._driver  # noqa: SLF001 - see below
        self._options = driver.conf.oslo_messaging_rabbit
        parsed = driver._url  # noqa: SLF001 - nothing else gives the options of the URL, too
        self._virtual_host = unquote(parsed.virtual_host or "") or "/"
        self._hosts = list(parsed.hosts)
        self._connection: Any = None
        self._told = False

    def depths(self, names: Collection[str]) -> dict[str, int] | None:
        """Return how many messages wait in queues; 0 where there is no such queue.

        None: the broker cannot be asked.
        """
        try:
            if self._connection is None:
                self._connection = self._connected()
            found = {name: self._depth(name) for name in names}
        except Exception as error:  # of sockets, of TLS, of AMQP and of kombu
            self.close()
            if not self._told:
                said = words(error)
                LOG.warning("%s: %s; how many messages wait is not known", self._place, said)
            self._told = True
            return None
        self._told = False
        return found

    def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.collect(WITHIN)

    def _depth(self, name: str) -> int:
        try:
            answer = self._connection.default_channel.queue_declare(name, passive=True)
        except self._connection.channel_errors as error:
            if getattr(error, "reply_code", None) == _NOT_FOUND:
                return 0
            raise
        return int(answer.message_count)

    def _connected(self) -> Any:
        """Connect to the first host that answers."""
        # Only who looks needs it; and it has types in parts only.
        kombu: Any = importlib.import_module("kombu")
        failure: Exception = OSError("the URL names no host")
        for host in self._hosts:
            made = kombu.Connection(
                hostname=host.hostname or "localhost",
                port=host.port or 5672,
                userid=host.username or "",
                password=host.password or "",
                virtual_host=self._virtual_host,
                transport="pyamqp",
                ssl=self._tls(host.hostname),
                login_method=self._options.rabbit_login_method,
                connect_timeout=WITHIN,
                transport_options={"read_timeout": WITHIN, "write_timeout": WITHIN},
            )
            try:
                made.connect()
            except Exception as error:
                made.release()
                failure = error
            else:
                return made
        raise failure

    def _tls(self, host: str) -> Any:
        """Return what oslo.messaging's own connection is made with."""
        options = self._options
        if not options.ssl:
            return False
        names = {"keyfile": "ssl_key_file", "certfile": "ssl_cert_file", "ca_certs": "ssl_ca_file"}
        found = {ours: getattr(options, theirs) for ours, theirs in names.items()}
        made: dict[str, Any] = {name: value for name, value in found.items() if value}
        if options.ssl_ca_file:
            import ssl  # noqa: PLC0415 - only with TLS

            made["cert_reqs"] = ssl.CERT_REQUIRED
            if getattr(options, "ssl_enforce_hostname_verification", False):
                made["server_hostname"] = host
        return made or True
