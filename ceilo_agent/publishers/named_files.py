# SPDX-License-Identifier: Apache-2.0
"""The files that a publisher's options name, looked at before it is opened and all at once."""

from __future__ import annotations

import os
import ssl
import stat

from ceilo_agent.definition.secret import Secret
from ceilo_agent.errors import ConfigError, Fault
from ceilo_agent.plugins import OwnFiles


class NamedFiles:
    """Looks at files, one option after the other; `own` says what came of it."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._denied: list[Fault] = []

    def secret(self, option: str, secret: Secret | None) -> None:
        """Look whether a secret can be read, if it is in a file."""
        if secret is None or secret.path is None or not self._is_readable(option, str(secret.path)):
            return
        try:
            if secret.path.is_file():  # to read a pipe would take the secret out of it
                secret.read()
        except OSError as error:
            self._fault(option, _unreadable(str(secret.path), error))
        except UnicodeDecodeError:
            self._fault(option, f"{secret.path} is no UTF-8")

    def authorities(self, option: str, path: str | None) -> None:
        """Look whether a file holds certificates of who signs others."""
        if path is None or not self._is_readable(option, path):
            return
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except (OSError, ValueError):
            self._fault(option, f"{path} holds no certificate in PEM")

    def certificate(self, option: str, path: str | None, key_option: str, key: str | None) -> None:
        """Look whether a file holds a certificate, and it or another one the key to it."""
        if path is None:
            return
        readable = self._is_readable(option, path)
        if key is not None:
            readable &= self._is_readable(key_option, key)
        if not readable:
            return
        asked = False

        def ask() -> bytes:
            nonlocal asked
            asked = True
            return b""

        try:
            # Without `ask` OpenSSL would ask on the terminal for the passphrase of a key.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(path, key, password=ask)
        except (OSError, ValueError) as error:
            where = path if key is None else f"{path} and {key}"
            why = getattr(error, "reason", None) or "PEM was expected"
            if asked:
                why = "the key has a passphrase, which nobody is there to give"
            self._fault(option, f"no certificate with its key in {where}: {why}")

    def own(self) -> OwnFiles:
        """Return what was found.

        Raises:
            ConfigError: files that are not there or hold something else, all of them.
        """
        if self._faults:
            raise ConfigError(self._faults)
        return OwnFiles(denied=tuple(self._denied))

    def _is_readable(self, option: str, path: str) -> bool:
        try:
            # Who opens a pipe would wait for its writer.
            number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except PermissionError as error:
            self._denied.append(_told(option, _unreadable(path, error)))
            return False
        except (OSError, ValueError) as error:
            self._fault(option, _unreadable(path, error))
            return False
        try:
            if stat.S_ISDIR(os.fstat(number).st_mode):
                self._fault(option, f"{path} is a directory, a file was expected")
                return False
        finally:
            os.close(number)
        return True

    def _fault(self, option: str, what: str) -> None:
        self._faults.append(_told(option, what))


def _told(option: str, what: str) -> Fault:
    return Fault(f"option '{option}'", 0, 0, what)


def _unreadable(path: str, error: OSError | ValueError) -> str:
    return f"{path} cannot be read: {getattr(error, 'strerror', None) or error}"
