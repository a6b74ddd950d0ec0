"""What peers tell, in batches: each item applied as if its owner had said it here, and passed on to nobody.

Source: Netflix/eureka, PeerReplicationResource.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from facade.errors import InstanceNotFound, MalformedDocument
from facade.eureka import wire
from facade.eureka.leases import Leases
from facade.eureka.records import BatchItem, BatchResult, HearOf, nobody
from facade.registry import rules
from facade.registry.model import InstanceKey, Origin, Space, Status
from facade.registry.registry import Registry

log = logging.getLogger(__name__)


class Sender(NamedTuple):
    space: Space
    address: str


class Batches:
    def __init__(self, registry: Registry, leases: Leases, hear_of: HearOf = nobody) -> None:
        """`hear_of` says who is told first, where a Eureka stands behind us: the senders may be its servers."""
        self._registry = registry
        self._leases = leases
        self._hear_of = hear_of

    async def apply(self, items: Sequence[BatchItem], space: Space, source_address: str) -> list[BatchResult]:
        """One result each, in order. Raises MalformedDocument, and then nothing is applied.

        Items of one instance are applied in order, all others together: a peer waits for 200 ms, and each may be a
        commit.
        """
        for item in items:
            if item.action is not None and item.action not in _ACTIONS:
                raise MalformedDocument(f"action: {item.action[:60]!r} is none of {', '.join(_ACTIONS)}")
        sender = Sender(space, source_address)
        results = [BatchResult(500)] * len(items)
        places: dict[tuple[str | None, str | None], list[int]] = {}
        for place, item in enumerate(items):
            places.setdefault((item.app_name, item.instance_id), []).append(place)

        async def in_order(some: list[int]) -> None:
            for place in some:
                results[place] = await self._hear_or_apply(sender, items[place])

        await asyncio.gather(*map(in_order, places.values()))
        return results

    async def _hear_or_apply(self, sender: Sender, item: BatchItem) -> BatchResult:
        hear = self._hear_of()
        if hear is None:
            return await self._apply(sender, item)
        heard = hear(sender.address, item)
        if heard is not None:
            return heard
        return BatchResult(200) if _may_be_echo(item) else await self._apply(sender, item)

    async def _apply(self, sender: Sender, item: BatchItem) -> BatchResult:
        # A registration carries its id with it.
        if item.action is None or not item.app_name or not (item.instance_id or item.action == "Register"):
            return BatchResult(500)
        key = InstanceKey(Origin.EUREKA, sender.space, item.app_name.upper(), item.instance_id or "")
        try:
            return await _ACTIONS[item.action](self, sender, key, item)
        except InstanceNotFound:
            return BatchResult(404)

    async def _apply_register(self, sender: Sender, key: InstanceKey, item: BatchItem) -> BatchResult:
        if item.instance_info is None:
            return BatchResult(500)
        try:
            await self._leases.register(sender.space, key.group, item.instance_info, sender.address, is_replicated=True)
        except wire.RegistrationRefused as refused:
            # The sender only looks at the status of heartbeats; the original answers 200 and stores nothing.
            log.warning("a peer's registration is refused application=%s reason=%s", key.group, refused)
        return BatchResult(200)

    async def _apply_heartbeat(self, sender: Sender, key: InstanceKey, item: BatchItem) -> BatchResult:
        return await self._leases.renew_replicated(key, item.last_dirty_ms, item.overridden_status)

    async def _apply_cancel(self, sender: Sender, key: InstanceKey, item: BatchItem) -> BatchResult:
        await self._leases.cancel(key, is_replicated=True)
        return BatchResult(200)

    async def _apply_status(self, sender: Sender, key: InstanceKey, item: BatchItem) -> BatchResult:
        status = item.status
        if status is None or status is Status.UNKNOWN:  # its owner could never renew again
            return BatchResult(404 if self._registry.catalogue.instance(key) is None else 500)
        self._registry.renew(key)
        await self._registry.amend(
            key, lambda it: rules.overridden(it, status, item.last_dirty_ms or 0), is_replicated=True
        )
        return BatchResult(200)

    async def _apply_lift(self, sender: Sender, key: InstanceKey, item: BatchItem) -> BatchResult:
        status = item.status or Status.UNKNOWN
        self._registry.renew(key)
        await self._registry.amend(
            key, lambda it: rules.restored(it, status, item.last_dirty_ms or 0), is_replicated=True
        )
        return BatchResult(200)


def _may_be_echo(item: BatchItem) -> bool:
    """Whether a stranger may be the registry behind us, at an address that we do not know, with what we have told it.

    Our renewal, passed back and renewed again, would never end; what we have packed there would be overwritten.
    """
    if item.action == "Heartbeat":
        return True
    return item.instance_info is not None and any(key.startswith(rules.MARKS) for key in item.instance_info.metadata)


_ACTIONS: dict[str, Callable[[Batches, Sender, InstanceKey, BatchItem], Awaitable[BatchResult]]] = {
    "Heartbeat": Batches._apply_heartbeat,
    "Register": Batches._apply_register,
    "Cancel": Batches._apply_cancel,
    "StatusUpdate": Batches._apply_status,
    "DeleteStatusOverride": Batches._apply_lift,
}
