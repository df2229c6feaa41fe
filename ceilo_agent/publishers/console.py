# SPDX-License-Identifier: Apache-2.0
"""``console://`` prints samples, a line each, to standard output."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import msgspec

from ceilo_agent.errors import Permanent, Retryable
from ceilo_agent.plugins import Promise, Publisher
from ceilo_agent.publishers.rendering import json_lines, text_line
from ceilo_agent.sample import Sample


class ConsoleOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What ``console://?...`` takes."""

    format: Annotated[
        Literal["text", "json"],
        msgspec.Meta(description="text: time, resource, meter, volume, unit; json: all fields."),
    ] = "text"


class Console(Publisher):
    """Standard output, for people and for pipes."""

    promises: ClassVar[frozenset[Promise]] = frozenset({Promise.ORDERED})
    Options: ClassVar[type[msgspec.Struct]] = ConsoleOptions

    def push(self, samples: Sequence[Sample]) -> None:
        """Print the samples.

        Raises:
            Permanent: nobody reads the output any more.
            Retryable: the output is a file, and there is no space left for it.
        """
        if self.options.format == "json":
            data = b"".join(json_lines(samples))
        else:
            text = "".join(f"{text_line(sample)}\n" for sample in samples)
            data = text.encode("utf-8", "replace")
        try:
            _write(data)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise Retryable("no space left for standard output") from error
            raise Permanent(f"standard output: {error.strerror}") from error


def _write(data: bytes) -> None:
    """Write past Python's buffer and encoding: of what failed, nothing must come later."""
    sys.stdout.flush()
    try:
        file = sys.stdout.fileno()
    except io.UnsupportedOperation:
        sys.stdout.write(data.decode("utf-8"))
        return
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
