# SPDX-License-Identifier: Apache-2.0
"""The definitions that an agent goes by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import structs

from ceilo_agent.definition.pollsters import load, load_dirs
from ceilo_agent.definition.pollsters.pollster import PollsterDef
from ceilo_agent.definition.secret import Secret
from ceilo_agent.plugins import Context

GATEWAY: Final = "rgw_admin_credentials"
"""The section of the keys for Ceph's object gateway; Ceilometer's name."""

ONLY: Final = "polling.pollsters_files"
"""What `poll --pollster` sets in a context: files that stand in place of all others."""


def definitions(context: Context) -> Sequence[PollsterDef]:
    """Return the pollsters of an agent: those that are shipped, and those of its directories.

    Raises:
        ConfigError: a file has mistakes.
    """
    only = context.options.get(ONLY)
    if only:
        found = load(only)
    else:
        found = load_dirs(context.options.get("polling.pollsters_definitions_dirs") or ())
    keys = {key: context.options.get(f"{GATEWAY}.{key}") for key in ("access_key", "secret_key")}
    return [_with_keys(pollster, keys) for pollster in found if "central" in pollster.namespaces]


def _with_keys(pollster: PollsterDef, keys: Mapping[str, str | None]) -> PollsterDef:
    """Return a pollster with the gateway's keys where it says S3 and no keys."""
    own = pollster.authentication
    if own is None or own.type != "s3" or own.access_key or None in keys.values():
        return pollster
    given = {key: Secret.parse(text) for key, text in keys.items() if text is not None}
    return structs.replace(pollster, authentication=structs.replace(own, **given))


def unasked(pollster: PollsterDef) -> bool:
    """Return whether nothing lets the agent in: a gateway is polled only with keys."""
    own = pollster.authentication
    return own is not None and own.type == "s3" and own.access_key is None
