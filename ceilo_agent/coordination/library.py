# SPDX-License-Identifier: Apache-2.0
"""tooz, loaded only by agents that share, and without a word.

See https://docs.openstack.org/tooz/latest/.
"""

from __future__ import annotations

import warnings
from typing import Any


def coordination() -> Any:
    """Return tooz's module of drivers."""
    _load()
    from tooz import coordination as found  # noqa: PLC0415

    return found


def hashring() -> Any:
    """Return tooz's module of rings."""
    _load()
    from tooz import hashring as found  # noqa: PLC0415

    return found


def _load() -> None:
    """Load what its drivers import, which warns of a library that nobody uses here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import futurist  # noqa: F401, PLC0415
        import tooz.coordination  # noqa: F401, PLC0415
