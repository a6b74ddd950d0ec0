"""Nodes that hear of two histories: of one that Redis has lost, or of what two primaries take at the same time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

from conformance.peers.processes import Processes, Running
from conformance.peers.redis import ask, redis, replica
from facade.clock import SystemClock
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.stores import redis_backed
from facade.stores.redis_backed import RedisStore
from facade.stores.redis_line import OwnLine
from tests.ports import free_port
from tests.stores.examples import instance
from tests.stores.redis_nodes import Unlucky, until

pytestmark = pytest.mark.anyio


class Node:
    def __init__(self, server: Running) -> None:
        self.link = Unlucky(server.url, "shop")
        self.store = RedisStore(self.link, clock := SystemClock(), "node:8761", 600, is_strict=False)
        self.registry = Registry(self.store, clock, Policy(self_preservation=False))

    @property
    def listed(self) -> set[str]:
        return {key.instance_id for key in self.registry.catalogue.leases}


@pytest.fixture
async def pair(server: Running) -> AsyncIterator[tuple[Node, Node]]:
    async with AsyncExitStack() as stack:
        nodes = Node(server), Node(server)
        for node in nodes:
            await node.registry.open()
            stack.push_async_callback(node.registry.close)
        yield nodes


async def test_what_was_ended_by_who_never_heard_that_it_was_written_does_not_come_back(
    server: Running, processes: Processes, pair: tuple[Node, Node]
) -> None:
    """The registration reaches Redis and the other node, its answer does not come; then its owner ends it, and Redis
    loses all, so that there is nothing to tell it. The other one puts it back."""
    one, other = pair
    await one.registry.register(instance("kept"))
    deaf = processes.start(redis(free_port(), is_durable=False))
    host, port = deaf.url.rpartition("://")[2].split(":")
    async with Redis(host=host, port=int(port), protocol=2, socket_timeout=None) as client:
        one.link._lines["news"] = OwnLine(client, 20)
        await asyncio.sleep(1.5)  # the question under way still reaches its own
        one.link.begin(1, "unanswered", "commit")
        registering = asyncio.create_task(one.registry.register(instance("ended")))
        await until(lambda: one.link.asked)
        one.link.is_cut = True
        await registering
        del one.link._lines["news"]
        await asyncio.sleep(1.5)
    await until(lambda: "ended" in other.listed)
    await one.registry.cancel(instance("ended").key)

    other.link.is_cut = True
    ask(server.url, "FLUSHALL")
    one.link.is_cut = False
    await until(lambda: one.store.health().is_writable)
    other.link.is_cut = False

    await until(lambda: other.store.health().restored and other.listed == {"kept"})
    assert one.listed == {"kept"}


@pytest.mark.parametrize("is_told_first", [True, False])
async def test_a_write_that_another_primary_took_is_not_answered_by_the_log_of_this_one(
    server: Running,
    processes: Processes,
    pair: tuple[Node, Node],
    monkeypatch: pytest.MonkeyPatch,
    is_told_first: bool,
) -> None:
    """After a fail-over by an operator both take writes for a while, with the same numbers."""
    one, other = pair
    await one.registry.register(instance("before"))
    await until(lambda: one.listed == other.listed == {"before"})
    twin = processes.start(replica(free_port(), int(server.url.rpartition(":")[2])))
    await until(lambda: ask(twin.url, "HLEN", "{shop}:records") == 1)
    ask(twin.url, "REPLICAOF", "NO", "ONE")
    monkeypatch.setattr(redis_backed, "BEAT_EVERY_S", 600)  # it has just had one when all this happens
    await asyncio.sleep(1.5)

    host, port = twin.url.rpartition("://")[2].split(":")
    async with Redis(host=host, port=int(port), protocol=2, socket_timeout=None) as client:
        one.link._lines["commit"] = OwnLine(client, 20)
        one.link.begin(int(is_told_first), "late", "commit")
        writing = []
        for node, name in ((one, "mine"), (other, "theirs")):
            writing.append(asyncio.create_task(node.registry.register(instance(name))))
            await asyncio.sleep(0.1)
        await asyncio.gather(*writing)

        assert "mine" in one.listed
