"""A node whose n-th word to Redis goes wrong, for each n, and in each way: what was acknowledged holds in the end.

Two nodes run over one real Redis; one of them is the unlucky one. All n are run at once, each in a cluster of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import count
from typing import Any

import pytest
from redis.asyncio import Redis

from conformance.peers.patience import PATIENCE_S
from facade.clock import SystemClock
from facade.errors import FacadeError, InstanceNotFound
from facade.registry.model import InstanceKey
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.stores import redis_backed, redis_link, redis_rejoining, redis_url
from facade.stores.redis_backed import RedisStore
from facade.stores.redis_link import Link
from facade.tls import Trust
from tests.stores.examples import instance
from tests.stores.redis_nodes import Unlucky, until

pytestmark = pytest.mark.anyio

TRIES = 600
_numbers = count(1)


class Pair:
    """Two nodes, the first with an unlucky link, and what their clients were told."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.name = f"steps-{next(_numbers)}"
        self.url = url
        self.stack = stack
        self.link = Unlucky(url, self.name)
        self.acknowledged: dict[str, str | None] = {}
        """Host of each instance, or None for one that left; what was refused may be either way, and is not in it."""
        self.redis: Any = Redis.from_url(url)

    async def open(self) -> None:
        self.one = await self.start(self.link)
        self.other = await self.start(Link(redis_url.parse(self.url), self.name, Trust()))
        self.stack.push_async_callback(self.redis.aclose)

    async def start(self, link: Link) -> Registry:
        clock = SystemClock()
        store = RedisStore(link, clock, "node:8761", 600, is_strict=False)
        registry = Registry(store, clock, Policy(self_preservation=False))
        await registry.open()
        self.stack.push_async_callback(registry.close)
        return registry

    async def register(self, at: Registry, name: str, host: str) -> None:
        """As a client does: until it is told that it is listed."""
        self.acknowledged.pop(name, None)
        for _ in range(TRIES):
            try:
                await at.register(instance(name, host=host))
            except FacadeError:
                await asyncio.sleep(0.1)
            else:
                self.acknowledged[name] = host
                return
        raise AssertionError(f"{name} was never taken")

    async def cancel(self, at: Registry, name: str) -> None:
        self.acknowledged.pop(name, None)
        for _ in range(TRIES):
            try:
                await at.cancel(key(name))
            except InstanceNotFound:
                pass
            except FacadeError:
                await asyncio.sleep(0.1)
                continue
            self.acknowledged[name] = None
            return
        raise AssertionError(f"{name} was never ended")

    async def keys(self) -> Sequence[bytes]:
        return [one async for one in self.redis.scan_iter(f"{{{self.name}}}:*")]

    async def lose_all(self) -> None:
        await self.redis.delete(*await self.keys())

    async def keep(self) -> Mapping[bytes, bytes]:
        return {one: await self.redis.dump(one) for one in await self.keys() if not one.endswith(b"restorer")}

    async def go_back(self, kept: Mapping[bytes, bytes]) -> None:
        """Lose all that was written since."""
        async with self.redis.pipeline(transaction=True) as pipeline:
            pipeline.delete(*await self.keys())
            for one, value in kept.items():
                pipeline.restore(one, 0, value)
            await pipeline.execute()

    async def check(self) -> None:
        """Both nodes, Redis, and a node that starts now hold the same, and what was acknowledged."""
        deadline_s = asyncio.get_running_loop().time() + PATIENCE_S
        while (why := await self._differs()) is not None:
            assert asyncio.get_running_loop().time() < deadline_s, why
            await asyncio.sleep(0.1)
        late = await self.start(Link(redis_url.parse(self.url), self.name, Trust()))
        assert listed(late) == listed(self.one)
        told = {name: host for name, host in self.acknowledged.items() if host is not None}
        assert told.items() <= listed(self.one).items()
        assert not [name for name, host in self.acknowledged.items() if host is None and name in listed(self.one)]

    async def _differs(self) -> str | None:
        one, other = store_of(self.one), store_of(self.other)
        if listed(self.one) != listed(self.other):
            return f"shown: {listed(self.one)} and {listed(self.other)}"
        if self.one.revision != self.other.revision:
            return f"revisions: {self.one.revision} and {self.other.revision}"
        if one._picture.waiting or other._picture.waiting:
            return f"waiting: {list(one._picture.waiting)} and {list(other._picture.waiting)}"
        there = {
            name: int(value.partition(b" ")[0])
            for name, value in (await self.redis.hgetall(f"{{{self.name}}}:records")).items()
        }
        for store in (one, other):
            if {name: held.version for name, held in store._picture.held.items()} != there:
                return f"held: {store._picture.held} and {there}"
            if not store._joined.is_set():
                return "not joined"
        return None


