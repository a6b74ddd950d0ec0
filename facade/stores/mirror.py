"""Our picture of one registry behind us: read every second, at once after a hint, and believed by these rules.

1.  No answer is not an empty answer: while the registry is away nothing is removed.
2.  When it is back, what waits and all that is alive here is pushed first, then compared.
3.  What was written meanwhile is not judged by a reading that began before, or that may still be behind.
4.  When nearly all is gone at once, that is doubted for the length of a lease: more likely it came back empty.

Only differences reach the local store, and with it every reader. What goes the other way is in `outward.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from itertools import chain

from msgspec.structs import replace

from facade.clock import Clock
from facade.errors import MalformedDocument, OwnStoreUnavailable, StoreUnavailable, UpstreamRefused
from facade.registry import rules
from facade.registry.model import Cause, Instance, InstanceKey, Microservice, Record, RecordKey
from facade.registry.store import Put, Remove, StoreHealth, Write, key_of
from facade.registry.turns import Turns, in_turns
from facade.stores.backend import Backend, Seen
from facade.stores.contact import Contact, at_once
from facade.stores.outward import Outward

READ_EVERY_S = 1.0
READ_AT_MOST_EVERY_S = 0.1
"""A registry in which much happens hints all the time."""
RENEW_EVERY_S = 1.5
WATCH_AGAIN_AFTER_S = 10.0
FIRST_READING_WITHIN_S = 10.0
CHANGES_A_COMMIT = 200
KEYS_A_TURN = 2_000
COMPARED_A_TURN = 50
"""What is shown, looked at, or compared, in one turn of the event loop: at most 10 ms; renewals come between."""
STALE_AFTER_S = 5.0
"""Readings that take longer than this are late: the registry answers, but slowly."""
DOUBTED_FOR_S = 90.0
"""The common lease: whoever is alive has registered again by then, here or there."""
DOUBTED_SHARE = 0.8
"""Of all instances, gone at once. Source: ServiceCenter's own self-protection, datasource/etcd/sd/types.go."""
RECOVERS_FOR_S = 60.0
"""So long after its return a registry may still find out what it has lost: a ServiceCenter whose leases ended in etcd
answers from its caches first."""
DOUBTED_AFTER_RETURN_S = 10.0
"""So long after its return even a handful that is gone altogether is doubted."""

log = logging.getLogger(__name__)

Apply = Callable[[Sequence[Write]], Awaitable[object]]


