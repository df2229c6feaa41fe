# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema: it is one, it takes what loads, and it refuses what it can see is wrong."""

import copy
import enum
import functools
from typing import Annotated

import jsonschema
import msgspec
import pytest
import yaml

from ceilo_agent import plugins
from ceilo_agent.definition.pipeline import Role, load
from ceilo_agent.definition.schema import schema
from ceilo_agent.definition.structs import object_schema
from ceilo_agent.errors import ConfigError
from ceilo_agent.meters.catalogue import known
from tests import example_plugin
from tests.pages import PAGES, ROOT, blocks

BAD = ROOT / "tests" / "bad"
MISTAKES = ("faulty", "unknown")
SECTIONS = {
    "sources": [{"name": "made", "interval": 60, "meters": ["*"], "sinks": ["made"]}],
    "sinks": [{"name": "made", "publishers": ["console"]}],
}

EXAMPLES = {
    str(block): block.text
    for page in (ROOT / "README.rst", *PAGES)
    for block in blocks(page)
    if block.language == "yaml"
    and not block.name.startswith(MISTAKES)
    and isinstance(found := yaml.safe_load(block.text), dict)
    and found.keys() & SECTIONS.keys()
}
FILES = {
    path.stem: path.read_text("utf-8")
    for path in [
        ROOT / "etc" / "pipeline.yaml",
        *sorted((ROOT / "tests" / "golden").glob("*.yaml")),
    ]
}


@pytest.fixture(scope="module", autouse=True)
def _example(tmp_path_factory):
    with example_plugin.installed(tmp_path_factory.mktemp("plugin")):
        yield


@functools.cache
def validator(role=Role.LOCAL):
    made = schema(known(), role)
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


def told(document, role=Role.LOCAL):
    """Return where the schema finds something wrong."""
    return [error.json_path for error in validator(role).iter_errors(document)]


def completed(found):
    found = copy.deepcopy(SECTIONS) | found
    for source in found["sources"]:
        source.setdefault("sinks", ["made"])
    return found


def small(**changes):
    """Return the smallest document, with a changed source, sink or top."""
    made = copy.deepcopy(SECTIONS)
    made["sources"][0] |= changes.pop("source", {})
    made["sinks"][0] |= changes.pop("sink", {})
    return made | changes


def step(name, **others):
    return small(sink={"transformers": [{"name": name, **others}]})


