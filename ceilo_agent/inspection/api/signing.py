# SPDX-License-Identifier: Apache-2.0
"""Signs requests as S3 and RADOS Gateway's admin API want them: AWS Signature Version 4.

See https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

_NOTHING: Final = hashlib.sha256(b"").hexdigest()
_SAFE: Final = "-_.~"
_ALGORITHM: Final = "AWS4-HMAC-SHA256"


def signed(
    method: str, url: str, access_key: str, secret_key: str, region: str, moment: float
) -> dict[str, str]:
    """Return the headers that sign a request without a body.

    Args:
        method: of the request.
        url: absolute.
        access_key: names who asks.
        secret_key: signs.
        region: of the service; RADOS Gateway takes any.
        moment: now, UTC seconds.
    """
    parts = urlsplit(url)
    stamp = datetime.fromtimestamp(moment, UTC).strftime("%Y%m%dT%H%M%SZ")
    pairs = sorted(
        (quote(name, _SAFE), quote(value, _SAFE))
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    )
    headers = {
        "host": parts.netloc.rpartition("@")[2],
        "x-amz-content-sha256": _NOTHING,
        "x-amz-date": stamp,
    }
    names = ";".join(headers)
    request = "\n".join(
        [
            method,
            quote(unquote(parts.path or "/"), "/" + _SAFE),
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{value}" for name, value in headers.items()),
            "",
            names,
            _NOTHING,
        ]
    )
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = f"AWS4{secret_key}".encode()
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    text = "\n".join([_ALGORITHM, stamp, scope, digest])
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return {
        "x-amz-date": stamp,
        "x-amz-content-sha256": _NOTHING,
        "Authorization": f"{_ALGORITHM} Credential={access_key}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}",
    }
