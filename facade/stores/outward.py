"""What goes from here to one registry behind us: writes at once, renewals in batches, and what waits for its return.

write    sent straight through; while nobody answers it waits in the outbox, where the last state of a record wins
renewal  answered from memory long before; told in batches, and who is unknown there is registered again
refused  an instance of the other protocol that does not fit there is parked: we alone list it, until its lease ends
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from facade.clock import Clock
from facade.errors import StoreUnavailable, UpstreamRefused
from facade.registry import rules
from facade.registry.model import Instance, InstanceKey, Origin, Record, RecordKey, SchemaId, ServiceId
from facade.registry.store import Put, Write, key_of
from facade.registry.turns import Turns
from facade.stores.backend import Backend
from facade.stores.contact import Contact, at_once
from facade.stores.traces import Traces

OUTBOX_LIMIT = 10_000
"""Records that may wait; a server away for long costs no more memory than that."""
WRITE_WITHIN_S = 4.0
"""Clients give up after 5 to 10 s, and would write again while we still try."""
SENT_AGAIN_AFTER_S = 5.0
GIVEN_UP_AFTER_S = 600.0
"""Of one write that fails while others do not: a ServiceCenter whose etcd takes no writes for minutes still answers."""
RENEWALS_A_CALL = 500
PARKED_FOR_S = 60.0
TIDY_EVERY_S = 30.0

log = logging.getLogger(__name__)


class Waiting(NamedTuple):
    write: Write
    held: Record | None
    """The record as it was before: what is removed here is looked up there by more than its key."""


class Failing(NamedTuple):
    """A write that waits and fails, though the registry answers."""

    since_s: float
    again_s: float


class Parked(NamedTuple):
    """An instance that is not taken there."""

    reason: str
    again_s: float
    """When it is offered once more: quotas grow, and rights are given."""


class Outward:
    def __init__(
        self,
        backend: Backend,
        held: Mapping[RecordKey, Record],
        turns: Turns,
        contact: Contact,
        clock: Clock,
        look: Callable[[], None],
        *,
        is_strict: bool,
    ) -> None:
        """`held` is what we show, `turns` are those of its writers; `look` asks for a reading now. `is_strict` refuses
        writes while nobody answers, instead of letting them wait."""
        self.parked: dict[RecordKey, Parked] = {}
        """Instances that it does not take."""
        self.outbox: dict[RecordKey, Waiting] = {}
        self._backend = backend
        self._held = held
        self._turns = turns
        self._contact = contact
        self._clock = clock
        self._is_strict = is_strict
        self._due: dict[InstanceKey, None] = {}
        self._unknown: set[InstanceKey] = set()
        self._alive_until_s: dict[InstanceKey, float] = {}
        self.traces = Traces(clock, backend.lag_s)
        self._failing: dict[RecordKey, Failing] = {}
        self._refused: dict[RecordKey, Record] = {}
        self._look = look
        self._tidied_s = clock.monotonic_s()

    # Writes

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
            async with asyncio.timeout(WRITE_WITHIN_S):
                await self._send(Waiting(write, before))
        except (StoreUnavailable, TimeoutError) as error:
            # It may be this write alone that it cannot stand: whether it answers at all, the next reading finds out.
            log.debug("a write got no answer record=%s reason=%r", told(key), error)
            self._queue(write, before)
            self._look()

    def _note_lease(self, write: Write) -> None:
        key = key_of(write)
        if isinstance(write, Put) and isinstance(write.record, Instance):
            self._alive_until_s[write.record.key] = self._clock.monotonic_s() + write.record.lease.first_ms / 1000
            self.traces.note_listed(key)
        elif not isinstance(write, Put):
            self.forget(key)
            self.traces.note_ended(key)

    async def _send(self, waiting: Waiting) -> None:
        write, held = waiting
        if not isinstance(write, Put):
            if held is not None:
                await self._remove(held)
            self.parked.pop(write.key, None)
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
            self.parked.pop(record.key, None)

    async def _remove(self, held: Record) -> None:
        """Also what is parked: it may have arrived there without our having been told."""
        try:
            await self._backend.remove(held)
        except UpstreamRefused:
            if held.key not in self.parked:
                raise

    def _park(self, key: InstanceKey, reason: str) -> None:
        if key not in self.parked:
            log.warning(
                "not taken there application=%s instance=%s reason=%s", key.group[:100], key.instance_id[:100], reason
            )
        self.parked[key] = Parked(reason, self._clock.monotonic_s() + PARKED_FOR_S)

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
            self._look()
            raise StoreUnavailable(f"{self._contact.title} does not answer: {self._contact.trouble or 'a write'}")
        key = key_of(write)
        if isinstance(write, Put) and not self._would_fit(write.record):
            return
        if key not in self.outbox and len(self.outbox) >= OUTBOX_LIMIT:
            raise StoreUnavailable(f"{self._contact.title} does not answer, and {OUTBOX_LIMIT} writes wait already")
        # What it holds there when it is back is anybody's guess; only what is to be ended has to be known.
        self.outbox[key] = Waiting(write, None if isinstance(write, Put) else before)

    def _would_fit(self, record: Record) -> bool:
        """Whether a record may wait; what will never be taken is parked, or refused while its owner still listens."""
        try:
            self._backend.as_kept(record)
        except UpstreamRefused as error:
            if not isinstance(record, Instance) or not _is_foreign(record, self._backend):
                raise
            self._park(record.key, str(error))
            return False
        return True

    def take_back(self, key: RecordKey, earlier: Waiting | None) -> None:
        """A write that waits is not to be, for it failed here; `earlier` is what waited before it, and still does."""
        if earlier is not None:
            self.outbox[key] = earlier
        else:
            self.outbox.pop(key, None)

    # Renewals

    def note_renewal(self, key: InstanceKey, remaining_ms: int) -> None:
        self._alive_until_s[key] = self._clock.monotonic_s() + remaining_ms / 1000
        self._due[key] = None

    async def tell_renewals(self, *, is_recovering: bool = False) -> None:
        """Who is unknown there once may have been ended by somebody else; who renews here again after that is not.

        While it is recovering it has lost them: they are registered again at once.
        Raises StoreUnavailable; then they are told later.
        """
        if self._contact.is_lost:
            return
        due, self._due = self._due, {}
        try:
            await self._tell(due, is_recovering=is_recovering)
        except BaseException:
            self._due = due | self._due
            raise

    async def _tell(self, due: Iterable[InstanceKey], *, is_recovering: bool) -> None:
        instances = [one for one in map(self._held.get, due) if isinstance(one, Instance) and self._is_there(one.key)]
        lost = [one for one in instances if one.key in self._unknown]
        known = [one for one in instances if one.key not in self._unknown]
        await self.push(lost)
        self._unknown -= {one.key for one in lost}
        unknown = await self._renew(known)
        if is_recovering:
            await self.push(unknown)
        else:
            self._unknown |= {one.key for one in unknown}

    async def _renew(self, instances: list[Instance]) -> list[Instance]:
        """Those that are unknown there."""
        batches = [instances[start : start + RENEWALS_A_CALL] for start in range(0, len(instances), RENEWALS_A_CALL)]
        unknown: list[Instance] = []

        async def tell(batch: list[Instance]) -> None:
            unknown.extend(await self._backend.renew(batch))

        await at_once(tell(batch) for batch in batches)
        return unknown

    def _is_there(self, key: InstanceKey) -> bool:
        return key not in self.parked and key not in self.outbox

    # Coming back

    async def catch_up(self) -> None:
        """Renew who is alive here, send what waits, and register again who was unknown. Raises StoreUnavailable."""
        alive = [one for one in self._held.values() if isinstance(one, Instance) and self.is_alive(one.key)]
        unknown = await self._renew([one for one in alive if self._is_there(one.key)])
        self.parked = {key: parked._replace(again_s=0.0) for key, parked in self.parked.items()}
        await self.send_waiting()
        await self.push(unknown)

    async def send_waiting(self) -> None:
        """Send what waits. A few that fail while it answers stay for the next time, and are given up in the end.

        Raises StoreUnavailable when many fail.
        """
        now_s = self._clock.monotonic_s()
        due = [key for key in self.outbox if key not in self._failing or self._failing[key].again_s <= now_s]
        failed: dict[RecordKey, str] = {}
        for kind in (ServiceId, SchemaId, object):  # an instance needs its service
            await at_once(self._send_waiting(key, failed) for key in due if isinstance(key, kind))
        for key, reason in failed.items():
            since_s = self._failing[key].since_s if key in self._failing else now_s
            self._failing[key] = Failing(since_s, now_s + SENT_AGAIN_AFTER_S)
            if now_s - since_s >= GIVEN_UP_AFTER_S and key in self.outbox:
                self._give_up(key, self.outbox[key], reason)

    async def _send_waiting(self, key: RecordKey, failed: dict[RecordKey, str]) -> None:
        waiting = self.outbox.get(key)
        if waiting is None:
            return
        write = waiting.write
        if isinstance(write, Put) and isinstance(write.record, Instance) and not self.is_alive(write.record.key):
            self._drop_waiting(key, waiting)  # its lease ended meanwhile: the reading that follows will not find it
            return
        with self.traces.writing(key):
            try:
                await self._send(waiting)
            except UpstreamRefused as error:
                log.error("a write that waited is not taken there record=%s reason=%s", told(key), error)
            except Exception as error:
                _note_failure(failed, key, error)
                return
        self._drop_waiting(key, waiting)

    def _give_up(self, key: RecordKey, waiting: Waiting, reason: str) -> None:
        """It answers, but cannot stand this write."""
        log.error("a write that waited is given up record=%s reason=%s", told(key), reason)
        write = waiting.write
        if isinstance(write, Put) and isinstance(write.record, Instance):
            self._park(write.record.key, reason)
        self._drop_waiting(key, waiting)

    def _drop_waiting(self, key: RecordKey, sent: Waiting) -> None:
        self._failing.pop(key, None)
        if self.outbox.get(key) is sent:  # a later one goes with the next round
            del self.outbox[key]

    async def push(self, instances: Iterable[Instance]) -> None:
        """Register again what is held here, with what it needs there. A few that fail are parked for a while.

        Raises StoreUnavailable when many fail.
        """
        failed: dict[RecordKey, str] = {}
        pushed = list(instances)
        services = {ServiceId(one.key.space.tenant, one.key.group) for one in pushed if _has_service(one)}
        needed = [self._held[key] for key in services if key in self._held and self._backend.takes(key)]
        schemas = (
            [self._held[key] for key in self._held if isinstance(key, SchemaId) and key.service in services]
            if needed
            else []
        )
        for records in (needed, schemas, pushed):
            await at_once(self._push_or_note(record.key, failed) for record in records)
        for key, reason in failed.items():
            if isinstance(key, InstanceKey) and key in self._held:
                self._park(key, reason)

    async def _push_or_note(self, key: RecordKey, failed: dict[RecordKey, str]) -> None:
        try:
            await self._push_one(key)
        except Exception as error:
            _note_failure(failed, key, error)

    async def _push_one(self, key: RecordKey) -> None:
        async with self._turns.of(key):
            record = self._held.get(key)
            if record is None or self._refused.get(key) is record:  # ended while others were pushed, or in vain
                return
            with self.traces.writing(key):
                try:
                    await self._backend.put(record, None)
                except UpstreamRefused as error:
                    if isinstance(record, Instance):
                        self._park(record.key, str(error))
                    else:
                        self._refused[key] = record
                        log.warning("not taken there again record=%s reason=%s", told(key), error)
                else:
                    self.parked.pop(key, None)

    async def offer_parked(self) -> None:
        """Once more, what was not taken a while ago."""
        now_s = self._clock.monotonic_s()
        await at_once(self._offer(key) for key, parked in list(self.parked.items()) if parked.again_s <= now_s)

    async def _offer(self, key: RecordKey) -> None:
        try:
            await self._push_one(key)
        except Exception as error:  # whether it answers at all, the readings find out
            self.parked[key] = Parked(str(error), self._clock.monotonic_s() + PARKED_FOR_S)

    # What readings need to know

    def is_alive(self, key: InstanceKey) -> bool:
        """Whether its owner has been heard here within its lease."""
        return self._alive_until_s.get(key, float("-inf")) > self._clock.monotonic_s()

    def is_settled(self, key: RecordKey, read_s: float) -> bool:
        """Whether a reading that began then may judge a record."""
        return key not in self.outbox and key not in self.parked and self.traces.is_before(key, read_s)

    def lapsed(self) -> list[RecordKey]:
        """Parked instances whose lease has ended: nobody else can end them."""
        return [key for key in self.parked if isinstance(key, InstanceKey) and not self.is_alive(key)]

    def forget(self, key: RecordKey) -> None:
        """It is gone, whoever ended it."""
        if isinstance(key, InstanceKey):
            self._alive_until_s.pop(key, None)
            self._due.pop(key, None)
            self._unknown.discard(key)

    def tidy(self) -> None:
        """Let go of what can matter no more."""
        now_s = self._clock.monotonic_s()
        if now_s - self._tidied_s < TIDY_EVERY_S:
            return
        self._tidied_s = now_s
        for gone in [key for key in self._alive_until_s if key not in self._held and key not in self.outbox]:
            self.forget(gone)
        self._refused = {key: record for key, record in self._refused.items() if self._held.get(key) is record}
        self.traces.tidy()


def told(key: RecordKey) -> str:
    """A key as log lines have it: clients choose ids, and as long ones as they like."""
    return repr(key)[:200]


def _note_failure(failed: dict[RecordKey, str], key: RecordKey, error: Exception) -> None:
    """One record that cannot be written keeps no other waiting. Raises the error when it is more than a few."""
    failed[key] = str(error) or repr(error)
    if not isinstance(error, StoreUnavailable):
        log.error("a fault of ours record=%s", told(key), exc_info=error)
    elif len(failed) > rules.FEW:
        raise error


def _is_foreign(instance: Instance, backend: Backend) -> bool:
    """Whether its owner speaks another protocol: then a refusal there is none of its business."""
    return instance.key.origin is not backend.origin


def _has_service(instance: Instance) -> bool:
    return instance.key.origin is Origin.SERVICECENTER
