# SPDX-License-Identifier: Apache-2.0
"""A password or token in an option: as it is, or in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self

from ceilo_agent.errors import Malformed
from ceilo_agent.plugins import Parsed

_FILE: Final = "file:"


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
