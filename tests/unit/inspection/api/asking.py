# SPDX-License-Identifier: Apache-2.0
"""Requests for tests of what asks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ceilo_agent.inspection.api.answer import Answer, Ask, Tls
from ceilo_agent.inspection.api.fetch import Fetcher


class Nobody:
    """Lets requests in as they are, or with one token after the other."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)

    def headers(self, method: str, url: str) -> Mapping[str, str]:
        return {"X-Auth-Token": self.tokens[0]} if self.tokens else {}

    def rejected(self) -> bool:
        self.tokens = self.tokens[1:]
        return bool(self.tokens)


def ask(url: str, **changes: Any) -> Ask:
    """Return a request, with some of what it may cost changed."""
    usual = Ask("GET", url, {}, Nobody(), Tls(), 5.0, 0, 1 << 20, 8, None)
    return usual._replace(**changes)


def get(fetcher: Fetcher, url: str, seconds: float = 10.0, **changes: Any) -> Answer:
    """Return the answer to a request."""
    return fetcher.get(ask(url, **changes), time.monotonic() + seconds)