class Mirror:
    def __init__(
        self,
        backend: Backend,
        clock: Clock,
        *,
        concerns: Callable[[RecordKey], bool] | None = None,
        is_strict: bool = False,
    ) -> None:
        """`concerns` tells which records belong there; others that are found there are copies. `is_strict` refuses
        writes while nobody answers."""
        self.backend = backend
        self.concerns = concerns or backend.takes
        self.copies: Mapping[RecordKey, Record] = {}
        """What the last reading found there that belongs elsewhere."""
        self.contact = Contact(backend.title, clock)
        self._clock = clock
        self._is_strict = is_strict
        self._hint = asyncio.Event()
        self._read_s: float | None = None
        self._read_whole_s = float("-inf")
        self._returned_s = float("-inf")
        self._revisit: set[RecordKey] = set()
        self._compared = 0
        self._doubted: set[RecordKey] = set()
        self._doubted_since_s: float | None = None
        self._opened_s = clock.monotonic_s()

    async def open(self, held: Mapping[RecordKey, Record], apply: Apply, turns: Turns) -> None:
        """Read for the first time. `held` is what we show, ours to look at; `apply` writes differences into it;
        `turns` are those of its writers."""
        self._held, self._apply = held, apply
        self._opened_s = self._clock.monotonic_s()
        self._had_data = any(map(self.concerns, held))
        self.outward = Outward(
            self.backend, held, turns, self.contact, self._clock, self.hint, is_strict=self._is_strict
        )
        self.backend.lookup = held.get
        self.backend.expect(held)
        with self.contact.guarded():
            try:
                async with asyncio.timeout(FIRST_READING_WITHIN_S):
                    await self._read(is_whole=True)
            except TimeoutError:
                raise StoreUnavailable(f"no whole answer within {FIRST_READING_WITHIN_S:g} s") from None

    async def run(self) -> None:
        """Read, renew and listen until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read_forever())
            tasks.create_task(self._renew_forever())
            tasks.create_task(self._watch_forever())

    @property
    def is_current(self) -> bool:
        """Whether what we show of it is what it holds, as far as we can know."""
        return self._read_s is not None and not self.contact.is_lost and not self._doubted

    @property
    def _is_recovering(self) -> bool:
        return self._clock.monotonic_s() - self._returned_s < RECOVERS_FOR_S

    def hint(self) -> None:
        """Something may have changed there: read now."""
        self._hint.set()

    def health(self) -> StoreHealth:
        return StoreHealth(
            is_writable=not self.contact.is_lost,
            text=self._text(),
            waiting=len(self.outward.outbox),
            parked=len(self.outward.parked),
            doubted=len(self._doubted),
            trouble=self.contact.trouble,
        )

    @property
    def has_data(self) -> bool:
        """False: nothing was ever read, so there is nothing to show."""
        return self._read_s is not None or self._had_data

    @property
    def data_age_s(self) -> float:
        """Of what we show; 0 while it answers within the time that readings take."""
        since_s = self._read_s if self._read_s is not None else self._opened_s
        if self._doubted_since_s is not None:
            since_s = min(since_s, self._doubted_since_s)
        age_s = self._clock.monotonic_s() - since_s
        is_old = self.contact.is_lost or self._doubted_since_s is not None or age_s > STALE_AFTER_S
        return age_s if is_old else 0.0

    def _text(self) -> str:
        told = []
        if self.contact.is_lost:
            told.append(
                f"has not answered for {self.contact.lost_for_s:.0f} s ({self.contact.trouble}): what is shown is as "
                "old, renewals go on, nothing is evicted, writes "
                + ("are refused" if self._is_strict else "wait for its return")
            )
        else:
            told.append("answers")
        if self.outward.outbox:
            told.append(f"writes that wait: {len(self.outward.outbox)}")
        if self.backend.truncated:
            told.append(f"instances that are too large for it and cut there: {self.backend.truncated}")
        if self.outward.parked:
            told.append(f"instances that do not fit there and are listed by us alone: {len(self.outward.parked)}")
        if self._doubted:
            told.append(
                f"{len(self._doubted)} records are gone there all at once: they are shown until they have been missing "
                f"for {DOUBTED_FOR_S:.0f} s"
            )
        return f"{self.backend.title} {'; '.join(told)}."

    async def _read_forever(self) -> None:
        while True:
            try:
                async with asyncio.timeout(READ_EVERY_S):
                    await self._hint.wait()
            except TimeoutError:
                pass
            self._hint.clear()
            await self.refresh()
            await asyncio.sleep(READ_AT_MOST_EVERY_S)

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            with self.contact.guarded():
                await self.outward.tell_renewals(is_recovering=self._is_recovering)
                await self._end_lapsed()
                if not self.contact.is_lost:
                    await self.outward.offer_parked()
                self.outward.tidy()

    async def _watch_forever(self) -> None:
        """Without it all is seen a second later: no fault of it counts as one of the registry."""
        while True:
            try:
                await self.backend.watch(self.hint)
            except Exception:
                log.exception("the watch ended by a fault of ours registry=%s", self.backend.title)
            await asyncio.sleep(WATCH_AGAIN_AFTER_S)

    async def _end_lapsed(self) -> None:
        """Parked instances have nobody else to end them."""
        lapsed = [Remove(key, Cause.LAPSED) for key in self.outward.lapsed()]
        for write in lapsed:
            self.outward.parked.pop(write.key, None)
        await self._commit(lapsed)

    async def refresh(self) -> None:
        """Look what has changed there; when it has been away, catch up first."""
        with self.contact.guarded():
            if self.contact.is_lost:
                await self._return()
            else:
                await self._read(is_whole=self._clock.monotonic_s() - self._read_whole_s >= self.backend.whole_every_s)
                await self.outward.send_waiting()  # it answers, as we have just seen

    async def _return(self) -> None:
        await self.backend.read(is_whole=True)  # it answers, and in a way to rely on
        await self.outward.catch_up()
        self.contact.regain()
        self._returned_s = self._clock.monotonic_s()
        await self._read(is_whole=True)

    # Belief

    async def _read(self, *, is_whole: bool) -> None:
        began_s, last_whole_s = self._clock.monotonic_s(), self._read_whole_s
        self._read_whole_s = float("-inf")  # whatever ends this reading early: the next one looks at all
        seen = await self.backend.read(is_whole=is_whole)
        is_whole = is_whole or seen.changed is None
        if is_whole:
            known = chain(self._held, self.copies)
            keys: list[RecordKey] = [*seen.records, *(key for key in known if key not in seen.records)]
        else:
            keys = [*{*(seen.changed or ()), *self._revisit, *self.outward.traces.take_unread()}]
        self._revisit = set()
        await self._note_copies(keys, seen)
        await self._show(await self._differences(keys, seen, began_s), began_s)
        self._read_s = began_s
        self._read_whole_s = began_s if is_whole else last_whole_s

    async def _note_copies(self, keys: Sequence[RecordKey], seen: Seen) -> None:
        """Look out for what belongs elsewhere."""
        changed: dict[RecordKey, Record | None] = {}
        async for key in in_turns(keys, KEYS_A_TURN):
            if not self.concerns(key) and self.copies.get(key) is not (copy := seen.records.get(key)):
                changed[key] = copy
        if changed:
            merged = {**self.copies, **changed}
            self.copies = {key: copy for key, copy in merged.items() if copy is not None}

    async def _differences(self, keys: Sequence[RecordKey], seen: Seen, began_s: float) -> list[Write]:
        writes: list[Write] = []
        gone: list[RecordKey] = []
        async for key in in_turns(filter(self.concerns, keys), KEYS_A_TURN):
            here, there = self._held.get(key), seen.records.get(key)
            if not self.outward.is_settled(key, began_s):
                self._revisit.add(key)
            elif there is None:
                if here is not None and not self._was_parked(here):
                    gone.append(key)
            elif here is there:
                continue
            elif here is None:
                if await self._is_really_there(there):
                    writes.append(Put(there, Cause.REGISTERED))
            elif not await self._is_known_so(here, there):
                writes.append(Put(_with_our_times(there, here), Cause.AMENDED))
        writes += [Put(record) for record in self.backend.rebuilt() if self._is_missing_here(record)]
        return writes + [Remove(key, Cause.GONE) for key in await self._believed(gone)]

    def _was_parked(self, here: Record) -> bool:
        """Whether it never was there, because it does not fit: known again by the first reading after a start."""
        return self._read_s is None and isinstance(here, Instance) and self.outward.parks_again(here)

    async def _is_really_there(self, there: Record) -> bool:
        """What we have just ended may be shown for a while by caches: asked live."""
        if not self.outward.traces.was_ended(there.key) or await self.backend.holds(there):
            return True
        self._revisit.add(there.key)
        return False

    async def _really_gone(self, gone: Sequence[RecordKey]) -> list[RecordKey]:
        """Less those that we have just written, and that may be shown late: asked live."""
        really: list[RecordKey] = []

        async def ask(key: RecordKey) -> None:
            here = self._held.get(key)
            if here is None or not self.outward.traces.was_written(key):
                really.append(key)
                return
            try:
                is_there = await self.backend.holds(here)
            except StoreUnavailable:  # of this one nothing can be known now
                is_there = True
            if is_there:
                self._revisit.add(key)
            else:
                really.append(key)

        await at_once(ask(key) for key in gone)
        return really

    async def _without_alive(self, gone: Sequence[RecordKey]) -> list[RecordKey]:
        """Less those whose owners renew here: it lost them while it was away, and takes time to know it."""
        alive = {
            key: one
            for key in gone
            if isinstance(one := self._held.get(key), Instance) and self.outward.is_alive(one.key)
        }
        self._revisit |= alive.keys()
        await self.outward.push(alive.values())
        return [key for key in gone if key not in alive]

    async def _is_known_so(self, here: Record, there: Record) -> bool:
        if is_same(here, there):
            return True
        self._compared += 1
        if self._compared % COMPARED_A_TURN == 0:
            await asyncio.sleep(0)
        try:
            return is_same(self.backend.as_kept(here), there)
        except UpstreamRefused:  # what is here would not even fit there
            return False

    def _is_missing_here(self, record: Record) -> bool:
        return record.key not in self._held and not self.outward.traces.was_ended(record.key)

    async def _believed(self, gone: list[RecordKey]) -> list[RecordKey]:
        """Those of the gone that are taken for gone."""
        if self._doubted_since_s is not None:
            return self._still_doubting(gone, self._doubted_since_s)
        if self._is_recovering:
            gone = await self._without_alive(gone)
        if not self._are_nearly_all(gone):
            return await self._really_gone(gone)
        log.error("nearly all is gone at once registry=%s records=%d: doubted", self.backend.title, len(gone))
        self._doubted, self._doubted_since_s = set(gone), self._clock.monotonic_s()
        self._revisit |= self._doubted
        instances = [one for one in map(self._held.get, gone) if isinstance(one, Instance)]
        await self.outward.push(one for one in instances if self.outward.is_alive(one.key))
        return []

    def _still_doubting(self, gone: list[RecordKey], since_s: float) -> list[RecordKey]:
        """Who is back is doubted no more, who goes now is if they are nearly all together; in the end all are gone."""
        still = self._doubted & {*gone, *self._revisit}
        if self._clock.monotonic_s() - since_s >= DOUBTED_FOR_S:
            self._doubted = set()
        else:
            self._doubted = {*still, *gone} if self._are_nearly_all({*still, *gone}) else still
        if not self._doubted:
            self._doubted_since_s = None
        self._revisit |= self._doubted
        return [key for key in gone if key not in self._doubted]

    def _are_nearly_all(self, gone: Collection[RecordKey]) -> bool:
        missing = sum(isinstance(key, InstanceKey) for key in gone)
        if not missing:
            return False
        held = sum(isinstance(key, InstanceKey) and self.concerns(key) for key in self._held)
        if self._clock.monotonic_s() - self._returned_s < DOUBTED_AFTER_RETURN_S and missing == held:
            return True
        return missing > rules.FEW and missing >= DOUBTED_SHARE * held

    async def _show(self, writes: list[Write], began_s: float) -> None:
        for start in range(0, len(writes), CHANGES_A_COMMIT):
            part = [write for write in writes[start : start + CHANGES_A_COMMIT] if self._is_still_true(write, began_s)]
            for write in part:
                if not isinstance(write, Put):
                    self.outward.forget(write.key)
            await self._commit(part)
            await asyncio.sleep(0)

    async def _commit(self, writes: Sequence[Write]) -> None:
        try:
            await self._apply(writes)
        except StoreUnavailable as error:
            raise OwnStoreUnavailable(str(error)) from error
        except MalformedDocument as error:
            if len(writes) > 1:
                for write in writes:
                    await self._commit([write])
            else:
                log.warning("cannot be kept here record=%s reason=%s", key_of(writes[0]), error)

    def _is_still_true(self, write: Write, began_s: float) -> bool:
        """Whether nobody has written the record here while others were being compared."""
        key = key_of(write)
        if self.outward.is_settled(key, began_s) or not self.concerns(key):
            return True
        self._revisit.add(key)
        return False


def is_same(one: Record, other: Record) -> bool:
    """Whether no reader could tell the two apart, timestamps of servers aside."""
    if isinstance(one, Instance) and isinstance(other, Instance):
        return rules.is_same_but_for_time(one, other)
    if isinstance(one, Microservice) and isinstance(other, Microservice):
        return one == replace(other, registered_ms=one.registered_ms, updated_ms=one.updated_ms)
    return one == other


def _with_our_times(there: Record, here: Record) -> Record:
    """What it says, less what only we know more exactly."""
    if isinstance(there, Instance) and isinstance(here, Instance):
        return replace(there, registered_ms=here.registered_ms, source_address=here.source_address)
    return there
