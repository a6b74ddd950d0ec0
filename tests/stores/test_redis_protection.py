"""Self-preservation over several nodes: what one of them hears renewed counts for all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from facade.clock import SystemClock
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from tests.stores.examples import instance
from tests.stores.redis_nodes import redis_store, until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def nodes(redis_url: Callable[[], str]) -> AsyncIterator[list[Registry]]:
    async with AsyncExitStack() as stack:
        registries = []
        for _ in range(2):
            clock = SystemClock()
            registries.append(Registry(redis_store(redis_url(), "protection", clock), clock, Policy()))
            await registries[-1].open()
            stack.push_async_callback(registries[-1].close)
        yield registries


async def test_a_node_counts_the_renewals_that_another_has_heard(nodes: list[Registry]) -> None:
    """Else a node that few clients ask would take the others' clients for lost, and keep every lease."""
    one, other = nodes
    origin = instance("a").key.origin
    for name in ("a", "b", "c"):
        await one.register(instance(name))
        one.renew(instance(name).key)
    heard = one.protection(origin).renewals_last_minute

    await one.tell_renewals()

    assert heard >= 3
    await until(lambda: other.protection(origin).renewals_last_minute == heard)
