# SPDX-License-Identifier: Apache-2.0
"""The connection below an HTTP request: it can be cut from outside, and says what went wrong.

Timeouts of sockets hold for one read or write each: a server that sends a byte now and then keeps a
request alive for ever. So the socket in use is known here, and another thread may shut it down.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any, Final

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from ceilo_agent.http_faults import causes, words_of

# Who does not want certificates looked at has said so; the file is the place to be told of it.
urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


class Line:
    """The one connection of a client; `cut` may be called on any thread.

    Attributes:
        late: whether it was cut since `begin`.
    """

    def __init__(self) -> None:
        self.late = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()  # what is cut is what is in use, at any moment

    def begin(self) -> None:
        """Begin a request."""
        self.late = False

    def cut(self) -> None:
        """Shut the connection down, whatever it is doing."""
        with self._lock:
            self.late = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    # Past TLS, whose state belongs to the thread that reads.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def made(self, sock: socket.socket) -> socket.socket:
        """Take note of a socket that is connected and goes on to TLS, if it does.

        TLS takes the socket's descriptor away; a copy serves to cut until that is done.

        Raises:
            TimeoutError: it was cut before.
        """
        with self._lock:
            if not self.late:
                self._socket = sock.dup()
                return sock
        sock.close()
        raise TimeoutError("timed out")

    def ready(self, sock: socket.socket | None) -> None:
        """Take note of the socket that requests are sent over, None where that failed."""
        with self._lock:
            copy, self._socket = self._socket, sock
        if copy is not None and copy is not sock:
            copy.close()

    def adapter(self) -> HTTPAdapter:
        """Return what sends requests over this line; it never tries twice."""
        return _Adapter(_pools(self))


def _pools(line: Line) -> dict[str, Any]:
    class Noted(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return line.made(super()._new_conn())

        def connect(self) -> None:
            try:
                super().connect()
            finally:
                line.ready(self.sock)

    class NotedTls(Noted, HTTPSConnection):
        pass

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Noted

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = NotedTls

    return {"http": PlainPool, "https": SecurePool}


class _Adapter(HTTPAdapter):
    def __init__(self, pools: dict[str, Any]) -> None:
        self._pools = pools
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **settings: Any) -> None:
        super().init_poolmanager(*arguments, **settings)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **settings: Any) -> urllib3.ProxyManager:
        manager: urllib3.ProxyManager = super().proxy_manager_for(proxy, **settings)
        manager.pool_classes_by_scheme = self._pools
        return manager


def fault_on(error: Exception, seconds: float) -> str:
    """Say in a few words what became of a request that got no reply, without its URL."""
    for cause in causes(error):
        if isinstance(cause, TimeoutError) and not cause.strerror:
            return f"no whole answer within {seconds:g} s"
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException):
            words = words_of(cause)
            if words:
                return words
    for kind, words in _WORDS:
        if any(isinstance(cause, kind) for cause in causes(error)):
            return words
    return f"the request failed ({type(error).__name__})"


_WORDS: Final[tuple[tuple[Any, str], ...]] = (
    ((requests.Timeout, urllib3.exceptions.TimeoutError), "no answer in time"),
    (requests.exceptions.ProxyError, "the proxy does not answer"),
    (requests.exceptions.InvalidProxyURL, "the proxy's URL cannot be read"),
    ((requests.exceptions.InvalidURL, urllib3.exceptions.LocationParseError), "no such URL"),
    (urllib3.exceptions.IncompleteRead, "the connection ended amid the answer"),
    ((requests.ConnectionError, urllib3.exceptions.ProtocolError), "no answer in HTTP"),
)
