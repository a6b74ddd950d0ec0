"""What the doorway remembers of heads, and when it may not use it: a real lane over a real registry, in one loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Scope
from uvicorn.server import ServerState

from facade.application import application
from facade.config import Settings
from facade.doorway import known
from facade.doorway.connection import PIPELINED, doorway
from facade.doorway.hall import Limits
from facade.eureka.documents import SpaceDocuments
from facade.registry.registry import Registry
from facade.rendered import Lane, Question
from tests.eureka.registrations import instance

pytestmark = pytest.mark.anyio

RENEWAL = b"PUT /eureka/apps/ORDERS/orders-1 HTTP/1.1\r\nHost: a\r\n\r\n"
POLL = b"GET /eureka/apps/ORDERS HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n"


class Watched:
    """The lane given, which counts what it is asked and can be shut."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.heads_read = 0
        self.answers = 0
        self.is_shut = False
        self.doorway = doorway(Limits(), self)

    @property
    def is_open(self) -> bool:
        return self.lane.is_open and not self.is_shut

    def question(self, scope: Scope) -> Question | None:
        self.heads_read += 1
        question = self.lane.question(scope)
        if question is None:
            return None

        def counted():  # type: ignore[no-untyped-def]  # as a Question
            self.answers += 1
            return question()

        return counted


@asynccontextmanager
async def connected(registry: Registry) -> AsyncIterator[tuple[Watched, asyncio.StreamReader, asyncio.StreamWriter]]:
    app, lane = application(registry, Settings(), [])
    watched = Watched(lane)
    guarded = watched.doorway
    config = uvicorn.Config(app, http=guarded, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(lambda: guarded(config, state, {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield watched, reader, writer
    finally:
        writer.close()
        server.close()
        guarded.hall.sweeper.cancel()  # type: ignore[attr-defined]  # of the made class


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
    """The status. Whatever has a body says how long it is."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((line for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")), b"Content-Length: 0")
    await reader.readexactly(int(length.split(b" ")[1]))
    return int(head.split(b" ")[1])


async def test_a_head_is_read_once(registry: Registry) -> None:
    await registry.register(instance("ORDERS", "orders-1"))

    async with connected(registry) as (lane, reader, writer):
        statuses = [await answer(reader, writer, RENEWAL) for _ in range(3)]

    assert statuses == [200, 200, 200]
    assert (lane.heads_read, lane.answers) == (1, 3)


async def test_a_head_that_comes_in_pieces_is_read_again(registry: Registry) -> None:
    await registry.register(instance("ORDERS", "orders-1"))

    async with connected(registry) as (lane, reader, writer):
        await answer(reader, writer, RENEWAL)
        writer.write(RENEWAL[:20])
        await asyncio.sleep(0.02)
        status = await answer(reader, writer, RENEWAL[20:])

    assert (status, lane.heads_read) == (200, 2)


async def test_a_closed_lane_sends_known_heads_the_long_way(registry: Registry) -> None:
    """As while a registry behind us is away: then answers say how old they are."""
    await registry.register(instance("ORDERS", "orders-1"))

    async with connected(registry) as (lane, reader, writer):
        await answer(reader, writer, RENEWAL)
        lane.is_shut = True
        closed = await answer(reader, writer, RENEWAL)
        answered_here = lane.answers
        lane.is_shut = False
        await answer(reader, writer, RENEWAL)

    assert closed == 200
    assert (answered_here, lane.answers) == (1, 2)


async def test_a_fault_of_ours_in_the_lane_is_met_again_on_the_long_way(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(SpaceDocuments, "application", broken)

    async with connected(registry) as (_, reader, writer):
        assert await answer(reader, writer, POLL) == 500


async def test_a_refused_head_is_nobodys(registry: Registry) -> None:
    """What waits in the pipeline is started later, and must not be taken for what that head asked."""
    await registry.register(instance("ORDERS", "orders-1"))
    slow = b"GET /eureka/apps/ORDERS/orders-1 HTTP/1.1\r\nHost: a\r\n\r\n"

    async with connected(registry) as (lane, reader, writer):
        writer.write(slow + RENEWAL * PIPELINED + POLL)
        answers = await asyncio.wait_for(reader.read(), 60)
        remembered = [lane.doorway.known.get(head) for head in (slow, RENEWAL, POLL)]

    assert answers.count(b"HTTP/1.1 200") == 1 + PIPELINED
    assert answers.count(b"HTTP/1.1 429") == 0, "the last answer before it closes"
    assert remembered == [None, None, None]


async def test_the_oldest_heads_are_forgotten(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "KNOWN_BYTES", 2 * (len(RENEWAL) + known.QUESTION_BYTES))

    async with connected(registry) as (lane, reader, writer):
        for number in (1, 2, 3, 3, 1):
            await answer(reader, writer, RENEWAL.replace(b"orders-1", b"orders-%d" % number))

    assert lane.heads_read == 4


async def test_a_long_head_is_answered_and_not_remembered(registry: Registry) -> None:
    await registry.register(instance("ORDERS", "orders-1"))
    long = RENEWAL.replace(b"Host: a", b"Host: a\r\nX-Long: " + b"x" * known.KNOWN_HEAD_BYTES)

    async with connected(registry) as (lane, reader, writer):
        statuses = [await answer(reader, writer, long) for _ in range(2)]

    assert statuses == [200, 200]
    assert (lane.heads_read, lane.answers) == (2, 2)
