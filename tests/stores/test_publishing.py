"""The seven rules of copies between two registries (facade/stores/publishing.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import httpx
import pytest
from msgspec.structs import replace

from facade.clock import ManualClock
from facade.config import Settings
from facade.outbound import Outbound
from facade.registry.model import Instance, InstanceKey, Origin, RecordKey, Space
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.server import application, policy_of
from facade.servicecenter.client import ServiceCenterClient
from facade.stores.memory import MemoryStore
from facade.stores.mirror import Mirror
from facade.stores.publishing import KEPT_UNSEEN_S, Members, Publisher
from facade.stores.upstream import UpstreamStore
from tests.stores.behind import Behind
from tests.stores.examples import instance

pytestmark = pytest.mark.anyio


class Bridge:
    """Two registries behind us, Eureka's and ServiceCenter's, and a publisher between them whose loops do not run."""

    def __init__(self, clock: ManualClock, client: ServiceCenterClient, cluster: str = "one") -> None:
        self.clock = clock
        self.eureka, self.servicecenter = Behind(), Behind()
        self.eureka.origin = Origin.EUREKA
        self.eureka.title = "Eureka at http://behind.test"
        self.mirrors = [
            Mirror(backend, clock, concerns=partial(came_by, backend.origin))
            for backend in (self.eureka, self.servicecenter)
        ]
        self.publisher = Publisher(self.mirrors, client, cluster, Policy(), clock)
        self.store = UpstreamStore(MemoryStore(clock), self.mirrors, self.publisher)

    async def open(self) -> None:
        await self.store.open(lambda _: None)
        for task in self.store._tasks:
            task.cancel()
        await self.publisher._members.meet()
        await self.publisher._members.meet()

    async def go(self, after_s: float = 10.0) -> None:
        """Both registries are read, copied from and to, and read again."""
        self.clock.advance(after_s)
        await self.publisher._members.meet()
        for mirror in self.mirrors:
            await mirror.refresh()
        for way in self.publisher._ways:
            await self.publisher.copy(way)
        for mirror in self.mirrors:
            await mirror.refresh()


def came_by(origin: Origin, key: RecordKey) -> bool:
    return isinstance(key, InstanceKey) and key.origin is origin


def born_in_eureka(name: str, number: int = 1) -> Instance:
    key = InstanceKey(Origin.EUREKA, Space(), "ORDERS", name)
    return instance(name, key=key, endpoints=(f"rest://10.0.0.{number}:80",))


def born_in_servicecenter(name: str, number: int = 1) -> Instance:
    key = InstanceKey(Origin.SERVICECENTER, Space(), "s1", name)
    return instance(name, key=key, application="CARTS", endpoints=(f"rest://10.0.1.{number}:80",))


@pytest.fixture
async def client(clock: ManualClock) -> AsyncIterator[ServiceCenterClient]:
    """Where the nodes of bridges meet: a ServiceCenter of ours, in this process."""
    settings = Settings(keep_marks=True)
    registry = Registry(MemoryStore(clock), clock, policy_of(settings))
    await registry.open()
    transport = httpx.ASGITransport(application(registry, settings, []))
    client = ServiceCenterClient(Outbound(["http://meeting.test"], clock=clock, transport=transport))
    yield client
    await client.close()
    await registry.close()


@pytest.fixture
async def bridge(clock: ManualClock, client: ServiceCenterClient) -> AsyncIterator[Bridge]:
    made = Bridge(clock, client)
    await made.open()
    yield made
    await made.store.close()


def fill(behind: Behind, *records: Instance) -> None:
    behind.records |= {record.key: record for record in records}


async def test_each_registry_gets_copies_of_what_the_other_has(bridge: Bridge) -> None:
    fill(bridge.eureka, born_in_eureka("e1"))
    fill(bridge.servicecenter, born_in_servicecenter("s1"))
    await bridge.go()

    assert set(bridge.eureka.records) == set(bridge.servicecenter.records)
    assert {key.instance_id for key in bridge.eureka.records if isinstance(key, InstanceKey)} == {"e1", "s1"}


async def test_a_copy_is_not_copied_and_not_shown(bridge: Bridge) -> None:
    """Rules 3 and 4."""
    fill(bridge.eureka, born_in_eureka("e1"))
    for _ in range(5):
        await bridge.go()

    assert list(bridge.store._held) == [born_in_eureka("e1").key]
    assert bridge.servicecenter.calls.count("put") == 1
    assert bridge.eureka.calls.count("put") == 0


async def test_a_changed_original_changes_its_copy(bridge: Bridge) -> None:
    fill(bridge.eureka, born_in_eureka("e1"))
    await bridge.go()
    fill(bridge.eureka, replace(born_in_eureka("e1"), metadata={"zone": "b"}))
    await bridge.go()

    assert bridge.servicecenter.records[born_in_eureka("e1").key].metadata == {"zone": "b"}  # type: ignore[union-attr]


async def test_a_copy_goes_with_its_original(bridge: Bridge) -> None:
    fill(bridge.eureka, born_in_eureka("e1"))
    await bridge.go()
    bridge.eureka.records.clear()
    await bridge.go()

    assert bridge.servicecenter.records == {}


async def test_a_copy_is_renewed_while_its_original_is_there(bridge: Bridge) -> None:
    fill(bridge.eureka, born_in_eureka("e1"))
    for _ in range(4):
        await bridge.go(after_s=30)
    assert len(bridge.servicecenter.renewed) >= 2

    bridge.eureka.records.clear()
    bridge.servicecenter.renewed.clear()
    for _ in range(4):
        await bridge.go(after_s=30)
    assert bridge.servicecenter.renewed == []


async def test_a_copy_that_was_lost_is_made_again(bridge: Bridge) -> None:
    fill(bridge.eureka, born_in_eureka("e1"))
    await bridge.go()
    bridge.servicecenter.records.clear()
    for _ in range(3):
        await bridge.go(after_s=40)

    assert set(bridge.servicecenter.records) == {born_in_eureka("e1").key}


async def test_copies_of_originals_that_cannot_be_seen_are_kept_for_a_while(bridge: Bridge) -> None:
    """Rule 6: an origin that does not answer is not an empty one, and neither is it alive for ever."""
    fill(bridge.eureka, born_in_eureka("e1"))
    await bridge.go()
    bridge.eureka.fail()
    await bridge.go(after_s=30)
    bridge.servicecenter.renewed.clear()
    await bridge.go(after_s=60)
    assert bridge.servicecenter.renewed
    assert set(bridge.servicecenter.records) == {born_in_eureka("e1").key}

    await bridge.go(after_s=KEPT_UNSEEN_S)
    bridge.servicecenter.renewed.clear()
    await bridge.go(after_s=60)
    assert bridge.servicecenter.renewed == []
    assert set(bridge.servicecenter.records) == {born_in_eureka("e1").key}


async def test_too_many_deletions_at_once_are_held_back(bridge: Bridge) -> None:
    """Rule 7."""
    several = [born_in_eureka(f"e{number}", number) for number in range(20)]
    fill(bridge.eureka, *several)
    await bridge.go()
    for one in several[:14]:
        del bridge.eureka.records[one.key]
    await bridge.go()
    assert len(bridge.servicecenter.records) == 20
    assert "14 deletions" in bridge.store.health().text
    assert bridge.store.health().doubted == 14
    bridge.servicecenter.renewed.clear()
    await bridge.go(after_s=60)
    assert len(bridge.servicecenter.renewed) == 20

    await bridge.go(after_s=KEPT_UNSEEN_S)
    assert len(bridge.servicecenter.records) == 6
    assert bridge.store.health().doubted == 0


async def test_what_is_registered_by_both_protocols_is_not_copied(bridge: Bridge) -> None:
    """N10: a client of the raw registry would see it twice."""
    fill(bridge.eureka, born_in_eureka("e1"))
    fill(
        bridge.servicecenter,
        replace(born_in_servicecenter("s1"), application="ORDERS", endpoints=("rest://10.0.0.1:80",)),
    )
    await bridge.go()

    assert (len(bridge.eureka.records), len(bridge.servicecenter.records)) == (1, 1)


async def test_of_two_nodes_one_keeps_each_copy(clock: ManualClock, client: ServiceCenterClient) -> None:
    """Rule 5."""
    nodes = [Members(client, "one"), Members(client, "one")]
    for _ in range(3):
        for node in nodes:
            await node.meet()
    keys = [born_in_eureka(f"e{number}").key for number in range(100)]
    owned = [{key for key in keys if node.owns(key)} for node in nodes]

    assert owned[0] | owned[1] == set(keys)
    assert not owned[0] & owned[1]
    assert 20 < len(owned[0]) < 80


async def test_what_a_node_that_left_has_kept_goes_to_those_that_stay(
    clock: ManualClock, client: ServiceCenterClient
) -> None:
    nodes = [Members(client, "one"), Members(client, "one")]
    for _ in range(3):
        for node in nodes:
            await node.meet()
    await nodes[1].leave()
    await nodes[0].meet()

    assert all(nodes[0].owns(born_in_eureka(f"e{number}").key) for number in range(20))


async def test_two_bridges_of_different_names_both_stop(clock: ManualClock, client: ServiceCenterClient) -> None:
    """Each would take the other's copies for originals that somebody else deletes."""
    nodes = [Members(client, "one"), Members(client, "two")]
    for _ in range(3):
        for node in nodes:
            await node.meet()

    assert [node.stranger for node in nodes] == ["two", "one"]
    assert not any(node.owns(born_in_eureka("e1").key) for node in nodes)
