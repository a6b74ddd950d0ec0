"""Copies of what one registry has, in the other: for applications that ask their own registry directly.

Instead of two daemons that copy each other's copies, one process that knows both. Its rules:

1.  Every copy carries marks: where it came from, by which bridge, under which id.
2.  Its id follows from the original's, so a copy is known even when its marks were lost.
3.  A copy is never copied: only what a registry holds of its own protocol is.
4.  In every view the original is shown and the copy is not; that is the mirrors' work.
5.  A copy is renewed only while its original is there, and by one node: the first in the order that its id gives.
6.  Originals that cannot be seen are not gone: their copies are kept for a while, then left to lapse.
7.  When more than half of a service's copies, or a third of all, would go in one pass, nothing goes: an alarm.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from facade.clock import Clock
from facade.errors import FacadeError, ServiceNotFound, StoreUnavailable, UpstreamRefused
from facade.registry import rules
from facade.registry.model import Instance, InstanceKey, Record, RecordKey, Revision, ServiceKey
from facade.registry.rules import Policy
from facade.servicecenter.client import ServiceCenterClient
from facade.servicecenter.records import HealthCheck, MicroService, MicroServiceInstance
from facade.stores.mirror import Mirror, is_same

PASS_EVERY_S = 1.0
MEET_EVERY_S = 5.0
KEPT_UNSEEN_S = 600.0
"""How long copies of originals that cannot be seen are renewed, and how long a deletion of too many is held back."""
HELD_SHARE_OF_SERVICE = 0.5
HELD_SHARE_OF_ALL = 0.3
SENT_AGAIN_AFTER_S = 60.0
"""When a copy that was sent is still not there: longer than any registry's caches."""

BRIDGE = ServiceKey("default", "default", "", "registry-facade", "registry-facade-bridge", "1.0.0")
"""Where nodes of bridges meet: one instance for each, in the ServiceCenter."""
BRIDGE_LEASE = HealthCheck(mode="push", interval=5, times=3)

log = logging.getLogger(__name__)


class Members:
    """The nodes that copy between these registries, ourselves among them."""

    def __init__(self, client: ServiceCenterClient, cluster: str) -> None:
        self.node = secrets.token_hex(8)
        self.nodes: tuple[str, ...] = ()
        """All of our cluster; none until they were asked for the first time."""
        self.stranger = ""
        """The name of another cluster that copies between the same registries."""
        self._client = client
        self._cluster = cluster

    async def meet(self) -> None:
        """Say that we are here, and see who else is. Raises StoreUnavailable."""
        tenant, service_id = BRIDGE.tenant, BRIDGE.derived_id
        try:
            if await self._client.heartbeats(tenant, [(service_id, self.node)]):
                await self._client.register(tenant, service_id, self._document())
            found = await self._client.instances(tenant, service_id)
        except ServiceNotFound:
            await self._client.create_service(tenant, _bridge_service())
            return
        names = {one.instance_id: one.properties.get("_bridge.cluster", "") for one in found} | {
            self.node: self._cluster
        }
        self.nodes = tuple(sorted(node for node, cluster in names.items() if cluster == self._cluster))
        self.stranger = next((cluster for cluster in names.values() if cluster != self._cluster), "")

    async def leave(self) -> None:
        try:
            await self._client.unregister(BRIDGE.tenant, BRIDGE.derived_id, self.node)
        except FacadeError as error:  # its lease ends in seconds
            log.info("marker of this bridge stays for a while reason=%s", error)

    def owns(self, key: InstanceKey) -> bool:
        """Whether a copy is ours to keep: of all nodes, ours comes first when hashed with it (rendezvous hashing)."""
        if not self.nodes or self.stranger:
            return False
        text = "\0".join((key.group, key.instance_id))
        return self.node == min(self.nodes, key=lambda node: hashlib.sha256(f"{node}\0{text}".encode()).digest())

    def _document(self) -> MicroServiceInstance:
        marks = {"_bridge.origin": "registry-facade", "_bridge.cluster": self._cluster}
        return MicroServiceInstance(
            instance_id=self.node, host_name="registry-facade", status="UP", properties=marks, health_check=BRIDGE_LEASE
        )


def _bridge_service() -> MicroService:
    return MicroService(
        service_id=BRIDGE.derived_id,
        app_id=BRIDGE.app,
        service_name=BRIDGE.name,
        version=BRIDGE.version,
        properties={"_bridge.origin": "registry-facade"},
    )


