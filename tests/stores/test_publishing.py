"""The seven rules of copies between two registries (facade/stores/publishing.py, copying.py, members.py)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Sequence, ValuesView
from functools import partial

import httpx
import pytest
from msgspec.structs import replace

from facade.application import application
from facade.clock import ManualClock
from facade.config import Settings
from facade.errors import UpstreamRefused
from facade.outbound import Outbound
from facade.parts import policy_of
from facade.registry.model import (
    Instance,
    InstanceKey,
    Microservice,
    Origin,
    Record,
    RecordKey,
    ServiceId,
    Space,
    Tenant,
)
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.servicecenter.client import ServiceCenterClient
from facade.stores import publishing
from facade.stores.contact import CALLS_AT_ONCE
from facade.stores.copying import COMPARISONS_A_TURN, KEPT_UNSEEN_S, REFUSED_AGAIN_AFTER_S, SENT_AGAIN_AFTER_S
from facade.stores.members import Members
from facade.stores.memory import MemoryStore
from facade.stores.mirror import Mirror
from facade.stores.outward import RENEWALS_A_CALL
from facade.stores.publishing import Publisher
from facade.stores.upstream import UpstreamStore
from tests.stores.behind import Behind
from tests.stores.examples import SHOP, instance

pytestmark = pytest.mark.anyio


class Gauged(Behind):
    """It tells what was asked of it at once, and can be made to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.at_once = self.most_at_once = 0
        self.batches: list[int] = []
        self.compared = 0
        self.is_asked = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()

    async def put(self, record: Record, before: Record | None) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.is_asked.set()
        await asyncio.sleep(0)
        await self.answers.wait()
        self.at_once -= 1
        await super().put(record, before)

    async def renew(self, instances: Sequence[Instance]) -> Collection[Instance]:
        self.batches.append(len(instances))
        return await super().renew(instances)

    def as_kept(self, record: Record) -> Record:
        """A copy of a ServiceCenter's instance tells of its service, too."""
        self.compared += 1
        kept = super().as_kept(record)
        service = self.lookup(ServiceId(Tenant(), record.key.group)) if isinstance(record, Instance) else None
        if isinstance(kept, Instance) and isinstance(service, Microservice):
            return replace(kept, metadata=kept.metadata | service.properties)
        return kept


class Held(dict[RecordKey, Record]):
    """It counts how often all of it is looked through."""

    looks = 0

    def values(self) -> ValuesView[Record]:
        self.looks += 1
        return super().values()


class Bridge:
    """Two registries behind us, Eureka's and ServiceCenter's, and a publisher between them whose loops do not run."""

    def __init__(
        self, clock: ManualClock, client: ServiceCenterClient, cluster: str = "one", beside: Bridge | None = None
    ) -> None:
        """With another node `beside`, between the same registries."""
        self.clock = clock
        self.eureka, self.servicecenter = (beside.eureka, beside.servicecenter) if beside else (Gauged(), Gauged())
        self.eureka.origin = Origin.EUREKA
        self.eureka.title = "Eureka at http://behind.test"
        self.mirrors = [
            Mirror(backend, clock, concerns=partial(came_by, backend.origin))
            for backend in (self.eureka, self.servicecenter)
        ]
        self.publisher = Publisher(self.mirrors, client, cluster, Policy(), clock)
        self.store = UpstreamStore(MemoryStore(clock), self.mirrors, self.publisher)
        self.held = self.store._held = Held()
        self.to_servicecenter, self.to_eureka = self.publisher._ways

    async def open(self) -> None:
        await self.store.open(lambda _: None)
        for task in self.store._tasks:
            task.cancel()
        await self.meet()
        await self.meet()

    async def meet(self) -> None:
        await self.publisher._members.meet()

    async def go(self, after_s: float = 10.0) -> None:
        """Both registries are read, copied from and to, and read again."""
        self.clock.advance(after_s)
        await self.meet()
        await self.refresh()
        await self.copy()
        for way in self.publisher._ways:
            await way.renew()
        await self.refresh()

    async def refresh(self) -> None:
        for mirror in self.mirrors:
            await mirror.refresh()

    async def copy(self) -> None:
        for way in self.publisher._ways:
            await way.copy()


