"""A server of raw bytes on a real socket, for whoever calls somebody else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

Answer = Callable[[asyncio.StreamWriter, int], Awaitable[None]]
"""Writes the answer to the request of this number on its connection, from 1 on."""


class Server:
    def __init__(self, answer: Answer) -> None:
        self.base = ""
        self.connections = 0
        self.requests: list[bytes] = []
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = 0
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                body = await reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""
                self.requests.append(head + body)
                number += 1
                await self._answer(writer, number)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def says(*parts: bytes, then_close: bool = False) -> Answer:
    async def answer(writer: asyncio.StreamWriter, _number: int) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if then_close:
            writer.close()

    return answer
