# SPDX-License-Identifier: Apache-2.0
"""What agents see one another through: the drivers of tooz, by the scheme of a URL."""

from __future__ import annotations

import logging
import re
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from ceilo_agent.coordination import library
from ceilo_agent.definition.secret import masked, without_secrets
from ceilo_agent.errors import ConfigError, Fault, nearest

EXTRAS: Final = {
    "file": "",
    "redis": "redis",
    "zookeeper": "zookeeper",
    "kazoo": "zookeeper",
    "etcd3+http": "etcd3gw",
    "etcd3+https": "etcd3gw",
}
"""The extra of tooz that each driver needs; its other drivers have no groups, or are not tested."""


def coordinator(url: str, member: bytes, timeout: int) -> Any:
    """Return tooz's coordinator; nothing is connected yet.

    Raises:
        ConfigError: there is no driver for the URL, or it is not installed.
    """
    parts = urlsplit(url)
    where = f"[coordination] backend_url {masked(url)}"
    if parts.scheme not in EXTRAS:
        wanted = "file, redis, zookeeper (kazoo) or etcd3+http was expected"
        near = nearest(parts.scheme, EXTRAS)
        raise _refused(f"{where}: there is no driver for '{parts.scheme}': {wanted}", near)
    if unfit := _unfit(parts):
        raise _refused(f"{where}: {unfit[0]}", unfit[1])
    try:
        coordination = library.coordination()
    except ModuleNotFoundError as error:
        what = "agents that share work need tooz"
        raise _missing(what, error, "pip install 'ceilo_agent[central]'") from None
    # It tells of each of its own tries; ours are told once.
    logging.getLogger("kazoo").setLevel(logging.ERROR)
    options = dict(parse_qsl(parts.query)) | {"timeout": str(timeout)}
    try:
        # A call that hangs must not take as long as the heartbeats may be away.
        brief = str(max(1, timeout // 4))
        if parts.scheme.startswith("etcd3"):
            whole = dict.fromkeys(("membership_timeout", "lock_timeout"), str(timeout))
            options |= whole | {"timeout": brief}
        elif parts.scheme == "redis":
            library.tell_at_once()
            options = {"socket_timeout": brief, "socket_connect_timeout": brief} | options
        asked = urlunsplit(parts._replace(query=urlencode(options)))
        return coordination.get_coordinator(asked, member)
    except ModuleNotFoundError as error:
        hint = f"pip install 'tooz[{EXTRAS[parts.scheme]}]'"
        raise _missing(where, error, hint) from None
    except Exception as error:  # of stevedore and of whatever a driver finds wrong
        raise _refused(f"{where}: {words(error)}") from None


def _unfit(parts: SplitResult) -> tuple[str, str] | None:
    """Say what no try could mend, and what to write; None if it is nothing."""
    if parts.scheme == "file":
        if parts.netloc or not parts.path.startswith("/"):
            return "the path of a directory must begin with /", "write file:///path"
    elif "," not in parts.netloc:
        try:
            _ = parts.port
        except ValueError:
            return "the port is no number from 0 to 65535", ""
    return None


def words(error: BaseException) -> str:
    """Return the first line of what a driver says, without passwords."""
    said = without_secrets(str(error)).strip().splitlines()
    if said:
        return said[0]
    if error.__cause__ is not None:
        return words(error.__cause__)
    # Its name is all that it says: ConnectionFailedError.
    name = type(error).__name__
    return " ".join(re.findall("[A-Z][a-z]+", name.removesuffix("Error"))).lower() or name


def _missing(what: str, error: ModuleNotFoundError, hint: str) -> ConfigError:
    name = (error.name or "").partition(".")[0]
    return _refused(f"{what}: {name} is not installed", hint)


def _refused(what: str, hint: str = "") -> ConfigError:
    return ConfigError([Fault("options", 0, 0, what, hint)])