class _Way(NamedTuple):
    """One direction: what `origin` holds is copied to `target`."""

    origin: Mirror
    target: Mirror


class _HeldBack(NamedTuple):
    """Copies without originals that are kept alive all the same: too many would go at once."""

    copies: Sequence[Instance]
    since_s: float


class _Pass(NamedTuple):
    """What one pass went by: the next one has nothing to do when none of it has changed."""

    revision: Revision
    nodes: tuple[str, ...]
    copies: Mapping[RecordKey, Record]
    originals: Mapping[InstanceKey, Instance]

    def is_as(self, other: _Pass) -> bool:
        return (self.revision, self.nodes) == (other.revision, other.nodes) and self.copies is other.copies


class Publisher:
    def __init__(
        self, mirrors: Collection[Mirror], client: ServiceCenterClient, cluster: str, policy: Policy, clock: Clock
    ):
        """`client` speaks to the ServiceCenter among the two, where the nodes of bridges meet."""
        one, other = mirrors
        self._ways = (_Way(one, other), _Way(other, one))
        self._members = Members(client, cluster)
        self._policy = policy
        self._clock = clock
        self._held: Mapping[RecordKey, Record] = {}
        self._sent: dict[InstanceKey, tuple[Record, float]] = {}
        self._renew_next_s: dict[InstanceKey, float] = {}
        self._refused: dict[InstanceKey, str] = {}
        self._removed_s: dict[InstanceKey, float] = {}
        self._held_back: dict[Mirror, _HeldBack] = {}
        self._copied: dict[_Way, _Pass] = {}

    def open(self, held: Mapping[RecordKey, Record], revision: Callable[[], Revision]) -> None:
        """`held` is what we show, as of `revision`."""
        self._held = held
        self._revision = revision

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._meet_forever())
            tasks.create_task(self._copy_forever())

    async def close(self) -> None:
        """Copies stay and lapse by themselves, unless another node goes on with them."""
        await self._members.leave()

    @property
    def text(self) -> str:
        """One line for a person."""
        if self._members.stranger:
            return (
                f"Nothing is copied: another bridge, {self._members.stranger!r}, copies between the same registries. "
                "Stop one of them, or give both the same --cluster."
            )
        told = [f"Copies kept by this node: {len(self._renew_next_s)}"]
        if self._refused:
            told.append(f"not taken there: {len(self._refused)}")
        told += [
            f"{len(held.copies)} deletions at {target.backend.title} are held back: too many at once"
            for target, held in self._held_back.items()
        ]
        return "; ".join(told) + "."

    @property
    def held_back(self) -> int:
        """Copies that would go, were they not too many at once."""
        return sum(len(held.copies) for held in self._held_back.values())

    async def _meet_forever(self) -> None:
        while True:
            try:
                await self._members.meet()
            except (StoreUnavailable, UpstreamRefused) as error:
                log.warning("nodes of this bridge cannot be asked for reason=%s", error)
            await asyncio.sleep(MEET_EVERY_S if self._members.nodes else 0.2)

    async def _copy_forever(self) -> None:
        while True:
            await asyncio.sleep(PASS_EVERY_S)
            for way in self._ways:
                with way.target.contact.guarded():
                    await self.copy(way)

    async def copy(self, way: _Way) -> None:
        """One pass in one direction. Raises StoreUnavailable: the target is asked again in the next."""
        if way.target.contact.is_lost or way.origin.contact.lost_for_s > KEPT_UNSEEN_S:
            return
        last = self._copied.get(way)
        current = _Pass(self._revision(), self._members.nodes, way.target.copies, last.originals if last else {})
        is_quiet = last is not None and current.is_as(last) and not self._is_unsettled(way)
        if not is_quiet:
            current = current._replace(originals=self._originals(way))
        if way.origin.is_current and not is_quiet:
            await self._write_missing(way, current.originals)
            await self._remove_surplus(way, current.originals)
            self._copied[way] = current
        await self._renew(way, current.originals)

    def _is_unsettled(self, way: _Way) -> bool:
        """Whether another pass may have to do something though nothing has changed."""
        return way.target in self._held_back or any(
            way.origin.concerns(key) and key not in way.target.copies for key in self._sent
        )

    def _originals(self, way: _Way) -> dict[InstanceKey, Instance]:
        """What is to be copied: not what the target has by itself, registered by both (N10)."""
        there = {
            place
            for one in self._held.values()
            if isinstance(one, Instance) and way.target.concerns(one.key)
            for place in _places(one)
        }
        return {
            one.key: one
            for one in self._held.values()
            if isinstance(one, Instance)
            and way.origin.concerns(one.key)
            and rules.is_shared(one.application, self._policy)
            and there.isdisjoint(_places(one))
        }

    async def _write_missing(self, way: _Way, originals: Mapping[InstanceKey, Instance]) -> None:
        now_s = self._clock.monotonic_s()
        for key, original in originals.items():
            if not self._members.owns(key):
                self._renew_next_s.pop(key, None)
                continue
            copy = way.target.copies.get(key)
            sent, sent_s = self._sent.get(key, (None, float("-inf")))
            if copy is not None and is_same(way.target.backend.as_kept(original), copy):
                self._renew_next_s.setdefault(key, now_s + _interval_s(original))
            elif sent is not original or now_s - sent_s > SENT_AGAIN_AFTER_S:
                await self._write(way, original, copy)

    async def _write(self, way: _Way, original: Instance, copy: Record | None) -> None:
        key, now_s = original.key, self._clock.monotonic_s()
        self._sent[key] = original, now_s
        try:
            await way.target.backend.put(original, copy)
        except UpstreamRefused as error:
            self._refused[key] = str(error)
            log.warning("not copied application=%s instance=%s reason=%s", key.group, key.instance_id, error)
        else:
            self._refused.pop(key, None)
            self._renew_next_s[key] = now_s + _interval_s(original)

    async def _remove_surplus(self, way: _Way, originals: Mapping[InstanceKey, Instance]) -> None:
        now_s = self._clock.monotonic_s()
        self._removed_s = {key: at_s for key, at_s in self._removed_s.items() if now_s - at_s < SENT_AGAIN_AFTER_S}
        surplus = [
            one
            for key, one in way.target.copies.items()
            if isinstance(one, Instance) and key not in originals and key not in self._removed_s
        ]
        if self._is_held_back(way.target, surplus):
            return
        for copy in surplus:
            if self._members.owns(copy.key):
                await way.target.backend.remove(copy)
                self._removed_s[copy.key] = now_s
                self._forget(copy.key)

    def _is_held_back(self, target: Mirror, surplus: Sequence[Instance]) -> bool:
        """Rule 7. What has been held back for long enough goes after all."""
        if not _are_too_many(surplus, [key for key in target.copies if isinstance(key, InstanceKey)]):
            self._held_back.pop(target, None)
            return False
        now_s = self._clock.monotonic_s()
        held = self._held_back.get(target)
        if held is None:
            log.error("deletions of copies held back registry=%s copies=%d", target.backend.title, len(surplus))
        since_s = held.since_s if held is not None else now_s
        self._held_back[target] = _HeldBack(surplus, since_s)
        if now_s - since_s < KEPT_UNSEEN_S:
            return True
        del self._held_back[target]
        return False

    async def _renew(self, way: _Way, originals: Mapping[InstanceKey, Instance]) -> None:
        now_s = self._clock.monotonic_s()
        held_back = self._held_back.get(way.target)
        kept = dict(originals) | {one.key: one for one in held_back.copies} if held_back is not None else originals
        due = [one for key, one in kept.items() if self._renew_next_s.get(key, float("inf")) <= now_s]
        for one in due:
            self._renew_next_s[one.key] = now_s + _interval_s(one)
        for unknown in await way.target.backend.renew(due) if due else ():
            self._forget(unknown.key)  # the next pass writes it again
        for key in [key for key in self._renew_next_s if way.origin.concerns(key) and key not in kept]:
            self._forget(key)

    def _forget(self, key: InstanceKey) -> None:
        self._renew_next_s.pop(key, None)
        self._sent.pop(key, None)
        self._refused.pop(key, None)


def _places(instance: Instance) -> set[tuple[str, str]]:
    """Name and address of each endpoint: who shares one with another is the same program."""
    return {
        (instance.application, endpoint.partition("://")[2].partition("?")[0].rstrip("/"))
        for endpoint in instance.endpoints
    }


def _interval_s(instance: Instance) -> float:
    return min(max(instance.lease.interval_ms / 1000, 5.0), 30.0)


def _are_too_many(surplus: Sequence[Instance], copies: Collection[InstanceKey]) -> bool:
    if len(surplus) <= rules.FEW:
        return False
    of_service = Counter(key.group for key in copies)
    going = Counter(one.key.group for one in surplus)
    return len(surplus) > HELD_SHARE_OF_ALL * len(copies) or any(
        count > max(rules.FEW, HELD_SHARE_OF_SERVICE * of_service[group]) for group, count in going.items()
    )
