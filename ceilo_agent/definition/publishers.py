# SPDX-License-Identifier: Apache-2.0
"""Where samples go: a URL, a scheme, a mapping with `url`, or a name from `publishers:`."""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlsplit

import msgspec

from ceilo_agent import plugins
from ceilo_agent.definition.installed import Installed
from ceilo_agent.definition.naming import check_name
from ceilo_agent.definition.nodes import MappingNode, Node, Position, ScalarNode
from ceilo_agent.definition.reader import Reader
from ceilo_agent.definition.settings import read_settings
from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.plugins import OwnFiles
from ceilo_agent.shown import one_line, shown

_DENIED: Final = "the user that the agent runs as must be allowed to"


class PublisherUrl(SplitResult):
    """A URL that never shows its user name and password unless one asks for them."""

    __slots__ = ()

    @property
    def place(self) -> str:
        """Host, port and path, without user name and password."""
        return self.netloc.rpartition("@")[2] + self.path

    def masked(self, text: str) -> str:
        """Return a text without this user name and password."""
        user = self.netloc.rpartition("@")[0]
        return text.replace(f"{user}@", "***@") if user else text

    def __repr__(self) -> str:
        user = "***@" if "@" in self.netloc else ""
        return f"<{self.scheme}://{user}{self.place}>"


class PublisherDef(msgspec.Struct, frozen=True):
    """One publisher.

    Attributes:
        name: its name in the file; without one ``<scheme>-<host><path>``. One name, one publisher.
        scheme: the name of its plugin.
        url: what the operator wrote, the query taken out.
        options: the plugin's `Options`, from the query and the mapping.
        position: of the URL or the mapping.
        digest: of files that the options name, where the publisher reads any.
        denied: those files that may not be read: faults for an agent, warnings for others.
    """

    name: str
    scheme: str
    url: PublisherUrl
    options: Any
    position: Position
    digest: str = ""
    denied: tuple[Fault, ...] = ()


class _Url(NamedTuple):
    url: PublisherUrl
    query: MappingNode


