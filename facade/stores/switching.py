"""A store that another one may take the place of while the server runs. The registry sees no difference.

The one that is current is authoritative: it alone is written to, and its commits alone are shown. Whoever prepares
another one (`switch.py`) hears of all that the current one tells, and of renewals. `flip` exchanges the two in one step
in which no write is under way. Revisions go on growing: where the new store's are behind, they are told moved on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from facade.errors import StoreUnavailable
from facade.registry.model import InstanceKey, Revision
from facade.registry.store import Cluster, Commit, Follower, Snapshot, Store, StoreHealth, Write

Renewed = Callable[[Mapping[InstanceKey, int]], None]


class SwitchingStore:
    def __init__(self, store: Store) -> None:
        self.current = store
        self.note = ""
        """What is told of a switch under way with the health of the store."""
        self._follower: Follower | None = None
        self._revision: Revision = 0
        """The last that was told."""
        self._ahead = 0
        """By how much we tell higher numbers than the current store does."""
        self._listener: Follower | None = None
        self._renewed: Renewed | None = None
        self._open_gate = asyncio.Event()
        self._open_gate.set()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._under_way = 0

    async def open(self, follower: Follower) -> Snapshot:
        self._follower = follower
        snapshot = await self.current.open(partial(self._hear, self.current))
        self._revision, self._ahead = snapshot.revision, 0
        return snapshot

    async def write(self, writes: Sequence[Write]) -> Revision:
        while not self._open_gate.is_set():
            await self._open_gate.wait()
        self._under_way += 1
        self._is_idle.clear()
        try:
            return await self.current.write(writes) + self._ahead
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._is_idle.set()

    async def renew(self, remaining_ms: Mapping[InstanceKey, int]) -> Collection[InstanceKey]:
        unknown = await self.current.renew(remaining_ms)
        if self._renewed is not None:
            self._renewed(remaining_ms)
        return unknown

    # Of the current one

    @property
    def cluster(self) -> Cluster | None:
        return self.current.cluster

    @property
    def data_age_s(self) -> float:
        return self.current.data_age_s

    @property
    def has_data(self) -> bool:
        return self.current.has_data

    def keeps_lease(self, key: InstanceKey) -> bool:
        return self.current.keeps_lease(key)

    def health(self) -> StoreHealth:
        health = self.current.health()
        return health._replace(text=f"{health.text} {self.note}") if self.note else health

    async def close(self) -> None:
        await self.current.close()

    # For whoever prepares another one

    def listen(self, listener: Follower | None, renewed: Renewed | None) -> None:
        """Tell these of each commit of the current store, and of each renewal that it was told; None: nobody."""
        self._listener, self._renewed = listener, renewed

    @asynccontextmanager
    async def held_up(self) -> AsyncIterator[None]:
        """Within this no write is under way: those that come meanwhile wait, and then go to what is current then."""
        self._open_gate.clear()
        try:
            await self._is_idle.wait()
            yield
        finally:
            self._open_gate.set()

    def follower_of(self, coming: Store, listener: Follower) -> Follower:
        """What a store that may become current is to be opened with: until then its commits go to `listener`."""

        def hear(commit: Commit) -> None:
            if coming is self.current:
                self._hear(coming, commit)
            else:
                listener(commit)

        return hear

    def flip(self, coming: Store, last: Commit) -> Store:
        """Make this store current, whose last revision is given, and show what only it holds; returns the one before.

        What that one still tells is heard no more.
        """
        if self._follower is None:
            raise StoreUnavailable("the store is not open")
        before, self.current = self.current, coming
        self._listener = self._renewed = None
        self._ahead = max(0, self._revision + 1 - last.revision)
        if last.writes:
            self._hear(coming, last)
        return before

    def _hear(self, store: Store, commit: Commit) -> None:
        if store is not self.current or self._follower is None:
            return
        self._revision = commit.revision + self._ahead
        self._follower(commit._replace(revision=self._revision))
        if self._listener is not None:
            self._listener(commit)
