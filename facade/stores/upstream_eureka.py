"""A real Eureka server as the registry behind us: the Backend of its protocol.

reads     the delta every second, all of it when the check sum tells that something is missing; where the server lists
          us as its peer it tells us itself, and we only look now and then whether it has told all
writes    as a client does, so that the server tells its peers; the same instance to the same node while that is well
renewals  as a peer does, some hundreds in one call to every node; one by one where there are nodes that we do not know
leases    of instances born in ServiceCenter are ended by their own terms: the server might keep them for ever

It keeps instances alone: those of its own kind, and ServiceCenter's packed into its documents (packed_in_eureka.py).
Source: Netflix/eureka 2.0.6, asked; docs/backing-registries.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from itertools import compress, islice
from operator import not_

from msgspec.structs import replace

from facade.clock import Clock
from facade.errors import StoreUnavailable, UpstreamRefused
from facade.eureka import mapping
from facade.eureka.client import EurekaClient, Live
from facade.eureka.records import BatchItem, BatchResult, InstanceInfo
from facade.registry.model import (
    Instance,
    InstanceKey,
    Microservice,
    Origin,
    Record,
    RecordKey,
    ServiceId,
    Space,
    Status,
)
from facade.registry.rules import Policy, is_same_but_for_time
from facade.stores.backend import Seen
from facade.stores.eureka_nodes import Nodes, is_one_of_us
from facade.stores.packed_in_eureka import CLUSTER, on_wire, pack, seal, spoils_xml
from facade.stores.picture_of_eureka import Address, Picture, address_of

CACHES_S = 65.0
"""A node renews its cached lists every 30 s, and it may hear of a change from another that is in trouble."""
TOLD_S = 60.0
"""A server that has told us anything within this time tells us everything."""
LOOK_EVERY_S = 5.0
"""How often we read all the same while the server tells us; also how often all is read where there is no delta."""
LAPSES_EVERY_S = 5.0
AWAY_S = 15.0
"""No reading for so long: the server was away, or we were."""
LAPSES_AT_ONCE = 16
"""Live questions of one pass: the rest waits for the next."""
_STEPS = 4
"""More are never needed to make a status come out as wanted."""

log = logging.getLogger(__name__)


class EurekaBackend:
    origin = Origin.EUREKA
    lag_s = 0.0
    """What we wrote is in the very next reading: it is pinned until the server's caches show it too."""
    whole_every_s = 30.0

    def __init__(
        self,
        client: EurekaClient,
        policy: Policy,
        clock: Clock,
        *,
        cluster: str = "",
        caches_s: float = CACHES_S,
        is_one_of_us: Callable[[str], Awaitable[bool]] = is_one_of_us,
    ) -> None:
        """`cluster` names this bridge in what is packed; `caches_s` is how old a list of that server may be;
        `is_one_of_us` is for tests."""
        self.title = f"Eureka at {', '.join(client.outbound.bases)}"
        self.lookup: Callable[[RecordKey], Record | None] = lambda _: None
        self.client = client
        self._marks = {CLUSTER: cluster} if cluster else {}
        self._clock = clock
        self._picture = Picture(policy, clock, caches_s)
        self._nodes = Nodes(client, clock, is_one_of_us)
        self._hint: Callable[[], None] = lambda: None
        self._told_s = self._looked_s = float("-inf")
        self._looked_for_lapses_s = float("-inf")
        self._has_read_all = False
        self._accepted_hash = ""
        self._alive_until_s: dict[InstanceKey, float] = {}
        self._missed: set[tuple[str, InstanceKey]] = set()

    @property
    def trouble(self) -> str:
        return self.client.outbound.trouble

    def takes(self, key: RecordKey) -> bool:
        """Eureka's own of the one name space that it has, and any of ServiceCenter's."""
        return isinstance(key, InstanceKey) and (key.origin is Origin.SERVICECENTER or key.space == Space())

    @property
    def truncated(self) -> int:
        return 0

    def expect(self, keys: Iterable[RecordKey]) -> None:
        """It has one name space, and all of it is read."""

    def rebuilt(self) -> Collection[Record]:
        return self._picture.services.values()

    async def close(self) -> None:
        await self.client.outbound.close()

    # Reading

    async def read(self, *, is_whole: bool) -> Seen:
        now_s = self._clock.monotonic_s()
        if is_whole or not self._has_read_all:
            await self._read_all()
        elif not self._is_told() or now_s - self._looked_s >= LOOK_EVERY_S:
            await self._read_delta()
        await self.end_lapsed()
        changed = self._picture.take_changes()
        return Seen(self._picture.records, None if is_whole else changed)

    async def _read_all(self) -> None:
        self._looked_s = self._clock.monotonic_s()
        listing = await self.client.applications()
        await self._picture.apply_all(listing)
        self._has_read_all = True

    async def _read_delta(self) -> None:
        now_s = self._clock.monotonic_s()
        delta = await self.client.delta()
        if delta is None:
            if now_s - self._looked_s >= LOOK_EVERY_S:
                await self._read_all()
            return
        self._looked_s = now_s
        await self._picture.apply_delta(delta)
        if not self._picture.is_pinned() and delta.hash_code not in (self._picture.hash_code, self._accepted_hash):
            await self._read_all()
            # The server's two lists are not made in one moment; one that stays odd is not worth a full list a second.
            self._accepted_hash = delta.hash_code

    def _is_told(self) -> bool:
        return self._clock.monotonic_s() - self._told_s < TOLD_S

    def hear(self, item: BatchItem) -> BatchResult:
        """What a server that lists us as its peer tells us; the next reading has it, without asking anybody."""
        self._told_s = self._clock.monotonic_s()
        result = self._picture.hear(item)
        if item.action != "Heartbeat":
            self._hint()
        return result

    async def watch(self, hint: Callable[[], None]) -> None:
        self._hint = hint
        await asyncio.Event().wait()

    def as_kept(self, record: Record) -> Record:
        if not isinstance(record, Instance):
            return record
        kept, _ = self._picture.to_record(self._document(record))
        return kept

    # Writing

    async def put(self, record: Record, before: Record | None) -> None:
        assert isinstance(record, Instance), "nothing else is taken"
        wanted = self._document(record)
        if spoils_xml(wanted):
            raise UpstreamRefused("it holds characters that would spoil the server's XML for everybody")
        self._picture.note_written(record)
        self._note_alive(record)
        if not isinstance(before, Instance) or not _differ_in_status_alone(before, record):
            await self.client.register(wanted)
        await self._settle(record, wanted)

    def _document(self, instance: Instance) -> InstanceInfo:
        """As it is registered there."""
        if instance.key.origin is Origin.SERVICECENTER:
            service = self.lookup(ServiceId(instance.key.space.tenant, instance.key.group))
            packed = pack(instance, service if isinstance(service, Microservice) else None)
            return replace(packed, metadata=packed.metadata | self._marks)
        info = mapping.from_instance(instance)
        assert info is not None, "an instance born in Eureka always has a document"
        return seal(replace(info, overridden_status=on_wire(info.overridden_status)))

    async def _settle(self, record: Instance, wanted: InstanceInfo) -> None:
        """Make the server show what is wanted, whatever its rules for statuses make of a registration.

        Source: Netflix/eureka, registry/rule/*; AbstractInstanceRegistry.register, statusUpdate, deleteStatusOverride.
        """
        address = address_of(record)
        for _ in range(_STEPS):
            live = await self.client.instance(*address)
            if live is None:
                await self.client.register(wanted)
                continue
            info = live.info
            if (info.last_dirty_ms or 0) > (wanted.last_dirty_ms or 0):
                if record.key.origin is Origin.EUREKA:
                    break  # its owner has been there itself: what it said comes with the next reading
                wanted = replace(wanted, last_dirty_ms=(info.last_dirty_ms or 0) + 1)
                await self.client.register(wanted)
            elif (info.last_dirty_ms or 0) < (wanted.last_dirty_ms or 0):
                await self.client.register(wanted)
            elif info.overridden_status is not wanted.overridden_status:
                await self._set_override(address, info, wanted)
            elif info.status is not wanted.status:
                await self._set_status(info, wanted)
            else:
                break
        else:
            log.warning("status does not come out as wanted application=%s instance=%s", *address)
            live = await self.client.instance(*address)
        if live is not None:
            self._picture.pin(live.info)

    async def _set_override(self, address: Address, shown: InstanceInfo, wanted: InstanceInfo) -> None:
        dirty_ms = wanted.last_dirty_ms or 0
        if wanted.overridden_status is Status.UNKNOWN:
            await self.client.delete_status(*address, wanted.status, dirty_ms)
        elif shown.status is not wanted.overridden_status:
            await self.client.set_status(*address, wanted.overridden_status, dirty_ms)
        elif shown.overridden_status is not Status.UNKNOWN:
            # The server records no override that names what is shown already; a registration sets one where none is.
            await self.client.delete_status(*address, wanted.status, dirty_ms)
        else:
            await self.client.register(wanted)

    async def _set_status(self, shown: InstanceInfo, wanted: InstanceInfo) -> None:
        """Between UP and OUT_OF_SERVICE the server keeps what its lease shows, until something else is in between."""
        kept = (Status.UP, Status.OUT_OF_SERVICE)
        if shown.status in kept and wanted.status in kept:
            await self.client.register(replace(wanted, status=Status.STARTING))
        await self.client.register(wanted)

    async def remove(self, record: Record) -> None:
        assert isinstance(record, Instance), "nothing else is taken"
        await self._cancel(address_of(record))

    async def _cancel(self, address: Address) -> None:
        try:
            was_known = await self.client.cancel(*address)
        except UpstreamRefused:  # its name cannot stand in a path, but in a batch
            was_known = False
        if not was_known:
            cancel = BatchItem(action="Cancel", app_name=address.application, instance_id=address.instance_id)
            await self._nodes.tell_all([cancel])
        self._picture.pin_absent(address)

    async def holds(self, record: Record) -> bool:
        """Whether any node does: one may have missed it. Raises StoreUnavailable when none does and one is silent."""
        assert isinstance(record, Instance), "nothing else is taken"
        address = address_of(record)
        silent: StoreUnavailable | None = None
        for base in self.client.outbound.bases:
            try:
                if await self.client.instance(*address, base=base) is not None:
                    return True
            except StoreUnavailable as error:
                silent = error
            except UpstreamRefused:
                return address in self._picture.infos
        if silent is not None:
            raise silent
        return False

    # Renewing

    async def renew(self, instances: Sequence[Instance]) -> Collection[Instance]:
        for instance in instances:
            self._note_alive(instance)
        if not instances:
            return []
        if await self._nodes.are_all_known():
            return await self._renew_everywhere(instances)
        return await self._renew_one_by_one(instances)

    async def _renew_everywhere(self, instances: Sequence[Instance]) -> list[Instance]:
        """As a peer does: it tells nobody else. Unknown is who is unknown to every node that answers."""
        answers = await self._nodes.tell_all([self._heartbeat(instance) for instance in instances])
        misses = {base: [result.status == 404 for result in results] for base, results in answers.items()}
        is_unknown = [all(missing) for missing in zip(*misses.values(), strict=True)]
        for base, missing in misses.items():
            which = [misses_it and not nobody for misses_it, nobody in zip(missing, is_unknown, strict=True)]
            await self._teach(base, instances, list(compress(instances, which)))
        return list(compress(instances, is_unknown))

    async def _teach(self, base: str, told: Sequence[Instance], missed: Sequence[Instance]) -> None:
        """Register with a node what others hold. Not at its first miss: it may have heard of the end before them."""
        due = [instance for instance in missed if (base, instance.key) in self._missed]
        self._missed -= {(base, instance.key) for instance in told}
        self._missed |= {(base, instance.key) for instance in missed} - {(base, instance.key) for instance in due}
        if due:
            infos = [self._picture.infos.get(address_of(one)) or self._document(one) for one in due]
            with suppress(StoreUnavailable):  # there is a next time
                await self.client.batch(base, [_item("Register", info, instance_info=info) for info in infos])

    async def _renew_one_by_one(self, instances: Sequence[Instance]) -> list[Instance]:
        """As clients do: whoever hears of it tells the others."""
        items = [self._heartbeat(instance) for instance in instances]
        are_known = await asyncio.gather(*map(self._renew_one, items))
        return list(compress(instances, map(not_, are_known)))

    async def _renew_one(self, item: BatchItem) -> bool:
        assert item.app_name and item.instance_id and item.status, "as `_heartbeat` makes them"
        try:
            return await self.client.renew(item.app_name, item.instance_id, item.status, item.last_dirty_ms or 0)
        except UpstreamRefused:  # its name cannot stand in a path, but in a batch
            answers = await self._nodes.tell_all([item])
            return any(results[0].status != 404 for results in answers.values())

    def _heartbeat(self, instance: Instance) -> BatchItem:
        """With the data's age as we know it there: to a node with older data it means to ask for newer."""
        info = self._picture.infos.get(address_of(instance)) or self._document(instance)
        return _item("Heartbeat", info)

    # The leases of instances born in ServiceCenter

    async def end_lapsed(self) -> None:
        """End those that no node of ours has renewed for their own term, by the server's own clock."""
        now_s = self._clock.monotonic_s()
        since_s = now_s - self._looked_for_lapses_s
        if since_s < LAPSES_EVERY_S:
            return
        self._looked_for_lapses_s = now_s
        if since_s > AWAY_S:
            self._alive_until_s.clear()
        packed = [one for one in self._picture.instances() if one.key.origin is Origin.SERVICECENTER]
        for instance in packed:
            if (
                instance.key not in self._alive_until_s
            ):  # nobody could renew there while one of us was away: a fresh term
                self._note_alive(instance)
        self._alive_until_s = {one.key: self._alive_until_s[one.key] for one in packed}
        self._missed = {(base, key) for base, key in self._missed if key in self._picture.records}
        lapsed = (one for one in packed if self._alive_until_s[one.key] < now_s)
        for instance in islice(lapsed, LAPSES_AT_ONCE):
            await self._end_if_lapsed(instance)

    async def _end_if_lapsed(self, instance: Instance) -> None:
        live = await self.client.instance(*address_of(instance))
        remaining_ms = _remaining_ms(instance, live) if live is not None else 0
        if remaining_ms > 0:
            self._alive_until_s[instance.key] = self._clock.monotonic_s() + remaining_ms / 1000
            return
        log.info("lease lapsed application=%s instance=%s", *address_of(instance))
        await self._cancel(address_of(instance))

    def _note_alive(self, instance: Instance) -> None:
        if instance.key.origin is Origin.SERVICECENTER:
            self._alive_until_s[instance.key] = self._clock.monotonic_s() + instance.lease.renewed_ms / 1000


