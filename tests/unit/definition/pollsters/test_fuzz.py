# SPDX-License-Identifier: Apache-2.0
"""Whatever a file of definitions holds: definitions or faults, each at a place in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from ceilo_agent.definition.pollsters import examine
from ceilo_agent.definition.pollsters.written import REFUSED, WrittenField, WrittenPollster
from tests.fuzzing import twice

KEYS = sorted({*WrittenPollster.__struct_fields__, *WrittenField.__struct_fields__, *REFUSED, "x"})
WORDS = [
    "a", "a.b", "a.{b}", "[a].b", "[a].b | value", "[a", "a | value", "a | value +", ". | sample",
    "'x' + project['id']", "'x' + sample['id']", "'x", "http://h/p", "http://u:p@h/", "http://[",
    "gauge", "GET", "HEAD", "projects", "resources", "json", "headers", "file:/a", "env:A", "env:",
    "basic", "token", "s3", "central", "df | x", "", " ", "\n", "é", "\U0001f600", "1", "-1", "NaN",
    "x" * 300,
]  # fmt: skip
scalars = (
    st.sampled_from(WORDS) | st.none() | st.booleans() | st.integers(-5, 100) | st.floats()
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=5)
)  # fmt: skip
inner_keys = st.sampled_from([*KEYS, "type", "username", "password", "cafile", "insecure", "1", ""])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(inner_keys, inner, max_size=4),
    max_leaves=8,
)
MUST = ("name", "sample_type", "unit", "value_attribute", "discovery")
pollsters = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["a", "a.{b}"]) | values,
        "sample_type": st.just("gauge") | values,
        "unit": st.just("u") | values,
        "value_attribute": st.sampled_from(["v", "[v].w"]) | values,
        "discovery": st.just("resources") | values,
    },
    optional={key: values for key in KEYS if key not in MUST},
)


def anything(tmp_path: Path, document: Any) -> None:
    file = tmp_path / "pollsters.yaml"
    file.write_text(yaml.safe_dump(document, allow_unicode=True), "utf-8")
    lines = file.read_text("utf-8").split("\n")
    found = examine([file])
    for fault in (*found.faults, *found.warnings):
        assert fault.what
        assert len((fault.what + fault.hint).splitlines()) == 1
        assert 0 <= fault.line <= len(lines)


test_pollsters, test_pollsters_long = twice(
    anything, st.lists(pollsters, max_size=2), short=200, long=4_000
)
test_values, test_values_long = twice(anything, values, short=100, long=2_000)
