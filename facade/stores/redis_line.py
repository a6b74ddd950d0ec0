"""One connection to Redis, over which one thing is asked at a time.

What is asked with every change goes over such lines, not through the client library's pool: with its locks, its
metrics and a task for each word that is sent, a command there is half of all that another node's change costs us.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

import redis.exceptions
from hiredis import pack_command
from redis.asyncio import Redis
from redis.asyncio.sentinel import MasterNotFoundError

PAUSE_S = 0.05
"""Before the second try."""

Word = str | bytes | int

_T = TypeVar("_T")


class Line(Protocol):
    async def ask(self, *words: Word) -> Any:
        """The answer as it comes, bytes and lists of them. Raises what the client library raises, and TimeoutError."""

    def end(self) -> None:
        """Ask nothing more over it, not a second time either."""


class OwnLine:
    """Of a server by itself, or of the one that sentinels name."""

    def __init__(self, client: Redis, within_s: float) -> None:
        """`client` says how to connect, and has no time-out of its own; an answer is waited for `within_s`."""
        self._pool: Any = client.connection_pool
        self._within_s = within_s
        self._connection: Any = None
        self._asking = asyncio.Lock()
        self._has_ended = False

    async def ask(self, *words: Word) -> Any:
        """Asked once more, over a new connection, when no answer came."""
        packed = pack_command(words)  # type: ignore[arg-type]  # its stub knows tuples of one word only
        async with self._asking:
            try:
                return await self._answer(packed)
            except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError):
                if self._has_ended:
                    raise
            await asyncio.sleep(PAUSE_S)
            return await self._answer(packed)

    def end(self) -> None:
        self._has_ended = True

    async def _answer(self, packed: bytes) -> Any:
        """The connection closes itself when this does not come to its end: no answer is taken for another's."""
        if self._has_ended:
            raise redis.exceptions.ConnectionError("hung up")
        async with asyncio.timeout(self._within_s):
            if self._connection is None:
                self._connection = await self._pool.get_connection()
            elif not self._connection.is_connected:
                await self._connection.connect()
            await self._connection.send_packed_command(packed, check_health=False)
            return await self._connection.read_response()


class ClusterLine:
    """Of a cluster, whose client knows who has which slot."""

    def __init__(self, client: Any) -> None:
        self._client = client
        for command in ("XREAD", "HSCAN"):
            client.set_response_callback(command, lambda answer, **_: answer)

    def end(self) -> None:
        """Its client is closed with it."""

    async def ask(self, *words: Word) -> Any:
        return await self._client.execute_command(*words)


async def sent(asking: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
    """What is asked, on its way: its asker has something else to do until Redis has found the answer."""
    asked = asyncio.create_task(asking)
    for _ in range(2):  # uvloop writes when the turn in which something is asked is over
        await asyncio.sleep(0)
    return asked


def plain(error: Exception) -> str:
    """What an error of the client library says, on one line, without the place in the script."""
    text = str(error).removeprefix("ACL failure in script: ").partition(" script: ")[0]
    if isinstance(error, MasterNotFoundError):  # its text goes on with all that the client knows of each sentinel
        text = text.partition(" : ")[0]
    return " ".join(text.split()) or type(error).__name__
