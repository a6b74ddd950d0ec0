"""Nodes over a real Redis, within a test's own process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from conformance.peers.patience import PATIENCE_S
from facade.clock import Clock
from facade.errors import StoreUnavailable
from facade.registry.model import Revision
from facade.stores import redis_url
from facade.stores.redis_backed import RedisStore
from facade.stores.redis_link import Entry, Link
from facade.tls import Trust

LATE_S = 0.4


def redis_store(url: str, name: str, clock: Clock, *, is_strict: bool = False, gone_after_s: float = 600) -> RedisStore:
    """A node of the cluster `name`, not opened yet."""
    link = Link(redis_url.parse(url), name, Trust())
    return RedisStore(link, clock, "node:8761", gone_after_s, is_strict=is_strict)


async def until(holds: Callable[[], object]) -> None:
    deadline_s = asyncio.get_running_loop().time() + PATIENCE_S
    while not holds():
        assert asyncio.get_running_loop().time() < deadline_s
        await asyncio.sleep(0.02)


class Unlucky(Link):
    """Its n-th call since `begin`, of all or of one name, is not sent, or not answered, or sent late."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(redis_url.parse(url), name, Trust())
        self.at = 0
        self.how = ""
        self.asked: list[str] = []
        self.only = ""
        self.late_s = LATE_S
        self.is_cut = False

    def begin(self, at: int, how: str, only: str = "") -> None:
        self.at, self.how, self.only, self.asked = at, how, only, []

    async def _luck(self, call: str, ask: Callable[[], Awaitable[Any]]) -> Any:
        if self.is_cut:
            raise StoreUnavailable("cut off")
        if self.only in ("", call):
            self.asked.append(call)
        if self.only not in ("", call) or len(self.asked) != self.at:
            return await ask()
        if self.how == "late":
            await asyncio.sleep(self.late_s)
            return await ask()
        if self.how == "unanswered":
            await ask()
        raise StoreUnavailable(f"bad luck with {call}")

    async def run(self, name: str, *arguments: str | bytes | int) -> Any:
        return await self._luck(name, lambda: super(Unlucky, self).run(name, *arguments))

    async def take(self, lock: str, holder: str, for_ms: int) -> bool:
        taken: bool = await self._luck("take", lambda: super(Unlucky, self).take(lock, holder, for_ms))
        return taken

    async def release(self, lock: str, *rest: str) -> None:
        await self._luck("release", lambda: super(Unlucky, self).release(lock, *rest))

    async def news(self, after: Revision) -> Sequence[Entry]:
        found: Sequence[Entry] = await self._luck("news", lambda: super(Unlucky, self).news(after))
        return found

    async def records(self) -> AsyncIterator[tuple[bytes, Revision, bytes]]:
        found = [one async for one in super().records()]
        for one in await self._luck("records", lambda: _of(found)):
            yield one

    async def history(self) -> AsyncIterator[Entry]:
        found = [one async for one in super().history()]
        for one in await self._luck("history", lambda: _of(found)):
            yield one


async def _of(found: Any) -> Any:
    return found
