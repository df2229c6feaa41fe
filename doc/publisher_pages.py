# SPDX-License-Identifier: Apache-2.0
"""A page for each publisher that ships, and the one that lists them.

A page is made of the publisher's own words: the docstring of its module, that of its class, its
options and its promises. To them comes what stands in ``doc/publishers``: ``<name>.yaml``, an
example that works, and, where there is more to say, ``<name>.rst``.
"""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.inspect import type_info
from rst import code, escaped, heading, table

from ceilo_agent.definition.settings import takes
from ceilo_agent.plugins import Promise

BESIDE: Final = Path(__file__).resolve().parent / "publishers"

INDEX = """\
A sink names its publishers by URL, by a mapping with the URL and the options beside it, or by the
name that the file gives one; :doc:`pipeline` shows all three. In a URL an option stands in the
query, ``?name=value&name=value``, with ``%23`` for a ``#`` and ``%26`` for a ``&`` inside a value.

Each has a page of its own. :doc:`delivery` tells what becomes of samples while the other side is
away, and :doc:`own_publisher` how to add one.
"""

GUARANTEES = """\
What each promises. Only an idempotent one has no doubles: what is sent again after a fault is there
once.
"""

DURABLE = """\
What cannot be delivered waits on disk, in its order, and survives the end of the agent:
:doc:`/delivery`. ``ceilo-agent spool`` shows it.
"""

PULL = """\
Nothing waits for it: who reads gets what was measured last.
"""

BEST_EFFORT = """\
What cannot be delivered waits in memory, and is gone when the agent ends: :doc:`/delivery`.
"""


def pages(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the text of each page by its name below doc/source.

    Args:
        found: the publishers by name.
    """
    made = {
        f"publishers/{names[0]}.rst": "\n".join(_page(names, publisher))
        for publisher, names in _classes(found).items()
    }
    return {"publishers.rst": "\n".join(_index(found))} | made


def _classes(found: Mapping[str, Any]) -> dict[Any, list[str]]:
    """Return the names of each class, in their order: one class may serve several schemes."""
    classes: dict[Any, list[str]] = {}
    for name, publisher in found.items():
        classes.setdefault(publisher, []).append(name)
    return classes


# -- the list ------------------------------------------------------------------------------------


def _index(found: Mapping[str, Any]) -> Iterator[str]:
    yield ".. Written by doc/generate.py from the publishers' own words. Do not edit."
    yield ""
    yield from heading("Publishers", "=")
    yield INDEX
    classes = _classes(found)
    yield from table(
        ("Publisher", "What it does"),
        (
            (_named(name, classes[publisher][0]), first_sentences(inspect.getmodule(publisher)))
            for name, publisher in found.items()
        ),
    )
    yield from heading("Guarantees", "-")
    yield GUARANTEES
    yield from table(
        ("Publisher", *(promise.name.capitalize() for promise in Promise)),
        (
            (f"``{name}``", *("✓" if p in publisher.promises else "" for p in Promise))
            for name, publisher in found.items()
        ),
    )
    for promise in Promise:
        yield f"{promise.name.capitalize()}"
        yield f"   {escaped(promise.value)}"
    yield ""
    kept = set().union(*(publisher.promises for publisher in found.values()))
    if kept != set(Promise):
        yield "What has a mark in no row, no publisher that ships can promise yet."
        yield ""
    yield ".. toctree::"
    yield "   :hidden:"
    yield ""
    for names in classes.values():
        yield f"   publishers/{names[0]}"
    yield ""


def _named(name: str, page: str) -> str:
    return f":doc:`{name} <publishers/{page}>`"


def first_sentences(documented: Any) -> str:
    """Return the first paragraph of a docstring."""
    return " ".join((inspect.getdoc(documented) or "").split("\n\n", maxsplit=1)[0].split())


# -- a page --------------------------------------------------------------------------------------


def _page(names: list[str], publisher: Any) -> Iterator[str]:
    module = inspect.getmodule(publisher)
    example = BESIDE / f"{names[0]}.yaml"
    if not example.is_file():
        raise SystemExit(f"{example} is missing: each publisher has an example that works")
    source = publisher.__module__.replace(".", "/")
    yield f".. Written by doc/generate.py from {source}.py and doc/publishers. Do not edit."
    yield ""
    yield from heading(", ".join(names), "=")
    yield _prose(module)
    yield ""
    yield f"Where it goes: {_prose(publisher)}"
    yield ""
    yield from code("yaml", example.read_text("utf-8"))
    yield from heading("Options", "-")
    yield from _options(publisher.Options)
    yield from heading("Guarantees", "-")
    yield from _guarantees(publisher)
    more = BESIDE / f"{names[0]}.rst"
    if more.is_file():
        yield more.read_text("utf-8").rstrip()
        yield ""


def _prose(documented: Any) -> str:
    """Return a docstring up to its first section for programmers (``Attributes:``)."""
    text = inspect.getdoc(documented) or ""
    return re.split(r"^(?:Args|Attributes|Raises|Returns):$", text, flags=re.MULTILINE)[0].strip()


def _options(struct: type[msgspec.Struct]) -> Iterator[str]:
    fields = msgspec.structs.fields(struct)
    if not fields:
        yield "It has none."
        yield ""
        return
    yield from table(
        ("Option", "Value", "Default", "Meaning"),
        ((f"``{field.encode_name}``", *_setting(field)) for field in fields),
    )


def _guarantees(publisher: Any) -> Iterator[str]:
    yield from table(
        ("Promise", "Kept", "What it means"),
        (
            (
                promise.name.capitalize(),
                "✓" if promise in publisher.promises else "no",
                escaped(promise.value),
            )
            for promise in Promise
        ),
    )
    if Promise.DURABLE in publisher.promises:
        yield DURABLE
    else:
        yield PULL if Promise.PULL in publisher.promises else BEST_EFFORT
    size = f"It is given at most {publisher.batch_size:,} samples at a time"
    if "batch_size" in publisher.Options.__struct_fields__:
        size += ", or what the option ``batch_size`` says"
    yield f"{size}."
    yield ""


def _setting(field: Any) -> tuple[str, str, str]:
    """Return what a field takes, its default and its description."""
    form = type_info(field.type)
    described: list[str] = []
    _descriptions(form, described)
    if not described:
        raise ValueError(f"{field.name} has no description")
    default = field.default
    if isinstance(default, bool):
        default = str(default).lower()
    if isinstance(default, enum.Enum):
        default = default.value
    shown = "" if default in (None, "", msgspec.NODEFAULT) else f"``{default}``"
    return escaped(takes(field.type)), shown, _literals(described[0])


def _literals(text: str) -> str:
    """Return plain text as reStructuredText, but for what stands in double backquotes."""
    parts = re.split(r"(``[^`]+``)", text)
    return "".join(part if part.startswith("``") else escaped(part) for part in parts)


def _descriptions(form: Any, found: list[str]) -> None:
    """Collect the descriptions of a type, the outermost first."""
    if isinstance(form, msgspec.inspect.Metadata):
        found += [(form.extra_json_schema or {}).get("description", "")]
        _descriptions(form.type, found)
    elif isinstance(form, msgspec.inspect.UnionType):
        for arm in form.types:
            _descriptions(arm, found)
