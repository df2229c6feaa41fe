# SPDX-License-Identifier: Apache-2.0
"""Dynamic pollsters: YAML files that describe HTTP APIs, as in Ceilometer's ``pollsters.d``."""

from ceilo_agent.definition.pollsters.files import examine, files_of, load, load_dirs
from ceilo_agent.definition.pollsters.pollster import PollsterDef

__all__ = ["PollsterDef", "examine", "files_of", "load", "load_dirs"]
