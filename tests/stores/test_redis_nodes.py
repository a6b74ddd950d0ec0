"""Several nodes over one real Redis: one view, no lost update, no false end of a lease, nothing lost with Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import NamedTuple

import msgspec
import pytest

from conformance.peers.processes import Processes, Running
from conformance.peers.redis import ask, redis
from facade.clock import ManualClock, SystemClock
from facade.errors import InstanceNotFound, StartRefused, StoreFull, StoreUnavailable
from facade.registry.model import Cause, Instance, InstanceKey, LeaseTerms
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.registry.store import Commit, Remove
from facade.stores.redis_backed import RedisStore
from tests.ports import free_port
from tests.stores.examples import instance
from tests.stores.redis_nodes import redis_store, until

pytestmark = pytest.mark.anyio


class Node(NamedTuple):
    registry: Registry
    store: RedisStore
    ids: list[set[str]]
    """Those that it listed after each commit."""

    @property
    def listed(self) -> set[str]:
        return {key.instance_id for key in self.registry.catalogue.leases}


Start = Callable[..., Awaitable[Node]]


@pytest.fixture
async def start(server: Running) -> AsyncIterator[Start]:
    """Starts one node more over the test's own Redis; it runs until the test ends."""
    async with AsyncExitStack() as stack:

        async def start(policy: Policy | None = None, *, is_strict: bool = False) -> Node:
            clock = SystemClock()
            policy = policy or Policy(self_preservation=False, eviction_interval_s=0.2)
            gone_after_s = policy.protection_limit_s
            store = redis_store(server.url, "shop", clock, is_strict=is_strict, gone_after_s=gone_after_s)
            registry = Registry(store, clock, policy)
            await registry.open()
            stack.push_async_callback(registry.close)
            node = Node(registry, store, [])
            registry.feed.follow(lambda _: node.ids.append(node.listed))
            running = asyncio.create_task(registry.run())
            stack.callback(running.cancel)
            return node

        yield start


def short_lived(name: str, term_ms: int) -> Instance:
    return msgspec.structs.replace(instance(name), lease=LeaseTerms(500, term_ms, term_ms))


def key(name: str) -> InstanceKey:
    return instance(name).key


async def renew_at(node: Node, *names: str) -> None:
    while True:
        for name in names:
            node.registry.renew(key(name))
        await asyncio.sleep(0.3)


async def test_every_node_shows_what_one_was_told_at_the_same_revision(start: Start) -> None:
    one, other = await start(), await start()
    await one.registry.register(instance("a"))
    await other.registry.register(instance("b"))
    late = await start()

    await until(lambda: one.listed == other.listed == late.listed == {"a", "b"})
    assert one.registry.revision == other.registry.revision == late.registry.revision
    assert one.registry.catalogue.instance(key("a")) == late.registry.catalogue.instance(key("a"))


async def test_no_update_is_lost_between_nodes(start: Start) -> None:
    nodes = [await start() for _ in range(3)]
    await nodes[0].registry.register(instance("a"))
    await until(lambda: all(node.listed for node in nodes))

    def counted(held: Instance) -> Instance:
        return msgspec.structs.replace(held, metadata={"n": str(int(held.metadata.get("n", "0")) + 1)})

    async def count(node: Node) -> None:
        for _ in range(20):
            await node.registry.amend(key("a"), counted)

    await asyncio.gather(*map(count, nodes))

    def told(node: Node) -> str | None:
        held = node.registry.catalogue.instance(key("a"))
        return held.metadata.get("n") if held is not None else None

    await until(lambda: all(told(node) == "60" for node in nodes))


async def test_what_one_node_hears_renewed_no_other_ends(start: Start) -> None:
    one, other = await start(), await start()
    await one.registry.register(short_lived("renewed", 5_000))
    await one.registry.register(short_lived("silent", 6_000))
    await until(lambda: other.listed == {"renewed", "silent"})
    renewing = asyncio.create_task(renew_at(other, "renewed"))

    await until(lambda: one.listed == other.listed == {"renewed"})

    renewing.cancel()
    assert one.listed == other.listed == {"renewed"}
    assert sum(node.leads for node in one.registry.nodes()) == 1


async def test_an_instance_that_another_node_ended_has_to_register_again(start: Start) -> None:
    one, other = await start(), await start()
    await one.registry.register(instance("a"))
    await until(lambda: other.listed)
    await other.registry.cancel(key("a"))

    await until(lambda: not one.listed)
    with pytest.raises(InstanceNotFound):
        one.registry.renew(key("a"))


