"""Self-preservation: when it begins, whom it keeps, and that it ends by itself."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import anyio.lowlevel
import pytest

from facade.clock import ManualClock
from facade.registry.eviction import Eviction
from facade.registry.leases import Lease, LeaseClock
from facade.registry.model import InstanceKey, Origin, Revision
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.registry.store import Write
from facade.stores.memory import MemoryStore
from tests.conftest import PassTime
from tests.registry.records import flat, qualified, service

pytestmark = pytest.mark.anyio


@pytest.fixture
def policy() -> Policy:
    return Policy(self_preservation=True, protection_limit_s=600)


async def register_orders(registry: Registry, count: int) -> None:
    for number in range(count):
        await registry.register(flat(instance_id=f"orders-{number}"))


async def live(registry: Registry, pass_time: PassTime, seconds: int, survivors: int) -> None:
    """So many of the instances renew every 30 s, the others are silent."""
    for _ in range(seconds // 30):
        await pass_time(30)
        for number in range(survivors):
            registry.renew(flat(instance_id=f"orders-{number}").key)


async def test_when_many_fall_silent_at_once_they_are_kept(registry: Registry, pass_time: PassTime) -> None:
    await register_orders(registry, 10)
    await live(registry, pass_time, 60, survivors=10)

    await live(registry, pass_time, 300, survivors=4)

    protection = registry.protection(Origin.EUREKA)
    assert (len(registry.catalogue), protection.is_on, protection.held_back) == (10, True, 6)
    assert (protection.threshold, protection.renewals_last_minute) == (17, 8)
    assert "network" in protection.text


async def test_protection_ends_by_itself(registry: Registry, pass_time: PassTime) -> None:
    """The survivors are the new normal after ten minutes: the classic complaint about Eureka."""
    await register_orders(registry, 10)
    await live(registry, pass_time, 60, survivors=10)

    await live(registry, pass_time, 300 + 600, survivors=4)

    assert len(registry.catalogue) == 4
    assert not registry.protection(Origin.EUREKA).is_on


async def test_protection_may_have_no_end(clock: ManualClock) -> None:
    """As Netflix's has none: an operator then says `inf`."""
    lease_clock = LeaseClock(clock)
    endless = Eviction(Policy(protection_limit_s=inf), lease_clock, keeps_lease=lambda _: False)
    for number in range(10):
        endless.watch(Lease(flat(instance_id=str(number)), lease_clock.now_s(), clock.now_ms()))
    for _ in range(100):
        clock.advance(1)
        endless.sweep()

    assert endless.protection(Origin.EUREKA).ends_in_s == inf


async def test_who_comes_back_under_protection_is_watched_again(registry: Registry, pass_time: PassTime) -> None:
    await register_orders(registry, 10)
    await live(registry, pass_time, 60, survivors=10)
    await live(registry, pass_time, 300, survivors=4)

    await live(registry, pass_time, 120, survivors=10)
    recovered = registry.protection(Origin.EUREKA)
    await live(registry, pass_time, 300, survivors=9)

    assert (recovered.is_on, recovered.held_back) == (False, 0)
    assert len(registry.catalogue) == 9


async def test_one_of_many_goes(registry: Registry, pass_time: PassTime) -> None:
    """Case 153: 18 renewals are more than 17."""
    await register_orders(registry, 10)

    await live(registry, pass_time, 300, survivors=9)

    assert len(registry.catalogue) == 9


async def test_a_handful_is_no_partition(registry: Registry, pass_time: PassTime) -> None:
    """A developer's only instance must not stay for ever because it was the only one."""
    await registry.register(flat())

    await live(registry, pass_time, 300, survivors=0)

    assert len(registry.catalogue) == 0


async def test_one_protocol_in_doubt_does_not_keep_the_others_instances(
    registry: Registry, pass_time: PassTime
) -> None:
    await register_orders(registry, 10)
    await registry.register(qualified(service()))
    await live(registry, pass_time, 60, survivors=10)

    await live(registry, pass_time, 300, survivors=4)

    assert registry.catalogue.count(Origin.EUREKA) == 10
    assert registry.catalogue.count(Origin.SERVICECENTER) == 0


async def test_a_mass_eviction_is_braked(clock: ManualClock) -> None:
    """Case 150: one sweep ends at most 15 in 100, so that a mistake can be noticed."""
    registry = Registry(MemoryStore(clock), clock, Policy(self_preservation=False))
    await registry.open()
    await register_orders(registry, 20)
    left = []
    for _ in range(102):
        clock.advance(1)
        await registry.sweep()
        left.append(len(registry.catalogue))

    assert [count for count in dict.fromkeys(left) if count < 20] == [17, 14, 11, 9, 7, 5, 4, 3, 2, 1, 0]


async def test_leases_that_the_store_keeps_are_left_to_it(clock: ManualClock) -> None:
    """An instance may be renewed where we cannot hear it: straight in the registry behind us."""

    class LeaseKeepingStore(MemoryStore):
        def keeps_lease(self, key: InstanceKey) -> bool:
            return True

    registry = Registry(LeaseKeepingStore(clock), clock, Policy(self_preservation=False))
    await registry.open()
    await registry.register(flat())
    for _ in range(300):
        clock.advance(1)
        await registry.sweep()

    assert len(registry.catalogue) == 1


async def test_leases_that_lapse_together_end_together(clock: ManualClock) -> None:
    """One after the other they would not share commits, and a sweep that waits for each is late for the next."""
    store = _BusyStore(clock)
    registry = Registry(store, clock, Policy(self_preservation=False))
    await registry.open()
    await register_orders(registry, 100)
    for _ in range(92):
        clock.advance(1)
        await registry.sweep()

    assert store.most_at_once == 15


class _BusyStore(MemoryStore):
    """Takes a turn of the event loop for each write, and notes how many wait at once."""

    at_once = most_at_once = 0

    async def write(self, writes: Sequence[Write]) -> Revision:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await anyio.lowlevel.checkpoint()
        self.at_once -= 1
        return await super().write(writes)
