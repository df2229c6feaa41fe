# SPDX-License-Identifier: Apache-2.0
"""A pipeline file of which only the sources are used: all samples go to the message bus."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace

from ceilo_agent import plugins
from ceilo_agent.definition.nodes import Position
from ceilo_agent.definition.pipeline import PipelineFile
from ceilo_agent.definition.publishers import PublisherDef, PublisherUrl
from ceilo_agent.definition.sinks import SinkDef
from ceilo_agent.errors import ConfigError, Fault, PluginError

NAME: Final = "bus"
"""Of the sink and its publisher, in logs and in `spool list`."""

SCHEME: Final = "notifier"


def over_bus(file: PipelineFile, wire_format: str) -> PipelineFile:
    """Return the file with one sink for all sources, which sends to the bus.

    Args:
        file: the checked definition; its sinks are left out.
        wire_format: as `[polling] wire_format` has it.

    Raises:
        ConfigError: what the bus needs is not installed.
    """
    try:
        plugin: Any = plugins.load(plugins.PUBLISHER, SCHEME)
    except PluginError as error:
        raise ConfigError([Fault("options", 0, 0, f"[polling] output = bus: {error}")]) from error
    place = Position(0, 0)
    options = plugin.Options(wire_format=wire_format)
    url = PublisherUrl(SCHEME, "", "", "", "")
    sink = SinkDef(NAME, (), (PublisherDef(NAME, SCHEME, url, options, place),), place)
    sources = tuple(replace(source, sinks=(NAME,)) for source in file.sources)
    return replace(file, sources=sources, sinks=(sink,), publishers={}, tests=())
