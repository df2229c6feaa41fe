# SPDX-License-Identifier: Apache-2.0
"""All that an agent goes by: its options and the files that they name, read together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from msgspec import structs

from ceilo_agent import options
from ceilo_agent.definition.in_force import InForce, files, load_both
from ceilo_agent.definition.matching import Matcher
from ceilo_agent.definition.pipeline import PipelineFile, load
from ceilo_agent.definition.pollsters import examine, files_of, load_dirs
from ceilo_agent.definition.roles import Role
from ceilo_agent.delivery.bounds import Limits
from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.meters.catalogue import Entry
from ceilo_agent.meters.own import entries
from ceilo_agent.pipeline.sharing import check_shared
from ceilo_agent.plugins import Context
from ceilo_agent.polling.making import Selected

DIGITS: Final = 12
"""How much of a digest people are shown."""


class Configuration(NamedTuple):
    """What was read at one moment, without a mistake.

    Attributes:
        conf: the options.
        files: the files that they name.
        pollsters: the names of the operator's dynamic pollsters, where they are polled.
    """

    conf: Any
    files: InForce
    pollsters: frozenset[str] = frozenset()

    @property
    def file(self) -> PipelineFile:
        """The file of the sinks."""
        return self.files.pipeline

    @property
    def digest(self) -> str:
        """What tells the files from others, for people: the beginning of the digest of each."""
        files = {file.path: file for file in self.files}
        return "+".join(file.digest[:DIGITS] for file in files.values())

    @property
    def to_bus(self) -> bool:
        """Whether others transform and publish what is polled."""
        return bool(self.conf.polling.output == "bus")

    @property
    def context(self) -> Context:
        """What plugins may know."""
        return context(self.conf)

    def takes(self, meter: str) -> bool:
        """Return whether a source takes a meter."""
        return any(Matcher(source.meters)(meter) for source in self.file.sources)

    @property
    def selected(self) -> list[Selected]:
        """The sources that poll; one without an interval only matches what comes by itself."""
        interval = self.conf.polling.interval
        return [
            Selected(
                source.name,
                interval or source.interval,
                Matcher(source.meters),
                source.discovery,
                source.resources,
            )
            for source in self.files.polling.sources
            if source.interval is not None
        ]


def context(conf: Any) -> Context:
    """Return what plugins may know."""
    files = tuple(conf.default_config_files or ())
    return Context(options.host(conf), options.values(conf), files)


def read(conf: Any) -> Configuration:
    """Read and check the files that the options name.

    Raises:
        ConfigError: every mistake in them, or files that publishers may not read.
    """
    faults: list[Fault] = []
    found: frozenset[str] = frozenset()
    if "central" in conf.polling.namespaces:
        try:
            found = frozenset(each.name for each in load_dirs(directories(conf), shipped=False))
        except ConfigError as error:
            faults += error.faults
    try:
        both = load_both(conf)
    except ConfigError as error:
        raise ConfigError([*error.faults, *faults]) from error
    if faults:
        raise ConfigError(faults)
    return _readable(Configuration(conf, both, found))


def directories(conf: Any) -> list[str]:
    """Return where the operator's dynamic pollsters are."""
    return list(conf.polling.pollsters_definitions_dirs)


def own_meters(conf: Any) -> list[Entry]:
    """Return the meters of the operator's dynamic pollsters, of those without a mistake.

    Raises:
        ConfigError: a directory of theirs is not there.
    """
    return entries(examine(files_of(directories(conf))).pollsters)


def _readable(configuration: Configuration) -> Configuration:
    """Return the same, unless its publishers may not read files of theirs.

    Raises:
        ConfigError: they may not.
    """
    denied = {
        fault
        for sink in configuration.file.sinks
        for publisher in sink.publishers
        for fault in publisher.denied
    }
    if denied:
        raise ConfigError(sorted(denied))
    return configuration


def read_notification(conf: Any) -> Configuration:
    """Read and check the file that the options name, for a notification agent.

    Raises:
        ConfigError: every mistake in it, files that publishers may not read, or what so many
            workers and queues cannot do.
    """
    ((path, role),) = files(conf, Role.NOTIFICATION)
    file = load(path, role)
    warnings = check_shared(file, options.values(conf))
    file = structs.replace(file, warnings=tuple(sorted([*file.warnings, *warnings])))
    return _readable(Configuration(conf, InForce(file, file)))


def differences(before: InForce, after: InForce) -> str:
    """Say which parts came (+), went (-) and changed (~); empty without any."""
    first, second = dict(_parts(before)), dict(_parts(after))
    said = []
    for kind in first | second:
        old, new = first.get(kind, {}), second.get(kind, {})
        signs = [f"+{name}" for name in new if name not in old]
        signs += [f"-{name}" for name in old if name not in new]
        signs += [f"~{name}" for name in new if name in old and old[name] != new[name]]
        if signs:
            said.append(f"{kind} {' '.join(signs)}")
    return ", ".join(said)


def _parts(files: InForce) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield each kind of part, by name, as what it says wherever it stands in its file."""
    polling, pipeline = files
    yield (
        "sources",
        {
            s.name: (s.interval, s.meters, s.sinks, s.resources, s.discovery)
            for s in polling.sources
        },
    )
    if pipeline is not polling:
        yield "routes", {s.name: (s.meters, s.sinks) for s in pipeline.sources}
    yield (
        "sinks",
        {
            sink.name: (
                [(t.name, t.written, t.meters, t.keep_original) for t in sink.transformers],
                [publisher.name for publisher in sink.publishers],
            )
            for sink in pipeline.sinks
        },
    )
    yield (
        "publishers",
        {p.name: (p.url, p.options, p.digest) for sink in pipeline.sinks for p in sink.publishers},
    )


def limits(conf: Any) -> Limits:
    """Return the bounds of what waits."""
    return Limits(conf.delivery.max_bytes, conf.delivery.max_samples, conf.delivery.max_age)