async def test_a_node_that_leaves_is_forgotten_and_one_that_vanishes_is_missed(start: Start, server: Running) -> None:
    one, other = await start(), await start()
    await until(lambda: len(one.registry.nodes()) == len(other.registry.nodes()) == 2)
    await other.registry.close()
    await until(lambda: len(one.registry.nodes()) == 1)

    now_ms = int(ask(server.url, "TIME")[0]) * 1000
    ask(server.url, "HSET", "{shop}:nodes", "ghost", f'{now_ms - 10_000} 0 {{"name":"ghost:1"}}')
    await until(lambda: any(node.is_missing for node in one.registry.nodes()))


async def test_while_redis_is_away_nobody_is_missing_and_nobody_leads(server: Running) -> None:
    """No node can be heard then: an alert for each of them would hide what is wrong."""
    clock = ManualClock()
    one, other = (redis_store(server.url, "shop", clock) for _ in range(2))
    for store in (one, other):
        await store.open(lambda _: None)
    await until(lambda: one.cluster.may_end)
    while [node.leads for node in one.cluster.nodes()] != [True, False]:
        await one.cluster.lapsed()  # whose turn it is stays so for some seconds
        await asyncio.sleep(0.1)

    server.kill()
    await until(lambda: not one.health().is_writable)
    clock.advance(60)

    assert [(node.is_missing, node.leads, node.age_s >= 60) for node in one.cluster.nodes()] == [
        (False, False, True)
    ] * 2
    for store in (one, other):
        await store.close()


async def test_leases_that_a_missing_node_has_heard_are_kept(start: Start, server: Running) -> None:
    one = await start(Policy(self_preservation=False, eviction_interval_s=0.2, protection_limit_s=12))
    await one.registry.register(short_lived("theirs", 4_000))
    await one.registry.register(short_lived("ours", 4_000))
    now_ms = int(float(ask(server.url, "TIME")[0]) * 1000)
    ask(server.url, "HSET", "{shop}:nodes", "cut-off", f'{now_ms} {now_ms} {{"name":"cut-off:1"}}')
    ask(server.url, "HSET", "{shop}:heard", msgspec.msgpack.encode(key("theirs")), "cut-off")
    one.registry.renew(key("theirs"))  # clients that go round all nodes: the last of which we know may be another

    await until(lambda: one.listed == {"theirs"})
    await asyncio.sleep(1)
    assert one.listed == {"theirs"}  # the node may have heard it renewed, and could not tell us
    await until(lambda: not one.listed)  # and in the end it is given up


async def test_a_redis_that_has_lost_all_is_filled_again(start: Start, server: Running) -> None:
    one, other = await start(), await start()
    for name in ("a", "b", "c"):
        await one.registry.register(instance(name))
    await until(lambda: other.listed == {"a", "b", "c"})
    await other.registry.cancel(key("c"))
    await until(lambda: one.listed == {"a", "b"})
    seen = [len(one.ids), len(other.ids)]

    ask(server.url, "FLUSHALL")
    await one.registry.register(instance("d"))
    await until(lambda: other.listed == {"a", "b", "d"})

    assert one.listed == {"a", "b", "d"}
    assert all({"a", "b"} <= ids for ids in [*one.ids[seen[0] :], *other.ids[seen[1] :]])
    await until(lambda: one.registry.revision == other.registry.revision)
    late = await start()
    assert late.listed == {"a", "b", "d"}


async def test_records_that_somebody_has_removed_are_put_back_when_they_renew(start: Start, server: Running) -> None:
    """The log tells of nothing, and leases and who heard them are still there."""
    one, other = await start(), await start()
    await one.registry.register(instance("a"))
    await one.registry.register(instance("b"))
    await until(lambda: other.listed == {"a", "b"})
    renewing = asyncio.create_task(renew_at(one, "a", "b"))

    ask(server.url, "DEL", "{shop}:records")

    await until(lambda: ask(server.url, "HLEN", "{shop}:records") == 2)
    renewing.cancel()
    assert one.listed == other.listed == {"a", "b"}


async def test_a_redis_that_has_lost_its_latest_writes_gets_them_back(
    start: Start, server: Running, processes: Processes
) -> None:
    one, other = await start(), await start()
    for name in ("old", "ended"):
        await one.registry.register(instance(name))
    ask(server.url, "SAVE")
    await one.registry.register(instance("new"))
    await other.registry.cancel(key("ended"))
    await one.registry.register(instance("old", host="moved.example"))
    await until(lambda: one.listed == other.listed == {"old", "new"})

    server.kill()
    processes.restart(server)

    late = await start()
    await until(lambda: late.listed == {"old", "new"})
    held = late.registry.catalogue.instance(key("old"))
    assert held is not None
    assert held.host == "moved.example"
    await until(lambda: one.registry.revision == other.registry.revision == late.registry.revision)
    assert one.listed == other.listed == {"old", "new"}


