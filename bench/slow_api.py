# SPDX-License-Identifier: Apache-2.0
"""An HTTP API on loopback whose every answer takes a while. It prints its port and serves.

python -m bench.slow_api SECONDS
"""

from __future__ import annotations

import asyncio
import sys


class Answering(asyncio.Protocol):
    """Answers requests without a body, one after the other."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._told = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # noqa: D102
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:  # noqa: D102
        self._told += data
        while b"\r\n\r\n" in self._told:
            head, _, self._told = self._told.partition(b"\r\n\r\n")
            self._loop.call_later(self._seconds, self._answer, head.split(b" ", 2)[1])

    def _answer(self, path: bytes) -> None:
        body = b'{"device": {"id": "%s", "load": 0.5, "room": "r", "name": "n"}}' % path
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )


async def serve(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answering(seconds), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
