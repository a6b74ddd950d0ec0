"""Long answers, made a little at a time: whoever asks for everything must not keep heartbeats waiting."""

from __future__ import annotations

import asyncio
from time import perf_counter

from facade.servicecenter.exchange import JSON_TYPE, Answer, Ask, compress

RESTS_EVERY_S = 0.005
COMPRESSED_ASIDE_FROM = 64 * 1024
"""Bytes. zlib lets other threads run; below this changing threads costs more than it spares."""


class Pace:
    """`if pace.is_due: await pace.rest()` between two pieces of work."""

    def __init__(self) -> None:
        self._since_s = perf_counter()

    @property
    def is_due(self) -> bool:
        return perf_counter() - self._since_s > RESTS_EVERY_S

    async def rest(self) -> None:
        await asyncio.sleep(0)
        self._since_s = perf_counter()


async def large(ask: Ask, body: bytes) -> Answer:
    """An answer of any size, compressed where the asker takes it so."""
    if len(body) >= COMPRESSED_ASIDE_FROM and ask.accepts_gzip:
        return Answer(200, JSON_TYPE, await asyncio.to_thread(compress, body), is_gzipped=True)
    return Answer(200, JSON_TYPE, body)
