"""The nodes of one Eureka installation: who they are, whether we know them all, and what all are told at once.

A node tells its peers what clients tell it, but not what it hears from a peer. So hundreds of renewals fit into one
call, as peers write it, where that call goes to every node.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from urllib.parse import urlsplit

from facade.errors import StoreUnavailable
from facade.eureka.client import EurekaClient
from facade.eureka.records import BatchItem, BatchResult
from facade.outbound import Outbound
from facade.tls import Trust

LOOK_EVERY_S = 60.0
MOST_ASKED = 16
"""Of the servers that nodes name: nobody has more facades than that. Whoever is not asked is a stranger."""

Place = tuple[str, int]
"""Host and port."""
FindFacades = Callable[[Sequence[str]], Awaitable[Collection[str]]]

_CREDENTIALS = re.compile(r"(?<=//)[^/]*@")

log = logging.getLogger(__name__)


class Nodes:
    def __init__(self, client: EurekaClient, find_facades: FindFacades) -> None:
        """`find_facades` tells at which of some service URLs a facade answers."""
        self._client = client
        self._find_facades = find_facades
        self._addresses: dict[str, frozenset[str]] = {}
        self._facades: frozenset[str] = frozenset()
        self._strangers: frozenset[str] = frozenset()

    @property
    def are_all_known(self) -> bool:
        """Whether no node was found to name a peer that we cannot tell as well."""
        return not self._strangers

    def is_node(self, address: str) -> bool:
        """Whether one of the hosts that we were given has this address. None has before the first look."""
        plain = address.removeprefix("::ffff:")  # as a socket for both IPs shows IPv4
        return any(plain in found for found in self._addresses.values())

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

    # Looking around, off the way of all other calls

    async def look_forever(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Find the addresses of the nodes, and who else takes part. Facades among the peers have told us of that once:
        they are not asked again."""
        bases = self._client.outbound.bases
        known = await self._known_places(bases)
        named = await asyncio.gather(*map(self._named_by, bases))
        replicas = dict.fromkeys(url for urls in named for url in urls)
        others = [url for url in replicas if not await _is_among(url, known)]
        self._facades &= frozenset(others)
        asked = [url for url in others if url not in self._facades and _place(url)][:MOST_ASKED]
        if asked:
            self._facades |= frozenset(await self._find_facades(asked))
        self._note_strangers(frozenset(others) - self._facades)

    async def _known_places(self, bases: Sequence[str]) -> set[Place]:
        """Those of the nodes, by name and by address. While a name cannot be resolved it has the addresses it had."""
        known: set[Place] = set()
        for host, port in filter(None, map(_place, bases)):
            self._addresses[host] = await _resolved(host) or self._addresses.get(host, frozenset())
            known |= {(host, port), *((address, port) for address in self._addresses[host])}
        return known

    async def _named_by(self, base: str) -> list[str]:
        try:
            replicas = await self._client.replicas(base)
        except StoreUnavailable:
            return []
        return [_CREDENTIALS.sub("", replica) for replica in replicas if not _is_itself(replica, base)]

    def _note_strangers(self, strangers: frozenset[str]) -> None:
        if strangers - self._strangers:
            log.warning("there are nodes that we were not told of: renewals go one by one nodes=%s", sorted(strangers))
        self._strangers = strangers


async def facades_among(urls: Sequence[str], trust: Trust | None = None) -> Collection[str]:
    """Nodes that list us, or another of us, as their peer name it beside the others."""
    outbound = Outbound(urls, trust=trust)
    client = EurekaClient(outbound)
    try:
        answers = await asyncio.gather(*map(client.is_facade, urls), return_exceptions=True)
    finally:
        await outbound.close()
    return [url for url, answer in zip(urls, answers, strict=True) if answer is True]


async def _is_among(url: str, places: Collection[Place]) -> bool:
    place = _place(url)
    if place is None:
        return False
    host, port = place
    return place in places or any((address, port) in places for address in await _resolved(host))


async def _resolved(host: str) -> frozenset[str]:
    """Its addresses; none when nobody knows the name."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # the latter for what can be no name
        return frozenset()
    return frozenset(str(address[0]) for *_, address in found)


def _place(url: str) -> Place | None:
    """None for what is no URL over HTTP."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return parts.hostname, port or (443 if parts.scheme == "https" else 80)


def _is_itself(replica: str, base: str) -> bool:
    """A server that was left with its default configuration lists itself, as localhost."""
    named, node = _place(replica), _place(base)
    if named is None or node is None:
        return False
    return named[0] in ("localhost", "127.0.0.1", "::1") and named[1] == node[1]
