# SPDX-License-Identifier: Apache-2.0
"""A real Redis on loopback: ``with redis.running(directory) as server: server.url``."""

from __future__ import annotations

from collections.abc import Sequence

from tests.services.backend import Backend


class Redis(Backend):
    """One that keeps nothing on disk: with its end it forgets all."""

    name = "redis"
    program = "redis-server"
    scheme = "redis"

    def _command(self) -> Sequence[str]:
        return [
            self.program, "--port", str(self.port), "--bind", "127.0.0.1",
            "--dir", str(self._directory), "--save", "", "--appendonly", "no",
        ]  # fmt: skip

    def _ready(self) -> bool:
        return self._said(b"PING\r\n").startswith(b"+PONG")


running = Redis.running
