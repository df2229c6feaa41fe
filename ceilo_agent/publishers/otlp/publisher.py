# SPDX-License-Identifier: Apache-2.0
"""``otlp://host`` sends samples as metrics of OpenTelemetry, in OTLP over HTTP (protobuf).

The port is 4318 and the path ``/v1/metrics`` unless the URL has others.

A gauge is a Gauge. A cumulative meter is a monotonic, cumulative Sum that starts when its counter
began. A delta is a Sum of delta temporality that starts at the reading before. Name and value are
the meter's; the unit is in UCUM (``B`` is ``By``, ``MiB`` is ``MiBy``, ``packet`` is
``{packet}``). Integers stay integers up to 2^63 - 1, which is all that OTLP has; greater ones
become floating point.

Each resource has the attributes of OpenTelemetry's conventions as far as they go: for a guest
``host.id``, ``host.name``, ``host.type``, ``host.arch`` and ``host.image.id``, for a host
``host.name``, for a disk ``system.device``, for an interface ``network.interface.name`` and
``host.mac``, for all that have an owner ``cloud.account.id`` (the project) and ``user.id``. The id
is in ``service.instance.id`` and ``ceilo_agent.resource_id``, the kind in
``ceilo_agent.resource_type``. Other metadata follows under ``ceilo_agent.``, with Ceilometer's
name. Left out are status, state, state_reason and task_state: attributes tell one series from
another, and each change would begin a new one.

A receiver may take a request and throw some of its data points away. It tells how many and not
which, and forbids to send them again: they are told and count as dropped, not as set aside, unless
it threw all of them away. A receiver that answers 401, 403, 404 or 500 is asked again, which the
protocol leaves to the operator: a wrong token costs no sample.
"""

from __future__ import annotations

import gzip
import logging
from collections.abc import Sequence
from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import SplitResult

import msgspec

from ceilo_agent.errors import Permanent, Retryable
from ceilo_agent.publishers.otlp.encoding import Partial, decode_answer, decode_status, encode
from ceilo_agent.publishers.rendering import printable
from ceilo_agent.publishers.replies import SHOWN
from ceilo_agent.publishers.web import Reply, words_of
from ceilo_agent.publishers.web_options import WebOptions
from ceilo_agent.publishers.web_publisher import WebPublisher
from ceilo_agent.sample import Sample

LOG = logging.getLogger(__name__)

PORT: Final = 4318
PATH: Final = "/v1/metrics"

GZIP_LEVEL: Final = 6
"""1,000 samples take 0.2 ms; level 1 takes 0.1 ms, and the request is half as long again."""


class OtlpOptions(WebOptions, kw_only=True, forbid_unknown_fields=True):
    """What ``otlp://host?...`` takes."""

    ssl: Annotated[bool, msgspec.Meta(description="Ask in HTTPS.")] = False
    compression: Annotated[
        Literal["gzip", "none"], msgspec.Meta(description="Of what is sent.")
    ] = "gzip"
    metadata: Annotated[
        bool,
        msgspec.Meta(
            description="Send metadata that OpenTelemetry has no name for, too, under "
            "``ceilo_agent.``."
        ),
    ] = True


class Otlp(WebPublisher):
    """Any receiver of OTLP: OpenTelemetry's Collector, or a store that takes it directly."""

    Options: ClassVar[type[msgspec.Struct]] = OtlpOptions

    example: ClassVar[str] = f"host:{PORT}"

    _warned: str = ""

    def target(self) -> SplitResult:
        """Return the URL that requests go to."""
        return target(self.url, ssl=self.options.ssl)

    def explain(self, reply: Reply) -> str:
        """Return why a request was refused: a receiver says it in protobuf, a proxy in words."""
        if "protobuf" in reply.headers.get("Content-Type", ""):
            return decode_status(reply.body)
        return words_of(reply)

    def push(self, samples: Sequence[Sample]) -> None:
        """Send the samples.

        Raises:
            Retryable: the receiver does not answer, or not that they arrived.
            Permanent: it will never take them, or threw some of them away.
        """
        if not samples:
            return
        body = encode(samples, all_metadata=self.options.metadata)
        headers = {"Content-Type": "application/x-protobuf"}
        if self.options.compression == "gzip":
            body = gzip.compress(body, GZIP_LEVEL, mtime=0)
            headers["Content-Encoding"] = "gzip"
        reply = self.web.post(body, headers)
        said = decode_answer(reply.body, reply.headers.get("Content-Type", ""))
        if said is None:
            text = printable(" ".join(words_of(reply).split())[:SHOWN])
            raise Retryable(f"{self.web.where} answers {reply.status}, but not in OTLP: {text}")
        self._look(self.web.where, said, len(samples))

    def _look(self, where: str, said: Partial, count: int) -> None:
        """Raise if data points were thrown away; tell a warning once."""
        words = printable(" ".join(said.message.split())[:SHOWN])
        if said.rejected <= 0:
            if words and words != self._warned:
                LOG.warning("%s took the samples and says: %s", where, words)
            self._warned = words
            return
        because = f": {words}" if words else ""
        if said.rejected >= count:
            reason = f"{where} threw it away{because}"
            raise Permanent(reason, dict.fromkeys(range(count), reason))
        raise Permanent(
            f"{where} threw {said.rejected} of {count} samples away{because}", lost=said.rejected
        )


def target(url: SplitResult, *, ssl: bool) -> SplitResult:
    """Return the URL that requests go to."""
    place = url.netloc if url.port is not None else f"{url.netloc.rstrip(':')}:{PORT}"
    path = url.path if url.path.strip("/") else PATH
    return url._replace(scheme="https" if ssl else "http", netloc=place, path=path)
