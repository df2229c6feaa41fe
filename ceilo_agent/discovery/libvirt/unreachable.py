# SPDX-License-Identifier: Apache-2.0
"""What to tell an operator when libvirt cannot be reached, and the next step.

The parts of a URI are those of https://libvirt.org/uri.html.
"""

from __future__ import annotations

import errno
import os
import pwd
from typing import Final
from urllib.parse import urlsplit

import libvirt

DAEMONS: Final = "libvirtd or virtqemud"

RUNS: Final = f"is {DAEMONS} running? See 'systemctl status libvirtd virtqemud'"

_TRANSPORTS: Final = {"ssh", "libssh", "libssh2", "tcp", "tls", "ext"}


def is_local(uri: str) -> bool:
    """Whether a URI leads to a unix socket of this machine, or to a driver inside the process."""
    parts = urlsplit(uri)
    return not parts.hostname and parts.scheme.partition("+")[2] not in _TRANSPORTS


def explain(uri: str, error: libvirt.libvirtError) -> str:
    """Say that the hypervisor cannot be reached, why, and what to look at."""
    text = str(error).strip()
    return f"libvirt at {uri} cannot be reached: {text} ({_next_step(uri, error, text)})"


def explain_silence(uri: str) -> str:
    """Say that the connection was taken, or is on its way, and nothing comes back."""
    if is_local(uri):
        step = f"{DAEMONS} does not answer: is it just starting, stopped or overloaded?"
    else:
        step = "the network, or the libvirt daemon there, does not answer"
    return f"libvirt at {uri} does not answer ({step})"


def _next_step(uri: str, error: libvirt.libvirtError, text: str) -> str:
    code = error.get_error_code()
    if code in (libvirt.VIR_ERR_AUTH_FAILED, libvirt.VIR_ERR_AUTH_CANCELLED):
        return "the daemon wants to know who asks: see auth_unix_ro in libvirtd.conf"
    if code in (libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_INVALID_ARG):
        return "is [libvirt] uri right?"
    if not is_local(uri):
        return "is that host up, and may this one reach its libvirt daemon?"
    # libvirt gives no code of its own for what the system said.
    said = {
        errno.EACCES: f"user {_user()} may not open it: see unix_sock_ro_perms in libvirtd.conf",
        errno.ENOENT: f"the socket is not there: {RUNS}",
        errno.ECONNREFUSED: f"nobody serves the socket: {RUNS}",
    }
    return next((step for number, step in said.items() if os.strerror(number) in text), RUNS)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
