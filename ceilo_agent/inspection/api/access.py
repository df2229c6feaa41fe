# SPDX-License-Identifier: Apache-2.0
"""Who asks: what a definition's ``authentication`` says, as headers of a request.

Secrets in files and in the environment are read for each request: what another program renews is
taken as it comes.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from ceilo_agent.discovery.api.unit import CloudLike, Unit
from ceilo_agent.errors import Unavailable
from ceilo_agent.inspection.api.answer import Access, Unanswered
from ceilo_agent.inspection.api.signing import signed

_UNFIT: Final = re.compile(r"[^\x20-\x7e\x80-\xff]")


class Headers:
    """Makes headers of what a definition says.

    Args:
        make: returns them for a method and a URL.
    """

    def __init__(self, make: Callable[[str, str], Mapping[str, str]]) -> None:
        self._make = make

    def headers(self, method: str, url: str) -> Mapping[str, str]:
        """Return the headers that let a request in.

        Raises:
            Unanswered: a secret cannot be read, or sent.
        """
        try:
            made = self._make(method, url)
        except UnicodeError as error:
            raise Unanswered("a secret of its authentication is no UTF-8") from error
        except OSError as error:
            raise Unanswered(
                f"a secret of its authentication cannot be read: {error.filename}: {error.strerror}"
            ) from error
        except LookupError as error:
            raise Unanswered(
                f"a secret of its authentication is not in the environment: {error.args[0]}"
            ) from error
        if any(map(_UNFIT.search, made.values())):
            raise Unanswered("a secret of its authentication holds what no header can")
        return made

    def rejected(self) -> bool:
        """Return that nothing else can be said."""
        return False


class Keystone:
    """Shows a token of Keystone.

    Args:
        cloud: gives it; None: the agent has no credentials.
    """

    def __init__(self, cloud: CloudLike | None) -> None:
        self._cloud = cloud

    def headers(self, method: str, url: str) -> Mapping[str, str]:
        """Return the headers that let a request in.

        Raises:
            Unanswered: Keystone cannot be asked now.
        """
        del method, url
        if self._cloud is None:
            raise Unanswered("it takes a token of Keystone, and [service_credentials] gives none")
        try:
            return self._cloud.headers()
        except Unavailable as error:
            raise Unanswered(str(error)) from error

    def rejected(self) -> bool:
        """Ask for another token next time."""
        if self._cloud is not None:
            self._cloud.rejected()
        return self._cloud is not None


def access_of(authentication: Any, unit: Unit) -> Access:
    """Return what lets the requests of a unit in.

    Without an ``authentication`` an endpoint of the cloud is shown a token of Keystone, and what a
    file names by its URL is shown nothing.

    Args:
        authentication: of the definition, None without one.
        unit: whose requests.
    """
    if authentication is None:
        return Keystone(unit.cloud) if unit.base and not unit.static else Headers(_nothing)
    known: dict[str, Callable[[], Access]] = {
        "none": lambda: Headers(_nothing),
        "keystone": lambda: Keystone(unit.cloud),
        "basic": lambda: Headers(lambda *_: _basic(authentication)),
        "token": lambda: Headers(lambda *_: _token(authentication)),
        "s3": lambda: Headers(lambda method, url: _s3(authentication, method, url)),
    }
    return known[authentication.type]()


def _nothing(*_: str) -> Mapping[str, str]:
    return {}


def _basic(authentication: Any) -> Mapping[str, str]:
    pair = f"{authentication.username}:{authentication.password.read()}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _token(authentication: Any) -> Mapping[str, str]:
    token = authentication.token.read()
    header = authentication.header or "Authorization"
    return {header: f"Bearer {token}" if header.lower() == "authorization" else token}


def _s3(authentication: Any, method: str, url: str) -> Mapping[str, str]:
    if authentication.access_key is None or authentication.secret_key is None:
        raise Unanswered("its authentication lacks a key, and [rgw_admin_credentials] has none")
    return signed(
        method,
        url,
        authentication.access_key.read(),
        authentication.secret_key.read(),
        authentication.region or "us-east-1",
        time.time(),
    )
