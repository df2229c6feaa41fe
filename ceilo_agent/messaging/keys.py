# SPDX-License-Identifier: Apache-2.0
"""The secrets that batches are signed with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from ceilo_agent.definition.secret import option_secret
from ceilo_agent.errors import ConfigError, Fault


class Keys(NamedTuple):
    """The secret that signs, and those that are accepted; empty: nothing is signed or checked.

    Attributes:
        current: signs what is sent.
        previous: is accepted besides, while agents change from one to the other.
    """

    current: bytes = b""
    previous: bytes = b""

    @property
    def accepted(self) -> tuple[bytes, ...]:
        """Those that a signature may be made with; empty: any message is taken."""
        return tuple(key for key in self if key) if self.current else ()

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Return what the options say.

        Args:
            options: by ``section.name``.

        Raises:
            ConfigError: a secret's file cannot be read, or there is only a previous one.
        """
        current, previous = (
            _read(name, options.get(f"publisher.{name}"))
            for name in ("telemetry_secret", "previous_telemetry_secret")
        )
        if previous and not current:
            what = "[publisher] previous_telemetry_secret is given without telemetry_secret"
            raise ConfigError([Fault("options", 0, 0, what)])
        return cls(current, previous)


def _read(name: str, text: str | None) -> bytes:
    secret = option_secret(f"[publisher] {name}", text).encode()
    if text and not secret:
        raise ConfigError([Fault("options", 0, 0, f"[publisher] {name} names an empty file")])
    return secret
