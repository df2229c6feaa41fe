# SPDX-License-Identifier: Apache-2.0
"""The pipeline files that the options name.

One file serves all roles. Who comes from Ceilometer may keep its two: `[polling] cfg_file` with
what is polled, `pipeline_cfg_file` with what becomes of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ceilo_agent.definition.bus import over_bus
from ceilo_agent.definition.pipeline import PipelineFile, load
from ceilo_agent.definition.places import find_pipeline_file
from ceilo_agent.definition.roles import Role
from ceilo_agent.errors import ConfigError, Fault


class InForce(NamedTuple):
    """What an agent that polls goes by.

    Attributes:
        polling: its sources are polled.
        pipeline: its sources and sinks take the samples; the same object where one file has both.
            What comes from a source that it does not have is matched by its meter.
    """

    polling: PipelineFile
    pipeline: PipelineFile

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """Those of both."""
        if self.polling is self.pipeline:
            return self.pipeline.warnings
        return self.polling.warnings + self.pipeline.warnings


def files(conf: Any, role: Role = Role.LOCAL) -> list[tuple[Path, Role]]:
    """Return the files that an agent of a role reads, and what each is read for.

    Raises:
        ConfigError: no file is named, and there is none where one is looked for.
    """
    polling = conf.polling.cfg_file
    if role is Role.POLLING:
        return [(Path(polling) if polling else find_pipeline_file(conf), Role.POLLING)]
    if role is Role.LOCAL and polling:
        return [(Path(polling), Role.POLLING), (find_pipeline_file(conf), Role.NOTIFICATION)]
    return [(find_pipeline_file(conf), role)]


def load_both(conf: Any) -> InForce:
    """Read and check what an agent that polls goes by.

    With `[polling] output` = bus it transforms and publishes nothing: the sinks are left out.

    Raises:
        ConfigError: every mistake in it, of both files.
    """
    to_bus = conf.polling.output == "bus"
    found: list[PipelineFile] = []
    faults: list[Fault] = []
    for path, role in files(conf, Role.POLLING if to_bus else Role.LOCAL):
        try:
            found.append(load(path, role))
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)
    if to_bus:
        found = [over_bus(found[0], conf.polling.wire_format)]
    return InForce(found[0], found[-1])
