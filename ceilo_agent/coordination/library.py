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


def tell_at_once() -> None:
    """Have tooz's Redis driver say at once that Redis is away.

    Its client tries a call again for up to a minute, by which time a member has been forgotten that
    could have reached another Redis; the membership tries again by itself.
    """
    _load()
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415
    from tooz.drivers.redis import RedisDriver  # noqa: PLC0415

    made: Any = RedisDriver._make_client  # noqa: SLF001 - tooz passes no such option on
    if getattr(made, "__module__", "") == __name__:
        return

    def make_client(*arguments: Any) -> Any:
        client = made(*arguments)
        client.set_retry(Retry(NoBackoff(), 0))
        return client

    setattr(RedisDriver, "_make_client", staticmethod(make_client))  # noqa: B010 - for mypy


def _load() -> None:
    """Load what its drivers import, which warns of a library that nobody uses here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import futurist  # noqa: F401, PLC0415
        import tooz.coordination  # noqa: F401, PLC0415
