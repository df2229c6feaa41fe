# SPDX-License-Identifier: Apache-2.0
"""``http://host/path`` and ``https://host/path`` post samples as JSON, in Ceilometer's form.

The body is a list of documents with the keys of Ceilometer's own publisher of this name: name,
type, unit, volume, user_id, user_name, project_id, project_name, resource_id, timestamp,
resource_metadata, source, id and monotonic_time. So what received its samples receives these. The
timestamp says that it is UTC. The id is the same for the same reading: who gets a sample twice can
tell. What the agent does not know (user_name, project_name, monotonic_time) is null.

Any status from 200 to 299 says that the samples arrived. 400, 413 and 422 say that one of them is
refused, and which one is found by sending them in parts. Anything else, a redirect included, is
tried again.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Final
from urllib.parse import SplitResult

import msgspec

from ceilo_agent.publishers.rendering import json_documents
from ceilo_agent.publishers.web_options import WebOptions
from ceilo_agent.publishers.web_publisher import WebPublisher
from ceilo_agent.sample import Sample, as_document
from ceilo_agent.store.encoding import clean

_HEADERS: Final = {"Content-Type": "application/json"}
_READINGS: Final = uuid.UUID("5f0ff1a5-8f4b-4e55-b0b1-1f9a6f6f1d52")
"""The namespace of ids, by RFC 9562: any value will do, as long as it stays."""


class HttpOptions(WebOptions, kw_only=True, forbid_unknown_fields=True):
    """What ``http://host/path?...`` takes."""

    query: Annotated[
        str | None,
        msgspec.Meta(description="What follows the ? in the URL that is posted to."),
    ] = None
    batch: Annotated[
        bool,
        msgspec.Meta(description="false: a request for each sample, its body no list."),
    ] = True
    max_retries: Annotated[
        int | None,
        msgspec.Meta(
            description="Taken from Ceilometer's files; it is tried again until it succeeds."
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.batch:
            self.batch_size = 1


class Http(WebPublisher):
    """Whatever takes POSTs of JSON at the URL."""

    Options: ClassVar[type[msgspec.Struct]] = HttpOptions

    example: ClassVar[str] = "host:8080/path"

    def target(self) -> SplitResult:
        """Return the URL with the query that the options give."""
        return self.url._replace(query=self.options.query or "")

    def push(self, samples: Sequence[Sample]) -> None:
        """Post the samples.

        Raises:
            Retryable: the receiver does not answer, or not that they arrived.
            Permanent: it will never take them.
        """
        if not samples:
            return
        documents = json_documents(samples, document)
        if self.options.batch:
            self.web.post(b"[" + b",\n".join(documents) + b"]", _HEADERS)
        else:
            for body in documents:
                self.web.post(body, _HEADERS)


def document(sample: Sample) -> dict[str, Any]:
    """Return a sample as Ceilometer's publisher writes it (``ceilometer.sample.Sample``)."""
    reading = clean(f"{sample.resource.id}\n{sample.meter.name}\n{sample.time!r}")
    return as_document(sample) | {
        "user_name": None,
        "project_name": None,
        "source": "openstack",
        "id": str(uuid.uuid5(_READINGS, reading)),
        "monotonic_time": None,
    }
