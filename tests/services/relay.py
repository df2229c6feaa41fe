# SPDX-License-Identifier: Apache-2.0
"""A network between one client and a daemon, that can be cut while all others go on."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Final

RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER, so that a close is a reset."""


class Relay:
    """Passes what goes to its own port on to another of this host.

    Args:
        port: of the daemon.
    """

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._passes = threading.Event()
        self._passes.set()
        self._refuses = False
        self._ended = False
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def hang(self) -> None:
        """Pass nothing on: connections stay, new ones too, and nobody answers."""
        self._passes.clear()

    def refuse(self) -> None:
        """Reset each connection, also new ones."""
        self._refuses = True
        for each in tuple(self._open):
            _reset(each)

    def mend(self) -> None:
        """Pass everything on; connections that hung are as dead as after a real cut."""
        for each in tuple(self._open):
            _reset(each)
        self._refuses = False
        self._passes.set()

    def close(self) -> None:
        """End it."""
        self._ended = True
        self.mend()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._ended:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._refuses:
                _reset(near)
            else:
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        self._open.add(near)
        try:
            self._passes.wait()
            with socket.create_connection(self._to) as far:
                self._pass_on(near, far)
        except OSError:
            pass  # either side is gone
        finally:
            self._open.discard(near)
            near.close()

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        other = {near: far, far: near}
        while True:
            for each in select.select(list(other), [], [])[0]:
                data = each.recv(65536)
                self._passes.wait()
                if not data:
                    return
                other[each].sendall(data)


def _reset(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def before(port: int) -> Iterator[Relay]:
    """Have a relay before a port of this host for the length of a block."""
    made = Relay(port)
    try:
        yield made
    finally:
        made.close()
