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

from ceilo_agent.plugins import OwnFiles, Promise, Publisher
from ceilo_agent.publishers.rendering import json_documents
from ceilo_agent.publishers.web import Web, WebOptions, check_url
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


class Http(Publisher):
    """Whatever takes POSTs of JSON at the URL."""

    promises: ClassVar[frozenset[Promise]] = frozenset(
        {Promise.ORDERED, Promise.DURABLE, Promise.ACKED}
    )
    Options: ClassVar[type[msgspec.Struct]] = HttpOptions

    _web: Web | None = None

    @classmethod
    def check(cls, url: SplitResult) -> None:
        """Look whether the URL names a host."""
        check_url(url, f"{url.scheme}://host:8080/path")

    @classmethod
    def read_files(cls, options: HttpOptions) -> OwnFiles:
        """Look at the files of certificates and secrets."""
        return options.read_files()

    def open(self) -> None:
        """Get ready; nothing is connected.

        Raises:
            ConfigError: the URL names no host, or a file of the options cannot be read.
        """
        self.check(self.url)
        web = Web(self.url._replace(query=self.options.query or ""), self.options)
        web.open()
        self._web = web

    def push(self, samples: Sequence[Sample]) -> None:
        """Post the samples.

        Raises:
            Retryable: the receiver does not answer, or not that they arrived.
            Permanent: it will never take them.
        """
        if not samples:
            return
        assert self._web is not None
        documents = json_documents(samples, document)
        if self.options.batch:
            self._web.post(b"[" + b",\n".join(documents) + b"]", _HEADERS)
        else:
            for body in documents:
                self._web.post(body, _HEADERS)

    def close(self) -> None:
        """Close the connection."""
        if self._web is not None:
            self._web.close()


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
