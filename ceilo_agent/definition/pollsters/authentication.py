# SPDX-License-Identifier: Apache-2.0
"""Who asks an API, and how a server is known: no secret stands in a definition itself."""

from __future__ import annotations

import os
import re
from typing import Final, Literal, Self

import msgspec

from ceilo_agent.definition.secret import Secret
from ceilo_agent.errors import Malformed, Misfit

_FILE: Final = "file:"
_VARIABLE: Final = "env:"
_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class SecretElsewhere(Secret):
    """A secret in a file, ``file:/path``, or in a variable of the environment, ``env:NAME``.

    It is read at each use.
    """

    words = "file:/path or env:NAME, where the secret is"
    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the place that an operator wrote.

        Raises:
            Malformed: it is no such place. Others can read a definition.
        """
        if text.startswith(_VARIABLE):
            if not _NAME.fullmatch(text.removeprefix(_VARIABLE)):
                raise Malformed("the name of a variable was expected behind env:", len(_VARIABLE))
        elif not text.startswith(_FILE):
            what = "a secret does not stand in a definition, which others can read"
            raise Malformed(what, 0, "write file:/path or env:NAME, where it is")
        return super().parse(text)

    def read(self) -> str:
        """Return the secret itself.

        Raises:
            OSError: the file cannot be read.
            LookupError: there is no such variable; it is named.
            UnicodeDecodeError: it is no UTF-8.
        """
        if self._text.startswith(_VARIABLE):
            name = self._text.removeprefix(_VARIABLE)
            found = os.environ.get(name)
            if found is None:
                raise LookupError(name)
            return found
        return super().read()

    def __repr__(self) -> str:
        return f"<Secret in {self._text.removeprefix(_FILE)}>"


class Authentication(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who asks; which attributes count depends on the type.

    Attributes:
        type: none, basic, token, keystone or s3.
        username: for basic.
        password: for basic.
        token: for token.
        header: for token: where it is shown; None: Authorization, after ``Bearer``.
        access_key: for s3; None: that of ``[rgw_admin_credentials]``.
        secret_key: for s3; None: likewise.
        region: for s3.
    """

    type: Literal["none", "basic", "token", "keystone", "s3"]
    username: str | None = None
    password: SecretElsewhere | None = None
    token: SecretElsewhere | None = None
    header: str | None = None
    access_key: SecretElsewhere | None = None
    secret_key: SecretElsewhere | None = None
    region: str | None = None

    def __post_init__(self) -> None:
        """Refuse what does not go with the type.

        Raises:
            Misfit: it lacks something, or has what belongs to another type.
        """
        required, optional = _OF_TYPE[self.type]
        for key in self.__struct_fields__:
            if key == "type":
                continue
            given = getattr(self, key) is not None
            if key in required and not given:
                raise Misfit(f"the type {self.type} takes '{key}'", "type")
            if given and key not in required + optional:
                raise Misfit(f"the type {self.type} takes no '{key}'", key)
        if (self.access_key is None) != (self.secret_key is None):
            raise Misfit("'access_key' goes with 'secret_key'", "type")
        if self.header is not None and not HEADER.fullmatch(self.header):
            raise Misfit("the name of a header was expected", "header")


_OF_TYPE: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "none": ((), ()),
    "basic": (("username", "password"), ()),
    "token": (("token",), ("header",)),
    "keystone": ((), ()),
    "s3": ((), ("access_key", "secret_key", "region")),
}
"""What each type must have, and what it may have."""

HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""The name of a header, RFC 9110 section 5.1."""


class TlsFiles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a server's certificate is looked at, and which one is shown to it: paths of PEM files."""

    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        """Refuse what does not go together.

        Raises:
            Misfit: a relative path, a key without its certificate, a check of nothing.
        """
        for key in ("cafile", "certfile", "keyfile"):
            path = getattr(self, key)
            if path is not None and not path.startswith("/"):
                raise Misfit(f"'{key}': the path must begin with /", key)
        if self.keyfile is not None and self.certfile is None:
            raise Misfit("'keyfile' goes with 'certfile'", "keyfile")
        if self.insecure and self.cafile is not None:
            raise Misfit("'insecure' looks at no certificate: 'cafile' has no use", "cafile")
