# SPDX-License-Identifier: Apache-2.0
"""Writes the pages that follow from the code.

``python doc/generate.py`` writes them; with ``--check`` it compares, prints the name of each page
that is out of date, and exits with 1 if there is any.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import publisher_pages
from oslo_config import types
from publisher_pages import first_sentences
from rst import escaped, heading, table

from ceilo_agent import options, plugins
from ceilo_agent.cli.config.drawing import drawing
from ceilo_agent.cli.meters import rows
from ceilo_agent.meters.catalogue import NAMESPACES, Catalogue, catalogue
from ceilo_agent.pipeline.checking import check
from ceilo_agent.pipeline.graph import draw
from ceilo_agent.pipeline.mermaid import mermaid

SOURCE = Path(__file__).resolve().parent / "source"

TITLES = {
    "compute": "compute: the guests of the local hypervisor",
    "host": "host: the machine that the agent runs on",
    "central": "central: what belongs to no host, from the APIs of a cloud",
    "notification": "notification: the notification agent itself",
}

INTRODUCTION = """\
An agent reads these meters. ``ceilo-agent meters`` prints the same list, and ``ceilo-agent meters
--output json`` gives it to programs. Meters marked with ✓ are Ceilometer's: name, unit, type and
resource id are the same there.

A value that the other side does not give is absent, never zero.
"""


def main() -> int:
    """Write or check every page."""
    parser = argparse.ArgumentParser(description="Write the pages that follow from the code.")
    parser.add_argument("--check", action="store_true", help="compare only")
    check = parser.parse_args().check
    stale = 0
    made = {SOURCE / name: text for name, text in pages().items()}
    gone = [path for path in (SOURCE / "publishers").glob("*.rst") if path not in made]
    for path, text in made.items():
        if check:
            if not path.is_file() or path.read_text("utf-8") != text:
                print(f"{path}: out of date; run python doc/generate.py", file=sys.stderr)
                stale += 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    for path in gone:
        if check:
            print(f"{path}: its publisher is gone; run python doc/generate.py", file=sys.stderr)
            stale += 1
        else:
            path.unlink()
    return 1 if stale else 0


def pages() -> dict[str, str]:
    """Return the text of each page by its name below doc/source."""
    return {
        "graph.rst": "\n".join(graph_page()),
        "meters.rst": "\n".join(meters()),
        "options.rst": "\n".join(options_page()),
        "plugins.rst": "\n".join(plugins_page()),
        **publisher_pages.pages(_shipped(plugins.PUBLISHER)),
    }


# -- meters --------------------------------------------------------------------------------------


def meters() -> Iterator[str]:
    """Yield the lines of the page of meters."""
    yield ".. Written by doc/generate.py from ceilo_agent/meters/*.yaml. Do not edit."
    yield ""
    yield from heading("Meters", "=")
    yield INTRODUCTION
    for namespace in NAMESPACES:
        yield from _namespace(catalogue(namespace))


def _namespace(found: Catalogue) -> Iterator[str]:
    yield from heading(TITLES[found.namespace], "-")
    ours = {entry.name for entry in found.meters if not entry.ceilometer}
    for kind, about in found.kinds.items():
        listed = [row for row in rows(found.namespace) if row["resource_type"] == kind]
        if not listed:
            continue
        yield from heading(kind, "~")
        yield f"{escaped(about.description.strip())} Resource id: ``{about.id}``."
        yield ""
        yield from table(
            ("Name", "Unit", "Type", "Ceilometer", "Description"),
            (
                (
                    f"``{row['name']}``",
                    escaped(row["unit"]),
                    row["type"],
                    "" if row["name"] in ours else "✓",
                    escaped(row["description"]),
                )
                for row in listed
            ),
        )
    if not found.left_out:
        return
    yield from heading(f"Left out of {found.namespace}", "~")
    yield "What the other side gives and no meter reports."
    yield ""
    yield from table(
        ("Fields", "Reason"),
        (
            (", ".join(f"``{field}``" for field in left.fields), escaped(left.reason))
            for left in found.left_out
        ),
    )


# -- options -------------------------------------------------------------------------------------

OPTIONS = """\
Every option of the agent. They stand in ``/etc/ceilo_agent/ceilo_agent.conf``; with ``ceilo-agent
--config-file FILE`` in that file instead. Of several files the later one counts, and before all of
them what the command line says. ``ceilo-agent config show`` prints each value and where it comes
from.

