"""A store whose records live in a registry of somebody else: a ServiceCenter, a Eureka, or both.

Each record goes to the registry that it belongs to and, once that has it, into a local store, which numbers the change
and shows it to every reader. What comes from there takes the same last step. So the local store holds the whole
picture: it outlives a restart while the registry is away, and it keeps what that registry has no place for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack

from facade.errors import FacadeError, StoreUnavailable, UpstreamRefused
from facade.registry.model import Instance, InstanceKey, Origin, Record, RecordKey, Revision, ServiceId
from facade.registry.store import Commit, Follower, Put, Snapshot, Store, StoreHealth, Write, key_of
from facade.registry.turns import Turns
from facade.stores.fit import WHOLE, Fit, Kept
from facade.stores.mirror import Mirror
from facade.stores.publishing import Publisher


class UpstreamStore:
    cluster = None

    def __init__(self, local: Store, mirrors: Sequence[Mirror], publisher: Publisher | None = None) -> None:
        """With several mirrors, each record belongs to the first that it concerns; `publisher` copies between them."""
        self.mirrors = mirrors
        self._local = local
        self._publisher = publisher
        self._held: dict[RecordKey, Record] = {}
        self._turns = Turns()
        self._pushing: set[asyncio.Task[None]] = set()
        self._follower: Follower | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self, follower: Follower) -> Snapshot:
        snapshot = await self._local.open(self._relay)
        self._revision = snapshot.revision
        self._held |= {record.key: record for record in snapshot.records}
        await asyncio.gather(*(mirror.open(self._held, self._local.write, self._turns) for mirror in self.mirrors))
        self._follower = follower
        self._tasks = [asyncio.create_task(mirror.run()) for mirror in self.mirrors]
        if self._publisher is not None:
            self._publisher.open(self._held, lambda: self._revision)
            self._tasks.append(asyncio.create_task(self._publisher.run()))
        return Snapshot(snapshot.epoch, self._revision, tuple(self._held.values()))

    async def write(self, writes: Sequence[Write]) -> Revision:
        """There first, then here. Of several writes some may be there already when a later one fails."""
        if self._follower is None:
            raise StoreUnavailable("the store is not open")
        keys = sorted({key_of(write) for write in writes}, key=repr)  # in one order, or two could wait for each other
        async with AsyncExitStack() as written:
            for key in keys:
                await written.enter_async_context(self._turns.of(key))
            queued = [(mirror.outward, key, mirror.outward.outbox.get(key)) for mirror in self.mirrors for key in keys]
            try:
                await self._carry(writes, written)
                revision = await self._local.write(writes)
            except FacadeError:
                for outward, key, earlier in queued:
                    outward.take_back(key, earlier)
                raise
        self._tell_instances_of([key for key in keys if isinstance(key, ServiceId) and self._mirror_of(key) is None])
        return revision

    async def _carry(self, writes: Sequence[Write], written: AsyncExitStack) -> None:
        """To the registries that they belong to; no reading judges them until `written` is left."""
        before: dict[RecordKey, Record | None] = {}
        for write in writes:
            key = key_of(write)
            mirror = self._mirror_of(key)
            if mirror is not None:
                written.enter_context(mirror.outward.traces.writing(key))
                await mirror.outward.write(write, before[key] if key in before else self._held.get(key))
            before[key] = write.record if isinstance(write, Put) else None

    def _tell_instances_of(self, services: Collection[ServiceId]) -> None:
        """Where a service has no place of its own, its instances carry it: each is written once more."""
        for service in services:
            for mirror in self.mirrors:
                carrying = [
                    one
                    for one in self._held.values()
                    if isinstance(one, Instance)
                    and (one.key.origin, one.key.space.tenant, one.key.group) == (Origin.SERVICECENTER, *service)
                    and mirror.concerns(one.key)
                ]
                if carrying:
                    task = asyncio.create_task(self._push(mirror, carrying))
                    self._pushing.add(task)
                    task.add_done_callback(self._pushing.discard)

    async def _push(self, mirror: Mirror, instances: Sequence[Instance]) -> None:
        with mirror.contact.guarded():
            await mirror.outward.push(instances)

    async def renew(self, remaining_ms: Mapping[InstanceKey, int]) -> Collection[InstanceKey]:
        unknown = []
        for key, left_ms in remaining_ms.items():
            mirror = self._mirror_of(key)
            if key not in self._held:
                unknown.append(key)
            elif mirror is not None:
                mirror.outward.note_renewal(key, left_ms)
        return unknown

    @property
    def data_age_s(self) -> float:
        return max(mirror.data_age_s for mirror in self.mirrors)

    @property
    def has_data(self) -> bool:
        return all(mirror.has_data for mirror in self.mirrors)

    def keeps_lease(self, key: InstanceKey) -> bool:
        """Whether an instance lives is decided where it is kept; and while there is nobody to ask, it lives."""
        return self._mirror_of(key) is not None

    def is_here_alone(self, key: RecordKey) -> bool:
        """Whether a record of this kind is kept by us, and no registry behind us has a say in it."""
        return self._mirror_of(key) is None

    def fit(self, record: Record) -> Fit:
        """How a record would be kept there; what is looked at is the record alone."""
        mirror = self._mirror_of(record.key)
        if mirror is None:
            return Fit(Kept.HERE_ALONE, "there is no place for it there")
        try:
            mirror.backend.as_kept(record)
            lost = mirror.backend.lost(record) if isinstance(record, Instance) else ""
        except UpstreamRefused as error:
            is_parked = isinstance(record, Instance) and record.key.origin is not mirror.backend.origin
            return Fit(Kept.HERE_ALONE if is_parked else Kept.REFUSED, str(error))
        return Fit(Kept.IN_PART, lost) if lost else WHOLE

    def parked(self, key: RecordKey) -> str:
        """Why the registry behind us did not take an instance that was written; empty when it did."""
        found = [mirror.outward.parked[key].reason for mirror in self.mirrors if key in mirror.outward.parked]
        return found[0] if found else ""

    def health(self) -> StoreHealth:
        own = self._local.health()
        states = [mirror.health() for mirror in self.mirrors]
        told = [state.text for state in states]
        told += [self._publisher.text] if self._publisher is not None else []
        told += [] if own.is_writable else [own.text]
        return StoreHealth(
            is_writable=own.is_writable and all(state.is_writable for state in states),
            text=" ".join(told),
            waiting=sum(state.waiting for state in states),
            parked=sum(state.parked for state in states),
            doubted=sum(state.doubted for state in states) + (self._publisher.held_back if self._publisher else 0),
            trouble="; ".join(state.trouble for state in states if state.trouble),
        )

    async def close(self) -> None:
        """What waits for an absent registry is lost with us, unless its owner renews it after the next start."""
        self._follower = None
        tasks = [*self._tasks, *self._pushing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._publisher is not None:
            await self._publisher.close()
        for mirror in self.mirrors:
            await mirror.backend.close()
        await self._local.close()

    def _mirror_of(self, key: RecordKey) -> Mirror | None:
        return next((mirror for mirror in self.mirrors if mirror.concerns(key)), None)

    def _relay(self, commit: Commit) -> None:
        self._revision = commit.revision
        for write in commit.writes:
            if isinstance(write, Put):
                self._held[write.record.key] = write.record
            else:
                self._held.pop(write.key, None)
        if self._follower is not None:
            self._follower(commit)
