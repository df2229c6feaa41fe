# SPDX-License-Identifier: Apache-2.0
"""What editors say of files of dynamic pollsters by their schema."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml

from ceilo_agent.definition.pollsters.files import shipped_files
from ceilo_agent.definition.pollsters.schema import schema
from tests.pages import ROOT

VALIDATOR = jsonschema.Draft202012Validator(schema())
GOOD = [*shipped_files(), ROOT / "doc" / "examples" / "pollsters" / "rooms.yaml"]
BAD = ROOT / "tests" / "bad_pollsters"
SEEN = (
    "authentication_text", "authentication_type", "authentication_type_missing",
    "authentication_unknown_key", "barbican", "base_metadata", "command_empty", "command_mapping",
    "concurrency_fraction", "discovery", "empty_key", "empty_status", "further_cache_negative",
    "further_in_further", "further_lacks", "further_skip_list", "further_text",
    "further_unknown_key", "headers_text", "headers_value_list", "kind_blank", "max_pages_zero",
    "max_response_bytes_text", "metadata_fields_mapping_in_list", "metadata_mapping_list",
    "method", "missing_all", "missing_name", "module", "namespaces_empty", "namespaces_number",
    "no_list", "rate_negative", "response_handlers_empty", "response_handlers_text",
    "response_handlers_unknown", "retries_many", "sample_type", "sample_type_number",
    "several_at_once", "skip_sample_values_text", "text_in_list", "timeout_none", "timeout_text",
    "timeout_true", "timeout_zero", "tls_unknown_key", "unit_blank", "unit_number", "unknown_key",
    "unknown_key_far", "value_at_top", "value_list", "value_mapping_list",
)  # fmt: skip


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_good_files_are_good(path: Path) -> None:
    assert list(VALIDATOR.iter_errors(yaml.safe_load(path.read_text("utf-8")))) == []


@pytest.mark.parametrize("name", SEEN)
def test_mistakes_of_form_are_seen(name: str) -> None:
    document = yaml.safe_load((BAD / f"{name}.yaml").read_text("utf-8"))
    assert not VALIDATOR.is_valid(document)


def test_a_key_may_have_nothing_behind_it() -> None:
    given = {"name": "a", "sample_type": "gauge", "unit": "b", "value_attribute": "c"}
    properties = schema()["$defs"]["pollster"]["properties"]
    VALIDATOR.validate([given | {key: None for key in properties if key not in given}])
