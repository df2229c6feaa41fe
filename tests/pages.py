# SPDX-License-Identifier: Apache-2.0
"""The code blocks of the documentation's pages, as its readers see them."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "doc" / "source").glob("**/*.rst"))

_START = re.compile(r"^( *)\.\. code-block:: *(\w+)$")
_OPTION = re.compile(r"^ *:(\w+): *(.*)$")


class Block(NamedTuple):
    """One code block: its page and line, its language, the name it was given, its text."""

    page: Path
    line: int
    language: str
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.stem}-{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page, in their order."""
    lines = page.read_text("utf-8").splitlines()
    found = []
    for number, line in enumerate(lines):
        start = _START.match(line)
        if start is None:
            continue
        margin, name, body = len(start[1]), "", []
        for each in lines[number + 1 :]:
            if each.strip() and len(each) - len(each.lstrip()) <= margin:
                break
            option = _OPTION.match(each) if not any(body) else None
            if option is None:
                body.append(each)
            elif option[1] == "name":
                name = option[2]
        text = textwrap.dedent("\n".join(body)).strip("\n") + "\n"
        found.append(Block(page, number + 1, start[2], name, text))
    return found
