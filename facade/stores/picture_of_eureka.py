"""What a real Eureka server holds, put together from its lists, from what it answered live and from what it tells us.

Lists come from the server's caches and may be half a minute behind. What was answered live, or told by the server as
to its peer, is therefore pinned: until the caches have caught up no list may undo it, unless by a later change.
Source: Netflix/eureka, ResponseCacheImpl; PeerReplicationResource and InstanceResource for what a peer answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from facade.clock import Clock
from facade.eureka import mapping
from facade.eureka.client import Listing
from facade.eureka.records import Action, BatchItem, BatchResult, InstanceInfo, LeaseInfo
from facade.registry import rules
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
from facade.registry.rules import Policy
from facade.stores.packed_in_eureka import listed_name, unpack, unseal, with_status_of

_A_TURN = 100
"""Instances that are taken in one turn of the event loop: about 7 ms, if all are new."""
_MOST_TOLD = 20
"""Documents that mean nothing to us and that the log names."""

_encode = msgspec.msgpack.Encoder().encode

log = logging.getLogger(__name__)


class Address(NamedTuple):
    """Where an instance stands in a Eureka server."""

    application: str
    instance_id: str


def address_of(instance: Instance) -> Address:
    is_native = instance.key.origin is Origin.EUREKA
    return Address(instance.key.group if is_native else listed_name(instance), instance.key.instance_id)


class _Pin(NamedTuple):
    until_s: float
    updated_ms: int
    """The server's moment of the last change that we know of; a list that names a later one is right."""


