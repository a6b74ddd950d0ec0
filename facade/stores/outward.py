"""What goes from here to one registry behind us: writes at once, renewals in batches, and what waits for its return.

write    sent straight through; while nobody answers it waits in the outbox, where the last state of a record wins
renewal  answered from memory long before; told in batches, and who is unknown there is registered again
refused  an instance of the other protocol that does not fit there is parked: we alone list it, until its lease ends
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from facade.clock import Clock
from facade.errors import StoreUnavailable, UpstreamRefused
from facade.registry.model import Instance, InstanceKey, Origin, Record, RecordKey, SchemaId, ServiceId
from facade.registry.store import Put, Write
from facade.stores.backend import Backend

OUTBOX_LIMIT = 10_000
"""Records that may wait; a server away for long costs no more memory than that."""
RENEWALS_A_CALL = 500
CALLS_AT_ONCE = 16
ENDED_KEPT_S = 660.0
"""A ServiceCenter shows for up to ten minutes what we have ended: its longest self-protection."""

log = logging.getLogger(__name__)


class Contact:
    """Whether the registry behind us answers, and since when it does not."""

    def __init__(self, title: str, clock: Clock) -> None:
        self.title = title
        self.trouble = ""
        """Why it does not, in plain words; empty while it does."""
        self._fault = ""
        self._clock = clock
        self._lost_s = 0.0

    @property
    def is_lost(self) -> bool:
        return bool(self.trouble)

    @property
    def lost_for_s(self) -> float:
        return self._clock.monotonic_s() - self._lost_s if self.is_lost else 0.0

    def lose(self, reason: object) -> None:
        if not self.is_lost:
            self._lost_s = self._clock.monotonic_s()
            log.error("registry behind us does not answer registry=%s reason=%s", self.title, reason)
        self.trouble = str(reason) or "no answer"

    def regain(self) -> None:
        if self.is_lost:
            log.warning("registry behind us is back registry=%s after_s=%.0f", self.title, self.lost_for_s)
        self.trouble = ""

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Around one step of an endless task: whatever happens in it, the next step comes."""
        try:
            yield
        except StoreUnavailable as error:
            self.lose(error)
        except Exception as error:
            if self._fault != (fault := repr(error)):  # the same one every second is told once
                log.exception("a fault of ours registry=%s", self.title)
            self._fault = fault
            self.lose(f"a fault of this server, see its log: {fault}")


class Waiting(NamedTuple):
    write: Write
    held: Record | None
    """The record as it was before: what is removed here is looked up there by more than its key."""


