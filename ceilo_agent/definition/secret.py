# SPDX-License-Identifier: Apache-2.0
"""A password or token in an option: as it is, in a file, or in a URL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Self

from ceilo_agent.errors import ConfigError, Fault, Malformed
from ceilo_agent.plugins import Parsed

_FILE: Final = "file:"

_SCHEME: Final = re.compile(r"[\w+.-]*://|//")

_URL: Final = re.compile(r"[\w+]+://[^\s'\"]*")


class Secret(Parsed):
    """A text that nothing shows. ``file:/path`` stands for the first line of that file.

    The file is read at each use: a token that another program renews is taken as it comes.
    """

    words = "a text, or file:/path of a file that holds it"
    hidden = True
    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the secret that an operator wrote.

        Raises:
            Malformed: it names a file by a relative path.
        """
        if text.startswith(_FILE) and not text.removeprefix(_FILE).startswith("/"):
            raise Malformed("the path must begin with /", len(_FILE), "write file:/path")
        return cls(text)

    @property
    def path(self) -> Path | None:
        """The file that holds it, None without one."""
        return Path(self._text.removeprefix(_FILE)) if self._text.startswith(_FILE) else None

    def read(self) -> str:
        """Return the secret itself.

        Raises:
            OSError: the file cannot be read.
            UnicodeDecodeError: it is no UTF-8.
        """
        if self.path is None:
            return self._text
        with self.path.open(encoding="utf-8") as file:
            return file.readline().rstrip("\r\n")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "<Secret>" if self.path is None else f"<Secret in {self.path}>"


def option_secret(option: str, text: str | None) -> str:
    """Return what an option of the agent has, or the file that it names; empty without one.

    Args:
        option: as it is written, ``[section] name``.
        text: what was given.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        return Secret.parse(text).read() if text else ""
    except (Malformed, OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError([Fault("options", 0, 0, f"{option} cannot be read: {reason}")]) from error


def masked(url: str) -> str:
    """Return a URL without the names and passwords of its hosts.

    Passwords may hold what ought to be escaped: rather a host is left out than a part of one shown.
    """
    start = _SCHEME.match(url)
    scheme = start[0] if start else ""
    before, at, last = url[len(scheme) :].rpartition("@")
    if not at:
        return url
    # user:password@first,user:password - of a list of hosts all but the last host.
    parts = before.split("@")
    pairs = [part.partition(",") for part in parts[1:]]
    plain = "/" not in before and before.count(",") == len(pairs)
    hosts = [host for host, _, _ in pairs] if plain else []
    return scheme + ",".join(f"***@{host}" for host in [*hosts, last])


def without_secrets(text: str) -> str:
    """Return a text with every URL in it masked."""
    return _URL.sub(lambda found: masked(found[0]), text)
