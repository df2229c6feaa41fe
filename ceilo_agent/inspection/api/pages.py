# SPDX-License-Identifier: Apache-2.0
"""The documents of a unit: that of its request, and those of the pages it leads to."""

from __future__ import annotations

import http
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ceilo_agent.definition.pollsters.pollster import PollsterDef
from ceilo_agent.definition.secret import masked
from ceilo_agent.discovery.api.grouping import is_url
from ceilo_agent.discovery.api.unit import Unit
from ceilo_agent.expressions.value import Absent, Unusable
from ceilo_agent.inspection.api import command
from ceilo_agent.inspection.api.access import access_of
from ceilo_agent.inspection.api.answer import (
    Ask,
    Tls,
    Unanswered,
    elsewhere,
    linked,
    origin_of,
)
from ceilo_agent.inspection.api.decoding import decoded
from ceilo_agent.inspection.api.entries import NOTHING
from ceilo_agent.inspection.api.fetch import Fetcher


class Page(NamedTuple):
    """One document.

    Attributes:
        document: what was told.
        handler: what it was read as.
        asked: method and URL, or the command.
        status: of the answer, None of a command.
        size: bytes.
        seconds: that it took.
    """

    document: Any
    handler: str
    asked: str
    status: int | None
    size: int
    seconds: float


class Source:
    """Gets pages. Several threads may ask.

    Args:
        fetcher: asks over HTTP.
        cloud_tls: for endpoints of the cloud's catalogue, where a definition says nothing.
        commands: whether commands of this host may be run.
    """

    def __init__(self, fetcher: Fetcher, cloud_tls: Tls, *, commands: bool) -> None:
        self._fetcher = fetcher
        self._cloud_tls = cloud_tls
        self._commands = commands

    def first_url(self, pollster: PollsterDef, unit: Unit, names: Mapping[str, Any]) -> str:
        """Return the URL of a request.

        Raises:
            Unanswered: its expression gives none, or one that credentials are not for.
        """
        path: Any = pollster.url_path
        if isinstance(path, str):
            return path if is_url(path) or not unit.base else joined(unit.base, path)
        try:
            path = path(None, names)
        except (Absent, Unusable) as error:
            raise Unanswered(f"url_path: {error}") from error
        if not isinstance(path, str):
            raise Unanswered("url_path: its expression gives no text")
        if not unit.base:
            return path
        url = joined(unit.base, path)
        # What an expression reads in an answer must not name who is shown the base's credentials.
        own = pollster.authentication
        if own is None or own.type == "keystone" or not is_url(path):
            away = elsewhere(url, origin_of(unit.base, self.tls(pollster, unit)))
            if away:
                raise Unanswered(f"url_path leads {away}: not asked")
        return url

    def tls(self, pollster: PollsterDef, unit: Unit) -> Tls:
        """Return how a server is looked at."""
        own: Any = pollster.tls
        if own is not None:
            return Tls(own.cafile, own.certfile, own.keyfile, own.insecure)
        return self._cloud_tls if unit.base and not unit.static else Tls()

    def pages(
        self,
        pollster: PollsterDef,
        unit: Unit,
        names: Mapping[str, Any],
        deadline: float,
        *,
        go_on: Callable[[], bool] = lambda: True,
    ) -> Iterator[Page]:
        """Yield the pages, one after the other.

        Args:
            pollster: says how to ask.
            unit: whom, and for whom.
            names: what expressions may name.
            deadline: CLOCK_MONOTONIC seconds.
            go_on: asked before each further page.

        Raises:
            Unanswered: the next one cannot be had; those before it are good.
        """
        if pollster.host_command:
            yield self._printed(pollster, deadline)
            return
        url: str | None = self.first_url(pollster, unit, names)
        if is_url(pollster.url_path):  # a further request's: what its entry came from is no base
            unit = Unit(unit.pollsters, project=unit.project, cloud=unit.cloud)
        tls = self.tls(pollster, unit)
        access = access_of(pollster.authentication, unit)
        seen: set[str] = set()
        while url is not None:
            if len(seen) >= pollster.max_pages:
                raise Unanswered(f"more than {pollster.max_pages} pages (max_pages)")
            if seen and not go_on():
                return
            seen.add(url)
            ask = Ask(
                pollster.method,
                url,
                pollster.headers,
                access,
                tls,
                pollster.timeout,
                pollster.retries,
                pollster.max_response_bytes,
                pollster.concurrency,
                pollster.rate,
                pollster.empty_statuses,
            )
            page = self._fetched(ask, pollster, deadline)
            yield page
            url = self._next(pollster, unit, url, page.document, names)
            if url is None:
                return
            if away := elsewhere(url, origin_of(ask.url, tls)):
                raise Unanswered(f"its next link leads {away}: not followed")
            if url in seen:
                raise Unanswered("its next link leads back to a page that was read")

    def _fetched(self, ask: Ask, pollster: PollsterDef, deadline: float) -> Page:
        began = time.monotonic()
        answer = self._fetcher.get(ask, deadline)
        took = time.monotonic() - began
        handlers = pollster.response_handlers
        document: Any
        none = answer.status == http.HTTPStatus.NO_CONTENT and "headers" not in handlers
        if none or answer.status in ask.empty:
            handler, document = NOTHING, []
        else:
            handler, document = decoded(handlers, answer.headers, answer.body)
        asked = f"{ask.method} {masked(answer.url)}"
        return Page(document, handler, asked, answer.status, len(answer.body), took)

    def _printed(self, pollster: PollsterDef, deadline: float) -> Page:
        if not self._commands:
            raise Unanswered("commands are not run: [polling] host_commands is false")
        began = time.monotonic()
        words: Any = pollster.host_command
        body = command.run(
            words, min(deadline, began + pollster.timeout), pollster.max_response_bytes
        )
        handler, document = decoded(pollster.response_handlers, {}, body)
        took = time.monotonic() - began
        return Page(document, handler, f"run {words[0]}", None, len(body), took)

    def _next(
        self,
        pollster: PollsterDef,
        unit: Unit,
        url: str,
        document: Any,
        names: Mapping[str, Any],
    ) -> str | None:
        attribute: Any = pollster.next_sample_url_attribute
        if attribute is None or not isinstance(document, dict):
            return None
        try:
            link = attribute(document, names)
        except Absent:
            return None
        except Unusable as error:
            raise Unanswered(f"next_sample_url_attribute: {error}") from error
        if not link:
            return None
        if not isinstance(link, str):
            raise Unanswered("its next link is no text")
        if is_url(link) or link.startswith(("?", "//")) or not unit.base:
            return linked(url, link)
        return joined(unit.base, link)


def joined(base: str, path: str) -> str:
    """Return a path of a base, as Ceilometer joins them: the base counts as a directory.

    Raises:
        Unanswered: they make no URL.
    """
    return linked(base if base.endswith("/") else base + "/", path)
