"""Registering, renewing and leaving by Eureka's rules, whoever asks: an owner, or a peer for it."""

from __future__ import annotations

from facade.errors import InstanceNotFound
from facade.eureka import mapping
from facade.eureka.documents import Documents
from facade.eureka.peers import Peers
from facade.eureka.records import BatchResult, InstanceInfo
from facade.registry import rules
from facade.registry.model import Instance, InstanceKey, Space, Status
from facade.registry.registry import Registry


class Leases:
    def __init__(
        self, registry: Registry, documents: Documents, peers: Peers | None, compares_timestamps: bool
    ) -> None:
        """Owners' words are passed on to `peers`; `compares_timestamps`: a renewal's with the one held."""
        self._registry = registry
        self._documents = documents
        self._peers = peers
        self._compares_timestamps = compares_timestamps

    def renew(self, key: InstanceKey, dirty_ms: int | None) -> bool:
        """An owner's renewal, from memory. False: it has to register again."""
        try:
            _, ahead_ms = self._renew(key, dirty_ms)
        except InstanceNotFound:
            return False
        if self._peers is not None:
            self._peers.note_renewal(key)
        return ahead_ms <= 0

    async def renew_replicated(self, key: InstanceKey, dirty_ms: int | None, override: Status) -> BatchResult:
        """A renewal that a peer passes on."""
        held, ahead_ms = self._renew(key, dirty_ms)
        if ahead_ms > 0:
            if override is not Status.UNKNOWN:
                await self._registry.amend(
                    key, lambda instance: rules.overridden_elsewhere(instance, override), is_replicated=True
                )
            return BatchResult(404)
        return BatchResult(409, self.info(held)) if ahead_ms < 0 else BatchResult(200)

    def _renew(self, key: InstanceKey, dirty_ms: int | None) -> tuple[Instance, int]:
        """The instance, and by how much the sender's data are ahead of it; a renewal counts also when they are.

        Raises InstanceNotFound. Source: Netflix/eureka, InstanceResource.renewLease and validateDirtyTimestamp.
        """
        held = self._registry.catalogue.instance(key)
        if held is not None and held.status is Status.UNKNOWN:
            raise InstanceNotFound(key.group, key.instance_id)
        held = self._registry.renew(key)
        if dirty_ms is None or not self._compares_timestamps:
            return held, 0
        return held, dirty_ms - held.dirty_ms

    async def register(
        self, space: Space, application: str, info: InstanceInfo, source_address: str, *, is_replicated: bool
    ) -> None:
        """Raises RegistrationRefused, StoreUnavailable."""
        mapping.check(info, application)
        registry = self._registry
        candidate = mapping.to_instance(info, space, registry.policy, registry.clock.now_ms(), source_address)
        await registry.register(candidate, is_replicated=is_replicated)
        if self._peers is not None and not is_replicated:
            self._peers.note_renewal(candidate.key)  # of one that changes nothing they would not hear

    async def cancel(self, key: InstanceKey, *, is_replicated: bool) -> None:
        """Raises InstanceNotFound; a peer's list that is being taken over may name it all the same."""
        try:
            await self._registry.cancel(key, is_replicated=is_replicated)
        except InstanceNotFound:
            if self._peers is not None:
                self._peers.note_end(key)
            raise

    def info(self, instance: Instance) -> InstanceInfo | None:
        """As single documents show it: live, with the lease as it is now."""
        action = self._documents.of(instance.service.space).action_of(instance)
        return mapping.from_instance(instance, self._registry.catalogue.lease(instance.key), action)
