# SPDX-License-Identifier: Apache-2.0
"""A directory for pipelines."""

import pytest

from tests.unit.pipeline.workbench import Bench


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)