class Outward:
    def __init__(
        self, backend: Backend, held: Mapping[RecordKey, Record], contact: Contact, clock: Clock, *, is_strict: bool
    ) -> None:
        """`held` is what we show. `is_strict` refuses writes while nobody answers, instead of letting them wait."""
        self.parked: dict[InstanceKey, str] = {}
        """Instances that it does not take, and why."""
        self.outbox: dict[RecordKey, Waiting] = {}
        self._backend = backend
        self._held = held
        self._contact = contact
        self._clock = clock
        self._is_strict = is_strict
        self._due: dict[InstanceKey, None] = {}
        self._unknown: set[InstanceKey] = set()
        self._alive_until_s: dict[InstanceKey, float] = {}
        self._writing: dict[RecordKey, int] = {}
        self._written_s: dict[RecordKey, float] = {}
        self._ended_s: dict[RecordKey, float] = {}

    # Writes

    @contextmanager
    def writing(self, key: RecordKey) -> Iterator[None]:
        """Around a write, from the first call there to the end of the commit here: no reading judges the record."""
        self._writing[key] = self._writing.get(key, 0) + 1
        try:
            yield
        finally:
            self._writing[key] -= 1
            if not self._writing[key]:
                del self._writing[key]
            self._written_s[key] = self._clock.monotonic_s()

    async def write(self, write: Write, before: Record | None) -> None:
        """`before` is the record as it is held until now.

        Raises StoreUnavailable when it can neither be sent nor wait, UpstreamRefused when it is not taken there.
        """
        self._note_lease(write)
        key = key_of(write)
        if self._contact.is_lost or key in self.outbox:
            self._queue(write, before)
            return
        try:
            await self._send(Waiting(write, before))
        except StoreUnavailable as error:
            self._contact.lose(error)
            self._queue(write, before)

    def _note_lease(self, write: Write) -> None:
        key = key_of(write)
        if isinstance(write, Put) and isinstance(write.record, Instance):
            self._alive_until_s[write.record.key] = self._clock.monotonic_s() + write.record.lease.first_ms / 1000
            self._ended_s.pop(key, None)
        elif not isinstance(write, Put):
            self.forget(key)
            self._ended_s[key] = self._clock.monotonic_s()

    async def _send(self, waiting: Waiting) -> None:
        write, held = waiting
        if not isinstance(write, Put):
            if held is not None and held.key not in self.parked:
                await self._backend.remove(held)
            self.parked.pop(write.key, None)  # type: ignore[arg-type]
            return
        record = write.record
        is_parked = record.key in self.parked
        try:
            await self._backend.put(record, None if is_parked else held)
        except UpstreamRefused as error:
            if not isinstance(record, Instance) or not _is_foreign(record, self._backend):
                raise
            self._park(record.key, str(error))
        else:
            self.parked.pop(record.key, None)  # type: ignore[arg-type]

    def _park(self, key: InstanceKey, reason: str) -> None:
        if key not in self.parked:
            log.warning("instance does not fit there application=%s instance=%s reason=%s", *key[2:], reason)
        self.parked[key] = reason

    def parks_again(self, instance: Instance) -> bool:
        """Whether it was parked before we were started; then it is for one more term of its lease."""
        try:
            self._backend.as_kept(instance)
        except UpstreamRefused as error:
            self._park(instance.key, str(error))
            self._alive_until_s[instance.key] = self._clock.monotonic_s() + instance.lease.renewed_ms / 1000
            return True
        return False

    def _queue(self, write: Write, before: Record | None) -> None:
        if self._is_strict:
            raise StoreUnavailable(f"{self._contact.title} does not answer: {self._contact.trouble}")
        key = key_of(write)
        if key not in self.outbox and len(self.outbox) >= OUTBOX_LIMIT:
            raise StoreUnavailable(f"{self._contact.title} does not answer, and {OUTBOX_LIMIT} writes wait already")
        # What it holds there when it is back is anybody's guess; only what is to be ended has to be known.
        self.outbox[key] = Waiting(write, None if isinstance(write, Put) else before)

    # Renewals

    def note_renewal(self, key: InstanceKey, remaining_ms: int) -> None:
        self._alive_until_s[key] = self._clock.monotonic_s() + remaining_ms / 1000
        self._due[key] = None

    async def tell_renewals(self) -> None:
        """Raises StoreUnavailable; then they are told later.

        Who is unknown there once may have been ended by somebody else; who renews here again after that is not."""
        if self._contact.is_lost:
            return
        due, self._due = self._due, {}
        try:
            await self._tell(due)
        except BaseException:
            self._due = due | self._due
            raise

    async def _tell(self, due: Iterable[InstanceKey]) -> None:
        instances = [one for one in map(self._held.get, due) if isinstance(one, Instance) and self._is_there(one.key)]
        lost = [one for one in instances if one.key in self._unknown]
        known = [one for one in instances if one.key not in self._unknown]
        await self.push(lost)
        self._unknown -= {one.key for one in lost}
        self._unknown |= {one.key for one in await self._renew(known)}

    async def _renew(self, instances: list[Instance]) -> list[Instance]:
        """Those that are unknown there."""
        batches = [instances[start : start + RENEWALS_A_CALL] for start in range(0, len(instances), RENEWALS_A_CALL)]
        unknown: list[Instance] = []

        async def tell(batch: list[Instance]) -> None:
            unknown.extend(await self._backend.renew(batch))

        await _all(tell(batch) for batch in batches)
        return unknown

    def _is_there(self, key: InstanceKey) -> bool:
        return key not in self.parked and key not in self.outbox

    # Coming back

    async def catch_up(self) -> None:
        """Send what waits, then make sure that all who are alive here are known there. Raises StoreUnavailable."""
        for kind in (ServiceId, SchemaId, object):  # an instance needs its service
            await _all(self._send_waiting(key) for key in list(self.outbox) if isinstance(key, kind))
        alive = [one for one in self._held.values() if isinstance(one, Instance) and self.is_alive(one.key)]
        await self.push(await self._renew([one for one in alive if self._is_there(one.key)]))

    async def _send_waiting(self, key: RecordKey) -> None:
        waiting = self.outbox.get(key)
        if waiting is None:
            return
        write = waiting.write
        if isinstance(write, Put) and isinstance(write.record, Instance) and not self.is_alive(write.record.key):
            self._drop_waiting(key, waiting)  # its lease ended meanwhile: the reading that follows will not find it
            return
        with self.writing(key):
            try:
                await self._send(waiting)
            except UpstreamRefused as error:
                log.error("a write that waited is not taken there record=%s reason=%s", key, error)
        self._drop_waiting(key, waiting)

    def _drop_waiting(self, key: RecordKey, sent: Waiting) -> None:
        if self.outbox.get(key) is sent:  # a later one goes with the next round
            del self.outbox[key]

    async def push(self, instances: Iterable[Instance]) -> None:
        """Register again what is held here, with what it needs there. Raises StoreUnavailable."""
        pushed = list(instances)
        services = {ServiceId(one.key.space.tenant, one.key.group) for one in pushed if _has_service(one)}
        needed = [self._held[key] for key in services if key in self._held and self._backend.takes(key)]
        schemas = (
            [self._held[key] for key in self._held if isinstance(key, SchemaId) and key.service in services]
            if needed
            else []
        )
        for records in (needed, schemas, pushed):
            await _all(self._push_one(record) for record in records)

    async def _push_one(self, record: Record) -> None:
        with self.writing(record.key):
            try:
                await self._backend.put(record, None)
            except UpstreamRefused as error:
                log.warning("not taken there again record=%s reason=%s", record.key, error)
                if isinstance(record, Instance) and _is_foreign(record, self._backend):
                    self._park(record.key, str(error))

    # What readings need to know

    def is_alive(self, key: InstanceKey) -> bool:
        """Whether its owner has been heard here within its lease."""
        return self._alive_until_s.get(key, float("-inf")) > self._clock.monotonic_s()

    def is_settled(self, key: RecordKey, read_s: float) -> bool:
        """Whether a reading that began then may judge a record."""
        if key in self._writing or key in self.outbox or key in self.parked:
            return False
        return self._written_s.get(key, float("-inf")) + self._backend.lag_s < read_s

    def was_ended(self, key: RecordKey) -> bool:
        """Whether we ended it so lately that it may only seem to be there."""
        return key in self._ended_s

    def lapsed(self) -> list[InstanceKey]:
        """Parked instances whose lease has ended: nobody else can end them."""
        return [key for key in self.parked if not self.is_alive(key)]

    def forget(self, key: RecordKey) -> None:
        """It is gone, whoever ended it."""
        if isinstance(key, InstanceKey):
            self._alive_until_s.pop(key, None)
            self._due.pop(key, None)
            self._unknown.discard(key)

    def tidy(self) -> None:
        """Let go of what can matter no more."""
        now_s = self._clock.monotonic_s()
        for times, kept_s in ((self._written_s, self._backend.lag_s + 60), (self._ended_s, ENDED_KEPT_S)):
            for key in [key for key, at_s in times.items() if at_s + kept_s < now_s]:
                del times[key]


def key_of(write: Write) -> RecordKey:
    return write.record.key if isinstance(write, Put) else write.key


def _is_foreign(instance: Instance, backend: Backend) -> bool:
    """Whether its owner speaks another protocol: then a refusal there is none of its business."""
    return instance.key.origin is not backend.origin


def _has_service(instance: Instance) -> bool:
    return instance.key.origin is Origin.SERVICECENTER


async def _all(calls: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run them, so many at once; the first that fails ends the others."""
    gate = asyncio.Semaphore(CALLS_AT_ONCE)

    async def gated(call: Coroutine[Any, Any, None]) -> None:
        async with gate:
            await call

    pending = [asyncio.ensure_future(gated(call)) for call in calls]
    try:
        await asyncio.gather(*pending)
    finally:
        for task in pending:
            task.cancel()
