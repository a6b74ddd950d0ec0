"""The registry: register, renew, cancel, amend, and the end of lapsed leases. One state, on one event loop.

Writes take turns per key: the rules decide on what is held, the store makes it last, and the store's follower shows it
to every reader, all before the caller is answered. Renewals touch memory only; the store hears of them in batches.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress

from msgspec.structs import replace

from facade.clock import Clock
from facade.errors import FacadeError, InstanceNotFound, Overtaken, StoreUnavailable
from facade.registry import rules
from facade.registry.catalogue import Catalogue
from facade.registry.changes import ChangeFeed
from facade.registry.eviction import Eviction, Protection
from facade.registry.faces import Faces
from facade.registry.leases import Lease, LeaseClock
from facade.registry.model import (
    Cause,
    Change,
    Instance,
    InstanceKey,
    Origin,
    Record,
    Revision,
    ServiceId,
    ServiceName,
    Status,
    Tenant,
)
from facade.registry.rules import Policy
from facade.registry.store import Commit, NodeHealth, Put, Remove, Store, StoreHealth, Write, key_of
from facade.registry.telling import Telling
from facade.registry.turns import Turns, in_turns

LEASES_A_TURN = 1000
DECIDED_AT_MOST = 50
"""Each time is one in which another node has written the same record."""
OVERTAKEN_PAUSE_S = 0.001

log = logging.getLogger(__name__)


_LostName = tuple[Origin, Tenant, str, str, str]


class Registry:
    def __init__(self, store: Store, clock: Clock, policy: Policy | None = None) -> None:
        self.clock = clock
        self.policy = policy or Policy()
        self.node = secrets.token_hex(8)
        """By which a server tells itself from others of ours, whatever address it is asked at."""
        self.epoch = ""
        self.revision: Revision = 0
        self.opened_s = clock.monotonic_s()
        self.feed = ChangeFeed(start=0)
        self.catalogue = Catalogue()
        self.faces = Faces(self.catalogue, self.policy)
        self._store = store
        self._lease_clock = LeaseClock(clock)
        self._eviction = Eviction(
            self.policy,
            self._lease_clock,
            keeps_lease=store.keeps_lease,
            renewals_elsewhere=self._renewals_elsewhere,
        )
        self._turns = Turns()
        self._telling = Telling(store, clock, self._lease_clock)
        self._untold = self._telling.untold
        self._lost: dict[_LostName, Lease] = {}
        """Gone from the registry behind us though their owners renewed them here: who renews again is still alive."""
        self._reviving: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Show what the store holds. Every lease gets one fresh term, for nobody could renew while we were away."""
        snapshot = await self._store.open(self._follow)
        self.opened_s = self.clock.monotonic_s()
        self.epoch, self.revision = snapshot.epoch, snapshot.revision
        self.feed = ChangeFeed(start=snapshot.revision)
        for record in snapshot.records:
            if isinstance(record, Instance):
                self._begin_lease(record, record.registered_ms)
            self.catalogue.show(record, None, snapshot.revision)

    async def run(self) -> None:
        """End lapsed leases and tell the store of renewals, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep_forever())
            tasks.create_task(self._telling.tell_forever())

    async def close(self) -> None:
        await self.tell_renewals()
        await self._store.close()

    async def tell_renewals(self) -> None:
        """At once, and not with the next batch."""
        await self._telling.tell()

    # Writes. Each raises StoreUnavailable when the store does not take it; then nothing has changed.

    async def register(self, candidate: Instance, *, is_replicated: bool = False) -> Instance:
        """List an instance, or list it anew; returns the record that is held afterwards.

        A registration that is older than what is held changes nothing but the lease; so does an equal one, and neither
        makes a revision. Server timestamps and the shown status are decided here.
        """
        is_known = False

        def decide() -> Sequence[Write]:
            nonlocal is_known
            held = self.catalogue.instance(candidate.key)
            is_known = held is not None
            now_ms = self._now_ms(held)
            wanted = rules.registered(held, candidate, is_replicated=is_replicated)
            registered_ms = held.registered_ms if held is not None else now_ms
            wanted = replace(wanted, registered_ms=registered_ms, updated_ms=now_ms)
            if held is not None and rules.is_same_but_for_time(held, wanted):
                return ()
            return [Put(wanted, Cause.REGISTERED, is_replicated)]

        async with self._turns.of(candidate.key):
            await self._write(decide)
            if is_known:
                self._begin_anew(candidate.key)
            return self._held(candidate.key)

    def renew(self, key: InstanceKey) -> Instance:
        """Move the deadline, from memory. Says nothing of status or data. Raises InstanceNotFound: register again."""
        lease = self.catalogue.leases.get(key)
        if lease is None or lease.disowned:
            return self._revived(key)
        now_s = self._lease_clock.now_s()
        lease.renew(now_s, self.clock.now_ms())
        self._eviction.note_renewal(key.origin, now_s)
        self._untold[lease] = None
        return lease.instance

    def lost(self, service: ServiceId, instance_id: str) -> InstanceKey | None:
        """The key of an instance of this service that was lost behind us and that a renewal brings back."""
        lease = self._lost.get((Origin.SERVICECENTER, service.tenant, "", service.service_id, instance_id))
        return lease.instance.key if lease is not None else None

    def _revived(self, key: InstanceKey) -> Instance:
        """An instance that was lost behind us, about to be registered again because its owner renews it."""
        lease = self._lost.pop(_lost_name(key), None)
        if lease is None or lease.deadline_s <= self._lease_clock.now_s():
            raise InstanceNotFound(key.group, key.instance_id)
        task = asyncio.get_running_loop().create_task(self._revive(lease.instance))
        self._reviving.add(task)
        task.add_done_callback(self._reviving.discard)
        return lease.instance

    async def _revive(self, instance: Instance) -> None:
        try:
            await self.register(instance)
            log.info(
                "lost instance registered again application=%s instance=%s",
                instance.key.group,
                instance.key.instance_id,
            )
        except FacadeError as error:  # its owner hears of it with the next renewal
            log.warning("lost instance not taken again instance=%s reason=%s", instance.key.instance_id, error)

    async def cancel(self, key: InstanceKey, *, is_replicated: bool = False) -> Instance:
        """End an instance at its owner's or an operator's wish; returns its last record. Raises InstanceNotFound."""
        async with self._turns.of(key):
            last = self._held(key)

            def decide() -> Sequence[Write]:
                nonlocal last
                last = self._held(key)
                return [Remove(key, Cause.CANCELLED, is_replicated)]

            await self._write(decide)
            return last

    async def amend(
        self,
        key: InstanceKey,
        how: Callable[[Instance], Instance],
        cause: Cause = Cause.AMENDED,
        *,
        is_replicated: bool = False,
    ) -> Instance:
        """Change what is held by a pure function of it; the same object back means that nothing is to change.

        Raises: InstanceNotFound, and what `how` raises.
        """

        def decide() -> Sequence[Write]:
            held = self._held(key)
            wanted = how(held)
            if wanted is held:
                return ()
            return [Put(replace(wanted, updated_ms=self._now_ms(held)), cause, is_replicated)]

        async with self._turns.of(key):
            await self._write(decide)
            return self._held(key)

    async def transact(self, turn: Hashable, decide: Callable[[], Sequence[Write]]) -> None:
        """Write other records: `decide` runs when nobody else of this turn is between deciding and writing."""
        async with self._turns.of(turn):
            await self._write(decide)

    async def _write(self, decide: Callable[[], Sequence[Write]]) -> None:
        """Write what is decided on what is held; decide anew when another node was quicker."""
        for tries in range(1, DECIDED_AT_MOST + 1):
            writes = decide()
            if not writes:
                return
            with suppress(Overtaken):
                await self._store.write(writes)
                return
            await asyncio.sleep(random.uniform(0, tries * OVERTAKEN_PAUSE_S))  # noqa: S311  so that no node always loses
        raise StoreUnavailable("other nodes write the same record all the time")

    async def rely_on(self, name: ServiceName) -> None:
        """A consumer goes by this name from now on: what it finds there must not vanish behind a newcomer (N7)."""
        if self.faces.to_use(name) is not None:
            await self.transact(name, lambda: [Put(face)] if (face := self.faces.to_use(name)) is not None else [])

    def has_lapsed(self, key: InstanceKey) -> bool:
        """Whether a lease is past its deadline and waits for the sweep only. A renewal still saves it."""
        lease = self.catalogue.leases.get(key)
        if lease is None or lease.deadline_s > self._lease_clock.now_s() or self._store.keeps_lease(key):
            return False
        return not self._eviction.protection(key.origin).is_on

    # For people

    def remaining_s(self, key: InstanceKey) -> int | None:
        """Whole seconds until a lease lapses; 0 when it has, or when there is none; None when another node hears it."""
        lease = self.catalogue.leases.get(key)
        left_s = lease.remaining_ms(self._lease_clock.now_s()) // 1000 if lease is not None else 0
        return left_s or (0 if self._store.cluster is None else None)

    def protection(self, origin: Origin) -> Protection:
        return self._eviction.protection(origin)

    @property
    def has_data(self) -> bool:
        """False while a registry behind us has never been read: an empty answer would be a lie."""
        return self._store.has_data

    @property
    def data_age_s(self) -> float:
        """How old the answers may be; 0 while they are not."""
        return self._store.data_age_s

    def store_health(self) -> StoreHealth:
        return self._store.health()

    @property
    def is_shared(self) -> bool:
        """Whether other servers write to our store, too."""
        return self._store.cluster is not None

    def nodes(self) -> Sequence[NodeHealth]:
        """The servers that share our store, this one first; none when it is ours alone."""
        return self._store.cluster.nodes() if self._store.cluster is not None else ()

    def _renewals_elsewhere(self, origin: Origin) -> int:
        return self._store.cluster.renewals_elsewhere(origin) if self._store.cluster is not None else 0

    # When another store takes over

    async def prolong_kept(self) -> None:
        """Give each lease that the store keeps one fresh term: what is left of it, nobody but the store knows."""
        async for lease in in_turns(self.catalogue.leases.values(), LEASES_A_TURN):
            if self._store.keeps_lease(lease.instance.key):
                lease.deadline_s = max(
                    lease.deadline_s, self._lease_clock.now_s() + lease.instance.lease.first_ms / 1000
                )

    async def watch_again(self) -> None:
        """The store is another one, which leaves other leases to us."""
        self._eviction.begin_anew()
        async for lease in in_turns(self.catalogue.leases.values(), LEASES_A_TURN):
            if not lease.ended:
                self._eviction.watch_again(lease)

    def remaining_ms(self, key: InstanceKey) -> int:
        """Of a lease that was renewed here; 0 for one that was not."""
        lease = self.catalogue.lease(key)
        return lease.remaining_ms(self._lease_clock.now_s()) if lease is not None and lease.renewed_ms else 0

    # The store's side

    def _follow(self, commit: Commit) -> None:
        """Show a commit, whoever wrote it: the only way by which anything becomes visible."""
        self.revision = commit.revision
        self.catalogue.is_settled = False
        try:
            self._follow_writes(commit)
        finally:
            self.catalogue.is_settled = True

    def _follow_writes(self, commit: Commit) -> None:
        for write in commit.writes:
            key = key_of(write)
            before = self.catalogue.find(key)
            after = write.record if isinstance(write, Put) else None
            if after is not None:
                self._show(before, after, commit.revision)
            elif before is not None:
                self._hide(before, commit.revision, write.cause)
            else:
                continue
            self.feed.publish(
                Change(
                    revision=commit.revision,
                    at_ms=commit.at_ms,
                    cause=write.cause,
                    before=before,
                    after=after,
                    is_replicated=write.is_replicated,
                )
            )

    def _show(self, before: Record | None, after: Record, revision: Revision) -> None:
        if isinstance(after, Instance):
            lease = self.catalogue.leases.get(after.key)
            if lease is None:
                self._begin_lease(after, after.registered_ms)
            else:
                self._eviction.recount(lease.instance, after)
                lease.instance = after
                if after.status is Status.UP and not lease.service_up_ms:
                    lease.service_up_ms = after.updated_ms
        self.catalogue.show(after, before, revision)

    def _hide(self, before: Record, revision: Revision, cause: Cause) -> None:
        if isinstance(before, Instance):
            lease = self.catalogue.leases.pop(before.key)
            self._eviction.forget(lease)
            if cause is Cause.GONE and lease.renewed_ms:
                self._lost[_lost_name(before.key)] = lease
            self._untold.pop(lease, None)
        self.catalogue.hide(before, revision)

    def _now_ms(self, held: Instance | None) -> int:
        """When a change is made. The times of an instance go back with no clock, ours or another node's."""
        return max(self.clock.now_ms(), held.updated_ms if held is not None else 0)

    # Leases

    def _held(self, key: InstanceKey) -> Instance:
        instance = self.catalogue.instance(key)
        if instance is None:
            raise InstanceNotFound(key.group, key.instance_id)
        return instance

    def _begin_lease(self, instance: Instance, registered_ms: int) -> Lease:
        """What readers are told of it is what the record says, for that is the same on every node."""
        lease = Lease(instance, self._lease_clock.now_s(), registered_ms)
        if instance.status is Status.UP:
            lease.service_up_ms = instance.updated_ms
        self.catalogue.leases[instance.key] = lease
        self._eviction.watch(lease)
        return lease

    def _begin_anew(self, key: InstanceKey) -> None:
        """A registration begins a new lease, also when it changes nothing. No renewal: it lasts its first term."""
        old = self.catalogue.leases.get(key)
        if old is None:  # ended by a commit that followed at once
            return
        self._eviction.forget(old)
        new = self._begin_lease(old.instance, max(self.clock.now_ms(), old.registered_ms))
        new.service_up_ms = old.service_up_ms or new.service_up_ms
        self._untold.pop(old, None)
        self._untold[new] = None

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(self.policy.eviction_interval_s)
            await self.sweep()

    async def sweep(self) -> None:
        """End the leases whose time has come; all at once, so that they share commits and the next sweep is in time."""
        if self._lost:
            now_s = self._lease_clock.now_s()
            self._lost = {name: lease for name, lease in self._lost.items() if lease.deadline_s > now_s}
        if self._store.cluster is None:
            ending = self._eviction.sweep()
        else:
            lapsed = [self.catalogue.lease(key) for key in await self._store.cluster.lapsed()]
            ending = self._eviction.sweep_of_store([lease for lease in lapsed if lease is not None])
        await asyncio.gather(*map(self._end_lapsed, ending))

    async def _end_lapsed(self, lease: Lease) -> None:
        key = lease.instance.key
        try:
            async with self._turns.of(key):
                # It may have renewed, left or come back while earlier ones were being written.
                if not lease.ended and not self._is_prolonged(lease):
                    await self._store.write([Remove(key, Cause.LAPSED)])
                    if lease.ended:
                        log.info("lease lapsed application=%s instance=%s", key.group, key.instance_id)
        except Overtaken:
            pass  # the next sweep judges what is there now
        except StoreUnavailable as error:
            log.warning("lapsed lease kept application=%s instance=%s reason=%s", key.group, key.instance_id, error)

    def _is_prolonged(self, lease: Lease) -> bool:
        """Whether it was renewed since it was found to have lapsed; of a lease that the store keeps, whether we heard
        of that and the store has not yet."""
        if self._store.cluster is not None:
            return lease in self._untold
        return lease.deadline_s > self._lease_clock.now_s()


def _lost_name(key: InstanceKey) -> _LostName:
    """A serviceId is unique in its tenant, a flat name in its environment only."""
    environment = "" if key.origin is Origin.SERVICECENTER else key.space.environment
    return key.origin, key.space.tenant, environment, key.group, key.instance_id
