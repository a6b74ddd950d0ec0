"""A store kept behind a registry that a test plays."""

from __future__ import annotations

from facade.clock import ManualClock
from facade.registry.model import Instance, InstanceKey, Record
from facade.registry.store import Commit
from facade.stores.memory import MemoryStore
from facade.stores.mirror import Mirror
from facade.stores.upstream import UpstreamStore
from tests.stores.behind import Behind
from tests.stores.examples import instance


class Kept:
    """A store over one registry, opened; its loops do not run, tests do what they would do."""

    def __init__(self, clock: ManualClock, *, is_strict: bool = False) -> None:
        self.clock = clock
        self.behind = Behind()
        self.local = MemoryStore(clock)
        self.mirror = Mirror(self.behind, clock, is_strict=is_strict)
        self.store = UpstreamStore(self.local, [self.mirror])
        self.heard: list[Commit] = []

    async def open(self) -> list[Record]:
        snapshot = await self.store.open(self.heard.append)
        for task in self.store._tasks:
            task.cancel()
        return list(snapshot.records)

    async def read(self, after_s: float = 10.0) -> None:
        """A reading that is past all caches."""
        self.clock.advance(after_s)
        await self.mirror.refresh()

    @property
    def shown(self) -> set[str]:
        return {key.instance_id for key in self.mirror._held if isinstance(key, InstanceKey)}


def several(count: int) -> list[Instance]:
    return [instance(f"i{number}") for number in range(count)]


def fill(behind: Behind, *records: Record) -> None:
    behind.records |= {record.key: record for record in records}