def came_by(origin: Origin, key: RecordKey) -> bool:
    return (key.origin if isinstance(key, InstanceKey) else Origin.SERVICECENTER) is origin


def born_in_eureka(name: str, number: int = 1) -> Instance:
    key = InstanceKey(Origin.EUREKA, Space(), "ORDERS", name)
    return instance(name, key=key, endpoints=(f"rest://10.0.0.{number}:80",))


def several(count: int) -> list[Instance]:
    return [born_in_eureka(f"e{number}", number) for number in range(count)]


def born_in_servicecenter(name: str, number: int = 1) -> Instance:
    key = InstanceKey(Origin.SERVICECENTER, Space(), "s1", name)
    return instance(name, key=key, application="CARTS", endpoints=(f"rest://10.0.1.{number}:80",))


@pytest.fixture
async def client(clock: ManualClock) -> AsyncIterator[ServiceCenterClient]:
    """Where the nodes of bridges meet: a ServiceCenter of ours, in this process."""
    settings = Settings(keep_marks=True)
    registry = Registry(MemoryStore(clock), clock, policy_of(settings))
    await registry.open()
    transport = httpx.ASGITransport(application(registry, settings, [])[0])
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


def fill(behind: Behind, *records: Record) -> None:
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

    copy = bridge.servicecenter.records[born_in_eureka("e1").key]
    assert isinstance(copy, Instance) and copy.metadata == {"zone": "b"}


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
    twenty = several(20)
    fill(bridge.eureka, *twenty)
    await bridge.go()
    for one in twenty[:14]:
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


# Many of them


async def test_many_are_written_side_by_side(bridge: Bridge) -> None:
    fill(bridge.eureka, *several(60))
    await bridge.go()

    assert len(bridge.servicecenter.records) == 60
    assert bridge.servicecenter.most_at_once == CALLS_AT_ONCE


async def test_renewals_go_in_batches(bridge: Bridge) -> None:
    fill(bridge.eureka, *several(2 * RENEWALS_A_CALL + 1))
    await bridge.go()
    bridge.servicecenter.batches.clear()
    await bridge.go(after_s=31)

    assert sorted(bridge.servicecenter.batches) == [1, RENEWALS_A_CALL, RENEWALS_A_CALL]


async def test_renewals_of_what_was_written_together_drift_apart(bridge: Bridge) -> None:
    fill(bridge.eureka, *several(300))
    await bridge.go()
    bridge.servicecenter.renewed.clear()
    await bridge.go(after_s=26)

    assert 30 < len(bridge.servicecenter.renewed) < 270


async def test_renewals_do_not_wait_for_writes(bridge: Bridge) -> None:
    fill(bridge.eureka, born_in_eureka("e1"))
    await bridge.go()
    fill(bridge.eureka, born_in_eureka("e2", 2))
    await bridge.refresh()
    bridge.servicecenter.answers.clear()
    bridge.servicecenter.is_asked.clear()
    writing = asyncio.create_task(bridge.to_servicecenter.copy())
    await bridge.servicecenter.is_asked.wait()
    bridge.clock.advance(31)
    await bridge.to_servicecenter.renew()

    assert [one.key.instance_id for one in bridge.servicecenter.renewed] == ["e1"]
    assert not writing.done()
    bridge.servicecenter.answers.set()
    await writing


async def test_a_change_makes_only_what_has_changed_be_compared(bridge: Bridge) -> None:
    fill(bridge.eureka, *several(100))
    for _ in range(3):
        await bridge.go()
    bridge.servicecenter.compared = 0
    fill(bridge.eureka, born_in_eureka("e100", 100))
    await bridge.go()
    await bridge.go()

    assert 0 < bridge.servicecenter.compared < 5


async def test_a_pass_leaves_room_for_others(bridge: Bridge) -> None:
    fill(bridge.eureka, *several(10 * COMPARISONS_A_TURN))
    await bridge.go()
    await bridge.meet()
    passing, turns = asyncio.create_task(bridge.to_servicecenter.copy()), 0
    while not passing.done():
        turns += 1
        await asyncio.sleep(0)

    assert turns >= 10


