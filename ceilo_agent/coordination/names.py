# SPDX-License-Identifier: Apache-2.0
"""How groups and members are written in a back end: in ASCII, without a slash.

ZooKeeper takes a slash for a path, and its driver and etcd's know no other letters.
"""

from __future__ import annotations

import string
from typing import Final
from urllib.parse import quote, unquote

PLAIN: Final = "".join(set(string.punctuation + " ") - set("/%"))


def written(name: str) -> bytes:
    """Return a name as it stands in the back end; most stand there as they are."""
    return quote(name, PLAIN).encode()


def read(text: bytes) -> str:
    """Return the name that stands in the back end, whoever has written it there."""
    return unquote(text.decode("utf-8", "replace"), errors="replace")
