# SPDX-License-Identifier: Apache-2.0
"""Whatever is in a file, it is checked and drawn without an exception, for every role."""

import pytest
from hypothesis import strategies as st

from ceilo_agent.cli.config.drawing import drawing
from ceilo_agent.definition.pipeline import Role
from ceilo_agent.pipeline.checking import check
from ceilo_agent.pipeline.graph import draw
from ceilo_agent.pipeline.mermaid import mermaid
from tests.fuzzing import twice
from tests.pages import ROOT

SEEDS = [(ROOT / "etc" / "pipeline.yaml").read_text("utf-8").partition("\ntests:")[0]]
SEEDS += [path.read_text("utf-8") for path in sorted(ROOT.glob("tests/golden/*.yaml"))]
PIECES = st.sampled_from(
    ["sinks", "name", "meters", "cpu", "*", "!", "[", "]", "{", "}", ": ", "- ", ", ", "'", "\n",
     "~", "\n  ", "store", "host", "60", "s", "keep_original: true", "local://u:p@h/x?a=b", "é",
     "&a ", "*a", "parameters", "filter", "unit", "volume", "$(cpu)", "true"],
)  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "pipeline.yaml"


def of_mutated_files(path, data):
    text = data.draw(st.sampled_from(SEEDS))
    for _ in range(data.draw(st.integers(0, 3))):
        begin = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(begin, min(len(text), begin + 10)))
        text = text[:begin] + data.draw(PIECES) + text[end:]
    path.write_text(text, "utf-8")
    report = check(path, data.draw(st.sampled_from(Role)))
    for told in (*report.faults, *report.warnings):
        assert "\n" not in str(told)
        assert (told.line == 0) == (told.column == 0)
    assert set(report.subjects) <= set(report.warnings)
    if not report.faults:
        graph = draw(report)
        assert "u:p" not in drawing(graph) + mermaid(graph)
        assert {edge.start for edge in graph.edges} | {edge.end for edge in graph.edges} <= {
            node.id for node in graph.nodes
        }


test_mutated_files, test_mutated_files_long = twice(
    of_mutated_files, st.data(), short=80, long=5_000
)
