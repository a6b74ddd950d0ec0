"""Register, renew, cancel, amend: what readers see, what the store keeps, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

import pytest

from facade.clock import ManualClock
from facade.errors import InstanceNotFound, StoreUnavailable
from facade.registry import rules
from facade.registry.model import Cause, Change, InstanceKey, Origin, Revision, Space, Status
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.registry.store import Put, Remove, Write
from facade.stores.memory import MemoryStore
from tests.conftest import PassTime
from tests.registry.records import SPACE, flat, qualified, service

pytestmark = pytest.mark.anyio

STRANGER = InstanceKey(Origin.EUREKA, SPACE, "ORDERS", "nobody")


class FlakyStore(MemoryStore):
    """A real memory store whose writes can be made to fail or to wait."""

    is_down = False
    gate: asyncio.Event | None = None
    told: Sequence[InstanceKey] = ()
    """The renewals that it heard of last."""

    async def write(self, writes: Sequence[Write]) -> Revision:
        if self.gate is not None:
            await self.gate.wait()
        if self.is_down:
            raise StoreUnavailable("out of order")
        return await super().write(writes)

    async def renew(self, remaining_ms: Mapping[InstanceKey, int]) -> Collection[InstanceKey]:
        if self.gate is not None:
            await self.gate.wait()
        if self.is_down:
            raise StoreUnavailable("out of order")
        self.told = list(remaining_ms)
        return await super().renew(remaining_ms)


@pytest.fixture
def changes(registry: Registry) -> list[Change]:
    """Every change from here on."""
    heard: list[Change] = []
    registry.feed.follow(heard.append)
    return heard


async def test_a_registration_is_seen_at_once(registry: Registry, changes: list[Change]) -> None:
    held = await registry.register(flat())

    assert list(registry.catalogue.in_application(SPACE, "ORDERS")) == [held]
    assert [(change.before, change.after) for change in changes] == [(None, held)]
    assert registry.revision == changes[0].revision


async def test_an_equal_registration_makes_no_revision(
    registry: Registry, clock: ManualClock, changes: list[Change]
) -> None:
    await registry.register(flat())
    clock.advance(5)

    await registry.register(flat())

    assert len(changes) == 1


async def test_an_equal_registration_begins_a_fresh_term(registry: Registry, pass_time: PassTime) -> None:
    await registry.register(flat())
    await pass_time(80)

    await registry.register(flat())
    await pass_time(80)

    assert registry.catalogue.instance(flat().key) is not None


async def test_an_older_registration_renews_and_changes_nothing(registry: Registry, changes: list[Change]) -> None:
    """Case 87."""
    await registry.register(flat(host="new", dirty_ms=2_000))

    held = await registry.register(flat(host="old", dirty_ms=1_000))

    assert held.host == "new"
    assert len(changes) == 1


async def test_a_renewal_makes_no_revision(registry: Registry, changes: list[Change]) -> None:
    await registry.register(flat())

    registry.renew(flat().key)

    assert len(changes) == 1


async def test_a_stranger_cannot_renew(registry: Registry) -> None:
    """The client takes the refusal as its cue to register."""
    with pytest.raises(InstanceNotFound):
        registry.renew(STRANGER)


async def test_a_silent_instance_lapses_after_its_first_term(
    registry: Registry, changes: list[Change], pass_time: PassTime
) -> None:
    await registry.register(flat())

    await pass_time(89)
    listed_before = registry.catalogue.instance(flat().key) is not None
    await pass_time(3)

    assert listed_before
    assert [change.cause for change in changes] == [Cause.REGISTERED, Cause.LAPSED]
    assert len(registry.catalogue) == 0


async def test_a_renewed_eureka_lease_lives_twice_its_duration(registry: Registry, pass_time: PassTime) -> None:
    """Case 149."""
    await registry.register(flat())
    registry.renew(flat().key)

    await pass_time(178)
    listed_before = registry.catalogue.instance(flat().key) is not None
    await pass_time(4)

    assert listed_before
    assert registry.catalogue.instance(flat().key) is None


async def test_no_time_that_is_shown_goes_back_with_the_wall_clock(registry: Registry, clock: ManualClock) -> None:
    def times() -> tuple[int, ...]:
        lease = registry.catalogue.leases[key]
        record = lease.instance
        return (lease.registered_ms, lease.renewed_ms, lease.service_up_ms, record.registered_ms, record.updated_ms)

    key = (await registry.register(flat())).key
    registry.renew(key)
    before = times()
    clock.put_back(3600)

    registry.renew(key)
    await registry.amend(key, lambda held: rules.overridden(held, Status.OUT_OF_SERVICE))
    assert times() == before
    await registry.register(flat(metadata={"a": "b"}))
    assert times() == (*before[:1], 0, *before[2:]), "a new lease was not renewed yet"


async def test_a_frozen_process_evicts_nobody_who_could_not_renew(registry: Registry, clock: ManualClock) -> None:
    """Case 152: ten minutes without a sweep are ten minutes in which no renewal was heard."""
    await registry.register(flat())

    clock.advance(600)
    await registry.sweep()

    assert registry.catalogue.instance(flat().key) is not None


async def test_a_cancelled_instance_is_gone_and_cannot_renew(registry: Registry, changes: list[Change]) -> None:
    held = await registry.register(flat())

    assert await registry.cancel(held.key) == held
    assert changes[-1].cause is Cause.CANCELLED
    with pytest.raises(InstanceNotFound):
        registry.renew(held.key)


async def test_cancelling_a_stranger_is_refused(registry: Registry) -> None:
    with pytest.raises(InstanceNotFound):
        await registry.cancel(STRANGER)


async def test_an_override_is_a_change_and_leaves_the_lease_alone(
    registry: Registry, clock: ManualClock, changes: list[Change]
) -> None:
    held = await registry.register(flat())
    deadline_s = registry.catalogue.leases[held.key].deadline_s
    clock.advance(10)

    drained = await registry.amend(held.key, lambda instance: rules.overridden(instance, Status.OUT_OF_SERVICE))

    assert drained.status is Status.OUT_OF_SERVICE
    assert drained.updated_ms == held.updated_ms + 10_000
    assert changes[-1].cause is Cause.AMENDED
    assert registry.catalogue.leases[held.key].deadline_s == deadline_s


async def test_amending_nothing_makes_no_revision(registry: Registry, changes: list[Change]) -> None:
    held = await registry.register(flat())

    assert await registry.amend(held.key, lambda instance: instance) is held
    assert len(changes) == 1


async def test_writes_of_one_instance_take_turns(clock: ManualClock) -> None:
    """Two operators drain and restore at once: the second decides on what the first left, not on what it saw."""
    store = FlakyStore(clock)
    registry = Registry(store, clock, Policy())
    await registry.open()
    held = await registry.register(flat())
    store.gate = asyncio.Event()

    first = asyncio.create_task(
        registry.amend(held.key, lambda instance: rules.overridden(instance, Status.OUT_OF_SERVICE))
    )
    second = asyncio.create_task(registry.amend(held.key, lambda instance: rules.restored(instance, Status.UP)))
    await asyncio.sleep(0)
    store.gate.set()
    await asyncio.gather(first, second)

    shown = registry.catalogue.instance(held.key)
    assert shown is not None
    assert (shown.status, shown.override) == (Status.UP, None)


async def test_a_refused_write_leaves_everything_as_it_was(clock: ManualClock) -> None:
    store = FlakyStore(clock)
    registry = Registry(store, clock, Policy())
    await registry.open()
    held = await registry.register(flat())
    store.is_down = True

    with pytest.raises(StoreUnavailable):
        await registry.register(flat(host="other", dirty_ms=2_000))
    with pytest.raises(StoreUnavailable):
        await registry.cancel(held.key)

    assert registry.catalogue.instance(held.key) == held


async def test_renewals_that_were_being_told_when_the_server_stops_are_told_once_more(clock: ManualClock) -> None:
    store = FlakyStore(clock)
    registry = Registry(store, clock, Policy())
    await registry.open()
    held = await registry.register(flat())
    registry.renew(held.key)
    store.gate = asyncio.Event()

    telling = asyncio.create_task(registry.tell_renewals())
    await asyncio.sleep(0)
    telling.cancel()
    await asyncio.wait({telling})
    store.gate.set()
    await registry.close()

    assert store.told == [held.key]


async def test_renewals_go_on_while_the_store_is_down_and_are_told_later(clock: ManualClock) -> None:
    store = FlakyStore(clock)
    registry = Registry(store, clock, Policy())
    await registry.open()
    held = await registry.register(flat())
    store.is_down = True

    registry.renew(held.key)
    await registry.tell_renewals()
    store.is_down = False
    await store.write([])
    store._records.clear()  # it comes back without the instance
    await registry.tell_renewals()

    with pytest.raises(InstanceNotFound):
        registry.renew(held.key)


async def test_a_restart_gives_every_lease_a_fresh_term_and_a_new_epoch(clock: ManualClock) -> None:
    store = MemoryStore(clock)
    before = Registry(store, clock, Policy(self_preservation=False))
    await before.open()
    await before.register(flat())
    await before.register(qualified())
    await before.close()
    clock.advance(3_600)

    after = Registry(store, clock, Policy(self_preservation=False))
    await after.open()
    for _ in range(89):
        clock.advance(1)
        await after.sweep()

    assert len(after.catalogue) == 2
    assert after.epoch != before.epoch
    assert after.revision >= before.revision


async def test_a_record_other_than_an_instance_is_written_in_its_turn(
    registry: Registry, changes: list[Change]
) -> None:
    orders = service()

    await registry.transact(orders.key, lambda: [Put(orders)])

    assert registry.catalogue.service(orders.key) == orders
    assert changes[-1].record == orders


async def test_deciding_on_nothing_writes_nothing(registry: Registry, changes: list[Change]) -> None:
    await registry.transact("anything", list)

    assert changes == []


class BehindStore(FlakyStore):
    """A store whose leases somebody else keeps, and which can lose an instance there."""

    def keeps_lease(self, key: InstanceKey) -> bool:
        return True

    async def lose(self, key: InstanceKey) -> None:
        await self.write([Remove(key, Cause.GONE)])


@pytest.fixture
async def behind(clock: ManualClock) -> tuple[Registry, BehindStore]:
    store = BehindStore(clock)
    registry = Registry(store, clock)
    await registry.open()
    return registry, store


async def settled() -> None:
    """Let the tasks run that a renewal has started."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_instance_lost_behind_us_is_registered_again_by_its_next_renewal(
    behind: tuple[Registry, BehindStore],
) -> None:
    """Some clients never register a second time, whatever they are answered: the guide's hello-server is one."""
    registry, store = behind
    held = await registry.register(flat())
    registry.renew(held.key)
    await store.lose(held.key)
    assert registry.catalogue.instance(held.key) is None

    assert registry.renew(held.key) == held
    await settled()
    assert registry.catalogue.instance(held.key) is not None


