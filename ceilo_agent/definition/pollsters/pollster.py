# SPDX-License-Identifier: Apache-2.0
"""What a dynamic pollster is: a description of an HTTP API, and of what to read in its answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ceilo_agent.definition.pollsters.authentication import Authentication, TlsFiles
from ceilo_agent.expressions.value import Value
from ceilo_agent.sample import SampleType

__all__ = ["Authentication", "PollsterDef", "TlsFiles"]


class PollsterDef(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One definition; the names are those of the keys in the file.

    Attributes:
        name: of the meter; ends with ``.{attribute}`` where one entry makes several meters.
        sample_type: of the samples.
        unit: of the samples.
        value_attribute: where the value stands in an entry.
        sub_meter: of a name that ends with ``.{attribute}``, what stands before it, with its dot,
            and the attribute that takes its place in each part of the list that `value_attribute`
            leads to; None for a definition of one meter.
        sub_value: the value of such a part.
        namespaces: of the agents that poll it.
        endpoint_type: the type of a service in Keystone's catalogue; None: of none.
        url_path: joined to the endpoint or the static resource; may be a URL.
        method: GET or HEAD.
        discovery: what it is asked for: ``endpoint``, once per endpoint; ``projects``, once per
            project of the cloud; ``resources``, only where a source names resources.
        kind: the type of the resource.
        description: what the meter is, for people.
        metadata_fields: metadata by name.
        metadata_mapping: further names of metadata, by the name that they have.
        preserve_mapped_metadata: whether metadata keeps its first name beside a further one.
        skip_sample_values: values whose entries are left out.
        value_mapping: numbers by value; empty: the value is the number.
        default_value: the number of a value that is not in `value_mapping`.
        response_entries_key: where the entries stand in an answer; None: at its first key.
        next_sample_url_attribute: where the link to the next page stands; None: there are no pages.
        user_id_attribute: where the id of the user stands in an entry.
        project_id_attribute: where the id of its project stands.
        resource_id_attribute: where its own stands.
        headers: of the request.
        timeout: seconds, for one request with all of its answer.
        response_handlers: json, xml, text or headers, tried one after the other.
        extra_metadata_fields: further requests for metadata; name and value of each become one.
        extra_metadata_fields_cache_seconds: for which the answer of this further request is good.
        extra_metadata_fields_skip: entries that take no further request.
        host_command: a program and its arguments, run in place of a request.
        authentication: who asks; None: with a token of Keystone where the catalogue gave the
            endpoint, else nobody.
        tls: how the server is known; None: by the usual authorities.
        max_pages: that are read one after the other.
        max_response_bytes: of one answer.
        concurrency: requests at a time to one endpoint.
        rate: requests a second to one endpoint; None: without a limit.
        retries: of a request that failed.
        value_of: the name of one of `extra_metadata_fields` whose value is the sample's, in place
            of what `value_attribute` leads to; it does not become metadata.
        empty_statuses: by which the API says that there is nothing, such as 404.
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
    value_of: str | None = None
    empty_statuses: tuple[int, ...] = ()
