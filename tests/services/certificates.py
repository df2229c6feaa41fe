# SPDX-License-Identifier: Apache-2.0
"""Certificates that sign themselves, and TLS for a server with them."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple


class Certificate(NamedTuple):
    """A certificate that signs itself, and its key: the paths of two PEM files."""

    cert: Path
    key: Path


def certificate(directory: Path, host: str = "127.0.0.1", *, expired: bool = False) -> Certificate:
    """Make a certificate for a host with the openssl command."""
    made = Certificate(directory / f"{host}.crt", directory / f"{host}.key")
    kind = "IP" if host.replace(".", "").isdigit() else "DNS"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", f"/CN={host}"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-addext", f"subjectAltName={kind}:{host}"),
            *("-keyout", str(made.key), "-out", str(made.cert)),
        ],
        check=True,
        capture_output=True,
    )
    if expired:
        files = ("-in", str(made.cert), "-signkey", str(made.key), "-out", str(made.cert))
        subprocess.run(["openssl", "x509", "-days", "-1", *files], check=True, capture_output=True)
    return made


def tls(own: Certificate, client: Certificate | None = None) -> ssl.SSLContext:
    """Return what a server needs for TLS; with `client`, only who shows that one may ask."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.cert, own.key)
    if client is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client.cert)
    return context
