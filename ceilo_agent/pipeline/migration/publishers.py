# SPDX-License-Identifier: Apache-2.0
"""Ceilometer's publishers over the network under the names and options of ours."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

import msgspec

from ceilo_agent import plugins
from ceilo_agent.errors import PluginError
from ceilo_agent.pipeline.migration.changes import Path
from ceilo_agent.pipeline.migration.draft import Draft, Weight

_TRUE: Final = frozenset(("1", "t", "true", "on", "y", "yes"))
_FALSE: Final = frozenset(("0", "f", "false", "off", "n", "no"))
"""What Ceilometer reads so (``oslo_utils.strutils``)."""

_OF_EVENTS: Final = "it is of events"
_IGNORED: Final = "Ceilometer ignored it"


class Move(NamedTuple):
    """A publisher under another URL.

    Attributes:
        url: what goes in the place of the one in the file; the same where nothing is to change.
        why: what became of it, empty where the new URL says it.
        weight: of the change.
        hint: what to do about it.
    """

    url: str
    why: str = ""
    weight: Weight = Weight.DONE
    hint: str = ""


def moved(draft: Draft, at: Path, text: str, names: Collection[str]) -> Move:
    """Return what a publisher of Ceilometer is here, and tell what it does otherwise.

    Args:
        draft: the file.
        at: where it stands.
        text: its URL.
        names: of the publishers that there are.
    """
    try:
        url = urlsplit(text)
    except ValueError:
        return Move(text)  # the check of the outcome says what is wrong
    revise = _SCHEMES.get(url.scheme)
    if revise is None or "://" not in text:
        return Move(text)
    to, change = revise
    return change(draft, at, url, text) if to in names else Move(text)


class _Options:
    """The query of a URL, and what is not to stay of it."""

    def __init__(self, url: SplitResult) -> None:
        # Of an option that stands twice Ceilometer took the last.
        self.pairs = parse_qsl(url.query, keep_blank_values=True)
        self.values = dict(self.pairs)
        self.removed: dict[str, str] = {}

    def remove(self, names: Iterable[str], reason: str) -> None:
        for name in names:
            if self.values.pop(name, None) is not None:
                self.removed[name] = reason

    def flag(self, name: str, *, paths: bool = False) -> None:
        """Write a truth as we read it; what was none meant false, or with `paths` a file."""
        if (value := self.values.get(name)) is None:
            return
        if value.lower() in _TRUE:
            self.values[name] = "true"
        elif value.lower() in _FALSE or not paths:
            self.values[name] = "false"

    def number(self, name: str, low: int) -> None:
        """Take out what Ceilometer could not read: it took its default instead."""
        if (value := self.values.get(name)) is None:
            return
        try:
            fits = int(value) >= low
        except ValueError:
            fits = False
        if not fits:
            self.remove((name,), "it is no number that Ceilometer could use")

    def written(self, url: SplitResult) -> str:
        """Return a URL with what is left of them."""
        place = f"{url.scheme}://{url.netloc}{url.path}"
        return f"{place}?{urlencode(self.values)}" if self.values else place

    def tell(self, draft: Draft, at: Path) -> None:
        for name, reason in self.removed.items():
            draft.done(at, f"option '{name}' removed: {reason}")


def _web(options: _Options) -> None:
    """Rewrite what all publishers of Ceilometer over HTTP take."""
    options.number("timeout", 1)
    options.number("max_retries", 0)
    options.flag("batch")
    options.flag("verify_ssl", paths=True)
    options.remove([name for name, value in options.values.items() if not value], _IGNORED)
    if "clientcert" not in options.values:
        options.remove(("clientkey",), f"{_IGNORED} without clientcert")
    options.remove(("raw_only",), _OF_EVENTS)


def _http(draft: Draft, at: Path, url: SplitResult, text: str) -> Move:
    options = _Options(url)
    known = _known(url.scheme)
    ours = "query" in options.values and not options.values.keys() - known
    if not ours:
        rest = [(name, value) for name, value in options.pairs if name not in known - {"query"}]
        rest = [(name, value) for name, value in rest if name != "raw_only" and value]
        _web(options)
        for name, _ in rest:
            options.values.pop(name, None)
        if rest:
            options.values["query"] = urlencode(rest)
    draft.tell_once(
        Weight.MEANING,
        at,
        f"{url.scheme}: what fails is sent again until it arrives; Ceilometer dropped it",
        "redirects are not followed, and proxies of the environment not used",
    )
    options.tell(draft, at)
    changed = options.values != _Options(url).values or len(options.pairs) > len(options.values)
    return Move(options.written(url) if changed or url.fragment else text)


def _otlp(draft: Draft, at: Path, url: SplitResult, _text: str) -> Move:
    options = _Options(url)
    _web(options)
    # Ceilometer took any other text than false for true.
    if "ssl" in options.values:
        false = options.values["ssl"].lower() in _FALSE
        options.values["ssl"] = "false" if false else "true"
    options.remove(("max_retries",), "it is tried until it succeeds")
    options.remove(("batch",), "samples always go together")
    kept = {"timeout", "verify_ssl", "clientcert", "clientkey", "ssl"}
    options.remove(options.values.keys() - kept, "the request has no query here")
    options.tell(draft, at)
    netloc = url.netloc
    if _port(url) is None:
        netloc += ":443" if options.values.get("ssl") == "true" else ":80"
    draft.tell_once(
        Weight.MEANING,
        at,
        "otlp: meters keep their dots, and resource, project and user are attributes of "
        "OpenTelemetry's names; Ceilometer wrote '_' and resource_id, project_id, user_id",
    )
    path = "" if url.path == "/" else url.path
    return Move(
        options.written(SplitResult("otlp", netloc, path, "", "")),
        "the same protocol under its own name",
    )


def _prometheus(draft: Draft, at: Path, url: SplitResult, text: str) -> Move:
    foreign = _Options(url).values.keys() - _known("prometheus")
    if "/job/" in url.path or "/import/" in url.path or foreign:
        return Move(
            "prometheus://",
            "a page at http://127.0.0.1:9101/metrics that Prometheus scrapes; nothing is pushed "
            "to a gateway, and names are others: cpu is ceilo_cpu_seconds_total",
            Weight.DECIDE,
            "'prometheus://0.0.0.0' shows it to other hosts; 'remote-write://host' writes to "
            "Prometheus itself",
        )
    draft.tell_once(
        Weight.MEANING,
        at,
        "prometheus: the URL says where the agent listens, for Prometheus to scrape it; "
        "Ceilometer pushed to a gateway there",
    )
    return Move(text)


def _gnocchi(draft: Draft, at: Path, url: SplitResult, text: str) -> Move:
    options = _Options(url)
    options.flag("enable_filter_project")
    options.remove([name for name, value in options.values.items() if not value], _IGNORED)
    options.remove(options.values.keys() - _known("gnocchi"), _IGNORED)
    options.tell(draft, at)
    if url.hostname:
        what = "gnocchi: the URL's host is asked; Ceilometer ignored it and asked Keystone where"
        draft.tell_once(Weight.MEANING, at, what)
    if (
        "filter_project" not in options.values
        and options.values.get("enable_filter_project") != "false"
    ):
        draft.tell_once(
            Weight.MEANING,
            at,
            "gnocchi: samples of the project 'service' are stored, too; Ceilometer left them out",
            "'?filter_project=service' does so here",
        )
    changed = options.values != _Options(url).values or len(options.pairs) > len(options.values)
    return Move(options.written(url) if changed else text)


def _notifier(draft: Draft, at: Path, url: SplitResult, text: str) -> Move:
    options = _Options(url)
    if "wire_format" in options.values:
        return Move(text)
    several = [value for name, value in options.pairs if name == "topic"]
    if len(several) > 1:
        what = f"notifier: only the topic '{several[-1]}' is sent to"
        draft.tell_once(Weight.MEANING, at, what, "write a publisher for each topic")
    if options.values.pop("per_meter_topic", "0") not in ("0", ""):
        what = "notifier: only its topic is sent to; Ceilometer sent to one for each meter besides"
        draft.tell_once(Weight.MEANING, at, what)
    waits = "samples wait on disk until the broker has them"
    options.remove(("policy", "max_queue_length", "max_retry"), waits)
    foreign = options.values.keys() - _known("notifier")
    options.remove(
        foreign, "options of the driver belong into its section, [oslo_messaging_rabbit]"
    )
    options.values = {"wire_format": "ceilometer", "topic": "metering"} | options.values
    options.tell(draft, at)
    draft.tell_once(
        Weight.MEANING,
        at,
        'notifier: messages are as Ceilometer\'s polling agents send them, {"samples": [...]} of '
        "event type telemetry.polling; its publisher sent the list alone, of event type metering",
    )
    return Move(options.written(url))


def _port(url: SplitResult) -> int | None:
    try:
        return url.port
    except ValueError:
        return 0


def _known(scheme: str) -> frozenset[str]:
    """Return the options of a publisher; where it cannot be loaded those that Ceilometer has."""
    try:
        struct = plugins.load(plugins.PUBLISHER, scheme).Options  # type: ignore[attr-defined]
    except PluginError:
        return _CEILOMETERS.get(scheme, frozenset())
    return frozenset(field.encode_name for field in msgspec.structs.fields(struct))


_CEILOMETERS: Final[Mapping[str, frozenset[str]]] = {
    "gnocchi": frozenset(
        (
            *("archive_policy", "resources_definition_file", "timeout"),
            *("filter_project", "filter_domain", "enable_filter_project"),
        )
    ),
    "notifier": frozenset(("driver", "topic")),
}

_Change = Callable[[Draft, Path, SplitResult, str], Move]

_SCHEMES: Final[Mapping[str, tuple[str, _Change]]] = {
    "gnocchi": ("gnocchi", _gnocchi),
    "http": ("http", _http),
    "https": ("https", _http),
    "opentelemetryhttp": ("otlp", _otlp),
    "notifier": ("notifier", _notifier),
    "prometheus": ("prometheus", _prometheus),
}
"""By Ceilometer's name: ours, and what its URL becomes."""
