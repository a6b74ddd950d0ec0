"""Calls to a registry of somebody else: the one place where the HTTP client, its limits and its breaker are made.

In:     method, path, headers and content of one call, and how its answer is read.
Out:    what was read, or StoreUnavailable: nobody answered, or not in a way to rely on.
Rules:  no redirect is followed, no proxy used; bodies are capped while they arrive; at most 64 calls are under way; a
        server that keeps failing is left alone for a while that grows; at most one log line a second tells of it.
        An answer that cannot be read is a failure of its server like any other: a proxy's page with status 200, say.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Container, Mapping, Sequence
from typing import NamedTuple, TypeVar
from zlib import crc32

import httpx

from facade.clock import Clock, SystemClock
from facade.connections import Connections
from facade.errors import MalformedDocument, StoreUnavailable
from facade.tls import Trust

MOST_IN_FLIGHT = 64
MOST_BYTES = 64 << 20
"""Of one body. 10 000 instances come in less than a quarter of that."""
_ROOM_TO_GROW = 3
_ROOM_AT_LEAST = 16 << 20
"""A server that has answered well may answer so many times, or so much, more than before: a lie costs little."""
CONNECT_TIMEOUT_S = 2.0
TIMEOUT_S = 10.0
"""From the first byte sent to the last one received."""
_FAILURES_TO_BREAK = 3
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 5.0
"""Half of what may pass between the return of a server and our having caught up with it."""
_KEEP_IDLE_S = 3.0
"""Shorter than the servers keep theirs (uvicorn: 5 s), so that a call seldom meets a connection just closed."""

log = logging.getLogger(__name__)

_Read = TypeVar("_Read")


class Reply(NamedTuple):
    status: int
    headers: httpx.Headers
    body: bytes
    base: str
    """The base URL of the server that gave it."""


class Outbound:
    """One registry behind one or more base URLs (http://host:port, or with a path), each as good as the other."""

    def __init__(
        self,
        bases: Sequence[str],
        *,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        trust: Trust | None = None,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`headers` and `auth` (user, password) go with every call; without `trust` the system's authorities judge.

        `transport` is for tests.
        """
        self._clock = clock or SystemClock()
        self._servers = [_Server(base.rstrip("/"), self._clock) for base in bases]
        self._in_flight = asyncio.Semaphore(MOST_IN_FLIGHT)
        self._client = httpx.AsyncClient(
            headers={"Accept-Encoding": "identity", **(headers or {})},
            auth=auth,
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            transport=transport or Connections(keep_idle_s=_KEEP_IDLE_S, trust=(trust or Trust()).context),
            # A registry is a neighbour: a proxy that the environment names for the rest of the world is not for it.
            trust_env=False,
        )

    @property
    def bases(self) -> tuple[str, ...]:
        return tuple(server.base for server in self._servers)

    @property
    def trouble(self) -> str:
        """Why the last call failed, in plain words; empty while any server answers."""
        if any(not server.failures for server in self._servers):
            return ""
        return "; ".join(server.trouble for server in self._servers)

    async def ask(
        self,
        method: str,
        path: str,
        read: Callable[[Reply], _Read],
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        stick_to: str = "",
        base: str | None = None,
        accepts: Container[int] = (),
    ) -> _Read:
        """The first answer that `read` understands, of any server. Raises StoreUnavailable.

        One from 500 on is none, unless its status is of `accepts`. `path` follows the base URL and is quoted already.
        `read` raises MalformedDocument for what no such server says. Calls with the same `stick_to` go to the same
        server while it is well; without, all go to the first that is. A call may reach two servers: it has to be one
        that can. With `base`, only that server is asked.
        """
        async with self._in_flight:
            servers = self._in_order(stick_to) if base is None else [self._named(base)]
            for server in servers:
                if not server.takes_calls:
                    continue
                try:
                    answer = read(await self._attempt(server, method, path, headers, content, accepts))
                except (_Failed, MalformedDocument) as error:
                    server.note_failure(str(error))
                except (ValueError, RecursionError, OverflowError) as error:  # no such server says what breaks a reader
                    server.note_failure(f"answered what cannot be read: {error!r}")
                else:
                    server.note_success()
                    return answer
        raise StoreUnavailable("; ".join(server.trouble for server in servers))

    async def close(self) -> None:
        await self._client.aclose()

    def _named(self, base: str) -> _Server:
        return next(server for server in self._servers if server.base == base)

    def _in_order(self, stick_to: str) -> Sequence[_Server]:
        first = crc32(stick_to.encode()) % len(self._servers) if stick_to else 0
        return self._servers[first:] + self._servers[:first]

    async def _attempt(
        self,
        server: _Server,
        method: str,
        path: str,
        headers: Mapping[str, str] | None,
        content: bytes | None,
        accepts: Container[int],
    ) -> Reply:
        server.note_attempt()
        try:
            async with (
                asyncio.timeout(TIMEOUT_S),
                self._client.stream(method, server.base + path, headers=headers, content=content) as response,
            ):
                body = await _read(response, server.most_bytes)
        except TimeoutError:
            raise _Failed(f"no whole answer within {TIMEOUT_S:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _Failed(str(error) or type(error).__name__) from error
        status = response.status_code
        if (status >= 500 or status == 429 or response.is_redirect) and status not in accepts:
            raise _Failed(f"answered {status}")
        server.note_size(len(body))
        return Reply(status, response.headers, body, server.base)


class _Failed(Exception):
    """One server gave no answer to rely on."""


class _Server:
    """One base URL, and the breaker in front of it."""

    def __init__(self, base: str, clock: Clock) -> None:
        self.base = base
        self.failures = 0
        self._reason = ""
        self._clock = clock
        self._not_before_s = 0.0
        self._told_s = float("-inf")
        self.most_bytes = MOST_BYTES
        self._largest = 0

    def note_size(self, size: int) -> None:
        if size > self._largest or self.most_bytes == MOST_BYTES:
            self._largest = max(size, self._largest)
            self.most_bytes = min(MOST_BYTES, max(_ROOM_AT_LEAST, _ROOM_TO_GROW * self._largest))

    @property
    def takes_calls(self) -> bool:
        return self._clock.monotonic_s() >= self._not_before_s

    @property
    def trouble(self) -> str:
        return f"{self.base}: {self._reason or 'not asked yet'}"

    def note_attempt(self) -> None:
        if self.failures >= _FAILURES_TO_BREAK:  # one call finds out how it is; the others wait for what it finds
            self._pause()

    def note_failure(self, reason: str) -> None:
        self.failures += 1
        self._reason = reason
        if self.failures >= _FAILURES_TO_BREAK:
            self._pause()
        now_s = self._clock.monotonic_s()
        if now_s - self._told_s >= 1:
            self._told_s = now_s
            log.warning("upstream fails server=%s failures=%d reason=%s", self.base, self.failures, reason)

    def note_success(self) -> None:
        if self.failures:
            log.info("upstream answers again server=%s failures=%d", self.base, self.failures)
        self.failures = 0
        self._reason = ""
        self._not_before_s = 0.0

    def _pause(self) -> None:
        doublings = min(self.failures - _FAILURES_TO_BREAK, 8)
        pause_s = min(_FIRST_PAUSE_S * 2.0**doublings, _LONGEST_PAUSE_S)
        # Jittered: many nodes of ours must not come back to a weak server in one moment.
        self._not_before_s = self._clock.monotonic_s() + pause_s * random.uniform(0.5, 1)  # noqa: S311  no secret


async def _read(response: httpx.Response, most: int) -> bytes:
    """The body as sent: compressed ones were not asked for, so nothing here can swell."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise _Failed("answered with a compressed body that nobody asked for")
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > most:
            raise _Failed(f"answered with more than {most >> 20} MiB")
        parts.append(part)
    return b"".join(parts)