class Publishers:
    """Reads the publishers of one file.

    Attributes:
        named: those of `publishers:` by name; None where one has a mistake.
        places: where each name stands.
    """

    def __init__(self, reader: Reader) -> None:
        self.named: dict[str, PublisherDef | None] = {}
        self.places: dict[str, Position] = {}
        self._reader = reader
        self._installed = Installed(plugins.PUBLISHER, "Options")
        self._seen: dict[str, PublisherDef] = {}

    def define(self, node: Node) -> None:
        """Read the top-level mapping `publishers:`."""
        mapping = self._reader.mapping(node, "a mapping of names to publishers")
        for name, value in (mapping.entries if mapping else {}).items():
            assert mapping is not None
            place = mapping.keys[name]
            check_name(self._reader, name, place, "publisher")
            if ":" in name:
                what = f"'{shown(name)}' is no name for a publisher: it holds ':'"
                self._reader.fault(place, what)
            self.places[name] = place
            self.named[name] = self._publisher(value, name)

    def read(self, node: Node) -> PublisherDef | None:
        """Read an item of a sink's `publishers:`; None after a mistake."""
        if isinstance(node, ScalarNode) and isinstance(node.value, str):
            if node.value in self.named:
                return self.named[node.value]
            name = node.value
            if name and not set(name) & set(":/") and name not in self._installed.names:
                what, hint = self._installed.missing(name, frozenset(self.named))
                self._reader.fault(node.position, what, hint)
                return None
        return self._publisher(node, None)

    def _publisher(self, node: Node, name: str | None) -> PublisherDef | None:
        if isinstance(node, MappingNode):
            if "url" not in node.entries:
                self._reader.fault(node.position, "the key 'url' is missing")
                return None
            written, settings = node.entries["url"], node
        else:
            written, settings = node, MappingNode({}, {}, node.position)
        text = self._reader.text(written, "a publisher's URL")
        parts = None if text is None else self._split(text, written.position, name)
        if parts is None:
            return None
        return self._made(parts, settings, name)

    def _made(self, parts: _Url, settings: MappingNode, name: str | None) -> PublisherDef | None:
        url, query = parts
        place = query.position
        struct = self._installed.struct(self._reader, url.scheme, place)
        if struct is None:
            return None
        beside = {key: at for key, at in settings.keys.items() if key != "url"}
        for key in query.keys.keys() & beside.keys():
            what = f"the option '{shown(key)}' stands both here and in the URL"
            self._reader.fault(beside[key], what)
        merged = MappingNode(
            query.entries | {key: settings.entries[key] for key in beside},
            query.keys | beside,
            place,
        )
        texts = query.keys.keys() - beside.keys()
        options = read_settings(self._reader, struct, merged, "option", texts)
        if options is None or not self._fits(url, place):
            return None
        files = self._files(url.scheme, options, place)
        if files is None:
            return None
        identity = _identity(url, name)
        at = settings.position
        made = PublisherDef(
            identity, url.scheme, url, options, at, files.digest, self._denied(files, url, place)
        )
        return self._only(made)

    def _denied(self, files: OwnFiles, url: PublisherUrl, place: Position) -> tuple[Fault, ...]:
        """Warn of files that may not be read here, at the publisher's place."""
        found = tuple(
            Fault(
                self._reader.file,
                *place,
                one_line(f"the publisher '{url.scheme}': {each.file}: {each.what}"),
                one_line(each.hint),
            )
            for each in files.denied
        )
        for fault in found:
            hint = "; ".join(filter(None, (fault.hint, _DENIED)))
            if fault._replace(hint=hint) not in self._reader.warnings:
                self._reader.warn(place, fault.what, hint)
        return found

    def _fits(self, url: PublisherUrl, place: Position) -> bool:
        """Ask the publisher whether its URL can work at all."""
        try:
            getattr(plugins.load(plugins.PUBLISHER, url.scheme), "check", _any)(url)
        except ConfigError as error:
            for fault in error.faults:
                # A plugin's words may repeat the URL.
                what, hint = (url.masked(text) for text in (fault.what, fault.hint))
                self._reader.fault(place, f"the publisher '{url.scheme}': {what}", hint)
            return False
        return True

    def _files(self, scheme: str, options: Any, place: Position) -> OwnFiles | None:
        """Let the publisher read the files that its options name; None after a mistake in one."""
        reader = self._reader
        try:
            files: OwnFiles = getattr(plugins.load(plugins.PUBLISHER, scheme), "read_files", _none)(
                options
            )
        except ConfigError as error:
            for fault in error.faults:
                if not fault.line:
                    what = f"the publisher '{scheme}': {fault.file}: {fault.what}"
                    reader.fault(place, what, fault.hint)
                elif fault not in reader.faults:  # two publishers may name the same file
                    reader.faults.append(fault)
            return None
        reader.warnings += [each for each in files.warnings if each not in reader.warnings]
        return files

    def _only(self, made: PublisherDef) -> PublisherDef:
        """Return the one publisher of this name; another with the same name is a mistake."""
        first = self._seen.setdefault(made.name, made)
        if (first.url, first.options) != (made.url, made.options):
            self._reader.fault(
                made.position,
                f"the publisher '{shown(made.name)}' has other options in line "
                f"{first.position.line}",
                "give each a name of its own under 'publishers:'",
            )
        return first

    def _split(self, text: str, place: Position, name: str | None) -> _Url | None:
        """Split a URL; what urllib says of a bad one may hold a password and is not repeated."""
        if "://" not in text:
            if ":" in text or "/" in text:
                self._no_url(text, place, "it begins with its scheme and '://'")
                return None
            text += "://"
        try:
            parts = urlsplit(text)
            if "," not in parts.netloc:
                _ = parts.port
        except ValueError:
            self._no_url(text, place, "its host or its port cannot be read")
            return None
        if not parts.scheme:
            self._no_url(text, place, "it begins with its scheme")
            return None
        if parts.fragment or "#" in text:
            what = f"'{shown(text.partition('#')[0])}' is followed by '#'"
            self._reader.fault(place, what, "write %23 for a '#' in a URL")
            return None
        url = PublisherUrl(*parts._replace(query=""))
        if "@" in parts.netloc:
            self._reader.warn(
                place,
                f"'{shown(text)}' holds a user name or password",
                "whoever reads this file sees it",
                ("publisher", _identity(url, name)),
            )
        return _Url(url, self._query(parts.query, place))

    def _no_url(self, text: str, place: Position, reason: str) -> None:
        self._reader.fault(place, f"'{shown(text)}' is no URL", reason)

    def _query(self, query: str, place: Position) -> MappingNode:
        entries: dict[str, Node] = {}
        for key, value in parse_qsl(query, keep_blank_values=True):
            if key in entries:
                self._reader.fault(place, f"the option '{shown(key)}' stands twice in the URL")
            entries[key] = ScalarNode(value, value, place)
        return MappingNode(entries, dict.fromkeys(entries, place), place)


def _identity(url: PublisherUrl, name: str | None) -> str:
    """Return the name in the file, else what the publisher is called without one."""
    return name or (f"{url.scheme}-{url.place}" if url.place else url.scheme)


def _any(_url: SplitResult) -> None:
    """Accept every URL, for a publisher that does not say what it takes."""


def _none(_options: Any) -> OwnFiles:
    """Read nothing, for a publisher that is written without our base class."""
    return OwnFiles()
