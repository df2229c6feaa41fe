# SPDX-License-Identifier: Apache-2.0
"""``local://`` stores samples in the embedded metric store of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import SplitResult

import msgspec

from ceilo_agent.plugins import Promise, Publisher
from ceilo_agent.publishers.place import path_of
from ceilo_agent.sample import Sample
from ceilo_agent.store.writer import Counters, Writer


class LocalOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What ``local://[/path]?...`` takes."""

    max_age: Annotated[
        Annotated[int, msgspec.Meta(ge=60)] | None,
        msgspec.Meta(description="Seconds that samples stay; without it [store] max_age."),
    ] = None
    max_bytes: Annotated[
        Annotated[int, msgspec.Meta(ge=1 << 20)] | None,
        msgspec.Meta(
            description="Bytes that the store may take on disk, the oldest samples go first; "
            "without it [store] max_bytes."
        ),
    ] = None


class Local(Publisher):
    """The store at the URL's path, without one at that of ``[store] path``."""

    promises: ClassVar[frozenset[Promise]] = frozenset(
        {Promise.IDEMPOTENT, Promise.ORDERED, Promise.ACKED}
    )
    Options: ClassVar[type[msgspec.Struct]] = LocalOptions
    one_process: ClassVar[str] = "a store has one writer"
    for_several: ClassVar[str] = "a store of the cloud, such as gnocchi://"

    _writer: Writer | None = None

    @property
    def counters(self) -> Counters:
        """What was stored, dropped and deleted since it was opened."""
        return self._writer.counters if self._writer is not None else Counters()

    @classmethod
    def check(cls, url: SplitResult) -> None:
        """Look whether the URL's path, if it has one, can be one."""
        path_of(url)

    def open(self) -> None:
        """Take the store.

        Raises:
            ConfigError: the URL or the path cannot be used, or another process writes the store.
            Retryable: no space left.
        """
        if self._writer is None:
            defaults = self.context.options
            age, size = self.options.max_age, self.options.max_bytes
            self._writer = Writer(
                path_of(self.url) or Path(defaults["store.path"]),
                defaults["store.max_age"] if age is None else age,
                defaults["store.max_bytes"] if size is None else size,
            )
        self._writer.open()

    def push(self, samples: Sequence[Sample]) -> None:
        """Store the samples in one transaction.

        Raises:
            Retryable: no space left, or the store cannot be written now.
        """
        assert self._writer is not None
        self._writer.append(samples)

    def close(self) -> None:
        """Give the store back."""
        if self._writer is not None:
            self._writer.close()
