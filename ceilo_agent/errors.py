# SPDX-License-Identifier: Apache-2.0
"""The faults that cross rooms. Each says what an operator can do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple


class Fault(NamedTuple):
    """One mistake in a file that an operator wrote.

    Attributes:
        file: the file's name as the operator gave it.
        line: from 1; 0 when the fault is of the file as a whole.
        column: from 1; 0 likewise.
        what: what is wrong and what was expected.
        hint: the nearest valid name or the next step, empty when there is none.
    """

    file: str
    line: int
    column: int
    what: str
    hint: str = ""

    def __str__(self) -> str:
        """Render as ``file:line:column: what (hint)``, the form that editors can follow."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.what}" + (f" ({self.hint})" if self.hint else "")


class CeiloAgentError(Exception):
    """The root of our own exceptions."""


class ConfigError(CeiloAgentError):
    """A configuration that cannot be used: every fault found in one pass.

    Attributes:
        faults: at least one, in the order of the file.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = sorted(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class Malformed(CeiloAgentError):
    """A text with a meaning of its own (an expression, a pattern) that cannot be read.

    Attributes:
        what: what is wrong, or what was expected.
        offset: of the character in the text where it is wrong, from 0.
        hint: the nearest valid name or the next step, empty when there is none.
    """

    def __init__(self, what: str, offset: int = 0, hint: str = "") -> None:
        self.what = what
        self.offset = offset
        self.hint = hint
        super().__init__(what)


class Misfit(CeiloAgentError, ValueError):
    """A value of a plugin's parameters or options that does not fit the others.

    Attributes:
        path: the keys and indexes that lead to it.
    """

    def __init__(self, what: str, *path: str | int) -> None:
        self.path = path
        super().__init__(what)


class PluginError(CeiloAgentError):
    """A plugin that is not there, or whose code cannot be loaded; the message names it."""


class Unavailable(CeiloAgentError):
    """What is to be read cannot be reached now; it is tried again at the next cycle."""


class DeliveryError(CeiloAgentError):
    """A publisher could not take a batch."""


class Retryable(DeliveryError):
    """The same batch may succeed later.

    Attributes:
        retry_after: seconds that the other side asked to wait, None when it said nothing.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class Permanent(DeliveryError):
    """The same batch will never succeed.

    Attributes:
        refused: why, by the index in the batch of each sample that was refused; the others have
            arrived. None when that is not known: nothing arrived, and the batch is sent in parts
            to find out.
        lost: how many more of them were refused where the other side gives a number and no names:
            the rest has arrived, nothing is sent again, and so many count as dropped.
    """

    def __init__(
        self, message: str, refused: Mapping[int, str] | None = None, lost: int = 0
    ) -> None:
        self.refused = refused
        self.lost = lost
        super().__init__(message)


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the nearest of the valid names, empty if none is near."""
    found = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.6)
    return f"did you mean '{found[0]}'?" if found else ""
