# SPDX-License-Identifier: Apache-2.0
"""Who shares work, read from the back end by one who does not."""

from __future__ import annotations

import contextlib
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from ceilo_agent.coordination import library, names
from ceilo_agent.coordination.backend import coordinator, words
from ceilo_agent.coordination.buckets import BUCKETS, owners
from ceilo_agent.coordination.member import Member, newest
from ceilo_agent.coordination.membership import ANSWER_WITHIN, TIMEOUT, in_force
from ceilo_agent.coordination.share import PREFIX
from ceilo_agent.definition.secret import masked
from ceilo_agent.errors import Unavailable

READ_WITHIN: Final = 10
"""Seconds that a back end has to answer one who only reads."""


class Part(NamedTuple):
    """What an agent has of the work.

    Attributes:
        weight: against 1 of others.
        portion: of all work, from 0 to 1.
    """

    weight: int
    portion: float


def groups(url: str, timeout: float = TIMEOUT) -> Mapping[str, Mapping[str, Part]]:
    """Return the groups of agents that share work, by name, and what each agent has.

    Raises:
        ConfigError: there is no driver for the URL.
        Unavailable: the back end does not answer.
    """
    seconds = in_force(url, timeout)
    if urlsplit(url).scheme != "file":  # there it is the reader who knows how old a member may be
        seconds = min(seconds, READ_WITHIN)
    reader = coordinator(url, f"reader-{secrets.token_hex(4)}".encode(), seconds)
    try:
        reader.start()
        try:
            found = dict(_ours(reader))
        finally:
            with contextlib.suppress(Exception):
                reader.stop()
    except Exception as error:  # whatever a driver raises
        raise Unavailable(f"[coordination] backend_url {masked(url)}: {words(error)}") from error
    return {
        group.removeprefix(PREFIX): _parts(weights)
        for group, texts in sorted(found.items())
        if (weights := newest(parsed(texts)))
    }


def _ours(reader: Any) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Yield the groups of our agents, and who is in each."""
    for group in reader.get_groups().get(timeout=ANSWER_WITHIN):
        name = names.read(group)
        # The driver for etcd lists members as groups as well.
        with contextlib.suppress(library.coordination().GroupNotCreated):
            if name.startswith(PREFIX):
                yield name, reader.get_members(group).get(timeout=ANSWER_WITHIN)


def parsed(texts: Iterable[bytes]) -> Iterator[Member]:
    """Yield those of a group's members that are agents of ours."""
    for text in texts:
        with contextlib.suppress(ValueError):
            yield Member.parse(names.read(text))


def _parts(weights: Mapping[str, int]) -> Mapping[str, Part]:
    owned = Counter(owners(weights))
    return {name: Part(weight, owned[name] / BUCKETS) for name, weight in sorted(weights.items())}
