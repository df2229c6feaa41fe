# SPDX-License-Identifier: Apache-2.0
"""What operators may write in a ``gnocchi://`` URL."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec

from ceilo_agent.publishers.web_options import BatchSize, Seconds, checked_verify_ssl


class AuthType(enum.StrEnum):
    """How the agent says who it is."""

    KEYSTONE = "keystone"
    """By a token of Keystone, for the credentials in a section of the agent's options."""
    BASIC = "basic"
    """By a user's name, HTTP's basic authentication (Gnocchi's ``auth_mode = basic``)."""
    NOAUTH = "noauth"
    """Not at all: something in between (a proxy) does it."""


class Section(enum.StrEnum):
    """Where the credentials stand."""

    SERVICE_CREDENTIALS = "service_credentials"
    GNOCCHI = "gnocchi"


class Unmapped(enum.StrEnum):
    """What becomes of a meter that the definition file gives to no resource type."""

    GENERIC = "generic"
    """Its resource is of Gnocchi's type `generic`."""
    DROP = "drop"
    """Its samples are left out, told once for each meter and counted."""


class GnocchiOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What ``gnocchi://[host[:port][/prefix]]?...`` takes; Ceilometer's names where it has them."""

    resources_definition_file: Annotated[
        str | None,
        msgspec.Meta(
            description="The file that maps meters to resource types and archive policies. A name "
            "without its directory is looked for in /etc/ceilo_agent, in /etc/ceilometer and where "
            "the one is that came with the installation. Without the option it is "
            "/etc/ceilo_agent/gnocchi_resources.yaml, else the one that came."
        ),
    ] = None
    archive_policy: Annotated[
        str | None,
        msgspec.Meta(description="The archive policy of every metric, whatever that file says."),
    ] = None
    unmapped: Annotated[
        Unmapped,
        msgspec.Meta(
            description="What becomes of a meter that the file gives to no resource type. generic: "
            "it is stored, its resource is of the type `generic`. drop: it is left out, told and "
            "counted."
        ),
    ] = Unmapped.GENERIC
    timeout: Annotated[
        Seconds,
        msgspec.Meta(
            description="Seconds that a request may take. To create a thousand metrics takes "
            "Gnocchi some seconds."
        ),
    ] = 60.0
    batch_size: BatchSize = 1000
    auth_type: Annotated[
        AuthType | None,
        msgspec.Meta(
            description="keystone: by a token for the credentials in auth_section. basic: by the "
            "name of a user, as Gnocchi's auth_mode basic takes it. noauth: not at all. Without it "
            "keystone where that section names an auth_url, else basic."
        ),
    ] = None
    auth_section: Annotated[
        Section | None,
        msgspec.Meta(
            description="The section of the agent's options that holds the credentials. Without it "
            "what [gnocchi] auth_section says."
        ),
    ] = None
    user: Annotated[
        str | None,
        msgspec.Meta(
            description="The user's name for basic authentication. Without it that of the URL, "
            "else username of the section, else admin."
        ),
    ] = None
    ssl: Annotated[
        bool, msgspec.Meta(description="Speak HTTPS with the host that the URL names.")
    ] = False
    verify_ssl: Annotated[
        bool | str | None,
        msgspec.Meta(
            description="true: certificates must be signed by one of the authorities that Python's "
            "requests knows; a path: by one in this file; false: any will do. Without it what "
            "cafile and insecure of the section say."
        ),
    ] = None
    filter_project: Annotated[
        str | None,
        msgspec.Meta(
            description="The id, or with Keystone the name, of a project whose samples are left "
            "out, counted: for a Gnocchi that stores in Swift, whose own samples would never end."
        ),
    ] = None
    filter_domain: Annotated[
        str, msgspec.Meta(description="The name of the domain of filter_project.")
    ] = "Default"
    enable_filter_project: Annotated[
        bool, msgspec.Meta(description="false: filter_project has no effect.")
    ] = True

    def __post_init__(self) -> None:
        self.verify_ssl = checked_verify_ssl(self.verify_ssl)