def _differ_in_status_alone(one: Instance, other: Instance) -> bool:
    """A packed one says more of its status than the server knows: it is always registered anew."""
    if other.key.origin is not Origin.EUREKA:
        return False
    same_status = replace(one, status=other.status, override=other.override, reported=other.reported)
    return is_same_but_for_time(replace(same_status, dirty_ms=other.dirty_ms), other)


def _item(action: str, info: InstanceInfo, instance_info: InstanceInfo | None = None) -> BatchItem:
    return BatchItem(
        action=action,
        app_name=info.app,
        instance_id=info.effective_id,
        last_dirty_ms=info.last_dirty_ms,
        status=info.status,
        instance_info=instance_info,
    )


def _remaining_ms(instance: Instance, live: Live) -> int:
    """What is left of its own term since the last renewal that the server has heard.

    The server states the moment of a renewal plus the duration; that of a registration as it is.
    Source: Netflix/eureka, Lease.renew.
    """
    lease = live.info.lease_info
    is_renewed = lease.renewed_ms > lease.registered_ms
    last_ms = lease.renewed_ms - lease.duration_s * 1000 if is_renewed else lease.registered_ms
    if live.date_ms is None:
        return instance.lease.renewed_ms  # no clock to judge by
    return last_ms + instance.lease.renewed_ms - live.date_ms
