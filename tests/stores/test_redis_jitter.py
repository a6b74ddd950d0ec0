"""Nodes that lost Redis in one moment do not come back to it in one moment."""

from __future__ import annotations

import asyncio
import random
from statistics import fmean

import pytest

from facade.clock import ManualClock
from facade.errors import StoreUnavailable
from facade.stores import redis_url
from facade.stores.redis_backed import TRY_AGAIN_S, RedisStore
from facade.stores.redis_link import Link
from facade.tls import Trust
from tests.stores.redis_nodes import until

pytestmark = pytest.mark.anyio

TRIES = 300


class Away(Link):
    tries = 0

    async def connect(self) -> None:
        self.tries += 1
        raise StoreUnavailable("away")


async def test_pauses_between_tries_are_drawn_around_the_one_that_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def no_time(seconds: float) -> None:
        if asyncio.current_task() is not test:
            pauses.append(seconds)
        await sleep(0)

    test = asyncio.current_task()
    monkeypatch.setattr(asyncio, "sleep", no_time)
    random.seed(849323)
    link = Away(redis_url.parse("redis://away"), "jitter", Trust())
    store = RedisStore(link, ManualClock(), "node:8761", 600, is_strict=False)

    await store.open(lambda _: None)
    await until(lambda: link.tries > TRIES)
    await store.close()

    assert len(set(pauses)) > 0.9 * TRIES
    assert TRY_AGAIN_S / 2 <= min(pauses) < 0.6 * TRY_AGAIN_S
    assert 1.4 * TRY_AGAIN_S < max(pauses) <= TRY_AGAIN_S * 1.5
    assert fmean(pauses) == pytest.approx(TRY_AGAIN_S, rel=0.1)
