# SPDX-License-Identifier: Apache-2.0
"""Which logs and which publishers a command is about."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

import click

from ceilo_agent import options, plugins
from ceilo_agent.cli.configuration import limits
from ceilo_agent.cli.spool.whereabouts import check_named, logs
from ceilo_agent.definition.in_force import files, load_both
from ceilo_agent.definition.pipeline import PipelineFile, load
from ceilo_agent.definition.roles import Role
from ceilo_agent.delivery.bounds import Limits
from ceilo_agent.delivery.spool import Place, Reader, Unreadable
from ceilo_agent.errors import CeiloAgentError, ConfigError, nearest
from ceilo_agent.publishers.rendering import printable


class Spool(NamedTuple):
    """The logs below a directory, and the publishers that a pipeline file has for them.

    Attributes:
        directory: that was looked at.
        places: every log, by name.
        workers: how many logs each agent has; a directory beyond is one of a worker that is gone.
        durable: names of the publishers in force whose samples wait on disk; None where the
            pipeline file has faults.
        others: names of the rest of them, which keep no log.
        limits: the bounds that the configuration has for the directory; None: it is another one.
    """

    directory: Path
    places: Sequence[Place]
    workers: Mapping[str, int]
    durable: Collection[str] | None
    others: Collection[str] = ()
    limits: Limits | None = None

    @property
    def nothing(self) -> str:
        """Say that there is no log."""
        return f"there is no log below {self.directory}: nothing waits on disk"


def spool(config_files: tuple[str, ...], directory: str | None) -> Spool:
    """Find the logs of a directory, without one of that of the configuration.

    Raises:
        ConfigError: the options have faults.
        Unreadable: the directory may not be looked at, or the named one is none of logs.
    """
    conf = options.parse(config_files or ())
    ours = options.spool_path(conf)
    where = Path(directory) if directory else ours
    found = logs(where)
    if directory and not found:
        check_named(where)
    same = where.resolve() == ours.resolve()
    workers: dict[str, int] = {Role.POLLING: 1, Role.NOTIFICATION: conf.notification.workers}
    publishers = _publishers(conf, {place.agent for place in found})
    return Spool(where, found, workers, *publishers, limits(conf) if same else None)


def _files(conf: Any, agents: Set[str]) -> Iterator[PipelineFile]:
    """Yield what the agents that have logs go by.

    Raises:
        ConfigError: it has faults.
    """
    if Role.NOTIFICATION in agents:
        ((path, role),) = files(conf, Role.NOTIFICATION)
        yield load(path, role)
    if not agents or agents - {Role.NOTIFICATION}:
        yield load_both(conf).pipeline


def _publishers(conf: Any, agents: Set[str]) -> tuple[Collection[str] | None, Collection[str]]:
    """Return the names of durable publishers in force and of the others."""
    try:
        found = list(_files(conf, agents))
    except ConfigError:
        return None, ()
    durable: set[str] = set()
    others: set[str] = set()
    for publisher in (each for file in found for sink in file.sinks for each in sink.publishers):
        promises = getattr(plugins.load(plugins.PUBLISHER, publisher.scheme), "promises", ())
        (durable if plugins.Promise.DURABLE in promises else others).add(publisher.name)
    return durable, others - durable


@contextlib.contextmanager
def readers(found: Spool) -> Iterator[list[Reader]]:
    """Open every log; of one that cannot be read the reason is told, and the others are read.

    Raises:
        Unreadable: none can be read.
    """
    with contextlib.ExitStack() as stack:
        opened, faults = [], []
        for place in found.places:
            if not place.file.exists():  # only what was set aside is left
                continue
            try:
                opened.append(stack.enter_context(Reader(place)))
            except Unreadable as error:
                faults.append(error)
        if faults and not opened:
            raise faults[0]
        for fault in faults:
            click.echo(f"ceilo-agent: {fault}", err=True)
        yield opened


def known(found: Spool, opened: Sequence[Reader]) -> list[str]:
    """Return the names of all publishers, of the logs and of the pipeline file, sorted."""
    logged = {standing.publisher for reader in opened for standing in reader.standings()}
    return sorted(logged | set(found.durable or ()))


def check_name(name: str, valid: Sequence[str], found: Spool) -> bool:
    """Return whether a publisher has a log; refuse a name that none has.

    Raises:
        CeiloAgentError: it says which is the nearest.
    """
    if name in valid:
        return True
    if name in found.others:
        return False
    # One without a name in the file is called by scheme and host; who asks may know the scheme.
    begun = [each for each in valid if each.startswith(f"{name}-")]
    listed = " or ".join(f"'{printable(each)}'" for each in begun)
    near = f"did you mean {listed}?" if begun else nearest(name, valid)
    hint = near or (f"there are {', '.join(map(printable, valid))}" if valid else found.nothing)
    raise CeiloAgentError(f"no publisher '{printable(name)}' ({hint})")


def without_log(name: str) -> str:
    """Say of a publisher of the pipeline file why there is nothing to look at."""
    return f"nothing waits on disk for '{printable(name)}': it keeps no log"


def served_by(place: Place, publisher: str, found: Spool) -> str:
    """Say who delivers what waits."""
    holder = place.holder()
    agent = f"process {holder}" if holder is not None else "no agent runs"
    if is_orphan(publisher, found):
        return f"orphan: not in the pipeline file ({agent})"
    if holder is None and is_left_over(place, found):
        return "the next start: its worker is gone"
    return agent


def is_orphan(publisher: str, found: Spool) -> bool | None:
    """Return whether no publisher of the pipeline file has this name; None if that is not known."""
    return None if found.durable is None else publisher not in found.durable


def is_left_over(place: Place, found: Spool) -> bool:
    """Return whether no agent writes a log of this name any more."""
    worker = place.directory.name
    if place.is_taken_over or not worker.isdecimal():
        return True
    # One too many may still be at work: it delivers what waits, until its agent ends.
    return int(worker) >= found.workers.get(place.agent, 0) and place.holder() is None
