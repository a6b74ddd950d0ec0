"""Records in memory, gone when the process ends: to try things out, and where clients register anew anyway."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence

from facade.clock import Clock
from facade.errors import StoreUnavailable
from facade.registry.model import InstanceKey, Record, RecordKey, Revision
from facade.registry.store import Commit, Follower, Put, Snapshot, StoreHealth, Write


class MemoryStore:
    """Keeps its records from one `open` to the next, so that a restart can be played within one process."""

    cluster = None
    data_age_s = 0.0
    has_data = True

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: dict[RecordKey, Record] = {}
        self._revision: Revision = 0
        self._follower: Follower | None = None

    async def open(self, follower: Follower) -> Snapshot:
        self._follower = follower
        # Numbers follow the clock: readers that remember one from before a restart must never meet it a second time.
        self._revision = max(self._revision, self._clock.now_ms())
        return Snapshot(secrets.token_hex(8), self._revision, tuple(self._records.values()))

    async def write(self, writes: Sequence[Write]) -> Revision:
        if self._follower is None:
            raise StoreUnavailable("the store is not open")
        changes = tuple(write for write in writes if self._apply(write))
        if changes:
            self._revision += 1
            self._follower(Commit(self._revision, self._clock.now_ms(), changes))
        return self._revision

    async def renew(self, remaining_ms: Mapping[InstanceKey, int]) -> Collection[InstanceKey]:
        """The registry's memory is all the memory there is: no deadline is kept here."""
        return {key for key in remaining_ms if key not in self._records}

    def keeps_lease(self, key: InstanceKey) -> bool:
        return False

    def health(self) -> StoreHealth:
        return StoreHealth(True, f"In memory, records: {len(self._records)}; they end with this process.")

    async def close(self) -> None:
        self._follower = None

    def _apply(self, write: Write) -> bool:
        """Whether anything changed."""
        if isinstance(write, Put):
            self._records[write.record.key] = write.record
            return True
        return self._records.pop(write.key, None) is not None
