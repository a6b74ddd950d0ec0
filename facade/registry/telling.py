"""Renewals touch memory only; the store hears of them here, in batches."""

from __future__ import annotations

import asyncio

from facade.clock import Clock
from facade.errors import StoreUnavailable
from facade.registry.leases import Lease, LeaseClock
from facade.registry.store import Store

TOLD_EVERY_S = 0.1
FEW = 30
"""They wait as long again: with what a node asks by itself, one call then is for 20 renewals and more from 200/s on."""
A_BATCH = 500


class Telling:
    def __init__(self, store: Store, clock: Clock, lease_clock: LeaseClock) -> None:
        self.untold: dict[Lease, None] = {}
        """Renewed, and the store has not heard of it; two renewals of one lease count once. It stays the same object:
        whoever renews may hold on to it."""
        self._store = store
        self._clock = clock
        self._lease_clock = lease_clock

    async def tell_forever(self) -> None:
        while True:
            await asyncio.sleep(TOLD_EVERY_S)
            if len(self.untold) < FEW:
                await asyncio.sleep(TOLD_EVERY_S)
            await self.tell()

    async def tell(self) -> None:
        """Tell the store which leases were renewed. Of one that it does not hold, the next renewal is refused."""
        until_s = self._clock.monotonic_s()
        due = list(self.untold)
        self.untold.clear()
        for start in range(0, len(due), A_BATCH):
            batch = {lease.instance.key: lease for lease in due[start : start + A_BATCH] if not lease.ended}
            now_s = self._lease_clock.now_s()
            try:
                unknown = await self._store.renew({key: lease.remaining_ms(now_s) for key, lease in batch.items()})
            except StoreUnavailable:
                self._put_back(due[start:])
                return
            except asyncio.CancelledError:  # we are stopping: `Registry.close` tells them
                self._put_back(due[start:])
                raise
            for key in unknown:
                batch[key].disowned = True
        if self._store.cluster is not None:
            self._store.cluster.note_told(until_s)

    def _put_back(self, due: list[Lease]) -> None:
        """The oldest come first."""
        renewed_since = dict(self.untold)
        self.untold.clear()
        self.untold.update(dict.fromkeys(lease for lease in due if not lease.ended))
        self.untold.update(renewed_since)
