# SPDX-License-Identifier: Apache-2.0
"""Asks servers over HTTP: again if it may help, and nobody else than who was named.

Proxies of the environment, ``~/.netrc`` and cookies are not used: what an agent does follows from
its files alone.
"""

from __future__ import annotations

import http
import random
import threading
import time
from collections import OrderedDict
from typing import Final

from ceilo_agent import __version__
from ceilo_agent.http_faults import asked_pause
from ceilo_agent.inspection.api.answer import (
    Answer,
    Ask,
    Origin,
    Unanswered,
    elsewhere,
    linked,
    origin_of,
)
from ceilo_agent.inspection.api.endpoint import Endpoint, stamp_of
from ceilo_agent.inspection.api.large import Large

REDIRECTS: Final = 3
"""That are followed for one answer."""

KEPT: Final = 256
"""Servers whose connections stay open."""

FIRST_PAUSE: Final = 0.2
"""Seconds before the first of the further tries; each further pause is twice as long."""

_AGAIN: Final = frozenset({429, 502, 503, 504})
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_OWN: Final = {"User-Agent": f"ceilo_agent/{__version__}", "Accept-Encoding": "gzip"}


class Fetcher:
    """Asks; several threads may at a time."""

    def __init__(self) -> None:
        self.large = Large()
        self._endpoints: OrderedDict[Origin, Endpoint] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, ask: Ask, deadline: float) -> Answer:
        """Return the answer that says success.

        Args:
            ask: the request.
            deadline: CLOCK_MONOTONIC seconds, for all tries.

        Raises:
            Unanswered: there is none.
        """
        renewed = False
        tried = 0
        while True:
            pause: float | None = None
            try:
                answer = self._follow(ask, deadline)
            except Unanswered as error:
                fault = error
                if not error.again:
                    raise
            else:
                if 200 <= answer.status < 300 or answer.status in ask.empty:
                    return answer
                fault = Unanswered(_status_words(answer.status))
                if answer.status == http.HTTPStatus.UNAUTHORIZED and not renewed:
                    renewed = True
                    if ask.access.rejected():
                        continue
                if answer.status not in _AGAIN:
                    raise fault
                pause = asked_pause(answer.headers.get("retry-after"))
            if tried >= ask.retries:
                raise fault
            if pause is None:
                pause = FIRST_PAUSE * 2**tried * random.uniform(0.75, 1.25)  # noqa: S311
            tried += 1
            if time.monotonic() + pause >= deadline:
                raise fault
            time.sleep(pause)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        with self._lock:
            endpoints = list(self._endpoints.values())
            self._endpoints.clear()
        for endpoint in endpoints:
            endpoint.close()

    def _follow(self, ask: Ask, deadline: float) -> Answer:
        """Return an answer of any status that does not lead elsewhere.

        Raises:
            Unanswered: there is none.
        """
        origin = origin_of(ask.url, ask.tls)
        endpoint = self._endpoint(origin, ask.concurrency, ask.rate)
        own = time.monotonic() + ask.timeout
        limit = f"within {ask.timeout:g} s" if own <= deadline else "before the cycle's end"
        deadline = min(own, deadline)
        url = ask.url
        for _ in range(REDIRECTS + 1):
            headers = {**_OWN, **ask.headers, **ask.access.headers(ask.method, url)}
            answer = endpoint.ask(ask, url, headers, deadline, limit)
            if answer.status not in _MOVED or "location" not in answer.headers:
                return answer
            url = linked(url, answer.headers["location"])
            if away := elsewhere(url, origin):
                raise Unanswered(f"it redirects {away}: not followed")
        raise Unanswered(f"it redirects more than {REDIRECTS} times")

    def _endpoint(self, origin: Origin, concurrency: int, rate: float | None) -> Endpoint:
        """Return the one for a server, with the strictest limits that were asked for."""
        with self._lock:
            found = self._endpoints.get(origin)
            if found is not None:
                most, pace = found.limits
                rates = [each for each in (rate, pace) if each is not None]
                strict = min(concurrency, most), min(rates) if rates else None
                self._endpoints.move_to_end(origin)
                if strict == found.limits and stamp_of(origin) == found.stamp:
                    return found
                concurrency, rate = strict
            made = self._endpoints[origin] = Endpoint(origin, concurrency, rate, self.large)
            self._endpoints.move_to_end(origin)
            left = [found] if found is not None else []
            while len(self._endpoints) > KEPT:
                left.append(self._endpoints.popitem(last=False)[1])
        for endpoint in left:
            endpoint.close()
        return made


def _status_words(status: int) -> str:
    try:
        return f"it answers {status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return f"it answers {status}"
