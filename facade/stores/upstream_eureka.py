"""A real Eureka server as the registry behind us: the Backend of its protocol.

reads     the delta every second, all of it when the check sum tells that something is missing; where the server lists
          us as its peer it tells us itself, and we only look now and then whether it has told all
writes    as a client does, so that the server tells its peers; the same instance to the same node while that is well
renewals  as a peer does, some hundreds in one call to every node; one by one where there are nodes that we do not know
leases    of instances born in ServiceCenter are ended by their own terms (leases_in_eureka.py)

It keeps instances alone: those of its own kind, and ServiceCenter's packed into its documents (packed_in_eureka.py).
Source: Netflix/eureka 2.0.6, asked; docs/backing-registries.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from itertools import compress
from operator import not_

from msgspec.structs import replace

from facade.clock import Clock
from facade.errors import StoreUnavailable, UpstreamRefused
from facade.eureka import mapping
from facade.eureka.client import EurekaClient, path_of
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
)
from facade.registry.rules import Policy, is_same_but_for_time
from facade.stores import packed_in_eureka
from facade.stores.backend import Seen
from facade.stores.eureka_nodes import FindFacades, Nodes, facades_among
from facade.stores.leases_in_eureka import PackedLeases
from facade.stores.marks import CLUSTER
from facade.stores.packed_in_eureka import is_packed, on_wire, pack, seal, spoils_xml
from facade.stores.picture_of_eureka import Address, Picture, address_of, record_of
from facade.stores.settling_in_eureka import settle

CACHES_S = 65.0
"""A node renews its cached lists every 30 s, and it may hear of a change from another that is in trouble."""
TOLD_S = 60.0
"""A server that has told us anything within this time tells us everything."""
LOOK_EVERY_S = 5.0
"""How often we read all the same while the server tells us; also how often all is read where there is no delta."""

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
        find_facades: FindFacades = facades_among,
    ) -> None:
        """`cluster` names this bridge in what is packed; `caches_s` is how old a list of that server may be;
        `find_facades` is for tests."""
        self.title = f"Eureka at {', '.join(client.outbound.bases)}"
        self.lookup: Callable[[RecordKey], Record | None] = lambda _: None
        self.client = client
        self.nodes = Nodes(client, find_facades)
        self._cluster = cluster
        self._policy = policy
        self._clock = clock
        self._picture = Picture(policy, clock, caches_s)
        self._leases = PackedLeases(client, self._picture, clock, self._cancel)
        self._hint: Callable[[], None] = lambda: None
        self._told_s = self._looked_s = float("-inf")
        self._has_read_all = False
        self._accepted_hash = ""
        self._missed: set[tuple[str, InstanceKey]] = set()
        self._has_told_of_strangers = False

    def cluster_of(self, record: Instance) -> str:
        info = self._picture.infos.get(address_of(record))
        return info.metadata.get(CLUSTER, "") if info is not None and is_packed(info) else ""

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
        await self._leases.end_lapsed()
        changed = self._picture.take_changes()
        return Seen(self._picture.records, None if is_whole else changed)

    async def _read_all(self) -> None:
        self._looked_s = self._clock.monotonic_s()
        listing = await self.client.applications()
        await self._picture.apply_all(listing)
        self._has_read_all = True
        self._missed = {(base, key) for base, key in self._missed if key in self._picture.records}

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

    def hear(self, address: str, item: BatchItem) -> BatchResult | None:
        """What a server that lists us as its peer tells us; the next reading has it, without asking anybody.

        None when `address` is of no host that we were told of: anybody may claim to be a peer. Behind a proxy, or a
        balancer between them and us, nothing is heard: then the address is not theirs.
        """
        if not self.nodes.is_node(address):
            self._tell_of_stranger(address)
            return None
        self._told_s = self._clock.monotonic_s()
        result = self._picture.hear(item)
        if item.action != "Heartbeat":
            self._hint()
        return result

    def _tell_of_stranger(self, address: str) -> None:
        if not self._has_told_of_strangers:
            log.warning("who speaks as a peer is no server of --store: not heard as one address=%s", address)
        self._has_told_of_strangers = True

    async def watch(self, hint: Callable[[], None]) -> None:
        """The server tells us itself, if it is to; here we only keep in mind who it is."""
        self._hint = hint
        await self.nodes.look_forever()

    def as_kept(self, record: Record) -> Record:
        if not isinstance(record, Instance):
            return record
        document = _document(record, None, "")
        if record.key.origin is not Origin.EUREKA:
            path_of(document.app, document.effective_id)
        return record_of(document, self._policy)[0]

    def lost(self, record: Instance) -> str:
        return packed_in_eureka.lost(record) if record.key.origin is Origin.SERVICECENTER else ""

    # Writing

    async def put(self, record: Record, before: Record | None) -> None:
        assert isinstance(record, Instance), "nothing else is taken"
        wanted = self._document_of(record)
        if spoils_xml(wanted):
            raise UpstreamRefused("it holds characters that would spoil the server's XML for everybody")
        self._picture.note_written(record)
        self._leases.note_alive(record)
        if not isinstance(before, Instance) or not _differ_in_status_alone(before, record):
            await self.client.register(wanted)
        shown = await settle(self.client, wanted, has_owner_there=record.key.origin is Origin.EUREKA)
        if shown is not None:
            self._picture.pin(shown)

    def _document_of(self, instance: Instance) -> InstanceInfo:
        """As it is registered there."""
        service = self.lookup(ServiceId(instance.key.space.tenant, instance.key.group))
        return _document(instance, service if isinstance(service, Microservice) else None, self._cluster)

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
            await self.nodes.tell_all([cancel])
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
            self._leases.note_alive(instance)
        if not instances:
            return []
        if self.nodes.are_all_known:
            return await self._renew_everywhere(instances)
        return await self._renew_one_by_one(instances)

    async def _renew_everywhere(self, instances: Sequence[Instance]) -> list[Instance]:
        """As a peer does: it tells nobody else. Unknown is who is unknown to every node that answers."""
        answers = await self.nodes.tell_all([self._heartbeat(instance) for instance in instances])
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
            infos = [self._picture.infos.get(address_of(one)) or self._document_of(one) for one in due]
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
            answers = await self.nodes.tell_all([item])
            return any(results[0].status != 404 for results in answers.values())

    def _heartbeat(self, instance: Instance) -> BatchItem:
        """With the data's age as we know it there: to a node with older data it means to ask for newer."""
        info = self._picture.infos.get(address_of(instance)) or self._document_of(instance)
        return _item("Heartbeat", info)


def _document(instance: Instance, service: Microservice | None, cluster: str) -> InstanceInfo:
    if instance.key.origin is Origin.SERVICECENTER:
        return pack(instance, service, cluster)
    info = mapping.from_instance(instance)
    assert info is not None, "an instance born in Eureka always has a document"
    return seal(replace(info, overridden_status=on_wire(info.overridden_status)))


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
