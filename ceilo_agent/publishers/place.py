# SPDX-License-Identifier: Apache-2.0
"""The file that a URL names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import SplitResult, unquote

from ceilo_agent.errors import ConfigError, Fault


def path_of(url: SplitResult) -> Path | None:
    """Return the path of ``scheme:///path``, None if it has none.

    Raises:
        ConfigError: the URL names a host (``file://var/log`` does), or the path is relative.
    """
    name = f"{url.scheme}://{url.netloc}{url.path}"
    if url.netloc:
        hint = f"write {url.scheme}:///{url.netloc}{url.path}"
        raise ConfigError([Fault(name, 0, 0, f"'{url.netloc}' stands in the host's place", hint)])
    path = unquote(url.path)
    if path and not path.startswith("/"):
        raise ConfigError([Fault(name, 0, 0, "the path must begin with /")])
    return Path(path) if path else None
