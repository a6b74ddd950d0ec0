"""HTTP/1.1 connections for outbound calls, as a transport of httpx: a fifth of the CPU that its own one takes a call.

Thousands of registrations may have to be told to a registry that has just come back, in seconds, beside all that is
served meanwhile. httpx's own pool looks at every connection for every call, and parses in Python.

Rules:  as many connections as there are calls at once, for whoever calls bounds those; an idle one is used for a short
        time only. Where one turns out to be closed before any byte of an answer came, the call is sent once more.
        A body is handed on as it comes, still encoded; who leaves it unread ends the connection.
Raises: httpx.TransportError.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable

import httptools
import httpx

BLOCK = 1 << 18


class Connections(httpx.AsyncBaseTransport):
    def __init__(self, *, keep_idle_s: float, trust: Callable[[], ssl.SSLContext]) -> None:
        """`trust` gives what an https server is judged by, asked anew for each connection."""
        self._keep_idle_s = keep_idle_s
        self._trust = trust
        self._idle: defaultdict[tuple[str, str, int], list[_Connection]] = defaultdict(list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        connection = self._idle_one(request.url)
        if connection is not None:
            try:
                return await connection.ask(request)
            except _ClosedBefore:
                pass
        try:
            return await (await self._connect(request)).ask(request)
        except _ClosedBefore as error:
            raise httpx.RemoteProtocolError("closed the connection without an answer") from error

    async def aclose(self) -> None:
        for connections in self._idle.values():
            while connections:
                connections.pop().close()

    def _idle_one(self, url: httpx.URL) -> _Connection | None:
        """The one used last: those that are needed at peaks only grow old."""
        idle = self._idle[_place(url)]
        while idle:
            connection = idle.pop()
            if connection.is_usable and time.monotonic() - connection.idle_since_s < self._keep_idle_s:
                return connection
            connection.close()
        return None

    async def _connect(self, request: httpx.Request) -> _Connection:
        scheme, host, port = place = _place(request.url)
        within_s = request.extensions.get("timeout", {}).get("connect")
        try:
            async with asyncio.timeout(within_s):
                reader, writer = await self._opened(host, port, is_tls=scheme == "https")
        except TimeoutError as error:
            raise httpx.ConnectTimeout(f"no connection within {within_s:g} s") from error
        except OSError as error:
            raise httpx.ConnectError(str(error) or type(error).__name__) from error
        return _Connection(reader, writer, self._idle[place])

    async def _opened(self, host: str, port: int, *, is_tls: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To the first address of the name that answers. Raises OSError.

        The name is looked up here: uvloop, cancelled while it looks one up itself, logs the fault that comes later.
        """
        trust = self._trust() if is_tls else None
        addresses = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for last, (*_, address) in enumerate(addresses, start=1):
            try:
                return await asyncio.open_connection(
                    *address[:2], ssl=trust, server_hostname=host if is_tls else None, limit=BLOCK
                )
            except OSError:
                if last == len(addresses):
                    raise
        raise OSError(f"{host} has no address")


class _ClosedBefore(Exception):
    """Closed by the server before any byte of an answer came."""


class _Connection:
    """One connection; it answers one call at a time and puts itself among the idle ones afterwards."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, idle: list[_Connection]) -> None:
        self.idle_since_s = 0.0
        self._reader = reader
        self._writer = writer
        self._idle = idle

    @property
    def is_usable(self) -> bool:
        return not self._reader.at_eof() and not self._writer.is_closing()

    def close(self) -> None:
        self._writer.close()

    async def ask(self, request: httpx.Request) -> httpx.Response:
        answer = _Answer()
        try:
            self._writer.write(_head(request) + request.content)
            await self._writer.drain()
            while not answer.has_head:
                await self._read_into(answer)
        except OSError as error:
            self.close()
            raise _ClosedBefore if not answer.has_begun else httpx.ReadError(str(error)) from error
        except BaseException:
            self.close()
            raise
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(self, answer))

    async def body(self, answer: _Answer) -> AsyncIterator[bytes]:
        while True:
            for part in answer.take_parts():
                yield part
            if answer.is_complete:
                return
            try:
                await self._read_into(answer)
            except OSError as error:
                raise httpx.ReadError(str(error)) from error

    def release(self, answer: _Answer) -> None:
        if answer.is_complete and answer.keeps_alive and self.is_usable:
            self.idle_since_s = time.monotonic()
            self._idle.append(self)
        else:
            self.close()

    async def _read_into(self, answer: _Answer) -> None:
        block = await self._reader.read(BLOCK)
        if block:
            answer.feed(block)
        elif not answer.has_begun:
            raise ConnectionResetError("closed before an answer")
        else:
            answer.end()


class _Body(httpx.AsyncByteStream):
    def __init__(self, connection: _Connection, answer: _Answer) -> None:
        self._connection = connection
        self._answer = answer
        self._is_released = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._connection.body(self._answer):
            yield part

    async def aclose(self) -> None:
        if not self._is_released:
            self._is_released = True
            self._connection.release(self._answer)


class _Answer:
    """One answer as far as it has come; the parser tells what is in the blocks."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.has_begun = self.has_head = self.is_complete = False
        self.keeps_alive = False
        self._parts: list[bytes] = []
        self._is_bounded = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, block: bytes) -> None:
        self.has_begun = True
        if self.is_complete:
            self.keeps_alive = False  # more than was asked for: what follows could be taken for the next answer
            return
        try:
            self._parser.feed_data(block)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise httpx.RemoteProtocolError(f"no answer of HTTP/1.1: {error}") from error

    def end(self) -> None:
        """The server has closed the connection: some answers end that way."""
        if not self.has_head or self._is_bounded:
            raise httpx.RemoteProtocolError("closed the connection within an answer")
        self.is_complete = True

    def take_parts(self) -> list[bytes]:
        parts, self._parts = self._parts, []
        return parts

    # What the parser calls

    def on_header(self, name: bytes, value: bytes) -> None:
        self._is_bounded |= name.lower() in (b"content-length", b"transfer-encoding")
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:  # "100 Continue" and the like come before the answer
            self.headers, self._is_bounded = [], False
        else:
            self.has_head = True
            self.keeps_alive = self._parser.should_keep_alive()

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        if self.has_head:
            if self.is_complete:
                self.keeps_alive = False
            self.is_complete = True


def _place(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


def _head(request: httpx.Request) -> bytes:
    lines = [b"%b %b HTTP/1.1" % (request.method.encode(), request.url.raw_path)]
    lines += [b"%b: %b" % header for header in request.headers.raw]
    return b"\r\n".join([*lines, b"", b""])
