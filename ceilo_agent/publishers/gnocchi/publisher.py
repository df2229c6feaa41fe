# SPDX-License-Identifier: Apache-2.0
"""``gnocchi://`` stores samples in Gnocchi, the metric store of OpenStack."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult

import msgspec

from ceilo_agent.errors import Permanent, Retryable
from ceilo_agent.plugins import Context, OwnFiles, Promise, Publisher
from ceilo_agent.publishers.gnocchi.access import check_options, check_url, client_of
from ceilo_agent.publishers.gnocchi.batch import Batch, Route, Sorter
from ceilo_agent.publishers.gnocchi.client import Client, Refusal, UnknownResources
from ceilo_agent.publishers.gnocchi.definitions import Definitions
from ceilo_agent.publishers.gnocchi.resources import HINT, Resources
from ceilo_agent.publishers.gnocchi.settings import GnocchiOptions, Unmapped
from ceilo_agent.publishers.gnocchi.window import outdated
from ceilo_agent.sample import Sample

LOG = logging.getLogger(__name__)

TRIES: Final = 3
"""How often a batch is sent in one push while its resources vanish under it."""


class Gnocchi(Publisher):
    """The Gnocchi at the URL's host, without a host that of Keystone's catalogue.

    A batch is one request. Before it, resources that do not exist are created, and attributes that
    changed are sent: only when a newer sample has others, never in steady state, and not after a
    restart either. Which resource type and which archive policy a meter goes to stands in the
    definition file; both must exist (``ceilo-agent upgrade apply``), and where one lacks the
    publisher says so and waits. Gnocchi keeps volumes as doubles: integers above 2^53 are rounded.
    """

    promises: ClassVar[frozenset[Promise]] = frozenset(
        {Promise.IDEMPOTENT, Promise.ORDERED, Promise.DURABLE, Promise.ACKED}
    )
    Options: ClassVar[type[msgspec.Struct]] = GnocchiOptions

    _client: Client | None = None
    _definitions: Definitions
    _sorter: Sorter
    _resources: Resources
    _filters: bool

    @classmethod
    def check(cls, url: SplitResult) -> None:
        """Look whether the URL can name a Gnocchi."""
        check_url(url)

    @classmethod
    def read_files(cls, options: GnocchiOptions) -> OwnFiles:
        """Read the definition file."""
        file = options.resources_definition_file
        found = Definitions.load(Path(file) if file else None)
        return OwnFiles(found.digest, found.warnings)

    @classmethod
    def check_options(cls, url: SplitResult, options: GnocchiOptions, context: Context) -> None:
        """Look whether the agent's options say who asks and where Gnocchi is."""
        check_options(url, options, context)

    def __init__(self, url: SplitResult, options: Any, context: Any) -> None:
        super().__init__(url, options, context)
        self.left_out: Counter[str] = Counter()
        """Samples that the options leave out, by meter."""

    def open(self) -> None:
        """Read the definition file and the credentials; nothing is connected.

        Raises:
            ConfigError: one of them cannot be used.
        """
        if self._client is not None:
            return
        options: GnocchiOptions = self.options
        file = options.resources_definition_file
        self._definitions = Definitions.load(Path(file) if file else None)
        client = client_of(self.url, options, self.context)
        self._sorter = Sorter(
            self._route, self._definitions.resource_types, drop=options.unmapped is Unmapped.DROP
        )
        self._resources = Resources(client, self._attributes)
        self._filters = options.filter_project is not None and options.enable_filter_project
        self._client = client

    def close(self) -> None:
        """Close the connection, and forget what was learned of resources."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def push(self, samples: Sequence[Sample]) -> None:
        """Store the samples: one request where nothing is new.

        Raises:
            Retryable: Gnocchi or Keystone cannot be asked now, do not let the agent in, or lack an
                archive policy or a resource type.
            Permanent: Gnocchi cannot hold some of the samples; it names them, the others are there.
        """
        client = self._client
        assert client is not None
        if self._filters:
            self._find_project(client)
        batch = self._sorter.sort(samples)
        self._deliver(client, batch)
        self._count(batch)
        if batch.refused:
            reason = next(iter(batch.refused.values()))
            raise Permanent(f"{len(batch.refused)} samples refused: {reason}", batch.refused)

    def outdated(self, samples: Sequence[Sample]) -> Mapping[int, str]:
        """Return which samples lie before the points that Gnocchi still takes, and where that ends.

        Raises:
            Retryable: Gnocchi cannot be asked now.
        """
        assert self._client is not None
        return outdated(self._client, samples, self._sorter.sort(samples).owners)

    def _deliver(self, client: Client, batch: Batch) -> None:
        for _ in range(TRIES):
            for name, reason in self._resources.settle(batch.owners).items():
                batch.refuse(name, reason)
            if not batch.owners:
                return
            try:
                client.push_measures(batch.body())
            except UnknownResources as error:
                self._resources.forget(error.ids)
            except Refusal as error:
                if error.cause.startswith("Archive policy"):
                    what = f"{error.cause[0].lower()}{error.cause[1:]}"
                    raise Retryable(f"{client.where}: {what}: {HINT}") from error
                raise
            else:
                return
        raise Retryable(f"{client.where}: somebody deletes the resources that the agent creates")

    def _route(self, meter: str) -> Route:
        mapped = self._definitions.resource_type_of(meter)
        policy = self.options.archive_policy or self._definitions.archive_policy_of(meter)
        return Route(None if mapped is None else mapped.name, policy)

    def _attributes(self, kind: str, sample: Sample) -> Mapping[str, Any]:
        found = self._definitions.resource_types.get(kind)
        return {} if found is None else found.attributes(sample)

    def _find_project(self, client: Client) -> None:
        wanted = self.options.filter_project
        found = client.project_id(wanted, self.options.filter_domain)
        if found is None:
            LOG.warning("%s: Keystone shows no project '%s': taken for an id", client.where, wanted)
        self._sorter.project = found or wanted
        self._filters = False

    def _count(self, batch: Batch) -> None:
        """Count what is left out, once it is known that the batch is not sent again."""
        for meter, count in batch.left_out.items():
            if meter not in self.left_out:
                LOG.warning(
                    "%s: samples of %s are left out, as the options say (told once, counted)",
                    self.url.scheme,
                    meter,
                )
            self.left_out[meter] += count