A value of the wrong type is an error with its line. A name that is no option, or stands in the
wrong section, is only a warning of the daemon: the file may be shared with other services.
"""


def options_page() -> Iterator[str]:
    """Yield the lines of the page of options."""
    yield ".. Written by doc/generate.py from ceilo_agent/options.py. Do not edit."
    yield ""
    yield from heading("Options", "=")
    yield OPTIONS
    for group, declared in options.GROUPS.items():
        yield from heading(f"[{group}]", "-")
        yield from table(
            ("Option", "Type", "Default", "Meaning"),
            (
                (
                    f"``{option.name}``",
                    _option_type(option.type),
                    _option_default(option),
                    escaped(option.help),
                )
                for option in declared
            ),
        )


def _option_type(kind: Any) -> str:
    names: dict[Any, str] = {
        types.Boolean: "true or false",
        types.Integer: "whole number",
        types.Float: "number",
        types.List: "list, split at commas",
        types.MultiString: "text, on several lines if need be",
        types.String: "text",
    }
    if getattr(kind, "choices", None):
        return f"one of {', '.join(kind.choices)}"
    name = names[type(kind)]
    low, high = getattr(kind, "min", None), getattr(kind, "max", None)
    if low is not None and high is not None:
        return f"{name} from {low:g} to {high:g}"
    return name if low is None else f"{name} of at least {low}"


def _option_default(option: Any) -> str:
    shown = option.sample_default if option.default is None else option.default
    if isinstance(shown, bool):
        shown = str(shown).lower()
    if isinstance(shown, list):
        shown = ",".join(shown)
    return "" if shown in (None, "") else f"``{shown}``"


# -- graph ---------------------------------------------------------------------------------------

GRAPH = """\
``ceilo-agent config graph`` draws a pipeline file. This is the one that ships,
``etc/pipeline.yaml``:

.. code-block:: text

"""

LEGEND = """\
Every line goes from a source to the right, down a lane and into a sink, and from there in the same
way to the publishers; ``●`` is a joint, and lines that cross without one do not meet. Each lane
leads into one sink or publisher. The transformers stand in their sink, in their order, with what
they make and the ``meters`` that they get. What ``config check`` warns of is marked where it
belongs (``[!1]``) and said below the drawing. A publisher without a name stands there with its URL.
Of a URL only scheme, host and path are shown.

The drawing is as wide as the terminal, elsewhere 100 columns, or what the environment says in
``COLUMNS``. Long names lose their middle (``…``). What is wider still is told as a list, with an
arrow before the names of what the samples go to.

With ``--output mermaid`` the same is a flowchart for Mermaid, which GitLab, GitHub and many wikis
draw:

.. code-block:: text

"""


def graph_page() -> Iterator[str]:
    """Yield the lines of the page with the graph of the shipped file."""
    yield ".. Written by doc/generate.py from etc/pipeline.yaml. Do not edit."
    yield ""
    yield from heading("The graph of a pipeline file", "=")
    graph = draw(check(options.PIPELINE_PLACES[-1]))
    for words, picture in ((GRAPH, drawing(graph)), (LEGEND, mermaid(graph))):
        yield from words.splitlines()
        yield from (f"   {line}".rstrip() for line in picture.splitlines())
        yield ""


# -- plugins -------------------------------------------------------------------------------------

KINDS = {
    plugins.DISCOVERY: ("Discoveries", "What exists. A source may name them under ``discovery``."),
    plugins.INSPECTOR: (
        "Inspectors",
        "What it reads now. The names are those of ``[polling] namespaces``.",
    ),
    plugins.TRANSFORMER: (
        "Transformers",
        "What the samples become. A sink names them under ``transformers``.",
    ),
    plugins.PUBLISHER: (
        "Publishers",
        "Where the samples go. The name is the scheme of a URL; :doc:`publishers` has more.",
    ),
}


def plugins_page() -> Iterator[str]:
    """Yield the lines of the page of plugins."""
    yield ".. Written by doc/generate.py from the entry points of setup.cfg. Do not edit."
    yield ""
    yield from heading("Plugins", "=")
    yield "What ships with the agent. :doc:`extending` shows how to add one."
    yield ""
    for namespace, (title, about) in KINDS.items():
        yield from heading(title, "-")
        yield f"{about} Entry points: ``{namespace}``."
        yield ""
        found = _shipped(namespace)
        if not found:
            yield "None yet."
            yield ""
            continue
        yield from table(
            ("Name", "What it is"),
            ((f"``{name}``", first_sentences(made)) for name, made in found.items()),
        )


def _shipped(namespace: str) -> dict[str, Any]:
    """Return our own plugins of a kind by name; others may be installed here, too."""
    ours = [e.name for e in entry_points(group=namespace) if e.value.startswith("ceilo_agent.")]
    return {name: plugins.load(namespace, name) for name in sorted(ours)}


if __name__ == "__main__":
    sys.exit(main())
