"""Replication with other Eureka servers, real ones or ours: they hear what clients tell us, once.

In:     the change feed and our clients' renewals. What peers told us is not passed on: all tell all.
Out:    batches as Netflix's servers send them, to each peer in its own time; what a peer answers to a renewal decides
        whether it needs the registration, or we its newer copy.
Rules:  each peer's list is taken over once, beside everything else; a peer that is slow or away holds up nobody else;
        evictions are not told, each server ends leases on its own; instances born in ServiceCenter are not told either.
Source: Netflix/eureka, PeerEurekaNodes, PeerEurekaNode, PeerAwareInstanceRegistryImpl.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from msgspec.structs import replace

from facade.errors import FacadeError, StoreUnavailable
from facade.eureka import mapping
from facade.eureka.client import BatchRefused, EurekaClient
from facade.eureka.peer_urls import PeerUrl
from facade.eureka.records import Action, BatchItem, BatchResult, InstanceInfo
from facade.eureka.replication import CANCEL, ENDED_KEPT, HEARTBEAT, OVERRIDE, REGISTER, Backlog, Taken
from facade.outbound import Outbound
from facade.registry import rules
from facade.registry.model import Cause, Change, Instance, InstanceKey, Origin, Space
from facade.registry.registry import Registry
from facade.registry.store import PeerHealth
from facade.tls import Trust

log = logging.getLogger(__name__)

GATHER_S = 0.5
"""How long renewals gather, as in the original; any other change goes at once."""
TRY_AGAIN_S = 1.0
"""After a failure, as the original waits after a time-out."""
LOOK_UP_EVERY_S = 30.0
"""The original resolves names every ten minutes, in which a peer that moved hears nothing."""
COPY_WITHIN_S = 10.0
"""Who has not answered then is down: our lists open without what it knows."""
FLUSH_WITHIN_S = 2.0
"""For the last word at a stop, which nobody waits longer for."""
_TOGETHER = 50
"""Instances that are taken over at once: they share a commit, and hold the event loop for some 20 ms."""
_FOREIGN_S = 300.0
"""For so long no renewal is told to a peer that holds a copy that is none of ours: longer than a lease there, so that a
copy that lives by our renewals alone comes to its end.
"""
_HERE = Space()

Connect = Callable[[PeerUrl], EurekaClient]


def connected(url: PeerUrl, trust: Trust | None = None) -> EurekaClient:
    return EurekaClient(Outbound([url.base], auth=url.credentials, trust=trust))


class Peers:
    """All of them, over an open registry."""

    def __init__(self, registry: Registry, urls: Sequence[str], connect: Connect = connected) -> None:
        """Raises StartRefused for what is no URL of a peer."""
        self.has_copied = False
        """Whether any peer's list, and not an empty one, was taken over."""
        self._registry = registry
        self._urls = [PeerUrl.parse(url) for url in dict.fromkeys(urls)]
        self._connect = connect
        self._began_s = registry.clock.monotonic_s()
        self._peers: dict[PeerUrl, tuple[_Peer, asyncio.Task[None]]] = {}
        self._early = {url: Backlog(registry.catalogue, registry.clock) for url in self._urls}
        """What whoever answers to a name has missed before that was looked up for the first time."""
        self._leaving: set[asyncio.Task[None]] = set()

    # What the front asks and tells

    @property
    def are_unheard(self) -> bool:
        """Whether our lists must wait: a peer that knows more than we do is being listened to, or may answer yet."""
        if self.has_copied:
            return False
        if any(peer.is_copying for peer in self._others()):
            return True
        if self._registry.clock.monotonic_s() - self._began_s >= COPY_WITHIN_S:
            return False
        return not self._peers or any(not peer.has_listed for peer in self._others())

    def note_renewal(self, key: InstanceKey) -> None:
        """An owner has renewed."""
        if key.space == _HERE:
            for backlog in self._backlogs():
                backlog.note_renewal(key)

    def note_end(self, key: InstanceKey) -> None:
        """Somebody ended what we do not hold: a list that is being taken over may still name it."""
        for backlog in self._backlogs():
            backlog.note_end(key)

    def health(self) -> list[PeerHealth]:
        return [peer.health() for peer in self._others()]

    # Running

    async def run(self) -> None:
        """Tell the peers what happens, until cancelled."""
        stop_following = self._registry.feed.follow(self._note)
        try:
            while True:
                self._keep(await self._looked_up())
                await asyncio.sleep(LOOK_UP_EVERY_S if self._peers else TRY_AGAIN_S)
        finally:
            stop_following()
            self._let_go(list(self._peers))
            await asyncio.gather(*self._leaving, return_exceptions=True)

    def _others(self) -> Iterable[_Peer]:
        return (peer for peer, _ in self._peers.values() if not peer.is_ourselves)

    def _backlogs(self) -> Iterator[Backlog]:
        yield from self._others()
        yield from self._early.values()

    async def _looked_up(self) -> dict[PeerUrl, PeerUrl]:
        """Who our peers are now, and as the operator named them. Where a name cannot be resolved, those it had stay."""
        found: dict[PeerUrl, PeerUrl] = {}
        for url in self._urls:
            if not url.is_name:
                found[url] = url
                continue
            try:
                addresses = await asyncio.get_running_loop().getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
            except OSError as error:
                log.warning("peers cannot be looked up name=%s reason=%s", url.host, error)
                found |= dict.fromkeys((peer for peer in self._peers if peer._replace(host=url.host) == url), url)
            else:
                found |= dict.fromkeys((url._replace(host=str(place[0])) for *_, place in addresses), url)
        return found

    def _keep(self, urls: dict[PeerUrl, PeerUrl]) -> None:
        for url in [url for url in urls if url not in self._peers]:
            peer = _Peer(url, self._connect, self._registry, self._note_copied)
            if early := self._early.get(urls[url]):
                peer.take_over(early)
            self._peers[url] = peer, asyncio.create_task(peer.run())
        for stated in urls.values():
            self._early.pop(stated, None)
        self._let_go([url for url in self._peers if url not in urls])

    def _let_go(self, urls: Sequence[PeerUrl]) -> None:
        for url in urls:
            _, task = self._peers.pop(url)
            task.cancel()
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    def _note_copied(self) -> None:
        self.has_copied = True

    def _note(self, change: Change) -> None:
        if not isinstance(change.record, Instance) or not _is_replicable(change.record.key):
            return
        if change.after is None:
            self.note_end(change.record.key)
        action = _action_of(change)
        if action is not None:
            for backlog in self._backlogs():
                backlog.tell(change.record.key, action)