def key(name: str) -> InstanceKey:
    return instance(name).key


def listed(registry: Registry) -> dict[str, str]:
    return {one.instance_id: lease.instance.host for one, lease in registry.catalogue.leases.items()}


def store_of(registry: Registry) -> RedisStore:
    assert isinstance(registry._store, RedisStore)
    return registry._store


async def write(pair: Pair) -> None:
    await asyncio.gather(*(pair.register(pair.one, f"new-{n}", "one.example") for n in range(3)))
    await asyncio.gather(
        pair.register(pair.one, "moves", "one.example"),
        pair.cancel(pair.one, "ends"),
        pair.register(pair.other, "theirs", "other.example"),
        pair.register(pair.other, "kept", "other.example"),
    )
    await pair.cancel(pair.one, "new-1")


async def lose_all(pair: Pair) -> None:
    await pair.cancel(pair.one, "ends")
    await pair.lose_all()
    await asyncio.gather(
        pair.register(pair.one, "new", "one.example"),
        pair.register(pair.other, "theirs", "other.example"),
        pair.cancel(pair.one, "leaves"),
    )


async def go_back(pair: Pair) -> None:
    kept = await pair.keep()
    await pair.register(pair.one, "new", "one.example")
    await pair.register(pair.one, "moves", "one.example")
    await pair.cancel(pair.one, "ends")
    await until(lambda: listed(pair.one) == listed(pair.other))
    await pair.go_back(kept)
    await asyncio.gather(
        pair.cancel(pair.one, "new"),
        pair.register(pair.other, "theirs", "other.example"),
        pair.register(pair.one, "moves", "again.example"),
    )


async def be_cut_off(pair: Pair) -> None:
    pair.link.is_cut = True
    await pair.register(pair.one, "new", "one.example")
    await pair.register(pair.one, "moves", "one.example")
    await pair.cancel(pair.one, "ends")
    await pair.cancel(pair.other, "leaves")
    await pair.register(pair.other, "theirs", "other.example")
    pair.link.is_cut = False
    await pair.register(pair.one, "newer", "one.example")


Scenario = Callable[[Pair], Awaitable[None]]


async def run(url: str, scenario: Scenario, at: int, how: str) -> Sequence[str]:
    async with AsyncExitStack() as stack:
        pair = Pair(url, stack)
        await pair.open()
        for name in ("kept", "moves", "ends", "leaves"):
            await pair.register(pair.other, name, "first.example")
        await until(lambda: len(listed(pair.one)) == 4)
        pair.link.begin(at, how)
        await scenario(pair)
        await pair.check()
        return pair.link.asked


@pytest.mark.parametrize("how", ["unsent", "unanswered", "late"])
@pytest.mark.parametrize("scenario", [write, lose_all, go_back, be_cut_off])
async def test_a_word_to_redis_that_goes_wrong_loses_nothing(
    redis_url: Callable[[], str], scenario: Scenario, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_backed, "BEAT_EVERY_S", 0.1)
    monkeypatch.setattr(redis_backed, "TRY_AGAIN_S", 0.05)
    monkeypatch.setattr(redis_rejoining, "RESTORES_FOR_MS", 1_500)
    monkeypatch.setattr(redis_link, "LISTENS_FOR_S", 0.2)
    asked = await run(redis_url(), scenario, 0, how)

    results = await asyncio.gather(
        *(run(redis_url(), scenario, at, how) for at in range(1, len(asked) + 1)), return_exceptions=True
    )

    failed = {at: result for at, result in enumerate(results, 1) if isinstance(result, BaseException)}
    assert not failed, {f"{at}: {asked[at - 1]}": repr(result) for at, result in failed.items()}
