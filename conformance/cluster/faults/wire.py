"""HTTP/1.1 for many clients on a small machine: one connection to one server, one request at a time on it.

It costs a sixth of what a full client does, and that share is the servers'. Only what our servers send is understood.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

from websockets.datastructures import Headers


class NoAnswerError(Exception):
    """The server could not be reached, fell, or took too long. What was asked of it may have happened all the same."""


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Line:
    """To one server. After a failure the next request opens a new connection."""

    def __init__(self, url: str, timeout_s: float) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port or 80
        self._timeout_s = timeout_s
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"", consumer: str = "") -> Answer:
        """Raises NoAnswerError."""
        try:
            async with asyncio.timeout(self._timeout_s):
                reader, writer = await self._connected()
                writer.write(self._head(method, path, body, consumer) + body)
                return await _answer(reader)
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            self.close()
            raise NoAnswerError(f"{method} {path}: {error!r}") from None
        except BaseException:
            self.close()  # its answer is still to come: nobody else may read that
            raise

    def close(self) -> None:
        if self._open is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._open[1].close()
        self._open = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._open is not None and self._open[0].at_eof():
            self.close()
        if self._open is None:
            self._open = await asyncio.open_connection(self._host, self._port)
        return self._open

    def _head(self, method: str, path: str, body: bytes, consumer: str) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}:{self._port}", "Accept: application/json"]
        if consumer:
            lines.append(f"X-ConsumerId: {consumer}")
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode()


async def _answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = Headers(line.split(": ", 1) for line in head[1:] if ": " in line)
    return Answer(int(head[0].split()[1]), headers, await reader.readexactly(int(headers.get("content-length", "0"))))
