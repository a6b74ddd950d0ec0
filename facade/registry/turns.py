"""One writer at a time for each key; strangers never wait for each other. And long work, a little at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

_T = TypeVar("_T")


class Turns:
    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def of(self, key: Hashable) -> AsyncIterator[None]:
        lock, users = self._locks.get(key, (None, 0))
        lock = lock or asyncio.Lock()
        self._locks[key] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            _, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = lock, users - 1


async def in_turns(items: Iterable[_T], a_turn: int) -> AsyncIterator[_T]:
    """Each of them as they are now, with room for others in between."""
    for number, item in enumerate(list(items), 1):
        yield item
        if number % a_turn == 0:
            await asyncio.sleep(0)