async def test_an_instance_that_others_kept_alive_is_not_brought_back(behind: tuple[Registry, BehindStore]) -> None:
    registry, store = behind
    held = await registry.register(flat())
    await store.lose(held.key)

    with pytest.raises(InstanceNotFound):
        registry.renew(held.key)


async def test_an_instance_that_its_owner_cancelled_is_not_brought_back(behind: tuple[Registry, BehindStore]) -> None:
    registry, _ = behind
    held = await registry.register(flat())
    registry.renew(held.key)
    await registry.cancel(held.key)

    with pytest.raises(InstanceNotFound):
        registry.renew(held.key)


async def test_a_lost_instance_can_be_brought_back_for_as_long_as_its_lease(
    behind: tuple[Registry, BehindStore], clock: ManualClock
) -> None:
    registry, store = behind
    held = await registry.register(flat())
    registry.renew(held.key)
    await store.lose(held.key)
    clock.advance(held.lease.renewed_ms / 1000 + 1)

    with pytest.raises(InstanceNotFound):
        registry.renew(held.key)


async def test_a_lost_instance_is_brought_back_by_its_own_tenant_only(behind: tuple[Registry, BehindStore]) -> None:
    registry, store = behind
    held = await registry.register(flat())
    registry.renew(held.key)
    await store.lose(held.key)

    for space in (Space("attacker"), Space(environment="production")):
        with pytest.raises(InstanceNotFound):
            registry.renew(held.key._replace(space=space))
    assert registry.renew(held.key) == held
    await settled()


async def test_a_lease_is_as_old_as_its_record(clock: ManualClock) -> None:
    """On every node, also on one that read the record much later."""
    store = MemoryStore(clock)
    first = Registry(store, clock)
    await first.open()
    instance = await first.register(flat())
    told = first.catalogue.lease(instance.key)
    await first.close()
    clock.advance(3_600)
    later = Registry(store, clock)
    await later.open()
    tells = later.catalogue.lease(instance.key)
    await later.close()

    assert told is not None and tells is not None
    assert (tells.registered_ms, tells.service_up_ms) == (told.registered_ms, told.service_up_ms)
