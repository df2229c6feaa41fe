# SPDX-License-Identifier: Apache-2.0
"""Our own golden cases, the shipped file and the documentation's, by `ceilo-agent config test`."""

import pytest
import yaml
from click.testing import CliRunner

from ceilo_agent.cli.main import main
from tests import example_plugin
from tests.pages import PAGES, ROOT, blocks

FILES = [*sorted((ROOT / "tests" / "golden").glob("*.yaml")), ROOT / "etc" / "pipeline.yaml"]
FAILING = "failing"
"""An example of a test that fails: `failing-file`, and what is said of it in `failing-output`."""


def has_tests(block):
    found = yaml.safe_load(block.text) if block.language == "yaml" else None
    return isinstance(found, dict) and "tests" in found


BLOCKS = [block for page in PAGES for block in blocks(page) if has_tests(block)]


@pytest.fixture(scope="module", autouse=True)
def _example(tmp_path_factory):
    with example_plugin.installed(tmp_path_factory.mktemp("plugin")):
        yield


def run(path):
    result = CliRunner().invoke(main, ["config", "test", str(path)], standalone_mode=False)
    assert result.exception is None, result.exception
    return result.return_value, result.output


def assert_passes(path):
    code, output = run(path)
    assert code == 0, output
    assert output.endswith(" passed, 0 failed\n"), "there are tests"


def test_there_are_golden_files():
    assert len(FILES) >= 12


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_does_what_its_tests_say(path):
    assert_passes(path)


@pytest.mark.parametrize("block", [b for b in BLOCKS if not b.name.startswith(FAILING)], ids=str)
def test_an_example_of_the_documentation_does_what_its_tests_say(block, tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(block.text, "utf-8")
    assert_passes(path)


def test_a_failure_is_shown_as_the_documentation_says(tmp_path, monkeypatch):
    by_name = {block.name: block.text for page in PAGES for block in blocks(page)}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline.yaml").write_text(by_name["failing-file"], "utf-8")
    command, *said = by_name["failing-output"].splitlines()
    assert command == "$ ceilo-agent config test pipeline.yaml"
    assert run("pipeline.yaml") == (1, "\n".join(said) + "\n")
