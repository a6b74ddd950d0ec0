"""Connections, asked of real sockets: what servers do to a connection, and what comes of the next call."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from facade.connections import Connections
from tests.sockets import CHUNKED, OK, Answer, Server, says

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def _asked(answer: Answer, keep_idle_s: float = 60) -> AsyncIterator[tuple[Server, httpx.AsyncClient]]:
    server = Server(answer)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    transport = Connections(keep_idle_s=keep_idle_s, trust=ssl.create_default_context)
    async with listening, httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1:{port}") as client:
        yield server, client


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


async def test_nothing_is_logged_of_a_name_whose_look_up_was_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """As when the server stops meanwhile, or the time for a connection is over."""
    async with httpx.AsyncClient(transport=Connections(keep_idle_s=1, trust=ssl.create_default_context)) as client:
        with pytest.raises(httpx.ConnectTimeout):
            await client.get("http://no-such-name.invalid/", timeout=httpx.Timeout(1, connect=0))
    await asyncio.sleep(0.5)
    gc.collect()

    assert caplog.records == []


async def test_the_next_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async with _asked(says(OK)) as (_, client):
        port = client.base_url.port

        async def resolve(*_: object, **__: object) -> list[object]:
            return [(0, 0, 0, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

        monkeypatch.setattr(type(asyncio.get_running_loop()), "getaddrinfo", resolve)

        assert (await client.get(f"http://registry.example:{port}/")).text == "ok"


async def test_one_connection_serves_one_call_after_the_other() -> None:
    async with _asked(says(OK)) as (server, client):
        answers = [await client.post("/a?b=c", content=b"body") for _ in range(3)]

        assert [one.text for one in answers] == ["ok"] * 3
        assert server.connections == 1
        assert server.requests[0].startswith(b"POST /a?b=c HTTP/1.1\r\n")
        assert server.requests[0].endswith(b"\r\n\r\nbody")


async def test_calls_at_once_have_a_connection_each() -> None:
    async with _asked(says(OK)) as (server, client):
        await asyncio.gather(*(client.get("/") for _ in range(5)))

        assert server.connections == 5


async def test_one_that_was_idle_for_long_is_not_used() -> None:
    async with _asked(says(OK), keep_idle_s=0) as (server, client):
        await client.get("/")
        await client.get("/")

        assert server.connections == 2


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"], id="chunked"
        ),
        pytest.param([OK[:10], OK[10:30], OK[30:-1], OK[-1:]], id="in-pieces"),
        pytest.param([b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n", OK], id="continue-first"),
        pytest.param([b"HTTP/1.1 100 Continue\r\n\r\n" + OK], id="continue-in-one"),
    ],
)
async def test_an_answer_comes_in_many_ways(parts: list[bytes]) -> None:
    async with _asked(says(*parts)) as (server, client):
        assert [(await client.get("/")).text for _ in range(2)] == ["ok", "ok"]
        assert server.connections == 1


async def test_an_answer_may_end_with_its_connection() -> None:
    async with _asked(says(b"HTTP/1.1 200 OK\r\n\r\nok", then_close=True)) as (server, client):
        assert [(await client.get("/")).text for _ in range(2)] == ["ok", "ok"]
        assert server.connections == 2


async def test_a_server_that_says_close_is_not_asked_again_there() -> None:
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    async with _asked(says(answer)) as (server, client):
        assert [(await client.get("/")).text for _ in range(2)] == ["ok", "ok"]
        assert server.connections == 2


async def test_nothing_of_one_answer_is_taken_for_the_next() -> None:
    async with _asked(says(OK + OK)) as (server, client):
        await client.get("/")
        await client.get("/")

        assert server.connections == 2


async def test_a_connection_closed_while_idle_costs_no_call() -> None:
    async def first_answers_only(writer: asyncio.StreamWriter, number: int) -> None:
        """The next request is taken, and the connection closed without a word: it came as the idle time ended."""
        if number == 1:
            writer.write(OK)
        else:
            writer.transport.abort()

    async with _asked(first_answers_only) as (server, client):
        assert [(await client.get("/")).text for _ in range(2)] == ["ok", "ok"]
        assert (server.connections, len(server.requests)) == (2, 3)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([], id="no-answer"),
        pytest.param([b"HTTP/1.1 200 O"], id="half-a-head"),
        pytest.param([OK[:-1]], id="half-a-body"),
        pytest.param([CHUNKED + b"5\r\nab"], id="half-a-chunk"),
        pytest.param([b"220 mail.example ESMTP\r\n"], id="another-protocol"),
    ],
)
async def test_what_is_no_whole_answer_is_an_error(parts: list[bytes]) -> None:
    async with _asked(says(*parts, then_close=True)) as (_server, client):
        with pytest.raises(httpx.TransportError):
            await client.get("/")


async def test_who_leaves_a_body_unread_ends_the_connection() -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + bytes(1 << 20)
    async with _asked(says(endless)) as (server, client):
        for _ in range(2):
            async with client.stream("GET", "/") as response:
                assert response.status_code == 200

        assert server.connections == 2


async def test_nobody_listens() -> None:
    listening = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    listening.close()
    await listening.wait_closed()
    async with httpx.AsyncClient(transport=Connections(keep_idle_s=1, trust=ssl.create_default_context)) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://127.0.0.1:{port}/")


async def test_a_call_that_is_given_up_leaves_no_connection_behind() -> None:
    asked = asyncio.Event()

    async def never(_writer: asyncio.StreamWriter, _number: int) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with _asked(never) as (server, client):
        call = asyncio.create_task(client.get("/"))
        await asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

        assert not client._transport._idle_one(httpx.URL("http://127.0.0.1/"))
        assert server.connections == 1
