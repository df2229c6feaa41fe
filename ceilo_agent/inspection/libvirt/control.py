# SPDX-License-Identifier: Apache-2.0
"""What libvirt says of its own access to a guest (virDomainGetControlInfo).

The call answers at once, also for a guest whose QEMU hangs: it only looks whether somebody holds
the guest's job and for how long a monitor command has been waiting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import libvirt

from ceilo_agent.discovery.libvirt.guest import Guest

MS_PER_S: Final = 1000


class Control(NamedTuple):
    """The access to one guest.

    Attributes:
        ready: whether nobody holds its job.
        waits: seconds that a monitor command has been waiting for QEMU, 0 where none waits.
    """

    ready: bool
    waits: float


READY: Final = Control(ready=True, waits=0.0)
Controls = Mapping[str, Control]


def look(guests: Iterable[Guest]) -> dict[str, Control]:
    """Ask for the control of each guest, by its id; one that is gone or stopped is left out.

    Raises:
        libvirt.libvirtError: the connection is gone.
    """
    found = {}
    for guest in guests:
        try:
            state, _, age = guest.domain.controlInfo()
        except libvirt.libvirtError as error:
            if error.get_error_domain() in (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE):
                raise
            if error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT:
                found[guest.uuid] = READY
            continue
        occupied = state == libvirt.VIR_DOMAIN_CONTROL_OCCUPIED
        waits = age / MS_PER_S if occupied else 0.0
        found[guest.uuid] = Control(state == libvirt.VIR_DOMAIN_CONTROL_OK, waits)
    return found
