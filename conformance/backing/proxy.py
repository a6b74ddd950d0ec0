"""A TCP proxy that can do to a registry what networks and other people's servers do: dawdle, hang, cut, lie.

    with Proxy(target) as proxy:
        proxy.behave(Slow(2.0))
        proxy.behave(Lie(b"<html>"))

It runs on a thread of its own. Connections that are open when it changes its behaviour are closed.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from conformance.peers.listener import CHUNK, Listener


@dataclass(frozen=True)
class Honest:
    """Passes on what comes."""


@dataclass(frozen=True)
class Slow:
    """Keeps each part of an answer back for a while; drips it, a byte at a time, if asked to."""

    seconds: float
    drips: bool = False


@dataclass(frozen=True)
class Hanging:
    """Takes connections and requests, and says nothing."""


@dataclass(frozen=True)
class Cutting:
    """Passes on so many bytes of an answer, and closes."""

    after: int


@dataclass(frozen=True)
class Refusing:
    """Closes each connection at once."""


@dataclass(frozen=True)
class Lie:
    """Answers every request itself. `more` bytes of zeros follow the body."""

    body: bytes = b""
    status: str = "200 OK"
    headers: tuple[str, ...] = ("Content-Type: application/json",)
    more: int = 0

    @property
    def head(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status}", *self.headers, f"Content-Length: {len(self.body) + self.more}"]
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode()


Behaviour = Honest | Slow | Hanging | Cutting | Refusing | Lie


class Proxy(Listener):
    def __init__(self, target: str, port: int) -> None:
        """Listens on a port of 127.0.0.1 for what is meant for the server at the URL `target`."""
        address = urlsplit(target)
        super().__init__(port)
        self.connections = 0
        """That came so far."""
        self._target = (address.hostname or "127.0.0.1", address.port or 80)
        self._behaviour: Behaviour = Honest()
        self._writers: set[asyncio.StreamWriter] = set()

    def behave(self, behaviour: Behaviour) -> None:
        self._run(self._change(behaviour))

    async def _change(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        for writer in self._writers:
            writer.close()

    async def _end(self) -> None:
        await self._change(Refusing())
        await super()._end()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            match self._behaviour:
                case Refusing():
                    pass
                case Hanging():
                    await reader.read()
                case Lie() as lie:
                    await _lie(lie, reader, writer)
                case behaviour:
                    await self._pass_on(behaviour, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _pass_on(self, behaviour: Behaviour, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(*self._target)
        self._writers.add(to_server)
        try:
            asking = asyncio.create_task(_copy(reader, to_server))
            await _answer(behaviour, from_server, writer)
            asking.cancel()
        finally:
            self._writers.discard(to_server)
            to_server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while part := await reader.read(CHUNK):
            writer.write(part)
            await writer.drain()
        writer.write_eof()


async def _answer(behaviour: Behaviour, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    left = behaviour.after if isinstance(behaviour, Cutting) else None
    while part := await reader.read(CHUNK):
        if isinstance(behaviour, Slow):
            await _keep_back(behaviour, part, writer)
            continue
        writer.write(part[:left] if left is not None else part)
        await writer.drain()
        if left is not None and (left := left - len(part)) <= 0:
            return


async def _keep_back(slow: Slow, part: bytes, writer: asyncio.StreamWriter) -> None:
    for piece in (part[i : i + 1] for i in range(len(part))) if slow.drips else (part,):
        await asyncio.sleep(slow.seconds)
        writer.write(piece)
        await writer.drain()


async def _lie(lie: Lie, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-len")), b"0"
    )
    await reader.readexactly(int(length))
    writer.write(lie.head + lie.body)
    for _ in range(lie.more // CHUNK):
        writer.write(bytes(CHUNK))
        await writer.drain()
    await writer.drain()