async def test_a_copy_follows_the_service_of_its_original(bridge: Bridge) -> None:
    """They are packed together."""
    original, service = born_in_servicecenter("s1"), Microservice(key=ServiceId(Tenant(), "s1"), name=SHOP)
    fill(bridge.servicecenter, original, service)
    for _ in range(2):
        await bridge.go()
    fill(bridge.servicecenter, replace(service, properties={"owner": "shop"}))
    await bridge.go()

    copy = bridge.eureka.records[original.key]
    assert isinstance(copy, Instance) and copy.metadata == {"owner": "shop"}


# What is not taken


async def test_a_refused_original_makes_no_pass_busy(bridge: Bridge) -> None:
    fill(bridge.eureka, born_in_eureka("e1"))
    bridge.servicecenter.room = 1
    for _ in range(2):
        await bridge.go()
    looks, puts = bridge.held.looks, bridge.servicecenter.calls.count("put")
    for _ in range(100):
        bridge.clock.advance(1)
        await bridge.copy()
    assert bridge.held.looks == looks
    assert bridge.servicecenter.calls.count("put") == puts == 1

    bridge.servicecenter.room = 10_000
    bridge.clock.advance(REFUSED_AGAIN_AFTER_S)
    await bridge.copy()
    assert set(bridge.servicecenter.records) == {born_in_eureka("e1").key}
    assert "not taken" not in bridge.publisher.text


async def test_a_refused_original_that_has_changed_is_sent_again(bridge: Bridge) -> None:
    fill(bridge.eureka, replace(born_in_eureka("e1"), metadata={"much": "x" * 100}))
    bridge.servicecenter.room = 50
    await bridge.go()
    assert "not taken there: 1" in bridge.publisher.text

    fill(bridge.eureka, born_in_eureka("e1"))
    await bridge.go()
    assert set(bridge.servicecenter.records) == {born_in_eureka("e1").key}


async def test_a_refused_original_that_is_gone_counts_no_more(bridge: Bridge) -> None:
    fill(bridge.eureka, born_in_eureka("e1"))
    bridge.servicecenter.room = 1
    await bridge.go()
    bridge.eureka.records.clear()
    await bridge.go()

    assert "not taken" not in bridge.publisher.text
    assert not bridge.to_servicecenter._sent


