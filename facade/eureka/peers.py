"""Replication with other Eureka servers, real ones or ours: they hear what clients tell us, once.

In:     the change feed and our clients' renewals. What peers told us is not passed on: all tell all.
Out:    batches as Netflix's servers send them, to each peer in its own time; what a peer answers to a renewal decides
        whether it needs the registration, or we its newer copy.
Rules:  at the start each peer's list is taken over once; a peer that is slow or away holds up nobody else; evictions
        are not told, each server ends leases on its own. Instances born in ServiceCenter are not told either.
Source: Netflix/eureka, PeerEurekaNodes, PeerEurekaNode, PeerAwareInstanceRegistryImpl.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from facade.clock import Clock
from facade.errors import FacadeError, StartRefused, StoreUnavailable
from facade.eureka import mapping
from facade.eureka.client import BatchRefused, EurekaClient
from facade.eureka.exchange import DEFAULT_SPACE
from facade.eureka.records import BatchItem, BatchResult, InstanceInfo
from facade.eureka.replication import CANCEL, HEARTBEAT, OVERRIDE, REGISTER, Taken, Waiting
from facade.outbound import Outbound
from facade.registry.model import Cause, Change, Instance, InstanceKey, Origin
from facade.registry.registry import Registry
from facade.registry.rules import MARKS
from facade.registry.store import PeerHealth

log = logging.getLogger(__name__)

GATHER_S = 0.5
"""How long renewals gather, as in the original; any other change goes at once."""
TRY_AGAIN_S = 1.0
LOOK_UP_EVERY_S = 30.0
"""The original resolves names every ten minutes, in which a peer that moved hears nothing."""
COPY_WITHIN_S = 10.0
"""Who has not answered then is down: our lists open without what it knows."""
FLUSH_WITHIN_S = 2.0
_TOGETHER = 500
_PORT = 8761


class PeerUrl(NamedTuple):
    """A peer as an operator names it; with `is_name`, every address of its host is one."""

    scheme: str
    host: str
    port: int
    path: str
    credentials: tuple[str, str] | None
    is_name: bool

    @classmethod
    def parse(cls, url: str) -> PeerUrl:
        """http://user:p%40ss@host:8761/eureka, https://… or dns+http://name:8761/eureka. Raises StartRefused."""
        scheme, _, rest = url.partition("://")
        protocol = scheme.removeprefix("dns+")
        try:
            parts = urlsplit(f"{protocol}://{rest}")
            port = parts.port or _PORT
        except ValueError:
            parts, port = urlsplit(""), 0
        if protocol not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            # The text never repeats what may be a password.
            raise StartRefused(
                "eureka_peers: expected http://HOST:8761/eureka, https://… or dns+http://NAME:8761/eureka"
            )
        account = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
        return cls(protocol, parts.hostname, port, parts.path.rstrip("/") or "/eureka", account, scheme != protocol)

    @property
    def base(self) -> str:
        """Without credentials, as logs and pages show it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


Connect = Callable[[PeerUrl], EurekaClient]


def connected(url: PeerUrl, clock: Clock | None = None) -> EurekaClient:
    return EurekaClient(Outbound([url.base], auth=url.credentials, clock=clock))


class Peers:
    """All of them, over an open registry. `node` tells us from them where their list names us as well."""

    def __init__(self, registry: Registry, urls: Sequence[str], connect: Connect = connected) -> None:
        """Raises StartRefused for what is no URL of a peer."""
        self.node = secrets.token_hex(8)
        self._registry = registry
        self._urls = [PeerUrl.parse(url) for url in dict.fromkeys(urls)]
        self._connect = connect
        self._began_s = registry.clock.monotonic_s()
        self._peers: dict[PeerUrl, tuple[_Peer, asyncio.Task[None]]] = {}

    # What the front asks and tells

    @property
    def are_unheard(self) -> bool:
        """Whether our lists must wait: a peer that knows more than we do may be about to answer."""
        if self._registry.clock.monotonic_s() - self._began_s >= COPY_WITHIN_S or self.has_copied:
            return False
        return not self._peers or any(not peer.has_met for peer in self._others())

    @property
    def has_copied(self) -> bool:
        return any(peer.has_copied for peer in self._others())

    def note_renewal(self, key: InstanceKey) -> None:
        """An owner has renewed."""
        if key.space == DEFAULT_SPACE:
            for peer in self._others():
                peer.waiting.add(key, HEARTBEAT)

    def health(self) -> list[PeerHealth]:
        return [
            PeerHealth(peer.url.base, peer.is_available, len(peer.waiting), peer.waiting.age_s, peer.text)
            for peer in self._others()
        ]

    # Running

    async def run(self) -> None:
        """Tell the peers what happens, until cancelled."""
        stop_following = self._registry.feed.follow(self._note)
        try:
            while True:
                self._keep(await self._looked_up())
                await asyncio.sleep(LOOK_UP_EVERY_S)
        finally:
            stop_following()
            await self._end(list(self._peers))

    def _others(self) -> Iterable[_Peer]:
        return (peer for peer, _ in self._peers.values() if not peer.is_ourselves)

    async def _looked_up(self) -> dict[PeerUrl, None]:
        """Who our peers are now. Where a name cannot be resolved, those it had stay."""
        found: dict[PeerUrl, None] = {}
        for url in self._urls:
            if not url.is_name:
                found[url] = None
                continue
            try:
                addresses = await asyncio.get_running_loop().getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
            except OSError as error:
                log.warning("peers cannot be looked up name=%s reason=%s", url.host, error)
                found |= dict.fromkeys(peer for peer in self._peers if peer._replace(host=url.host) == url)
            else:
                found |= dict.fromkeys(url._replace(host=str(place[0])) for *_, place in addresses)
        return found

    def _keep(self, urls: dict[PeerUrl, None]) -> None:
        for url in [url for url in urls if url not in self._peers]:
            peer = _Peer(url, self._connect(url), self._registry, self.node)
            self._peers[url] = peer, asyncio.create_task(peer.run())
        gone = self._peers.keys() - urls.keys()
        if gone:
            self._ending = asyncio.create_task(self._end(list(gone)))  # kept, or it might be collected

    async def _end(self, urls: Sequence[PeerUrl]) -> None:
        ended = [self._peers.pop(url) for url in urls]
        for _, task in ended:
            task.cancel()
        await asyncio.gather(*(task for _, task in ended), return_exceptions=True)

    def _note(self, change: Change) -> None:
        action = _action_of(change)
        if action is not None:
            key = change.record.key
            assert isinstance(key, InstanceKey), "only of instances there is anything to tell"
            for peer in self._others():
                peer.tell(key, action)


def _action_of(change: Change) -> str | None:
    """None for what peers are not told."""
    before, after = change.before, change.after
    if change.is_replicated or not isinstance(change.record, Instance):
        return None
    if change.record.key.origin is not Origin.EUREKA or change.record.key.space != DEFAULT_SPACE:
        return None
    match change.cause:
        case Cause.REGISTERED:
            return REGISTER
        case Cause.CANCELLED:
            return CANCEL
        case Cause.AMENDED:
            assert isinstance(before, Instance), "what is amended was there"
            assert isinstance(after, Instance), "and is"
            return REGISTER if before.override is after.override else OVERRIDE
    return None


class _Peer:
    """One other server: what it has not heard, and how it answers."""

    def __init__(self, url: PeerUrl, client: EurekaClient, registry: Registry, node: str) -> None:
        self.url = url
        self.waiting = Waiting(registry.catalogue, registry.clock)
        self.is_ourselves = False
        self.has_met = False
        """Whether it has told us what it has, if only that it has nothing."""
        self.has_copied = False
        self._client = client
        self._registry = registry
        self._node = node
        self._is_urgent = asyncio.Event()

    @property
    def is_available(self) -> bool:
        return self.has_met and not self._client.outbound.trouble

    @property
    def text(self) -> str:
        return self._client.outbound.trouble or ("answers" if self.has_met else "not asked yet")

    def tell(self, key: InstanceKey, action: str) -> None:
        self.waiting.add(key, action)
        self._is_urgent.set()

    async def run(self) -> None:
        """Until cancelled, or until it turns out to be ourselves."""
        try:
            while not self.is_ourselves:
                try:
                    await (self._tell_waiting() if self.has_met else self._meet())
                except StoreUnavailable:  # its breaker has logged why
                    await asyncio.sleep(TRY_AGAIN_S)
                except Exception:  # who renews is told of again
                    log.exception("fault in telling a peer url=%s", self.url.base)
                    await asyncio.sleep(TRY_AGAIN_S)
            log.info("a peer is this server itself url=%s", self.url.base)
        finally:
            await asyncio.shield(self._leave())

    async def _leave(self) -> None:
        """A last word: who has just deregistered here must not stay listed there for a lease."""
        with suppress(FacadeError, TimeoutError):
            if self.is_available and not self.is_ourselves:
                async with asyncio.timeout(FLUSH_WITHIN_S):
                    while len(self.waiting):
                        await self._tell(self.waiting.take())
        await self._client.outbound.close()

    # What it knows

    async def _meet(self) -> None:
        """Learn who it is, and take over what it has. Raises StoreUnavailable."""
        self.is_ourselves = await self._client.node() == self._node
        if self.is_ourselves:
            return
        listing = await self._client.applications_if_open()
        if listing is not None:
            await self._adopt(listing.instances)
            log.info("peer's list taken over url=%s instances=%d", self.url.base, len(listing.instances))
        self.has_copied = listing is not None
        self.has_met = True

    async def _adopt(self, infos: Sequence[InstanceInfo]) -> None:
        """Hold what the peer holds, unless ours is as new."""
        for start in range(0, len(infos), _TOGETHER):
            await asyncio.gather(*map(self._adopt_one, infos[start : start + _TOGETHER]))

    async def _adopt_one(self, info: InstanceInfo) -> None:
        registry = self._registry
        if any(key.startswith(MARKS) for key in info.metadata):  # born in another protocol: its owner is not told of us
            return
        try:
            mapping.check(info, info.app)
            candidate = mapping.to_instance(info, DEFAULT_SPACE, registry.policy, registry.clock.now_ms())
            held = registry.catalogue.instance(candidate.key)
            if held is None or held.dirty_ms < candidate.dirty_ms:
                await registry.register(candidate, is_replicated=True)
        except FacadeError as error:
            log.warning("a peer's instance is not taken over url=%s reason=%s", self.url.base, error)

    # What it hears

    async def _tell_waiting(self) -> None:
        """Raises StoreUnavailable; what it has not heard then waits on."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_urgent.wait(), GATHER_S)
        self._is_urgent.clear()
        while len(self.waiting):
            taken = self.waiting.take()
            try:
                await self._tell(taken)
            except (StoreUnavailable, asyncio.CancelledError):
                self.waiting.put_back(taken)
                raise

    async def _tell(self, taken: Taken) -> None:
        """Raises StoreUnavailable when nothing of it was heard."""
        if not taken.items:
            return
        try:
            results = await self._client.batch(self.url.base, taken.items)
        except BatchRefused:  # all of it for the sake of one: find out which
            results = [await self._tell_one(item) for item in taken.items]
        for key, item, result in zip(taken.keys, taken.items, results, strict=True):
            if item.action == HEARTBEAT and result.status == 404:
                self.tell(key, REGISTER)
            elif result.entity is not None and (result.entity.app, result.entity.effective_id) == key[2:]:
                await self._adopt([result.entity])

    async def _tell_one(self, item: BatchItem) -> BatchResult:
        try:
            (result,) = await self._client.batch(self.url.base, [item])
        except BatchRefused as error:
            log.warning("a peer does not take an item url=%s action=%s reason=%s", self.url.base, item.action, error)
            return BatchResult(400)
        return result
