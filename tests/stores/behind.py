"""A registry behind us that tests can switch off, empty and let lag: the Backend contract, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence

from msgspec.structs import replace

from facade.errors import StoreUnavailable, UpstreamRefused
from facade.registry.model import Instance, InstanceKey, Origin, Record, RecordKey, SchemaId, ServiceId
from facade.stores.backend import Seen


class Behind:
    origin = Origin.SERVICECENTER
    title = "ServiceCenter at http://behind.test"
    lag_s = 3.0
    whole_every_s = 30.0

    def __init__(self) -> None:
        self.records: dict[RecordKey, Record] = {}
        self.lookup: Callable[[RecordKey], Record | None] = lambda _: None
        self.trouble = ""
        self.shown: dict[RecordKey, Record] | None = None
        """What readings show, when that is not what is there: caches."""
        self.calls: list[str] = []
        self.renewed: list[Instance] = []
        self.unbearable: set[RecordKey] = set()
        """Records at which it fails whenever they are written."""
        self.gate: asyncio.Event | None = None
        """Writes wait for it."""
        self.changed: set[RecordKey] | None = None
        """What readings tell of changed keys; None: compare all."""
        self.kept: set[RecordKey] = set()
        """What others keep there, packed: no copies of a bridge."""
        self.room = 10_000
        """Longest metadata that it takes, in characters."""

    def fail(self, reason: str = "connection refused") -> None:
        self.trouble = reason

    def mend(self) -> None:
        self.trouble = ""

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.trouble:
            raise StoreUnavailable(self.trouble)

    def cluster_of(self, record: Instance) -> str:
        return "" if record.key in self.kept else "one"

    def takes(self, key: RecordKey) -> bool:
        return isinstance(key, InstanceKey | ServiceId | SchemaId)

    truncated = 0

    def lost(self, record: Instance) -> str:
        return ""

    def expect(self, keys: Iterable[RecordKey]) -> None:
        return None

    def rebuilt(self) -> Collection[Record]:
        return ()

    async def read(self, *, is_whole: bool) -> Seen:
        self._call("read")
        return Seen(dict(self.records if self.shown is None else self.shown), None if is_whole else self.changed)

    async def put(self, record: Record, before: Record | None) -> None:
        self._call("put")
        if self.gate is not None:
            await self.gate.wait()
        if record.key in self.unbearable:
            raise StoreUnavailable("answered 500")
        self.records[record.key] = self.as_kept(record)

    async def remove(self, record: Record) -> None:
        self._call("remove")
        self.records.pop(record.key, None)

    async def renew(self, instances: Sequence[Instance]) -> Collection[Instance]:
        self._call("renew")
        self.renewed += [one for one in instances if one.key in self.records]
        return [one for one in instances if one.key not in self.records]

    async def holds(self, record: Record) -> bool:
        self._call("holds")
        return record.key in self.records

    def as_kept(self, record: Record) -> Record:
        """It has no place for the address that a registration came from, and not too much for metadata."""
        if isinstance(record, Instance) and len(str(record.metadata)) > self.room:
            raise UpstreamRefused("the body is too large")
        return replace(record, source_address="") if isinstance(record, Instance) else record

    async def watch(self, hint: Callable[[], None]) -> None:
        return None

    async def close(self) -> None:
        return None
