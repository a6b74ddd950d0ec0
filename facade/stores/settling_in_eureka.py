"""Making a Eureka server show the status that is wanted, whatever its rules for statuses make of a registration.

Source: Netflix/eureka, registry/rule/*; AbstractInstanceRegistry.register, statusUpdate, deleteStatusOverride.
"""

from __future__ import annotations

import logging

from msgspec.structs import replace

from facade.eureka.client import EurekaClient
from facade.eureka.records import InstanceInfo
from facade.registry.model import Status

_STEPS = 4
"""More are never needed."""

log = logging.getLogger(__name__)


async def settle(client: EurekaClient, wanted: InstanceInfo, *, has_owner_there: bool) -> InstanceInfo | None:
    """Returns what it shows in the end; None when it cannot be made to keep the instance at all.

    `has_owner_there`: what is newer there than what is wanted was said by its owner, and is left alone.
    """
    address = wanted.app, wanted.effective_id
    for _ in range(_STEPS):
        live = await client.instance(*address)
        if live is None:
            await client.register(wanted)
            continue
        shown = live.info
        if _age(shown) > _age(wanted):
            if has_owner_there:
                return shown  # what its owner said comes with the next reading
            wanted = replace(wanted, last_dirty_ms=_age(shown) + 1)
            await client.register(wanted)
        elif _age(shown) < _age(wanted):
            await client.register(wanted)
        elif shown.overridden_status is not wanted.overridden_status:
            await _set_override(client, shown, wanted)
        elif shown.status is not wanted.status:
            await _set_status(client, shown, wanted)
        else:
            return shown
    log.warning("status does not come out as wanted application=%s instance=%s", *address)
    live = await client.instance(*address)
    return live.info if live is not None else None


def _age(info: InstanceInfo) -> int:
    return info.last_dirty_ms or 0


async def _set_override(client: EurekaClient, shown: InstanceInfo, wanted: InstanceInfo) -> None:
    address, dirty_ms = (wanted.app, wanted.effective_id), _age(wanted)
    if wanted.overridden_status is Status.UNKNOWN:
        await client.delete_status(*address, wanted.status, dirty_ms)
    elif shown.status is not wanted.overridden_status:
        await client.set_status(*address, wanted.overridden_status, dirty_ms)
    elif shown.overridden_status is not Status.UNKNOWN:
        # The server records no override that names what is shown already; a registration sets one where none is.
        await client.delete_status(*address, wanted.status, dirty_ms)
    else:
        await client.register(wanted)


async def _set_status(client: EurekaClient, shown: InstanceInfo, wanted: InstanceInfo) -> None:
    """Between UP and OUT_OF_SERVICE the server keeps what its lease shows, until something else is in between."""
    kept = (Status.UP, Status.OUT_OF_SERVICE)
    if shown.status in kept and wanted.status in kept:
        await client.register(replace(wanted, status=Status.STARTING))
    await client.register(wanted)
