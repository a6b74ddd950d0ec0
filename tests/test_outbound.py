"""Calls to a registry of somebody else, asked of real sockets: what servers do to us, and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from facade import outbound
from facade.clock import ManualClock
from facade.errors import MalformedDocument, StoreUnavailable
from facade.outbound import Outbound, Reply
from tests.sockets import CHUNKED, OK, Answer, Server, says

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def asked(*answers: Answer, clock: ManualClock | None = None) -> AsyncIterator[tuple[list[Server], Outbound]]:
    """A server for each, and one Outbound over all of them."""
    async with AsyncExitStack() as stack:
        servers = [Server(answer) for answer in answers]
        for server in servers:
            listening = await stack.enter_async_context(await asyncio.start_server(server.serve, "127.0.0.1", 0))
            server.base = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        out = Outbound([server.base for server in servers], clock=clock or ManualClock())
        stack.push_async_callback(out.close)
        yield servers, out


def text(reply: Reply) -> str:
    return reply.body.decode()


async def test_a_call_goes_out_as_it_was_made() -> None:
    async with asked(says(OK)) as ([server], out):
        path = "/eureka/apps/A%20B/a%2Fb%3Ac%3Bd%25%C3%A9?x=%26&y=1%2B2"
        assert await out.ask("PUT", path, text, content=b"body") == "ok"

        head = server.requests[0].partition(b"\r\n")[0].decode()
        method, sent, version = head.split(" ")
        assert (method, version) == ("PUT", "HTTP/1.1")
        assert sent in (path, path.replace("%3A", ":"))  # a colon means the same either way
        assert b"accept-encoding: identity" in server.requests[0].lower()
        assert server.requests[0].endswith(b"\r\n\r\nbody")


async def test_one_connection_serves_one_call_after_the_other() -> None:
    async with asked(says(OK)) as ([server], out):
        for _ in range(3):
            assert await out.ask("GET", "/", text) == "ok"

        assert server.connections == 1


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([], id="no answer"),
        pytest.param([b"HTTP/1.1 200 O"], id="half a head"),
        pytest.param([OK[:-1]], id="half a body"),
        pytest.param([CHUNKED + b"5\r\nab"], id="half a chunk"),
        pytest.param([b"220 mail.example ESMTP\r\n"], id="another protocol"),
        pytest.param([b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b"], id="gzip"),
        pytest.param(
            [b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"], id="redirect"
        ),
        pytest.param([b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"], id="busy"),
    ],
)
async def test_what_is_no_answer_to_rely_on_is_a_failure(parts: list[bytes]) -> None:
    async with asked(says(*parts, then_close=True)) as (_, out):
        with pytest.raises(StoreUnavailable):
            await out.ask("GET", "/", text)
        assert out.trouble


@pytest.mark.parametrize("fault", [MalformedDocument("odd"), ValueError("odd"), RecursionError(), OverflowError()])
async def test_an_answer_that_cannot_be_read_is_a_failure(fault: Exception) -> None:
    def read(_: Reply) -> str:
        raise fault

    async with asked(says(OK)) as (_, out):
        with pytest.raises(StoreUnavailable):
            await out.ask("GET", "/", read)


async def test_a_body_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "MOST_BYTES", 1 << 20)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
    async with asked(says(head, *[bytes(1 << 18)] * 8)) as (_, out):
        with pytest.raises(StoreUnavailable, match="more than 1 MiB"):
            await out.ask("GET", "/", text)


async def test_a_drip_of_bytes_does_not_hold_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "TIMEOUT_S", 0.05)

    async def drip(writer: asyncio.StreamWriter, _number: int) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with asked(drip) as (_, out):
        with pytest.raises(StoreUnavailable, match="no whole answer"):
            await out.ask("GET", "/", text)


async def test_the_next_server_answers_for_one_that_fails() -> None:
    async with asked(says(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"), says(OK)) as ([first, second], out):
        assert await out.ask("GET", "/", text) == "ok"
        assert (len(first.requests), len(second.requests)) == (1, 1)


async def test_a_server_that_keeps_failing_is_left_alone_for_a_while() -> None:
    clock = ManualClock()
    async with asked(says(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"), clock=clock) as ([server], out):
        for _ in range(10):
            with pytest.raises(StoreUnavailable):
                await out.ask("GET", "/", text)
        assert len(server.requests) == 3

        clock.advance(5)
        with pytest.raises(StoreUnavailable):
            await out.ask("GET", "/", text)
        assert len(server.requests) == 4


async def test_calls_that_belong_together_go_to_one_server() -> None:
    async with asked(says(OK), says(OK)) as (servers, out):
        for _ in range(4):
            await out.ask("GET", "/", text, stick_to="ORDERS/a")
        assert sorted(len(server.requests) for server in servers) == [0, 4]

        await out.ask("GET", "/", text, base=servers[0].base)
        await out.ask("GET", "/", text, base=servers[1].base)
        assert sorted(len(server.requests) for server in servers) == [1, 5]


async def test_nobody_listens() -> None:
    async with asked(says(OK)) as ([server], out):
        base = server.base
    out = Outbound([base], clock=ManualClock())
    with pytest.raises(StoreUnavailable):
        await out.ask("GET", "/", text)
    await out.close()


async def test_a_call_that_is_given_up_ends_at_once() -> None:
    taken = asyncio.Event()

    async def never(_writer: asyncio.StreamWriter, _number: int) -> None:
        taken.set()
        await asyncio.Event().wait()

    async with asked(never) as (_, out):
        call = asyncio.create_task(out.ask("GET", "/", text))
        await taken.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
