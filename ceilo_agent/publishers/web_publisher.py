# SPDX-License-Identifier: Apache-2.0
"""What publishers have in common that post to one server."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar
from urllib.parse import SplitResult

from ceilo_agent.plugins import OwnFiles, Promise, Publisher
from ceilo_agent.publishers.web import Reply, Web, check_url, words_of
from ceilo_agent.publishers.web_options import WebOptions


class WebPublisher(Publisher):
    """A publisher whose other side takes POSTs; its `Options` extend `WebOptions`."""

    promises: ClassVar[frozenset[Promise]] = frozenset(
        {Promise.ORDERED, Promise.DURABLE, Promise.ACKED}
    )
    example: ClassVar[str]
    """What a right URL has behind its ``scheme://``, for hints."""

    _web: Web | None = None

    @classmethod
    def check(cls, url: SplitResult) -> None:
        """Look whether the URL names a host."""
        check_url(url, f"{url.scheme}://{cls.example}")

    @classmethod
    def read_files(cls, options: WebOptions) -> OwnFiles:
        """Look at the files of certificates and secrets."""
        return options.read_files()

    @property
    def web(self) -> Web:
        """The server, once it is open."""
        assert self._web is not None
        return self._web

    def open(self) -> None:
        """Get ready; nothing is connected.

        Raises:
            ConfigError: the URL names no host, or a file of the options cannot be read.
        """
        self.check(self.url)
        web = Web(self.target(), self.options, self.explain)
        web.open()
        self._web = web

    def close(self) -> None:
        """Close the connection."""
        if self._web is not None:
            self._web.close()

    @abstractmethod
    def target(self) -> SplitResult:
        """Return the ``http://`` or ``https://`` URL that is posted to."""

    def explain(self, reply: Reply) -> str:
        """Return what a message says of a reply that is no success."""
        return words_of(reply)