async def test_what_fits_no_longer_is_no_fault_of_the_registry(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(bridge.eureka, born_in_eureka("e1"))
    await bridge.go()

    def as_kept(record: Record) -> Record:
        raise UpstreamRefused("its id does not fit")

    monkeypatch.setattr(bridge.servicecenter, "as_kept", as_kept)
    fill(bridge.eureka, replace(born_in_eureka("e1"), metadata={"zone": "b"}))
    await bridge.go()

    assert "not taken there: 1" in bridge.publisher.text


async def test_refusals_of_one_pass_are_told_in_one_line(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    fill(bridge.eureka, *several(30))
    bridge.servicecenter.room = 1
    with caplog.at_level(logging.WARNING, "facade.stores.copying"):
        await bridge.go()

    assert [record.getMessage().count("instances=30") for record in caplog.records] == [1]


# Readings that lag


async def test_a_copy_that_is_not_shown_yet_is_renewed_and_not_written_again(bridge: Bridge) -> None:
    bridge.servicecenter.shown = {}
    for number in range(5):
        fill(bridge.eureka, born_in_eureka(f"e{number}", number))
        await bridge.go(after_s=10)
    assert bridge.servicecenter.calls.count("put") == 5
    assert bridge.servicecenter.renewed

    await bridge.go(after_s=SENT_AGAIN_AFTER_S)
    assert bridge.servicecenter.calls.count("put") == 10


async def test_a_copy_that_is_shown_after_its_end_is_removed_once_and_written_when_its_original_is_back(
    bridge: Bridge,
) -> None:
    fill(bridge.eureka, born_in_eureka("e1"))
    await bridge.go()
    bridge.servicecenter.shown = dict(bridge.servicecenter.records)
    bridge.eureka.records.clear()
    for number in range(2, 5):
        fill(bridge.eureka, born_in_eureka(f"e{number}", number))
        await bridge.go()
    assert bridge.servicecenter.calls.count("remove") == 1

    fill(bridge.eureka, born_in_eureka("e1"))
    await bridge.go()
    assert born_in_eureka("e1").key in bridge.servicecenter.records


async def test_a_copy_that_is_unknown_there_is_written_again_whatever_readings_show(bridge: Bridge) -> None:
    fill(bridge.eureka, born_in_eureka("e1"))
    await bridge.go()
    bridge.servicecenter.shown = dict(bridge.servicecenter.records)
    bridge.servicecenter.records.clear()
    await bridge.go(after_s=31)
    await bridge.go()

    assert set(bridge.servicecenter.records) == {born_in_eureka("e1").key}


# An origin that is away


async def test_copies_of_a_node_that_dies_are_taken_over_while_their_origin_is_away(
    bridge: Bridge, client: ServiceCenterClient
) -> None:
    """Rules 5 and 6."""
    other = Bridge(bridge.clock, client, beside=bridge)
    await other.open()
    fill(bridge.eureka, *several(40))
    for node in (bridge, other, bridge, other):
        await node.go(after_s=2)
    bridge.eureka.fail()
    await bridge.go(after_s=2)
    assert 0 < bridge.to_servicecenter.kept < 40

    await other.publisher.close()
    bridge.servicecenter.renewed.clear()
    await bridge.go(after_s=2)
    await bridge.go(after_s=31)
    assert {one.key for one in bridge.servicecenter.renewed} == {one.key for one in several(40)}


async def test_a_node_that_starts_while_an_origin_is_away_keeps_the_copies_that_it_finds(
    bridge: Bridge, client: ServiceCenterClient
) -> None:
    """Rule 6: it has no way to know which originals are gone."""
    fill(bridge.eureka, *several(40))
    await bridge.go()
    await bridge.publisher.close()
    bridge.eureka.fail()
    bridge.servicecenter.renewed.clear()
    started = Bridge(bridge.clock, client, beside=bridge)
    await started.open()
    for _ in range(2):
        await started.go(after_s=10)
    assert {one.key for one in bridge.servicecenter.renewed} == {one.key for one in several(40)}

    bridge.eureka.records.clear()
    bridge.eureka.mend()
    bridge.servicecenter.renewed.clear()
    await started.go(after_s=10)
    await started.go(after_s=31)
    assert started.to_servicecenter.held_back is not None


async def test_beside_a_stranger_nothing_is_renewed(bridge: Bridge, client: ServiceCenterClient) -> None:
    fill(bridge.eureka, *several(10))
    await bridge.go()
    await Members(client, "two").meet()
    bridge.servicecenter.renewed.clear()
    for _ in range(2):
        await bridge.go(after_s=10)

    assert bridge.servicecenter.renewed == []
    assert "another bridge, 'two'" in bridge.publisher.text


async def test_a_fault_does_not_end_the_meetings(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    meetings, has_met_again = 0, asyncio.Event()

    async def meet() -> None:
        nonlocal meetings
        meetings += 1
        if meetings == 3:
            has_met_again.set()
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(bridge.publisher._members, "meet", meet)
    monkeypatch.setattr(publishing, "MEET_EVERY_S", 0)
    meeting = asyncio.create_task(bridge.publisher._meet_forever())
    await asyncio.wait({meeting, waiting := asyncio.create_task(has_met_again.wait())}, return_when="FIRST_COMPLETED")
    assert has_met_again.is_set()
    waiting.cancel()
    meeting.cancel()


async def test_what_another_facade_keeps_there_is_no_copy(bridge: Bridge) -> None:
    """Over that registry alone it has nowhere else to be; without an original here it must stay all the same."""
    bridge.servicecenter.kept.add(born_in_eureka("e1").key)
    fill(bridge.servicecenter, born_in_eureka("e1"))
    for _ in range(3):
        await bridge.go()

    assert set(bridge.servicecenter.records) == {born_in_eureka("e1").key}
