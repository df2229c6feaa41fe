# SPDX-License-Identifier: Apache-2.0
"""What operators may say of requests over HTTP, whatever library sends them."""

from __future__ import annotations

import re
from typing import Annotated, Final, TypeVar

import msgspec

from ceilo_agent.definition.secret import Secret
from ceilo_agent.errors import Misfit
from ceilo_agent.plugins import OwnFiles
from ceilo_agent.publishers.named_files import NamedFiles

Seconds = Annotated[float, msgspec.Meta(ge=0.1, le=3600)]
"""How long a request may take."""

BatchSize = Annotated[
    Annotated[int, msgspec.Meta(ge=1, le=100_000)],
    msgspec.Meta(description="Samples in a request at most."),
]

_TRUTHS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

_Given = TypeVar("_Given", bool, bool | None)


def checked_verify_ssl(value: _Given | str) -> _Given | str:
    """Return a `verify_ssl`: what says true or false as such, anything else as it is.

    Raises:
        Misfit: it is a relative path, or another word.
    """
    if not isinstance(value, str):
        return value
    truth = _TRUTHS.get(value.lower())
    if truth is not None:
        return truth
    if not value.startswith("/"):
        what = "true, false or the absolute path of a file of certificates was expected"
        raise Misfit(f"option 'verify_ssl': {what}", "verify_ssl")
    return value


class WebOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What every publisher over HTTP takes; the names are those of Ceilometer's `http`."""

    timeout: Annotated[
        Seconds,
        msgspec.Meta(
            description="Seconds that a request may take from the connection to the end of the "
            "reply."
        ),
    ] = 30.0
    batch_size: BatchSize = 1000
    verify_ssl: Annotated[
        bool | str,
        msgspec.Meta(
            description="true: the server's certificate must be signed by one of the authorities "
            "that Python's requests knows; a path: by one in this file; false: any will do."
        ),
    ] = True
    clientcert: Annotated[
        str | None,
        msgspec.Meta(description="The file of the certificate that is shown to the server, PEM."),
    ] = None
    clientkey: Annotated[
        str | None,
        msgspec.Meta(description="The file of its key, without it clientcert has both."),
    ] = None
    username: Annotated[
        str | None,
        msgspec.Meta(description="For basic authentication, in place of one in the URL."),
    ] = None
    password: Annotated[Secret | None, msgspec.Meta(description="Goes with username.")] = None
    bearer_token: Annotated[
        Secret | None, msgspec.Meta(description="Sent as ``Authorization: Bearer``.")
    ] = None
    headers: Annotated[
        dict[str, Secret],
        msgspec.Meta(description="Headers to send besides, by name; each value as a password is."),
    ] = {}
    proxy: Annotated[
        str | None,
        msgspec.Meta(
            description="The URL of a proxy to go through; those of the environment are not used."
        ),
    ] = None

    def __post_init__(self) -> None:
        self.verify_ssl = checked_verify_ssl(self.verify_ssl)
        if self.clientkey is not None and self.clientcert is None:
            raise Misfit("option 'clientkey' needs clientcert", "clientkey")
        if self.password is not None and self.username is None:
            raise Misfit("option 'password' needs username", "password")
        if self.proxy is not None and not re.match("https?://[^/]", self.proxy):
            raise Misfit("option 'proxy': http://host:port was expected", "proxy")
        if self.bearer_token is not None and self.username is not None:
            raise Misfit("there is a username and a bearer_token: one will do", "bearer_token")

    def read_files(self) -> OwnFiles:
        """Look at the files of certificates and secrets.

        Raises:
            ConfigError: some are not there, or hold something else.
        """
        files = NamedFiles()
        if isinstance(self.verify_ssl, str):
            files.authorities("verify_ssl", self.verify_ssl)
        files.certificate("clientcert", self.clientcert, "clientkey", self.clientkey)
        files.secret("password", self.password)
        files.secret("bearer_token", self.bearer_token)
        for name, secret in self.headers.items():
            files.secret(f"headers.{name}", secret)
        return files.own()