async def test_a_redis_that_has_lost_nothing_but_an_end_is_told_of_it(
    start: Start, server: Running, processes: Processes
) -> None:
    one = await start()
    for name in ("kept", "ended"):
        await one.registry.register(instance(name))
    ask(server.url, "SAVE")
    await one.registry.cancel(key("ended"))

    server.kill()
    processes.restart(server)

    await until(lambda: ask(server.url, "HLEN", "{shop}:records") == 1)
    assert one.listed == {"kept"}


async def test_while_redis_is_away_a_node_goes_on_and_tells_it_afterwards(
    start: Start, server: Running, processes: Processes
) -> None:
    one, other = await start(), await start()
    await one.registry.register(instance("a"))
    await one.registry.register(instance("b"))
    await until(lambda: other.listed == {"a", "b"})
    ask(server.url, "SAVE")
    server.kill()

    await one.registry.register(instance("c"))
    await one.registry.cancel(key("b"))
    one.registry.renew(key("a"))

    assert one.listed == {"a", "c"}
    assert one.registry.data_age_s > 0
    assert not one.registry.store_health().is_writable
    assert one.registry.store_health().waiting == 2

    processes.restart(server)
    await until(lambda: other.listed == {"a", "c"})
    await until(lambda: one.registry.data_age_s == 0 and one.registry.store_health().waiting == 0)
    await until(lambda: one.registry.revision == other.registry.revision)


async def test_an_eviction_does_not_wait_for_redis(start: Start, server: Running) -> None:
    """By then somebody may have renewed at another node: only Redis can tell."""
    node = await start()
    await node.registry.register(instance("a"))
    server.kill()
    await until(lambda: not node.registry.store_health().is_writable)

    with pytest.raises(StoreUnavailable):
        await node.store.write([Remove(key("a"), Cause.LAPSED)])

    assert node.listed == {"a"}
    assert node.registry.store_health().waiting == 0


async def test_writes_are_refused_meanwhile_where_the_operator_likes_that_better(start: Start, server: Running) -> None:
    node = await start(is_strict=True)
    await node.registry.register(instance("a"))
    server.kill()

    with pytest.raises(StoreUnavailable):
        await node.registry.register(instance("b"))
    assert node.listed == {"a"}
    assert node.registry.renew(key("a"))


async def test_a_redis_that_is_not_there_yet_is_waited_for(start: Start, server: Running, processes: Processes) -> None:
    before = await start()
    await before.registry.register(instance("a"))
    ask(server.url, "SAVE")
    await before.registry.close()
    server.kill()

    node = await start()
    assert not node.registry.has_data

    processes.restart(server)
    await until(lambda: node.registry.has_data)
    assert node.listed == {"a"}


async def test_a_full_redis_takes_no_registration_and_goes_on_otherwise(start: Start, server: Running) -> None:
    one, other = await start(), await start()
    await one.registry.register(instance("a"))
    await one.registry.register(instance("b"))
    ask(server.url, "CONFIG", "SET", "maxmemory", "1")

    with pytest.raises(StoreFull):
        await one.registry.register(instance("c"))
    assert not one.registry.store_health().is_writable
    one.registry.renew(key("a"))
    await one.registry.tell_renewals()

    ask(server.url, "CONFIG", "SET", "maxmemory", "0")
    await until(lambda: one.registry.store_health().is_writable)  # nobody has written meanwhile
    await one.registry.register(instance("c"))
    await until(lambda: other.listed == {"a", "b", "c"})


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        (("SET", "{shop}:records", "mine"), "holds a string under {shop}:records, which is none of ours"),
        (("HSET", "{shop}:meta", "schema", "2", "epoch", "e", "head", "1 start"), "version 2 of their form"),
    ],
)
async def test_data_that_is_not_ours_is_refused_at_the_start(
    start: Start, server: Running, prepare: tuple[str, ...], why: str
) -> None:
    ask(server.url, *prepare)

    with pytest.raises(StartRefused, match=why):
        await start()


async def test_a_wrong_password_is_refused_at_the_start(processes: Processes) -> None:
    guarded = processes.start(redis(free_port(), "right", is_durable=False))
    store = redis_store(guarded.url.replace("right", "wrong"), "shop", SystemClock())

    def nobody(_: Commit) -> None: ...

    with pytest.raises(StartRefused, match="does not let us in") as refused:
        await store.open(nobody)
    assert "wrong" not in str(refused.value)


async def test_of_a_lease_that_another_node_hears_no_rest_is_told(start: Start) -> None:
    one, other = await start(), await start()
    await one.registry.register(short_lived("a", 5_000))
    await until(lambda: other.listed)
    renewing = asyncio.create_task(renew_at(one, "a"))

    await until(lambda: other.registry.remaining_s(key("a")) is None)

    renewing.cancel()
    assert one.listed == other.listed == {"a"}