def test_it_is_a_schema_of_the_draft_that_it_names():
    for role in Role:
        assert (
            validator(role).schema["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]
        )


def test_every_reference_leads_somewhere():
    made = schema(known())

    def references(value):
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            for each in value.values():
                yield from references(each)
        elif isinstance(value, list):
            for each in value:
                yield from references(each)

    found = set(references(made))
    assert len(found) > 10
    assert {reference.removeprefix("#/$defs/") for reference in found} <= made["$defs"].keys()


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_of_ours_is_valid(name):
    document = yaml.safe_load(FILES[name])
    if document.keys() & SECTIONS.keys():
        assert told(completed(document)) == []


def test_there_are_examples():
    assert len(EXAMPLES) >= 8


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_of_the_documentation_is_valid(name):
    assert told(completed(yaml.safe_load(EXAMPLES[name]))) == []


@pytest.mark.parametrize("role", Role)
def test_ceilometers_files(role):
    polling = {"sources": [{"name": "some", "interval": 300, "meters": ["cpu", "volume.size"]}]}
    pipeline = {
        "sources": [{"name": "meter_source", "meters": ["*"], "sinks": ["meter_sink"]}],
        "sinks": [{"name": "meter_sink", "publishers": ["console://"]}],
    }
    assert (told(polling, role) == []) == (role is Role.POLLING)
    assert told(pipeline, role) == []


WRONG = {
    "no sinks": ({"sources": SECTIONS["sources"]}, "$"),
    "a list at the top": ([], "$"),
    "an unknown section": (small(exporters=[]), "$"),
    "no sources": (small(sources=[]), "$.sources"),
    "an unknown key": (small(source={"intervall": 60}), "$.sources[0]"),
    "a refused key": (small(source={"counters": ["cpu"]}), "$.sources[0]"),
    "an interval of 0": (small(source={"interval": 0}), "$.sources[0].interval"),
    "an interval in words": (small(source={"interval": "60s"}), "$.sources[0].interval"),
    "an interval that is true": (small(source={"interval": True}), "$.sources[0].interval"),
    "meters that are a text": (small(source={"meters": "cpu"}), "$.sources[0].meters"),
    "no meters": (small(source={"meters": []}), "$.sources[0].meters"),
    "a bare !": (small(source={"meters": ["!"]}), "$.sources[0].meters[0]"),
    "names and exclusions": (small(source={"meters": ["cpu", "!disk.*"]}), "$.sources[0].meters"),
    "a name beside *": (small(source={"meters": ["*", "cpu"]}), "$.sources[0].meters"),
    "a sink twice": (small(source={"sinks": ["made", "made"]}), "$.sources[0].sinks"),
    "an unknown discovery": (small(source={"discovery": ["nova"]}), "$.sources[0].discovery[0]"),
    "a name with /": (small(sink={"name": "a/b"}), "$.sinks[0].name"),
    "a name with a dot before it": (small(sink={"name": ".a"}), "$.sinks[0].name"),
    "no publishers": (small(sink={"publishers": []}), "$.sinks[0].publishers"),
    "an unknown scheme": (small(sink={"publishers": ["gnoki://"]}), "$.sinks[0].publishers[0]"),
    "an option of the wrong type": (
        small(sink={"publishers": [{"url": "local://", "max_age": "soon"}]}),
        "$.sinks[0].publishers[0].max_age",
    ),
    "an option below its bound": (
        small(publishers={"a": {"url": "local", "max_age": 1}}),
        "$.publishers.a.max_age",
    ),
    "an unknown option": (
        small(publishers={"a": {"url": "local://x", "max_agee": 100}}),
        "$.publishers.a",
    ),
    "an option of another publisher": (
        small(publishers={"a": {"url": "console://", "max_age": 100}}),
        "$.publishers.a",
    ),
    "a publisher's name with :": (small(publishers={"a:b": "console"}), "$.publishers"),
    "an unknown transformer": (step("rate_of_chance"), "$.sinks[0].transformers[0].name"),
    "a step without a name": (
        small(sink={"transformers": [{"parameters": {}}]}),
        "$.sinks[0].transformers[0]",
    ),
    "an unknown key of a step": (step("bare", parameter={}), "$.sinks[0].transformers[0]"),
    "keep_original in words": (
        step("bare", keep_original="yes please"),
        "$.sinks[0].transformers[0].keep_original",
    ),
    "a required parameter is missing": (step("probe"), "$.sinks[0].transformers[0]"),
    "a parameter above its bound": (
        step("probe", parameters={"size": 11}),
        "$.sinks[0].transformers[0].parameters.size",
    ),
    "an unknown parameter": (
        step("probe", parameters={"size": 3, "sice": 3}),
        "$.sinks[0].transformers[0].parameters",
    ),
    "an unknown parameter of a parameter": (
        step("probe", parameters={"size": 3, "target": {"nam": "x"}}),
        "$.sinks[0].transformers[0].parameters.target",
    ),
    "an unknown parameter in one that may be left out": (
        step("rate_of_change", parameters={"target": {"nam": "x"}}),
        "$.sinks[0].transformers[0].parameters.target",
    ),
    "a wrong value deep inside what may be left out": (
        step("rate_of_change", parameters={"target": {"map_to": {"name": ["x"]}}}),
        "$.sinks[0].transformers[0].parameters.target.map_to.name",
    ),
    "a wrong item of a list that may be left out": (
        step("aggregator", parameters={"retention_time": 60, "group_by": [["x"]]}),
        "$.sinks[0].transformers[0].parameters.group_by[0]",
    ),
    "nothing where there must be something": (
        step("arithmetic", parameters={"target": None}),
        "$.sinks[0].transformers[0].parameters.target",
    ),
    "no list of a step's meters": (
        step("bare", meters="cpu"),
        "$.sinks[0].transformers[0].meters",
    ),
    "an empty name among a step's meters": (
        step("bare", meters=[""]),
        "$.sinks[0].transformers[0].meters[0]",
    ),
    "nothing for a source's meters": (small(source={"meters": None}), "$.sources[0].meters"),
    "a parameter of another transformer": (
        step("bare", parameters={"size": 3}),
        "$.sinks[0].transformers[0].parameters",
    ),
    "a test without what is given": (
        small(tests=[{"name": "t", "expect": []}]),
        "$.tests[0]",
    ),
    "a sample of an unknown type": (
        small(
            tests=[
                {
                    "name": "t",
                    "given": [{"meter": "m", "resource": "r", "at": 0, "volume": 1, "type": "x"}],
                    "expect": [],
                }
            ]
        ),
        "$.tests[0].given[0].type",
    ),
    "a sample with an unknown key": (
        small(
            tests=[
                {
                    "name": "t",
                    "given": [{"meter": "m", "resource": "r", "at": 0, "volume": 1}],
                    "expect": [{"meter": "m", "volumn": 1}],
                }
            ]
        ),
        "$.tests[0].expect[0]",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_where_it_stands(name):
    document, place = WRONG[name]
    assert place in told(document)


@pytest.mark.parametrize("name", [n for n, (d, _) in WRONG.items() if isinstance(d, dict)])
def test_what_the_schema_refuses_does_not_load_either(name, tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(yaml.safe_dump(WRONG[name][0]))
    with pytest.raises(ConfigError):
        load(path)


RIGHT = {
    "nothing behind keys that may be left out": small(
        source={"resources": None, "discovery": None},
        sink={"transformers": None},
        publishers=None,
        tests=None,
    ),
    "a step with nothing behind its keys": step(
        "bare", parameters=None, meters=None, keep_original=None
    ),
    "a discovery with a parameter": small(source={"discovery": ["libvirt:x"]}),
    "exclusions with patterns that begin with *": small(source={"meters": ["*.bytes", "!disk.*"]}),
    "a name from publishers": small(sink={"publishers": ["far"]}, publishers={"far": "console"}),
    "options in the query": small(sink={"publishers": ["file:///x?max_bytes=5"]}),
    "options beside the URL": small(
        sink={"publishers": [{"url": "sender://h?retries=3", "timeout": 7, "policy": "queue"}]}
    ),
    "all of a transformer": step(
        "probe",
        meters=["cpu", "made.by.another.step"],
        keep_original=True,
        parameters={"size": 3, "sizes": [1], "target": {"scale": "text", "type": "delta"}},
    ),
    "nothing for a parameter": step("probe", parameters={"size": 3, "target": None}),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_loads_is_valid(name, tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(yaml.safe_dump(RIGHT[name]))
    load(path)
    assert told(RIGHT[name]) == []


SEEN = [
    "counters", "events", "interval_negative", "interval_text", "interval_true",
    "interval_unit", "meters_empty", "meters_included_and_excluded", "meters_mapping",
    "meters_text", "meters_with_number", "name_empty", "name_slash", "publisher_mapping_option",
    "publisher_mapping_without_url", "publisher_unknown_scheme", "publishers_empty",
    "role_polling_coordination", "sinks_nothing", "source_without_meters", "sources_mapping",
    "transformer_unknown", "triggers", "unknown_section",
]  # fmt: skip


@pytest.mark.parametrize("name", SEEN)
def test_a_bad_file_is_refused(name):
    text = (BAD / f"{name}.yaml").read_text("utf-8")
    role = Role.POLLING if "# role: polling" in text else Role.LOCAL
    assert told(yaml.safe_load(text), role)


# -- what plugins declare ------------------------------------------------------------------------


class Word(plugins.Parsed):
    words = "a word"

    @classmethod
    def parse(cls, text):
        return cls()


class Colour(enum.Enum):
    RED = "red"


class Inner(msgspec.Struct):
    word: Word | None = None
    inner: "Inner | None" = None


class Outer(msgspec.Struct):
    need: Annotated[int, msgspec.Meta(ge=1, description="how many")]
    scale: Annotated[float | Word, msgspec.Meta(description="how much")] = 1.5
    inner: Annotated[Inner | None, msgspec.Meta(description="within")] = None
    colour: Colour = Colour.RED
    left_out: int | msgspec.UnsetType = msgspec.UNSET
    other: Annotated[complex | None, msgspec.Meta(description="no JSON")] = None


@pytest.fixture(scope="module")
def outer():
    definitions = {}
    made = object_schema(Outer, "p", definitions)
    return jsonschema.Draft202012Validator(made | {"$defs": definitions})


@pytest.mark.parametrize(
    ("document", "valid"),
    [
        ({"need": 1}, True),
        ({}, False),
        ({"need": 0}, False),
        ({"need": 1, "scale": 2}, True),
        ({"need": 1, "scale": "volume"}, True),
        ({"need": 1, "scale": True}, False),
        ({"need": 1, "scale": None}, False),
        ({"need": 1, "inner": None}, True),
        ({"need": 1, "inner": {"word": 10}}, True),
        ({"need": 1, "inner": {"word": None, "inner": {"word": "x"}}}, True),
        ({"need": 1, "inner": {"inner": {"wrd": "x"}}}, False),
        ({"need": 1, "inner": {"word": True}}, False),
        ({"need": 1, "colour": "red"}, True),
        ({"need": 1, "colour": "blue"}, False),
        ({"need": 1, "left_out": 3}, True),
        ({"need": 1, "left_out": "3"}, False),
        ({"need": 1, "other": ["anything"]}, True),
    ],
)
def test_the_schema_of_a_struct(outer, document, valid):
    assert outer.is_valid(document) is valid


def test_descriptions_and_defaults_are_there(outer):
    properties = outer.schema["properties"]
    assert properties["need"]["description"] == "how many"
    assert properties["need"]["minimum"] == 1
    assert (properties["scale"]["description"], properties["scale"]["default"]) == ("how much", 1.5)
    assert properties["inner"]["description"] == "within"
    assert {"description": "a word", "type": "string"} in properties["scale"]["anyOf"]


def test_what_an_editor_shows_of_names():
    made = schema(known())["$defs"]
    names = {each["const"]: each for each in made["transformer"]["properties"]["name"]["oneOf"]}
    filtering = "Lets samples through for which a condition holds; to leave others out is no fault."
    assert names["filter"]["description"] == filtering
    assert all(each["description"].endswith(".") for each in names.values())
    described = {
        each["if"]["properties"]["name"]["const"]: each["then"]["properties"]["parameters"]
        for each in made["transformer"]["allOf"]
    }
    assert described["filter"]["description"] == filtering
    assert made["transformer"]["properties"]["parameters"]["description"]
    urls = made["publisher_url"]["allOf"]
    (console,) = (each for each in urls if "console" in each["if"]["pattern"])
    assert console["then"]["description"].endswith(".")


def test_what_is_wrong_inside_is_told_once_and_there():
    document = step("rate_of_change", parameters={"target": {"max": 5, "scael": 2}})
    assert told(document) == ["$.sinks[0].transformers[0].parameters.target"]


def test_a_plugin_that_cannot_be_used_is_left_out_and_told():
    said = []
    made = schema(known(), tell=said.append)
    assert sorted(reason.partition(" cannot")[0].partition(" (")[0] for reason in said) == [
        "the publisher 'broken'",
        "the publisher 'odd'",
    ]
    assert "broken" not in made["$defs"]["publisher_url"]["pattern"]


def test_without_any_plugin_it_is_a_schema_too(monkeypatch):
    monkeypatch.setattr(plugins, "names", lambda _namespace: [])
    made = schema([])
    jsonschema.Draft202012Validator.check_schema(made)
    found = jsonschema.Draft202012Validator(made)
    assert not found.is_valid(small(sink={"publishers": ["console://"]}))
