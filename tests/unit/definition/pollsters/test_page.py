# SPDX-License-Identifier: Apache-2.0
"""The page about dynamic pollsters says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ceilo_agent.definition.pollsters import load
from ceilo_agent.definition.pollsters.written import WrittenPollster
from ceilo_agent.expressions.functions import FUNCTIONS
from ceilo_agent.expressions.methods import METHODS
from ceilo_agent.expressions.value import Value
from tests.pages import ROOT, blocks

PAGE = ROOT / "doc" / "source" / "dynamic_pollsters.rst"
EXAMPLES = ROOT / "doc" / "examples" / "pollsters"
TEXTS = {block.name: block.text for block in blocks(PAGE)}


@pytest.mark.parametrize("text", TEXTS["pollster-values"].splitlines())
def test_a_value_of_the_page_can_be_read(text: str) -> None:
    Value.parse(text)


@pytest.mark.parametrize("text", TEXTS["pollster-authentication"].splitlines())
def test_a_way_in_of_the_page_can_be_read(text: str, tmp_path: Path) -> None:
    file = tmp_path / "pollsters.yaml"
    file.write_text(
        "- name: a\n  sample_type: gauge\n  unit: b\n  value_attribute: c\n"
        f"  url_path: http://d/\n  {text}\n"
    )
    assert load([file])[0].authentication is not None


def test_the_table_has_every_key_and_no_other() -> None:
    table = PAGE.read_text("utf-8").split("\nKeys\n")[1].split("\nPaths and operations\n")[0]
    named = re.findall(r"^   \* - (.*)$", table, re.MULTILINE)
    keys = {key for line in named for key in re.findall(r"``(\w+)``", line)}
    assert keys == set(WrittenPollster.__struct_fields__)


def test_the_functions_and_methods_are_those_that_there_are() -> None:
    text = " ".join(PAGE.read_text("utf-8").split())
    assert f"the functions ``{' '.join(sorted(FUNCTIONS))}``" in text
    named = re.search(r"the methods ``([\w ]+)`` of texts and ``([\w ]+)`` of mappings", text)
    assert named is not None
    of_texts = [name for name, method in METHODS.items() if method.of is str]
    of_mappings = [name for name, method in METHODS.items() if method.of is dict]
    assert (named[1].split(), named[2].split()) == (of_texts, of_mappings)


def test_the_example_says_what_the_page_says() -> None:
    rooms = load([EXAMPLES / "rooms.yaml"])
    assert [each.name for each in rooms] == [
        "room.temperature",
        "room.heating",
        "room.power.{label}",
    ]
    assert len({(each.url_path, each.next_sample_url_attribute) for each in rooms}) == 1
