# SPDX-License-Identifier: Apache-2.0
"""What a pipeline file cannot have where several workers share the samples.

A worker of the notification agent is a process of its own and has the samples of some of the hosts.
What needs those of all, or is there once on a machine, must have one worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, Self

from ceilo_agent import plugins
from ceilo_agent.definition.pipeline import PipelineFile, PublisherDef, TransformerDef
from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.plugins import Promise, StatefulTransformer
from ceilo_agent.shown import one_line, shown

_PAGE: Final = "readers fetch it from one process"


class Sharing(NamedTuple):
    """How the samples are shared out.

    Attributes:
        workers: of this agent.
        queues: that samples in our own format are spread over.
        ceilometer: whether Ceilometer's messages are read besides, as one more queue.
    """

    workers: int = 1
    queues: int = 1
    ceilometer: bool = False

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Return what the options say.

        Args:
            options: by ``section.name``.
        """
        return cls(
            options["notification.workers"],
            options["notification.queues"],
            bool(options["notification.ceilometer_topics"]),
        )


class Unshared(NamedTuple):
    """What is wrong with a file.

    Attributes:
        faults: that the agent refuses to start with.
        warnings: what is right only where this agent is the only one.
    """

    faults: list[Fault]
    warnings: list[Fault]


def unshared(file: PipelineFile, sharing: Sharing) -> Unshared:
    """Return what in a file needs one worker and does not have it, at its place in the file.

    Raises:
        PluginError: a transformer or publisher cannot be loaded.
    """
    faults: list[Fault] = []
    warnings: list[Fault] = []
    if sharing.workers > 1:
        faults += _alone(file, sharing.workers)
    for sink in file.sinks:
        for step in sink.transformers:
            if not _spans_hosts(step):
                continue
            if sharing.queues > 1:
                faults.append(_grouping(file, step, sharing.queues))
            elif sharing.ceilometer:
                found = warnings if sharing.workers == 1 else faults
                found.append(_beside_ceilometer(file, step))
    return Unshared(sorted(faults), sorted(warnings))


def check_shared(file: PipelineFile, options: Mapping[str, Any]) -> list[Fault]:
    """Return the warnings of `unshared`, for an agent that starts or reloads.

    Args:
        file: without another mistake.
        options: by ``section.name``.

    Raises:
        ConfigError: there are faults.
        PluginError: a transformer or publisher cannot be loaded.
    """
    found = unshared(file, Sharing.from_options(options))
    if found.faults:
        raise ConfigError(found.faults)
    return found.warnings


def _alone(file: PipelineFile, workers: int) -> Iterator[Fault]:
    """Yield a fault for each publisher that one process alone may have."""
    publishers: dict[str, PublisherDef] = {p.name: p for s in file.sinks for p in s.publishers}
    for each in publishers.values():
        # A publisher may be written without our base class.
        made = plugins.load(plugins.PUBLISHER, each.scheme)
        pulled = _PAGE if Promise.PULL in getattr(made, "promises", ()) else ""
        if reason := getattr(made, "one_process", "") or pulled:
            what = f"the publisher '{each.scheme}': {reason}: [notification] workers is {workers}"
            instead = getattr(made, "for_several", "")
            hint = f"workers = 1, or {instead}" if instead else "workers = 1"
            yield Fault(str(file.path), *each.position, one_line(what), hint)


def _spans_hosts(step: TransformerDef) -> bool:
    made = plugins.load(plugins.TRANSFORMER, step.name)(step.parameters)
    return isinstance(made, StatefulTransformer) and made.spans_hosts


def _grouping(file: PipelineFile, step: TransformerDef, queues: int) -> Fault:
    what = (
        f"a grouping of '{shown(step.name)}' spans hosts, whose samples are spread over {queues} "
        "queues: each worker sees only a part"
    )
    hint = "group by resource_id, or set [notification] queues = 1 in every agent"
    return Fault(str(file.path), *step.position, one_line(what), hint)


def _beside_ceilometer(file: PipelineFile, step: TransformerDef) -> Fault:
    what = (
        f"a grouping of '{shown(step.name)}' spans hosts, and [notification] ceilometer_topics is "
        "one more queue beside ours: with several workers or agents each sees only a part"
    )
    hint = "group by resource_id, or run one agent with one worker"
    return Fault(str(file.path), *step.position, one_line(what), hint)