class Picture:
    def __init__(self, policy: Policy, clock: Clock, caches_s: float) -> None:
        """`caches_s` is the longest time by which a list may be behind."""
        self.records: dict[RecordKey, Record] = {}
        self.services: dict[ServiceId, Microservice] = {}
        """Microservices that packed instances have brought with them, while any of these is there."""
        self.infos: dict[Address, InstanceInfo] = {}
        self._policy = policy
        self._clock = clock
        self._caches_s = caches_s
        self._keys: dict[Address, InstanceKey] = {}
        self._members: Counter[ServiceId] = Counter()
        self._written: dict[Address, Instance] = {}
        self._pins: dict[Address, _Pin] = {}
        self._changed: set[RecordKey] = set()
        self._applied: dict[bool, Listing] = {}
        self._told_of: set[Address] = set()

    @property
    def hash_code(self) -> str:
        """The server's own check sum: how many there are of each status."""
        statuses = Counter(info.status for info in self.infos.values())
        return "".join(f"{status}_{statuses[status]}_" for status in sorted(statuses))

    def is_pinned(self) -> bool:
        """Whether anything here is known better than from a list."""
        now_s = self._clock.monotonic_s()
        for address in [address for address, pin in self._pins.items() if pin.until_s <= now_s]:
            del self._pins[address]
        return bool(self._pins)

    def take_changes(self) -> Collection[RecordKey]:
        """The keys of what has changed since this was last asked."""
        changed, self._changed = self._changed, set()
        return changed

    def instances(self) -> Iterable[Instance]:
        return (record for record in self.records.values() if isinstance(record, Instance))

    def note_written(self, instance: Instance) -> None:
        """Second proof of origin: a document in this place is this instance even if it has lost its marks."""
        if instance.key.origin is Origin.SERVICECENTER:
            self._written[address_of(instance)] = instance

    # What lists say

    async def apply_all(self, listing: Listing) -> None:
        """A list of all: what is not in it is gone."""
        if self._is_news(listing, is_whole=True):
            await self._apply(listing.instances)
            listed = {Address(info.app, info.effective_id) for info in listing.instances}
            for address in self.infos.keys() - listed - self._pins.keys():
                self._drop(address)

    async def apply_delta(self, listing: Listing) -> None:
        """A list of what has changed of late; it may tell again what is known."""
        if self._is_news(listing, is_whole=False):
            await self._apply(listing.instances)

    def _is_news(self, listing: Listing, *, is_whole: bool) -> bool:
        if self._applied.get(is_whole) is listing:
            return False
        if not self.is_pinned():  # else not all of it counts now, and the rest may later
            self._applied[is_whole] = listing
        return True

    async def _apply(self, instances: Sequence[InstanceInfo]) -> None:
        for number, info in enumerate(instances, 1):
            self._apply_one(info)
            if number % _A_TURN == 0:
                await asyncio.sleep(0)

    def _apply_one(self, info: InstanceInfo) -> None:
        address = Address(info.app, info.effective_id)
        pin = self._pins.get(address)
        if pin is not None and info.last_updated_ms <= pin.updated_ms:
            return
        if info.action is Action.DELETED:
            self._drop(address)
        else:
            self._take(info)

    # What is known better

    def pin(self, info: InstanceInfo) -> None:
        """As the server has just answered or told."""
        self._take(info)
        self._hold(Address(info.app, info.effective_id), info.last_updated_ms)

    def pin_absent(self, address: Address) -> None:
        known = self.infos.get(address)
        self._drop(address)
        self._hold(address, known.last_updated_ms if known is not None else 0)

    def _hold(self, address: Address, updated_ms: int) -> None:
        self._applied.clear()
        earlier = self._pins.get(address)
        latest_ms = max(updated_ms, earlier.updated_ms if earlier is not None else 0)
        self._pins[address] = _Pin(self._clock.monotonic_s() + self._caches_s, latest_ms)

    def _take(self, info: InstanceInfo) -> None:
        address = Address(info.app, info.effective_id)
        known = self.infos.get(address)
        if known is info:
            return
        self.infos[address] = info
        if known is not None and _without_moments(known) == _without_moments(info):
            return
        found = self._to_record(address, info)
        self._forget_key(address)
        if found is None:
            return
        record, service = found
        self._keys[address] = record.key
        self.records[record.key] = record
        self._changed.add(record.key)
        self._members[_service_of(record.key)] += 1
        if service is not None:
            self.services[service.key] = service

    def _drop(self, address: Address) -> None:
        self._written.pop(address, None)
        if self.infos.pop(address, None) is not None:
            self._forget_key(address)

    def _forget_key(self, address: Address) -> None:
        key = self._keys.pop(address, None)
        if key is None:
            return
        self.records.pop(key, None)
        self._changed.add(key)
        service = _service_of(key)
        self._members[service] -= 1
        if not self._members[service]:
            del self._members[service]
            self.services.pop(service, None)

    def _to_record(self, address: Address, info: InstanceInfo) -> tuple[Instance, Microservice | None] | None:
        """The record that a document is to us, and the microservice that came with it.

        None for one that nobody can make sense of: whoever registered it must not hide all the others.
        """
        try:
            record, service = record_of(info, self._policy)
            written = self._written.get(address)
            if written is not None and record.key.origin is Origin.EUREKA:
                record = with_status_of(written, info)
            _encode((record, service))  # what no store can hold must not reach one
        except Exception as error:
            self._tell_of(address, error)
            return None
        return record, service

    def _tell_of(self, address: Address, error: Exception) -> None:
        if address not in self._told_of and len(self._told_of) < _MOST_TOLD:
            self._told_of.add(address)
            log.warning("an instance is left out application=%s instance=%s reason=%r", *address, error)

    # What a server tells us as its peer

    def hear(self, item: BatchItem) -> BatchResult:
        """Apply one event; the answer is a peer's. A 404 makes the server send the whole instance."""
        if item.action not in _ACTIONS or not item.app_name or not item.instance_id:
            return BatchResult(500)
        address = Address(item.app_name.upper(), item.instance_id)
        return _ACTIONS[item.action](self, address, item)

    def _hear_register(self, address: Address, item: BatchItem) -> BatchResult:
        if item.instance_info is None:
            return BatchResult(500)
        info, held = item.instance_info, self.infos.get(address)
        if (info.app, info.effective_id) != address:
            return BatchResult(200)  # the original answers so, and stores nothing
        if held is not None:
            override = held.overridden_status
            if (held.last_dirty_ms or 0) > (info.last_dirty_ms or 0):
                info = held
            elif override is not Status.UNKNOWN:
                info = replace(info, overridden_status=override)
        override_or_none = None if info.overridden_status is Status.UNKNOWN else info.overridden_status
        status = rules.shown_status(Origin.EUREKA, info.status, override_or_none, None, is_replicated=True)
        self.pin(replace(info, status=status))
        return BatchResult(200)

    def _hear_heartbeat(self, address: Address, item: BatchItem) -> BatchResult:
        held = self.infos.get(address)
        if held is None or held.status is Status.UNKNOWN:
            return BatchResult(404)
        theirs, ours = item.last_dirty_ms, held.last_dirty_ms or 0
        if theirs is None or theirs == ours:
            return BatchResult(200)
        return BatchResult(404) if theirs > ours else BatchResult(409, held)

    def _hear_cancel(self, address: Address, item: BatchItem) -> BatchResult:
        if address not in self.infos:
            return BatchResult(404)
        self.pin_absent(address)
        return BatchResult(200)

    def _hear_status(self, address: Address, item: BatchItem) -> BatchResult:
        held = self.infos.get(address)
        if held is None or item.status is None:
            return BatchResult(404 if held is None else 500)
        if item.status is not held.status:
            self.pin(
                replace(
                    held,
                    status=item.status,
                    overridden_status=item.status,
                    last_dirty_ms=max(held.last_dirty_ms or 0, item.last_dirty_ms or 0),
                )
            )
        return BatchResult(200)

    def _hear_lift(self, address: Address, item: BatchItem) -> BatchResult:
        held = self.infos.get(address)
        if held is None:
            return BatchResult(404)
        if held.overridden_status is not Status.UNKNOWN:
            self.pin(
                replace(
                    held,
                    status=item.status or Status.UNKNOWN,
                    overridden_status=Status.UNKNOWN,
                    last_dirty_ms=max(held.last_dirty_ms or 0, item.last_dirty_ms or 0),
                )
            )
        return BatchResult(200)


