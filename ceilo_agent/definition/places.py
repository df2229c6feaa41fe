# SPDX-License-Identifier: Apache-2.0
"""Where the pipeline file is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

from ceilo_agent import options
from ceilo_agent.errors import ConfigError, Fault

INSTALLED: Final = Path(sys.prefix) / "etc" / "ceilo_agent" / "pipeline.yaml"
"""The file that was installed beside the package."""


def find_pipeline_file(conf: Any) -> Path:
    """Return the path of the pipeline file: the option's, else the first that exists.

    A file that is there and cannot be read is returned all the same: loading it says why, and
    another in its place would be a surprise.

    Raises:
        ConfigError: there is none; the fault names the places.
    """
    if conf.pipeline_cfg_file:
        return Path(conf.pipeline_cfg_file)
    places = (*options.PIPELINE_PLACES, INSTALLED)
    for place in places:
        if may_exist(place):
            return place
    what = f"no pipeline file at {', '.join(map(str, places))}"
    hint = "name one with pipeline_cfg_file in [DEFAULT]"
    raise ConfigError([Fault("pipeline.yaml", 0, 0, what, hint)])


def may_exist(place: Path) -> bool:
    """Return whether a file is there, or cannot be looked at."""
    try:
        place.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
