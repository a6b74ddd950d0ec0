"""A load balancer for the suites: each TCP connection goes to the next server in turn, byte for byte.

    with Balancer(port, [node.url for node in nodes]) as balancer: ...

One that speaks HTTP would answer bad requests itself, and spell headers its own way: the cases ask what *we* answer.

A client that writes at one node and reads at another may see what was before, for some milliseconds. The cases expect
to see their own writes, so here, and nowhere else in the suites, a cluster is let settle: a connection is handed on
once all nodes tell the same revision. It runs on a thread of its own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import cycle
from urllib.parse import urlsplit

from conformance.peers.listener import CHUNK, Listener

SETTLES_WITHIN_S = 60.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Balancer(Listener):
    def __init__(self, port: int, servers: Sequence[str]) -> None:
        """Listens on a port of 127.0.0.1; `servers` are the URLs of nodes of ours."""
        super().__init__(port)
        self.connections = dict.fromkeys(servers, 0)
        """That each server was given."""
        self._turns = cycle(servers)
        self._revisions = [_Revision(server) for server in servers]
        self._settling = asyncio.Lock()
        self._may_differ = True
        """Whether something was asked since they agreed that may have changed one of them."""
        self._serving: set[asyncio.Task[None] | None] = set()

    async def _end(self) -> None:
        await super()._end()
        for revision in self._revisions:
            revision.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(task := asyncio.current_task())  # the loop itself does not hold on to it
        try:
            async with self._settling:
                if self._may_differ:
                    await self._settle()
            server = next(self._turns)
            self.connections[server] += 1
            from_server, to_server = await _connect(server)
            try:
                asking = asyncio.create_task(_copy(reader, to_server, self._note))
                await _copy(from_server, writer)
                asking.cancel()
            finally:
                to_server.close()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._serving.discard(task)

    def _note(self, part: bytes) -> None:
        """Eureka's reads change nothing; one of ServiceCenter's may be noted as a dependency."""
        self._may_differ = self._may_differ or not part.startswith(b"GET /eureka")

    async def _settle(self) -> None:
        """Until all nodes tell the same revision. Who never does is handed on all the same: the case will show it."""
        self._may_differ = False
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLES_WITHIN_S):
                while len(set(await asyncio.gather(*(revision.ask() for revision in self._revisions)))) > 1:
                    pass


class _Revision:
    """What one server says of itself, asked over one connection."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._streams: Streams | None = None

    async def ask(self) -> int:
        """The number of its last visible change; 0 while it does not answer."""
        try:
            self._streams = self._streams or await _connect(self._server)
            reader, writer = self._streams
            writer.write(f"GET /readyz HTTP/1.1\r\nHost: {urlsplit(self._server).netloc}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line.split(b":")[1] for line in head.lower().splitlines() if line.startswith(b"content-len"))
            return int(json.loads(await reader.readexactly(int(length)))["revision"])
        except (OSError, EOFError):
            self.close()
            return 0
        except asyncio.CancelledError:  # the answer would be taken for that to the next question
            self.close()
            raise

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _connect(server: str) -> Streams:
    address = urlsplit(server)
    return await asyncio.open_connection(address.hostname, address.port)


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, note: Callable[[bytes], None] = lambda _: None
) -> None:
    with suppress(OSError):
        while part := await reader.read(CHUNK):
            note(part)
            writer.write(part)
            await writer.drain()
    with suppress(OSError):
        writer.write_eof()
