"""Calls to another registry: the one place where this server is a client over HTTP.

In:     a request for any of several equal addresses.
Out:    the answer's status, headers and body; or StoreUnavailable, with a reason for people.
Rules:  everything is bounded: time, connections, the size of an answer. Redirects are not followed. An address that
        fails is left for the next; after that nobody is asked for a while that grows, so that a registry that comes back
        is not met by everybody at once. A refusal (4xx) is an answer.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from facade.clock import Clock
from facade.errors import StoreUnavailable

AT_ONCE = 64
CONNECT_S, ANSWER_S = 2.0, 10.0
LARGEST_ANSWER = 64 * 1024 * 1024
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
TOLD_EVERY_S = 10.0

log = logging.getLogger(__name__)


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


class Outbound:
    """Keeps to the address that answered last. All methods run on one event loop."""

    def __init__(self, addresses: Sequence[str], clock: Clock, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._addresses = [address.rstrip("/") for address in addresses]
        self._clock = clock
        self._http = httpx.AsyncClient(
            limits=httpx.Limits(max_connections=AT_ONCE),
            timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )
        self._failures = 0
        self._ask_again_s = 0.0
        self._told_s = -TOLD_EVERY_S
        self.last_failure = ""
        """Why the last call failed; empty when it did not."""

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Reply:
        """One answer from whichever address gives one. Raises StoreUnavailable."""
        if self._clock.monotonic_s() < self._ask_again_s:
            raise StoreUnavailable(self.last_failure)
        for _ in self._addresses:
            try:
                reply = await self._ask_one(method, path, query, headers, body)
            except (httpx.HTTPError, httpx.InvalidURL, _Unfit) as error:
                self.last_failure = f"{_shown(self._addresses[0])}: {error or type(error).__name__}"
                self._addresses.append(self._addresses.pop(0))
            else:
                self._failures, self.last_failure = 0, ""
                return reply
        self._pause()
        raise StoreUnavailable(self.last_failure)

    async def close(self) -> None:
        await self._http.aclose()

    async def _ask_one(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        body: bytes | None,
    ) -> Reply:
        url = self._addresses[0] + path
        async with self._http.stream(method, url, params=query, headers=headers, content=body) as answer:
            if answer.is_redirect:
                raise _Unfit(f"a redirect ({answer.status_code}), which is not followed")
            if answer.status_code >= 500:
                raise _Unfit(f"status {answer.status_code}")
            received = bytearray()
            async for chunk in answer.aiter_bytes():
                received += chunk
                if len(received) > LARGEST_ANSWER:
                    raise _Unfit(f"an answer of more than {LARGEST_ANSWER} bytes")
            return Reply(answer.status_code, answer.headers, bytes(received))

    def _pause(self) -> None:
        self._failures += 1
        pause_s = min(SHORTEST_PAUSE_S * 2 ** min(self._failures - 1, 10), LONGEST_PAUSE_S)
        now_s = self._clock.monotonic_s()
        self._ask_again_s = now_s + pause_s * random.uniform(0.5, 1)  # noqa: S311
        if now_s - self._told_s >= TOLD_EVERY_S:
            self._told_s = now_s
            log.warning("upstream does not answer reason=%s failures=%d", self.last_failure, self._failures)


class _Unfit(Exception):
    """An answer that is none."""


def _shown(url: str) -> str:
    """An address without the password that it may hold."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
