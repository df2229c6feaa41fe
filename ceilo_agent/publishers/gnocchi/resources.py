# SPDX-License-Identifier: Apache-2.0
"""What Gnocchi knows of resources: they exist before their first measure, attributes are sent once.

What was learned stays in memory, a few hundred bytes a resource. So in steady state nothing is
asked, and after a restart one search tells of all unknown resources of a batch.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from ceilo_agent.errors import DeliveryError, Retryable
from ceilo_agent.publishers.gnocchi.batch import GENERIC, Owner
from ceilo_agent.publishers.gnocchi.client import Client, NotThere, Refusal, canonical
from ceilo_agent.publishers.gnocchi.fitting import Fitted, changed, fit, lacking
from ceilo_agent.publishers.gnocchi.schemas import Schema
from ceilo_agent.sample import Sample

LOG = logging.getLogger(__name__)

KNOWN_AT_MOST: Final = 100_000
"""Resources that are remembered; the one not seen for longest is forgotten first."""

TOLD_AT_MOST: Final = 1_000
"""Kinds of messages that are told once each."""

HINT: Final = "run 'ceilo-agent upgrade apply'"

Attributes = Callable[[str, Sample], Mapping[str, Any]]
"""Returns the attributes that the definition file takes from a sample, for a resource type."""


class Unfit(DeliveryError):
    """A resource cannot be created: its samples do not tell what its type requires."""


class Known(msgspec.Struct, eq=False):
    """What is known of a resource.

    Attributes:
        uuid: Gnocchi's own id of it; empty where another agent has created it out of our sight.
        kind: the name of its type.
        seen: a digest of what the attributes were made from when they were looked at last.
        held: a digest of the attributes that Gnocchi has; None if they may be others than ours.
        since: the time of the newest sample that agreed with them; only newer ones change them.
    """

    uuid: str
    kind: str
    seen: bytes
    held: bytes | None
    since: float


class Resources:
    """Sees to it that resources exist and have the right attributes.

    Args:
        client: of Gnocchi.
        attributes: reads them from a sample.
    """

    def __init__(self, client: Client, attributes: Attributes) -> None:
        self._client = client
        self._attributes = attributes
        self._types: dict[str, dict[str, dict[str, Any]]] = {}
        self._known: dict[str, Known] = {}
        self._told: set[tuple[str, ...]] = set()

    def settle(self, owners: Mapping[str, Owner]) -> dict[str, str]:
        """Create the resources that do not exist, and change attributes that are others now.

        Args:
            owners: by canonical id.

        Returns:
            Why, by id, of those that cannot be created.

        Raises:
            Retryable: not now; or the definition file and Gnocchi's types do not agree.
        """
        new = {name: owner for name, owner in owners.items() if name not in self._known}
        refused = self._meet(new) if new else {}
        for name, owner in owners.items():
            if name not in new:
                self._look(name, owner)
        self._forget_oldest()
        return refused

    def forget(self, names: Iterable[str]) -> None:
        """Learn these anew: Gnocchi does not have them any more."""
        for name in names:
            self._known.pop(canonical(name), None)

    # -- resources that were not met before ------------------------------------------------------

    def _meet(self, new: Mapping[str, Owner]) -> dict[str, str]:
        refused: dict[str, str] = {}
        found = self._find(new)
        there_already = {}
        for name, owner in new.items():
            if name in found:
                self._learn(name, owner, found[name])
                continue
            try:
                if not self._create(name, owner):
                    there_already[name] = owner
            except (Refusal, Unfit) as error:
                refused[name] = str(error)
        # Somebody else was faster.
        found = self._find(there_already) if there_already else {}
        for name, owner in there_already.items():
            if name in found:
                self._learn(name, owner, found[name])
            else:
                self._known[name] = Known("", owner.kind, b"", None, owner.sample.time)
        return refused

    def _find(self, owners: Mapping[str, Owner]) -> dict[str, dict[str, Any]]:
        found = self._client.find_resources([owner.id for owner in owners.values()])
        return {canonical(name): resource for name, resource in found.items()}

    def _learn(self, name: str, owner: Owner, there: Mapping[str, Any]) -> None:
        """Take note of a resource that exists."""
        known = Known(there["id"], there["type"], b"", None, _revised(there))
        self._known[name] = known
        if known.kind != owner.kind:
            self._tell(
                (known.kind, owner.kind),
                f"{owner.id} is of the type {known.kind} there, not {owner.kind} as the definition "
                "file says: its measures are stored, its attributes stay",
            )
            return
        seen, fitted = _digest(owner), self._fit(owner)
        if not changed(self._schema(owner.kind), fitted.values, there):
            known.seen, known.held = seen, _digest_of(fitted.values)
        self._look(name, owner)

    def _create(self, name: str, owner: Owner) -> bool:
        """Create a resource; return False if it exists."""
        seen, body = _digest(owner), self._body(owner)
        try:
            created = self._client.create_resource(owner.kind, body)
        except (Refusal, NotThere):
            # The type may be another since it was asked for.
            self._types.clear()
            body = self._body(owner)
            created = self._client.create_resource(owner.kind, body)
        if created is None:
            return False
        held = _digest_of(self._fit(owner).values)
        self._known[name] = Known(created["id"], owner.kind, seen, held, owner.sample.time)
        return True

    def _body(self, owner: Owner) -> dict[str, Any]:
        """Return what creates a resource.

        Raises:
            Unfit: an attribute that the type requires lacks.
        """
        fitted = self._fit(owner)
        filled, missing = lacking(self._schema(owner.kind), fitted.values)
        if missing:
            raise Unfit(f"the type {owner.kind} requires {', '.join(missing)}, {owner.id} has none")
        user = fit({}, {"user_id": owner.resource.user_id})
        return {**filled, **fitted.values, **user.values, "id": owner.id}

    # -- those that were ----------------------------------------------------------------------

    def _look(self, name: str, owner: Owner) -> None:
        """Change the attributes of a resource that exists, if a newer sample has others."""
        known = self._known.pop(name)
        self._known[name] = known  # it was used last now
        if known.kind != owner.kind or owner.sample.time <= known.since:
            return
        seen = _digest(owner)
        if seen and seen == known.seen:
            known.since = owner.sample.time
            return
        fitted = self._fit(owner)
        held = _digest_of(fitted.values)
        if held != known.held and fitted.values:
            try:
                self._client.patch_resource(known.kind, known.uuid or owner.id, fitted.values)
            except NotThere:
                del self._known[name]
                return  # the measures will tell, if it is gone
            except Refusal as error:
                what = f"the attributes of {owner.id} stay as they are: {error}"
                self._tell((owner.kind, error.cause, error.reason), what)
        known.seen, known.held, known.since = seen, held, owner.sample.time

    def _fit(self, owner: Owner) -> Fitted:
        """Return the attributes of a resource as its type takes them.

        Raises:
            Retryable: the type is not there, or lacks an attribute of the definition file.
        """
        wanted = {
            "project_id": owner.resource.project_id,
            **self._attributes(owner.kind, owner.sample),
        }
        fitted = fit(self._schema(owner.kind), wanted)
        if fitted.unknown:
            # The types may have been upgraded since they were asked for.
            self._types = self._client.resource_types()
            fitted = fit(self._schema(owner.kind), wanted)
        if fitted.unknown:
            names = ", ".join(fitted.unknown)
            what = f"its resource type '{owner.kind}' has no attribute {names}"
            raise Retryable(f"{self._client.where}: {what}: {HINT}")
        for name, expected in fitted.wrong.items():
            what = f"attribute {name} of {owner.kind} is left out for {owner.id}: {expected}"
            self._tell((owner.kind, name), what)
        return fitted

    def _schema(self, kind: str) -> Schema:
        """Return the attributes that a type has.

        Raises:
            Retryable: there is no such type.
        """
        if kind == GENERIC:
            return {}
        if kind not in self._types:
            self._types = self._client.resource_types()
        if kind not in self._types:
            what = f"it has no resource type '{kind}'"
            raise Retryable(f"{self._client.where}: {what}: {HINT}")
        return self._types[kind]

    def _forget_oldest(self) -> None:
        for name in list(self._known)[: max(0, len(self._known) - KNOWN_AT_MOST)]:
            del self._known[name]

    def _tell(self, kind: tuple[str, ...], what: str) -> None:
        """Log the first message of a kind."""
        if kind not in self._told and len(self._told) < TOLD_AT_MOST:
            self._told.add(kind)
            LOG.warning("%s: %s (told once)", self._client.where, what)


def _digest(owner: Owner) -> bytes:
    """Return a digest of what attributes are made from; empty if that has no stable form."""
    resource = owner.resource
    parts = (owner.kind, resource.project_id, resource.user_id, resource.metadata)
    try:
        return _hash(msgspec.json.encode(parts, enc_hook=_plain))
    except (TypeError, ValueError, OverflowError):
        return b""


def _digest_of(values: Mapping[str, Any]) -> bytes:
    return _hash(msgspec.json.encode(sorted(values.items())))


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=12).digest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Collection | Sequence):
        return list(value)
    raise TypeError(value)


def _revised(there: Mapping[str, Any]) -> float:
    """Return when a resource was changed last, by Gnocchi's clock; UTC seconds."""
    try:
        moment = datetime.fromisoformat(there["revision_start"])
    except (KeyError, TypeError, ValueError):
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