def _is_replicable(key: InstanceKey) -> bool:
    return key.origin is Origin.EUREKA and key.space == _HERE


def _action_of(change: Change) -> str | None:
    """None for what peers are not told."""
    before, after = change.before, change.after
    if change.is_replicated:
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


class _Peer(Backlog):
    """One other server: what it has not heard, and how it answers."""

    def __init__(self, url: PeerUrl, connect: Connect, registry: Registry, note_copied: Callable[[], None]) -> None:
        super().__init__(registry.catalogue, registry.clock)
        self.is_ourselves = False
        self.has_listed = False
        """Whether it has told us what it has, if only that it has nothing."""
        self.is_copying = False
        self._url = url
        self._connect = connect
        self._client = connect(url)
        self._registry = registry
        self._note_copied = note_copied
        self._has_answered = False
        self._is_urgent = asyncio.Event()
        self._foreign_until_s: dict[InstanceKey, float] = {}
        """Where it holds a copy that we do not take, and so refuses our renewals."""

    def health(self) -> PeerHealth:
        trouble = self._client.outbound.trouble
        return PeerHealth(
            url=self._url.base,
            is_available=self._has_answered and not trouble,
            waiting=len(self.waiting),
            age_s=self.waiting.age_s,
            text=trouble or ("answers" if self._has_answered else "not asked yet"),
        )

    def tell(self, key: InstanceKey, action: str) -> None:
        self._foreign_until_s.pop(key, None)
        super().tell(key, action)
        self._is_urgent.set()

    def note_renewal(self, key: InstanceKey) -> None:
        if self._foreign_until_s and self._foreign_until_s.get(key, 0) > self._registry.clock.monotonic_s():
            return
        self._foreign_until_s.pop(key, None)
        super().note_renewal(key)

    async def run(self) -> None:
        """Until cancelled, or until it turns out to be ourselves."""
        try:
            await self._until_done(self._meet)
            if self.is_ourselves:
                log.info("a peer is this server itself url=%s", self._url.base)
                return
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._until_done(self._copy))
                tasks.create_task(self._until_done(self._tell_forever))
        finally:
            await asyncio.shield(self._leave())

    async def _until_done(self, work: Callable[[], Awaitable[None]]) -> None:
        """Again and again, until it has gone well once."""
        while True:
            try:
                await work()
            except StoreUnavailable:  # its breaker has logged why
                await asyncio.sleep(TRY_AGAIN_S)
            except Exception:  # a fault of ours must not end it for good
                log.exception("fault in replication url=%s", self._url.base)
                await asyncio.sleep(TRY_AGAIN_S)
            else:
                return

    async def _meet(self) -> None:
        self.is_ourselves = await self._client.node() == self._registry.node
        self._has_answered = True

    async def _leave(self) -> None:
        """A last word: who has just deregistered here must not stay listed there for a lease."""
        with suppress(FacadeError, TimeoutError):
            if self._has_answered and not self._client.outbound.trouble and not self.is_ourselves:
                async with asyncio.timeout(FLUSH_WITHIN_S):
                    while len(self.waiting):
                        await self._tell(self.waiting.take())
        await self._client.outbound.close()

    # What it knows

    async def _copy(self) -> None:
        """Take over its list. By a client of its own: that remembers the list, and its failures are not the other's."""
        client = self._connect(self._url)
        try:
            infos = await self._all_it_knows(client)
            self.is_copying = bool(infos)
            self.has_listed = True
            for start in range(0, len(infos), _TOGETHER):
                await asyncio.gather(*map(self._take_over, infos[start : start + _TOGETHER]))
            if infos:
                log.info("peer's list taken over url=%s instances=%d", self._url.base, len(infos))
                self._note_copied()
            self.ended = None
        finally:
            self.is_copying = False
            await client.outbound.close()

    async def _all_it_knows(self, client: EurekaClient) -> Sequence[InstanceInfo]:
        """Its list and what its delta says since: an original's list may be three minutes old, its delta is not.

        Source: Netflix/eureka, ResponseCacheImpl: a change while a list is being made does not have it made anew.
        """
        listing = await client.applications_if_open()
        if listing is None:
            return ()
        known = {(info.app, info.effective_id): info for info in listing.instances}
        with suppress(StoreUnavailable):  # a server may have no delta
            delta = await client.delta()
            for info in delta.instances if delta is not None else ():
                if info.action is Action.DELETED:
                    known.pop((info.app, info.effective_id), None)
                else:
                    known[info.app, info.effective_id] = info
        return list(known.values())

    async def _take_over(self, info: InstanceInfo) -> None:
        """Hold what it holds, unless it has ended here meanwhile, or ours is as new.

        Overrides and metadata do not move lastDirtyTimestamp: of two as old the one that changed last counts.
        """
        candidate = self._candidate(info)
        if candidate is None:
            return
        held = self._registry.catalogue.instance(candidate.key)
        if held is None and self.ended is not None and candidate.key in self.ended:
            return
        with suppress(FacadeError):  # the store has logged why, or it has ended here this moment
            if held is None:
                await self._registry.register(candidate, is_replicated=True)
            elif (candidate.dirty_ms, info.last_updated_ms) > (held.dirty_ms, held.updated_ms):
                await self._adopt(candidate, lambda held: replace(held, override=candidate.override))

    def _candidate(self, info: InstanceInfo) -> Instance | None:
        """None for what was born in another protocol, whose owner knows nothing of us, and for what is no instance."""
        if any(key.startswith(rules.MARKS) for key in info.metadata):
            return None
        try:
            mapping.check(info, info.app)
        except FacadeError as error:
            log.warning("a peer's instance is not taken over url=%s reason=%s", self._url.base, error)
            return None
        return mapping.to_instance(info, _HERE, self._registry.policy, self._registry.clock.now_ms())

    async def _adopt(self, newer: Instance, prepare: Callable[[Instance], Instance]) -> None:
        """Replace what is held by a peer's copy. Raises InstanceNotFound where nothing is held any more."""

        def adopted(held: Instance) -> Instance:
            if held.dirty_ms > newer.dirty_ms:
                return held
            taken = rules.registered(prepare(held), newer, is_replicated=True)
            return replace(taken, registered_ms=held.registered_ms)

        await self._registry.amend(newer.key, adopted, Cause.REGISTERED, is_replicated=True)

    # What it hears

    async def _tell_forever(self) -> None:
        """Raises StoreUnavailable; what it has not heard then waits on."""
        while True:
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
        """Raises StoreUnavailable when some of it was not heard."""
        results = await self._results(taken.items) if taken.items else []
        for key, item, result in zip(taken.keys, taken.items, results, strict=True):
            if item.action != HEARTBEAT:
                continue
            if result.status == 404:
                self.tell(key, REGISTER)
            elif result.entity is not None:
                await self._hear(key, result.entity)

    async def _results(self, items: Sequence[BatchItem]) -> list[BatchResult]:
        """Where it refuses them all for the sake of one, the halves are told apart."""
        try:
            return await self._client.batch(self._url.base, items)
        except BatchRefused as error:
            if len(items) == 1:
                action = items[0].action
                log.warning("a peer does not take an item url=%s action=%s reason=%s", self._url.base, action, error)
                return [BatchResult(400)]
        half = len(items) // 2
        return await self._results(items[:half]) + await self._results(items[half:])

    async def _hear(self, key: InstanceKey, info: InstanceInfo) -> None:
        """Its newer copy, with its override, of an instance that we hold."""
        newer = self._candidate(info)
        if newer is None or newer.key != key:
            if len(self._foreign_until_s) < ENDED_KEPT:
                self._foreign_until_s[key] = self._registry.clock.monotonic_s() + _FOREIGN_S
            return
        # Its owner has left meanwhile, or our store takes nothing now: no reason to tell the peer all of it again.
        with suppress(FacadeError):
            await self._adopt(newer, lambda held: replace(held, override=newer.override or held.override))
