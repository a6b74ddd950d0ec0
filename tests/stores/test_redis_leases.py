"""Who may end a lease over Redis, and when: what a node has heard and could not tell yet counts for all nodes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import count

import msgspec
import pytest

from conformance.peers.redis import ask
from facade.clock import ManualClock, SystemClock
from facade.registry.model import Cause, Instance, InstanceKey, LeaseTerms
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.registry.store import Remove
from facade.stores.redis_backed import RedisStore
from facade.stores.redis_nodes import STOOD_STILL_S, Nodes
from tests.stores.examples import instance
from tests.stores.redis_nodes import Unlucky, redis_store, until

pytestmark = pytest.mark.anyio

_numbers = count(1)


@pytest.fixture
def name() -> str:
    """Of a cluster of the test's own."""
    return f"leases-{next(_numbers)}"


def short_lived(name: str, renewed_ms: int = 1_500) -> Instance:
    return msgspec.structs.replace(instance(name), lease=LeaseTerms(500, 1_500, renewed_ms))


def key(name: str) -> InstanceKey:
    return instance(name).key


async def test_what_a_node_has_heard_and_not_told_yet_is_not_ended(redis_url: Callable[[], str], name: str) -> None:
    """Its signs of life go over another connection than its renewals, and may be quicker."""
    clock = SystemClock()
    link = Unlucky(redis_url(), name)
    slow = RedisStore(link, clock, "slow:8761", 600, is_strict=False)
    policy = Policy(self_preservation=False, eviction_interval_s=0.1)
    one, other = Registry(redis_store(redis_url(), name, clock), clock, policy), Registry(slow, clock, policy)
    await one.open()
    await other.open()
    await other.register(short_lived("a", renewed_ms=60_000))
    other.renew(key("a"))
    link.late_s = 4.0
    link.begin(1, "late", "renew")
    telling = asyncio.create_task(other.tell_renewals())
    running = [asyncio.create_task(one.run())]  # from now on leases end
    await until(lambda: one.catalogue.leases)

    await telling

    assert one.catalogue.leases
    running.append(asyncio.create_task(other.run()))
    await asyncio.sleep(1)
    assert one.catalogue.leases
    for task in running:
        task.cancel()
    await one.close()
    await other.close()


async def test_only_whose_turn_it_is_ends_a_lapsed_lease(redis_url: Callable[[], str], name: str) -> None:
    """A node that stood still since it found the lease to have lapsed does not know what has been heard since."""
    clock = SystemClock()
    store = redis_store(redis_url(), name, clock)
    registry = Registry(store, clock)
    await registry.open()
    await registry.register(short_lived("a"))
    ended_s = time.monotonic() + 1.6
    await until(lambda: time.monotonic() > ended_s and store.cluster.may_end)

    ask(redis_url(), "SET", f"{{{name}}}:evictor", "another")
    await store.write([Remove(key("a"), Cause.LAPSED)])
    assert registry.catalogue.leases

    ask(redis_url(), "DEL", f"{{{name}}}:evictor")
    await store.cluster.lapsed()
    await store.write([Remove(key("a"), Cause.LAPSED)])
    assert not registry.catalogue.leases
    await registry.close()


async def test_a_node_that_stood_still_is_given_the_time_to_hear_what_was_sent_meanwhile(
    redis_url: Callable[[], str], name: str
) -> None:
    clock = ManualClock()
    nodes = Nodes(link := Unlucky(redis_url(), name), {}, clock, "me", "me:8761", 600)
    await link.connect()
    await nodes.look("", "")

    async def behind_s() -> float:
        """How much older than its look at Redis it says that the last of what it has told may be."""
        nodes.note_told(clock.monotonic_s())
        await nodes.look("", "")
        looked_ms = nodes._seen_ms
        await nodes.beat("", "")
        _, told_ms, _ = ask(redis_url(), "HGET", f"{{{name}}}:nodes", "me").split(b" ", 2)
        return (looked_ms - int(told_ms)) / 1000

    assert await behind_s() == 0
    clock.advance(STOOD_STILL_S + 20)
    assert await behind_s() == STOOD_STILL_S + 20
    for _ in range(25):
        clock.advance(1)
        last_s = await behind_s()
    assert last_s == 0
    await link.close()
