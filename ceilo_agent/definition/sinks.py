# SPDX-License-Identifier: Apache-2.0
"""The sinks of a pipeline file: what becomes of samples and where they go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ceilo_agent import plugins
from ceilo_agent.definition.installed import Installed
from ceilo_agent.definition.meters import read_meters
from ceilo_agent.definition.naming import read_name
from ceilo_agent.definition.nodes import MappingNode, Node, Position, ScalarNode, plain
from ceilo_agent.definition.publishers import PublisherDef, Publishers
from ceilo_agent.definition.reader import Reader, given
from ceilo_agent.definition.settings import read_settings
from ceilo_agent.shown import shown

KEYS: Final = ("name", "transformers", "publishers")
TRANSFORMER_KEYS: Final = ("name", "parameters", "meters", "keep_original")

# Keys of Ceilometer's files that must not be passed over in silence.
_REFUSED: Final = {"triggers": "only samples go through this file"}


class TransformerDef(msgspec.Struct, frozen=True):
    """One step of a sink.

    Attributes:
        name: of the plugin.
        parameters: the plugin's `Parameters`.
        written: the same as the operator wrote it.
        position: of the step in the file.
        meters: patterns of the meters that it gets, the others pass it by; empty: it gets all.
        meter_positions: of each of `meters`.
        keep_original: whether what it gets goes on beside what it makes of it.
    """

    name: str
    parameters: Any
    written: Mapping[str, Any]
    position: Position
    meters: tuple[str, ...] = ()
    meter_positions: tuple[Position, ...] = ()
    keep_original: bool = False


class SinkDef(msgspec.Struct, frozen=True):
    """What becomes of samples and where they go.

    Attributes:
        name: unique in the file.
        transformers: in their order.
        publishers: at least one, each once.
        position: of the sink in the file.
    """

    name: str
    transformers: tuple[TransformerDef, ...]
    publishers: tuple[PublisherDef, ...]
    position: Position


class Sinks:
    """Reads the sinks of one file.

    Args:
        reader: takes the mistakes.
        publishers: reads their publishers.

    Attributes:
        names: of the sinks so far, by position.
        published: the names of the publishers that a sink has.
    """

    def __init__(self, reader: Reader, publishers: Publishers) -> None:
        self.names: dict[str, Position] = {}
        self.published: set[str] = set()
        self._reader = reader
        self._publishers = publishers
        self._transformers = Installed(plugins.TRANSFORMER, "Parameters")

    def read(self, node: Node) -> SinkDef | None:
        """Read one sink; None after a mistake that leaves nothing of it."""
        sink = self._reader.mapping(node, "a sink (name, transformers, publishers)")
        if sink is None:
            return None
        self._reader.keys(sink, KEYS, ("name", "publishers"), _REFUSED)
        name = read_name(self._reader, sink, "sink", self.names)
        steps = given(sink, "transformers")
        nodes = None if steps is None else self._reader.items(steps, "a list of transformers")
        transformers = [self._transformer(each) for each in nodes or ()]
        publishers = self._publishers_of(sink.entries.get("publishers"), name)
        return SinkDef(
            name,
            tuple(step for step in transformers if step is not None),
            publishers,
            sink.position,
        )

    def _transformer(self, node: Node) -> TransformerDef | None:
        step = self._reader.mapping(node, "a transformer (name, parameters)")
        if step is None:
            return None
        self._reader.keys(step, TRANSFORMER_KEYS, ("name",), misplaced=self._misplaced(step))
        if "name" not in step.entries:
            return None
        name = self._reader.text(step.entries["name"], "the name of a transformer")
        if name is None:
            return None
        struct = self._transformers.struct(self._reader, name, step.entries["name"].position)
        node = given(step, "parameters") or MappingNode({}, {}, step.position)
        written = self._reader.mapping(node, "a mapping of parameters")
        if struct is None or written is None:
            return None
        parameters = read_settings(self._reader, struct, written, "parameter")
        patterns = given(step, "meters")
        meters = [] if patterns is None else read_meters(self._reader, patterns)
        return TransformerDef(
            name,
            parameters,
            plain(written),
            step.position,
            tuple(pattern for pattern, _ in meters),
            tuple(place for _, place in meters),
            self._truth(step, "keep_original"),
        )

    def _misplaced(self, step: MappingNode) -> dict[str, str]:
        """Return the keys of a step that its transformer has as parameters, each with a hint."""
        name = step.entries.get("name")
        known = self._transformers.keys(name.text) if isinstance(name, ScalarNode) else ()
        return dict.fromkeys(known, "it belongs under 'parameters:'")

    def _truth(self, step: MappingNode, key: str) -> bool:
        node = given(step, key)
        if node is None:
            return False
        if isinstance(node, ScalarNode) and isinstance(node.value, bool):
            return node.value
        self._reader.expected(node, f"{key}: true or false")
        return False

    def _publishers_of(self, node: Node | None, name: str) -> tuple[PublisherDef, ...]:
        nodes = None if node is None else self._reader.items(node, "a list of publishers")
        if node is None or nodes is None:
            return ()
        if not nodes:
            self._reader.fault(node.position, f"the sink '{shown(name)}' has no publisher")
        found: dict[str, PublisherDef] = {}
        for each in nodes:
            made = self._publishers.read(each)
            if made is None:
                continue
            if made.name in found:
                what = f"the publisher '{shown(made.name)}' stands twice in sink '{shown(name)}'"
                self._reader.fault(each.position, what)
            found[made.name] = made
        self.published |= found.keys()
        return tuple(found.values())
