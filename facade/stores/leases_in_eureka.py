"""The leases of instances born in ServiceCenter, in a Eureka server: they are ended here, by their own terms.

The server might keep them for ever, by a self-preservation that they know nothing of. Whoever of us renews one there
keeps it alive for all; so before one is ended the server is asked live, and its own clock is what counts.
Source: Netflix/eureka, Lease.renew.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from itertools import islice

from facade.clock import Clock
from facade.eureka.client import EurekaClient, Live
from facade.registry.model import Instance, InstanceKey, Origin
from facade.stores.picture_of_eureka import Address, Picture, address_of

LOOK_EVERY_S = 5.0
AWAY_S = 15.0
"""No reading for so long: the server was away, or we were."""
LAPSES_AT_ONCE = 16
"""Live questions of one pass: the rest waits for the next."""

log = logging.getLogger(__name__)


class PackedLeases:
    def __init__(
        self, client: EurekaClient, picture: Picture, clock: Clock, end: Callable[[Address], Awaitable[None]]
    ) -> None:
        self._client = client
        self._picture = picture
        self._clock = clock
        self._end = end
        self._looked_s = float("-inf")
        self._alive_until_s: dict[InstanceKey, float] = {}

    def note_alive(self, instance: Instance) -> None:
        """It was registered or renewed by a node of ours."""
        if instance.key.origin is Origin.SERVICECENTER:
            self._alive_until_s[instance.key] = self._clock.monotonic_s() + instance.lease.renewed_ms / 1000

    async def end_lapsed(self) -> None:
        """End those that no node of ours has renewed for their own term; called with every reading."""
        now_s = self._clock.monotonic_s()
        since_s = now_s - self._looked_s
        if since_s < LOOK_EVERY_S:
            return
        self._looked_s = now_s
        if since_s > AWAY_S:
            self._alive_until_s.clear()
        packed = [one for one in self._picture.instances() if one.key.origin is Origin.SERVICECENTER]
        for instance in packed:
            # Nobody could renew there while one of us was away: a fresh term.
            if instance.key not in self._alive_until_s:
                self.note_alive(instance)
        self._alive_until_s = {one.key: self._alive_until_s[one.key] for one in packed}
        lapsed = (one for one in packed if self._alive_until_s[one.key] < now_s)
        for instance in islice(lapsed, LAPSES_AT_ONCE):
            await self._end_if_lapsed(instance)

    async def _end_if_lapsed(self, instance: Instance) -> None:
        address = address_of(instance)
        live = await self._client.instance(*address)
        remaining_ms = _remaining_ms(instance, live) if live is not None else 0
        if remaining_ms > 0:
            self._alive_until_s[instance.key] = self._clock.monotonic_s() + remaining_ms / 1000
            return
        log.info("lease lapsed application=%s instance=%s", *address)
        await self._end(address)


def _remaining_ms(instance: Instance, live: Live) -> int:
    """What is left of its own term since the last renewal that the server has heard.

    The server states the moment of a renewal plus the duration; that of a registration as it is.
    """
    lease = live.info.lease_info
    is_renewed = lease.renewed_ms > lease.registered_ms
    last_ms = lease.renewed_ms - lease.duration_s * 1000 if is_renewed else lease.registered_ms
    if live.date_ms is None:
        return instance.lease.renewed_ms  # no clock to judge by
    return last_ms + instance.lease.renewed_ms - live.date_ms
