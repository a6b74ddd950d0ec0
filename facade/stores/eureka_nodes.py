"""The nodes of one Eureka installation: what all of them are told at once, and whether we know them all.

A node tells its peers what clients tell it, but not what it hears from a peer. So hundreds of renewals fit into one
call, as peers write it, where that call goes to every node.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

from facade.clock import Clock
from facade.errors import StoreUnavailable
from facade.eureka.client import EurekaClient
from facade.eureka.records import BatchItem, BatchResult
from facade.outbound import Outbound

ASK_EVERY_S = 60.0

Place = tuple[str, int]
"""Host and port."""

log = logging.getLogger(__name__)


class Nodes:
    def __init__(self, client: EurekaClient, clock: Clock, is_one_of_us: Callable[[str], Awaitable[bool]]) -> None:
        """`is_one_of_us` tells whether a facade answers at a service URL."""
        self._client = client
        self._clock = clock
        self._is_one_of_us = is_one_of_us
        self._asked_s = float("-inf")
        self._strangers: frozenset[str] = frozenset()

    async def tell_all(self, items: Sequence[BatchItem]) -> dict[str, list[BatchResult]]:
        """What each node that answers says to these items. Raises StoreUnavailable when none does."""
        bases = self._client.outbound.bases
        calls = (self._client.batch(base, items) for base in bases)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        told = {base: answer for base, answer in zip(bases, answers, strict=True) if isinstance(answer, list)}
        for answer in answers:
            if isinstance(answer, BaseException) and (not told or not isinstance(answer, StoreUnavailable)):
                raise answer
        return told

    async def are_all_known(self) -> bool:
        """Whether no node names a peer that we cannot tell as well."""
        if self._clock.monotonic_s() - self._asked_s >= ASK_EVERY_S:
            self._asked_s = self._clock.monotonic_s()
            await self._look_for_strangers()
        return not self._strangers

    async def _look_for_strangers(self) -> None:
        bases = self._client.outbound.bases
        known = await self._addresses(map(_place, bases))
        strangers: set[str] = set()
        for base in bases:
            with suppress(StoreUnavailable):
                for replica in await self._client.replicas(base):
                    if not _is_itself(replica, base) and not await self._is_known(replica, known):
                        strangers.add(_without_credentials(replica))
        if strangers - self._strangers:
            log.warning("there are nodes that we were not told of: renewals go one by one nodes=%s", sorted(strangers))
        self._strangers = frozenset(strangers)

    async def _is_known(self, replica: str, known: set[Place]) -> bool:
        """Whether it is a node that we tell ourselves, or one of us: that has its renewals from its own clients."""
        if known & await self._addresses([_place(replica)]):
            return True
        return await self._is_one_of_us(_without_credentials(replica))

    async def _addresses(self, places: Iterable[Place]) -> set[Place]:
        """Each by name, and by its addresses where the name can be resolved."""
        found = set(places)
        for host, port in tuple(found):
            try:
                resolved = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except OSError:
                continue
            found |= {(str(address[0]), port) for *_, address in resolved}
        return found


async def is_one_of_us(url: str) -> bool:
    """Whether a facade answers there: nodes that list us as their peer name us beside the others."""
    outbound = Outbound([url])
    try:
        return await EurekaClient(outbound).is_facade()
    except StoreUnavailable:
        return False
    finally:
        await outbound.close()


def _place(url: str) -> Place:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _is_itself(replica: str, base: str) -> bool:
    """A server that was left with its default configuration lists itself, as localhost."""
    host, port = _place(replica)
    return host in ("localhost", "127.0.0.1", "::1") and port == _place(base)[1]
