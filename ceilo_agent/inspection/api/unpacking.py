# SPDX-License-Identifier: Apache-2.0
"""Unpacks the body of an answer part by part, so that what a small one unpacks to is bounded."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Final

from ceilo_agent.inspection.api.answer import Unanswered

PART: Final = 64 << 10
"""Bytes that come out at once."""

_GZIP: Final = b"\x1f"
"""What each member of a gzip file begins with."""


class Unpacking:
    """Unpacks gzip, of one or more members (RFC 1952, 2.2), or zlib."""

    def __init__(self) -> None:
        self._member = _member()
        self._begun = False
        self._over = False

    def pieces(self, part: bytes) -> Iterator[bytes]:
        """Yield what a part unpacks to; what stands behind the last member is passed over.

        Raises:
            zlib.error: it cannot be unpacked.
        """
        while part and not self._over:
            self._begun = True
            if self._member.eof:
                part = part.lstrip(b"\0")  # tapes pad with it, and so do some servers
                if not part:
                    return
                self._over = not part.startswith(_GZIP)
                self._member = self._member if self._over else _member()
                continue
            yield self._member.decompress(part, PART)
            part = self._member.unconsumed_tail or self._member.unused_data

    def rest(self) -> bytes:
        """Return what is left at the end.

        Raises:
            Unanswered: that was not the end.
        """
        left: bytes = self._member.flush(PART)
        if self._begun and not self._member.eof:
            raise Unanswered("the packed answer ends too early")
        return left


def unpacking_of(encoding: str) -> Unpacking | None:
    """Return what unpacks a body; None: it is as it is.

    Args:
        encoding: the header Content-Encoding.

    Raises:
        Unanswered: in a way that was not asked for.
    """
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        return None
    if name in {"gzip", "x-gzip", "deflate"}:
        return Unpacking()
    raise Unanswered(f"its answer is packed as '{name[:40]}', which was not asked for")


def _member() -> Any:
    return zlib.decompressobj(32 + zlib.MAX_WBITS)  # of either header
