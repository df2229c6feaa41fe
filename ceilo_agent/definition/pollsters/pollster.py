# SPDX-License-Identifier: Apache-2.0
"""What a dynamic pollster is: a description of an HTTP API, and of what to read in its answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ceilo_agent.definition.secret import Secret
from ceilo_agent.expressions.value import Value
from ceilo_agent.sample import SampleType


class Authentication(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who asks; which attributes count depends on the type.

    Attributes:
        type: none, basic, token, keystone or s3.
        username: for basic.
        password: for basic.
        token: for token.
        header: for token: where it is shown; None: Authorization, after ``Bearer``.
        access_key: for s3.
        secret_key: for s3.
        region: for s3.
    """

    type: str
    username: str | None = None
    password: Secret | None = None
    token: Secret | None = None
    header: str | None = None
    access_key: Secret | None = None
    secret_key: Secret | None = None
    region: str | None = None


class TlsFiles(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a server's certificate is looked at, and which one is shown to it: paths of PEM files."""

    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    insecure: bool = False


class PollsterDef(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One definition; the names are those of the keys in the file.

    Attributes:
        sub_meter: of a name that ends with ``.{attribute}``, what stands before it, with its dot,
            and the attribute that takes its place in each part of the list that `value_attribute`
            leads to; None for a definition of one meter.
        sub_value: the value of such a part.
    """

    name: str
    sample_type: SampleType
    unit: str
    value_attribute: Value
    sub_meter: tuple[str, str] | None = None
    sub_value: Value | None = None
    namespaces: tuple[str, ...] = ("central",)
    endpoint_type: str | None = None
    url_path: Value | str = ""
    method: str = "GET"
    discovery: str = "endpoint"
    kind: str = "generic"
    description: str = ""
    metadata_fields: Mapping[str, Value] = {}
    metadata_mapping: Mapping[str, str] = {}
    preserve_mapped_metadata: bool = True
    skip_sample_values: tuple[Any, ...] = ()
    value_mapping: Mapping[Any, Any] = {}
    default_value: Any = -1
    response_entries_key: Value | None = None
    next_sample_url_attribute: Value | None = None
    user_id_attribute: Value | None = Value.parse("user_id")
    project_id_attribute: Value | None = Value.parse("project_id")
    resource_id_attribute: Value | None = Value.parse("id")
    headers: Mapping[str, str] = {}
    timeout: float = 30
    response_handlers: tuple[str, ...] = ("json",)
    extra_metadata_fields: tuple[PollsterDef, ...] = ()
    extra_metadata_fields_cache_seconds: float = 3600
    extra_metadata_fields_skip: tuple[Mapping[str, Any], ...] = ()
    host_command: tuple[str, ...] | None = None
    authentication: Authentication | None = None
    tls: TlsFiles | None = None
    max_pages: int = 1000
    max_response_bytes: int = 64 << 20
    concurrency: int = 64
    rate: float | None = None
    retries: int = 2
