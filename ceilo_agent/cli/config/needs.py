# SPDX-License-Identifier: Apache-2.0
"""What of a pipeline file does not go with the agent's own options."""

from __future__ import annotations

from typing import Any, NamedTuple

from ceilo_agent import options, plugins
from ceilo_agent.cli.configuration import context as context_of
from ceilo_agent.cli.shares import share_of
from ceilo_agent.definition.pipeline import PipelineFile
from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.meters.catalogue import DEFINED
from ceilo_agent.pipeline.sharing import Sharing
from ceilo_agent.pipeline.sharing import unshared as unshared_by
from ceilo_agent.shown import one_line

_NO_FILE = "no file of the agent's options was read: --config-file names one"


class Unmet(NamedTuple):
    """What the options do not have.

    Attributes:
        faults: that the agent refuses to start with.
        warnings: likewise, if it has no other options than those that were seen here.
    """

    faults: list[Fault]
    warnings: list[Fault]


def unmet(file: PipelineFile, conf: Any) -> Unmet:
    """Return what the publishers of a file miss in the options, at their places in the file."""
    context = context_of(conf)
    found: list[Fault] = []
    for each in {each.name: each for sink in file.sinks for each in sink.publishers}.values():
        # A publisher may be written without our base class.
        check = getattr(plugins.load(plugins.PUBLISHER, each.scheme), "check_options", None)
        try:
            if check is not None:
                check(each.url, each.options, context)
        except ConfigError as error:
            for fault in error.faults:
                where = "" if "://" in fault.file else f"{fault.file}: "
                said = one_line(f"the publisher '{each.scheme}': {where}{fault.what}")
                found.append(Fault(str(file.path), *each.position, said, fault.hint))
    return _as_far_as_seen(conf, found, [])


def unshared(file: PipelineFile, conf: Any) -> Unmet:
    """Return what of a file the workers of a notification agent cannot share."""
    faults, warnings = unshared_by(file, Sharing.from_options(options.values(conf)))
    return _as_far_as_seen(conf, faults, warnings)


def unfit_share(conf: Any) -> list[Fault]:
    """Return why an agent could not share what it polls; nothing is connected for it."""
    if DEFINED not in conf.polling.namespaces:
        return []
    try:
        share_of(conf, DEFINED, lambda: None)
    except ConfigError as error:
        return list(error.faults)
    return []


def _as_far_as_seen(conf: Any, faults: list[Fault], warnings: list[Fault]) -> Unmet:
    if conf.config_file or conf.default_config_files:
        return Unmet(faults, warnings)
    perhaps = (
        each._replace(hint="; ".join(filter(None, (each.hint, _NO_FILE)))) for each in faults
    )
    return Unmet([], sorted([*warnings, *perhaps]))