_ACTIONS: dict[str | None, Callable[[Picture, Address, BatchItem], BatchResult]] = {
    "Register": Picture._hear_register,
    "Heartbeat": Picture._hear_heartbeat,
    "Cancel": Picture._hear_cancel,
    "StatusUpdate": Picture._hear_status,
    "DeleteStatusOverride": Picture._hear_lift,
}


def record_of(info: InstanceInfo, policy: Policy) -> tuple[Instance, Microservice | None]:
    """A document of that server as the record it is by itself, and the microservice that came with it. Pure."""
    info = unseal(info)
    return unpack(info, policy) or (native_of(info, Space(), policy), None)


def native_of(info: InstanceInfo, space: Space, policy: Policy) -> Instance:
    """A document that a Eureka server lists for its own, as the record it is."""
    instance = mapping.to_instance(info, space, policy, info.last_updated_ms)
    # An override hides the owner's own word, and it hides nothing but UP and OUT_OF_SERVICE.
    is_hidden = instance.override is not None and instance.override is instance.status
    return replace(
        instance,
        reported=Status.UP if is_hidden else instance.status,
        registered_ms=info.lease_info.registered_ms,
        updated_ms=info.last_updated_ms,
    )


def _service_of(key: InstanceKey) -> ServiceId:
    """The microservice of an instance born in ServiceCenter; for others a name that none has."""
    return ServiceId(key.space.tenant, key.group)


def _without_moments(info: InstanceInfo) -> InstanceInfo:
    """What a change of is a change to a reader."""
    lease = info.lease_info
    return replace(
        info,
        lease_info=LeaseInfo(lease.renewal_interval_s, lease.duration_s),
        last_updated_ms=0,
        action=Action.ADDED,
    )
