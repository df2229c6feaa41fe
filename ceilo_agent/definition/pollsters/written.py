# SPDX-License-Identifier: Apache-2.0
"""The keys of a definition as they are written."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from ceilo_agent.definition.pollsters.authentication import Authentication, TlsFiles
from ceilo_agent.definition.pollsters.texts import Name, UrlPath, ValueAttribute
from ceilo_agent.expressions.value import Value
from ceilo_agent.sample import SampleType

LONGEST: Final = 3600
"""Seconds of a request."""

_Text = Annotated[str, Meta(pattern=r"\S")]


class Written(msgspec.Struct, kw_only=True):
    """What a definition and a further request of one have in common.

    Keys whose type is anything have a form of their own, read in `reading`.
    """

    name: Name
    url_path: UrlPath | None = None
    endpoint_type: _Text | None = None
    namespaces: Any = None
    method: Literal["GET", "HEAD"] = "GET"
    discovery: Literal["endpoint", "projects", "resources"] = "endpoint"
    kind: Annotated[str, Meta(pattern=r"^[\w.-]{1,255}$")] = "generic"
    description: str = ""
    metadata_fields: Any = None
    metadata_mapping: dict[str, str] = {}
    preserve_mapped_metadata: bool = True
    skip_sample_values: list[str | int | float | bool | None] = []
    value_mapping: Any = None
    default_value: Any = None
    response_entries_key: Value | None = None
    next_sample_url_attribute: Value | None = None
    user_id_attribute: Value | None = None
    project_id_attribute: Value | None = None
    resource_id_attribute: Value | None = None
    headers: Any = None
    timeout: Annotated[float, Meta(gt=0, le=LONGEST)] = 30
    response_handlers: (
        Annotated[list[Literal["json", "xml", "text", "headers"]], Meta(min_length=1)] | None
    ) = None
    extra_metadata_fields: Any = None
    extra_metadata_fields_cache_seconds: Annotated[float, Meta(ge=0, le=31 * 86400)] | None = None
    extra_metadata_fields_skip: list[dict[str, Any]] | None = None
    host_command: Any = None
    authentication: Authentication | None = None
    tls: TlsFiles | None = None
    max_pages: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    max_response_bytes: Annotated[int, Meta(ge=1024, le=1 << 32)] = 64 << 20
    concurrency: Annotated[int, Meta(ge=1, le=1024)] = 64
    rate: Annotated[float, Meta(gt=0, le=100_000)] | None = None
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    value_of: _Text | None = None
    empty_statuses: list[Annotated[int, Meta(ge=400, le=499)]] = []


class WrittenPollster(Written, kw_only=True):
    """A definition."""

    sample_type: SampleType
    unit: _Text
    value_attribute: ValueAttribute


class WrittenField(Written, kw_only=True):
    """A further request, of `extra_metadata_fields`."""

    sample_type: SampleType | None = None
    unit: _Text | None = None
    value: ValueAttribute | None = None
    value_attribute: ValueAttribute | None = None


_AUTHENTICATION: Final = (
    "write 'authentication', its secrets as file:/path or env:NAME: "
    "{type: s3, access_key: ..., secret_key: ...} for a RADOS Gateway, else basic or token"
)

REFUSED: Final = {
    "module": f"it names Python code to run; {_AUTHENTICATION}",
    "authentication_object": f"it names Python code to run; {_AUTHENTICATION}",
    "authentication_parameters": f"its secrets stand in a file that others read; {_AUTHENTICATION}",
    "barbican_secret_id": f"let a program write the secret to a file; {_AUTHENTICATION}",
    "base_metadata": "write what it holds into url_path",
}
"""Keys of Ceilometer that are not read, and what to write in their place."""
