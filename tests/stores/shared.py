"""A store that nodes share, in one process: each write is decided on what its node has heard, or it is overtaken."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence

from facade.clock import Clock
from facade.errors import Overtaken, StoreUnavailable
from facade.registry.model import InstanceKey, Origin, Record, RecordKey, Revision
from facade.registry.store import Commit, Follower, NodeHealth, Put, Snapshot, StoreHealth, Write, key_of


class Shared:
    """What all nodes share. A node hears of the others' commits when it writes, or when a test lets it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.epoch = secrets.token_hex(8)
        self.records: dict[RecordKey, Record] = {}
        self.commits: list[Commit] = []

    def node(self) -> SharedStore:
        return SharedStore(self)


class SharedStore:
    """One node's own way to it."""

    data_age_s = 0.0

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._clock = shared.clock
        self._follower: Follower | None = None
        self._heard: Revision = 0
        self.has_data = False
        self.is_away = False

    @property
    def cluster(self) -> SharedStore:
        return self

    async def open(self, follower: Follower) -> Snapshot:
        self._follower = follower
        if self.is_away:
            return Snapshot(self._shared.epoch, 0, ())
        self.has_data = True
        self._heard = len(self._shared.commits)
        return Snapshot(self._shared.epoch, self._heard, tuple(self._shared.records.values()))

    async def close(self) -> None:
        self._follower = None

    def hear(self) -> None:
        """Of all that others have written."""
        assert self._follower is not None
        self.has_data = True
        for commit in self._shared.commits[self._heard :]:
            self._heard = commit.revision
            self._follower(commit)

    async def write(self, writes: Sequence[Write]) -> Revision:
        if self.is_away:
            raise StoreUnavailable("the store is away")
        written = {key_of(write) for commit in self._shared.commits[self._heard :] for write in commit.writes}
        self.hear()
        if not written.isdisjoint(map(key_of, writes)):
            raise Overtaken("another node was quicker")
        for write in writes:
            if isinstance(write, Put):
                self._shared.records[write.record.key] = write.record
            else:
                self._shared.records.pop(write.key, None)
        commit = Commit(len(self._shared.commits) + 1, self._clock.now_ms(), tuple(writes))
        self._shared.commits.append(commit)
        self.hear()
        return commit.revision

    def keeps_lease(self, key: InstanceKey) -> bool:
        return True

    async def renew(self, remaining_ms: Mapping[InstanceKey, int]) -> Collection[InstanceKey]:
        return {key for key in remaining_ms if key not in self._shared.records}

    def health(self) -> StoreHealth:
        return StoreHealth(not self.is_away, "shared")

    def nodes(self) -> Sequence[NodeHealth]:
        return ()

    def renewals_elsewhere(self, origin: Origin) -> int:
        return 0

    def note_told(self, until_s: float) -> None: ...

    async def lapsed(self) -> Collection[InstanceKey]:
        return ()
