"""One store on its way to take the place of another, while the server runs.

look    open the new store and see what it lacks, what it has, and what does not fit there
copy    bring over what it lacks, a little at a time; what changes meanwhile is brought over at once
compare look at every record once more, until the two are alike
flip    hold writes up for a moment, bring over what is left, and make the new store current

The store before is the truth until the flip: what fails at the new one is tried again, is noted, and harms no client.
Until then it can be called off, and a process that dies starts again over the old store. What only the new store holds
stays there, and is shown from the flip on; so do accounts, roles and the key that signs tokens where other servers live
with it already.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from functools import partial

from facade.errors import FacadeError, MalformedDocument, StartRefused, StoreUnavailable, UpstreamRefused
from facade.registry.model import AccountName, InstanceKey, Record, RecordKey, Revision, RoleName, SigningKeyName
from facade.registry.registry import Registry
from facade.registry.store import Commit, Put, Remove, Store, Write, key_of
from facade.registry.turns import in_turns
from facade.stores.contact import at_once
from facade.stores.mirror import is_same
from facade.stores.survey import RANKS, RECORDS_A_TURN, Plan, Survey, fit_of, named, rank_of, surveyed
from facade.stores.switching import SwitchingStore
from facade.stores.upstream import UpstreamStore

TOLD_AT_MOST = 5
"""Refused records that are told by name."""
SLICE = 500
"""Records that are brought over together."""
TRY_AGAIN_S = 1.0
OF_ACCESS = (AccountName, RoleName, SigningKeyName)
"""Kinds of records that say who is let in."""
HELD_UP_AT_MOST_S = 1.0
"""Clients' writes wait so long at a flip; if it takes longer it is put off, and tried again."""
RENEWALS_TOLD_EVERY_S = 0.1

log = logging.getLogger(__name__)


class OnlyThere(StrEnum):
    """What is to become of records that only the new store holds, where nobody else writes them: one that was left
    before holds what has ended since, services and accounts among it."""

    REFUSE = "refuse"
    KEEP = "keep"
    REMOVE = "remove"


class Phase(StrEnum):
    LOOKING = "looking"
    LOOKED = "looked"
    """The end of one that was to tell its plan only."""
    COPYING = "copying"
    COMPARING = "comparing"
    SWITCHED = "switched"
    CALLED_OFF = "called off"
    FAILED = "failed"

    @property
    def is_end(self) -> bool:
        return self in (Phase.LOOKED, Phase.SWITCHED, Phase.CALLED_OFF, Phase.FAILED)


class Switch:
    def __init__(
        self,
        store: SwitchingStore,
        registry: Registry,
        to: Store,
        title: str,
        *,
        rate: float = 0.0,
        only_there: OnlyThere = OnlyThere.REFUSE,
        is_ourselves: Callable[[], Awaitable[bool]] | None = None,
        note_switched: Callable[[], None] = lambda: None,
        is_dry: bool,
    ) -> None:
        """`title` is the new store for people; `rate` is how many records a second are copied at most, 0 for as many
        as go; `is_ourselves` finds out whether the new one is this server; `note_switched` is called at the flip;
        `is_dry` only looks."""
        self.title = title
        self.phase = Phase.LOOKING
        self.survey: Survey | None = None
        self.plan: Plan | None = None
        """The same as it is told to people."""
        self.total = 0
        """Records to be copied."""
        self.copied = 0
        self.trouble = ""
        """What the new store had to say last, when it failed; or why all failed."""
        self.unrenewed = 0
        """Instances that nobody has renewed here: their owners are elsewhere, or gone."""
        self._store = store
        self._registry = registry
        self._to = to
        self._rate = rate
        self._on_only_there = only_there
        self._is_ourselves = is_ourselves
        self._note_switched = note_switched
        self._is_dry = is_dry
        self._is_called_off = False
        self._there: dict[RecordKey, Record] = {}
        self._revision: Revision = 0
        """Of the new store."""
        self._ours: set[RecordKey] = set()
        """What we held at some time since this began: of these the old store is the truth."""
        self._only_there: set[RecordKey] = set()
        self._theirs: set[RecordKey] = set()
        """Of these the new store is the truth, though we hold them as well."""
        self._changed: dict[RecordKey, None] = {}
        """To be brought over anew."""
        self._refused: dict[RecordKey, str] = {}
        self._renewed: dict[InstanceKey, int] = {}
        self._before: Store | None = None
        """The store that was current until the flip."""

    async def run(self) -> Store | None:
        """To its end, whichever that is; returns the store before when it has been switched: the caller closes it."""
        telling = asyncio.create_task(self._tell_forever())
        try:
            await self._look()
            if self._is_dry:
                self.phase = Phase.LOOKED
            else:
                await self._carry_over()
        except asyncio.CancelledError:
            self.phase = Phase.CALLED_OFF
        except FacadeError as error:
            self.phase, self.trouble = Phase.FAILED, str(error)
        except Exception as error:
            log.exception("a switch of stores failed by a fault of ours to=%s", self.title)
            self.phase, self.trouble = Phase.FAILED, f"a fault of this server, see its log: {error!r}"
        telling.cancel()
        await asyncio.wait((telling,))
        self._store.note = ""
        if self._before is None:
            self._store.listen(None, None)
            with suppress(Exception):  # it never was of importance
                await self._to.close()
        else:
            await self._registry.watch_again()
            await self._tell()
        # The settings are to be changed, or something is amiss.
        is_remarkable = self.phase in (Phase.SWITCHED, Phase.FAILED)
        level = logging.WARNING if is_remarkable else logging.INFO
        log.log(level, "switch of stores to=%s phase=%s trouble=%s", self.title, self.phase, self.trouble or "none")
        return self._before

    def call_off(self, running: asyncio.Task[object]) -> None:
        """`running` is the task of `run`. A cancellation alone may be swallowed on its way, as redis-py does while it
        connects, and a switch that nobody wants any more would go on."""
        self._is_called_off = True
        running.cancel()

    def _go_on(self) -> None:
        if self._is_called_off:
            raise asyncio.CancelledError

    # Looking

    async def _look(self) -> None:
        self._refuse_to_leave_others()
        if self._is_ourselves is not None and await self._is_ourselves():
            raise StartRefused(f"store: {self.title} is this server itself, which would copy its own answers for ever")
        snapshot = await self._to.open(self._store.follower_of(self._to, self._hear_new))
        self._go_on()
        self._revision = max(self._revision, snapshot.revision)
        self._there |= {record.key: record for record in snapshot.records}
        self._refuse_absent()
        self._store.listen(self._hear_old, self._note_renewals)
        self.survey = await surveyed(self._present(), self._there, partial(fit_of, to=self._to))
        async for key in in_turns(self._there, RECORDS_A_TURN):
            if key not in self._ours and key in self._there:
                self._only_there.add(key)
        if self._has_others_there():  # their clients' tokens and passwords go on to be good
            self._theirs = {key for key in self._there if isinstance(key, OF_ACCESS)}
            self.survey.leave(self._theirs)
        self.plan = self.survey.told()
        self.total = len(self.survey.missing) + len(self.survey.differing)

    def _present(self) -> Iterator[Record]:
        """All records, each as it is when it is looked at."""
        catalogue = self._registry.catalogue
        for key in catalogue.record_keys():
            self._ours.add(key)
            if isinstance(key, InstanceKey) and self._store.keeps_lease(key):
                lease = catalogue.lease(key)
                self.unrenewed += lease is not None and not lease.renewed_ms
            record = catalogue.find(key)
            if record is not None:
                yield record

    def _refuse_to_leave_others(self) -> None:
        others = [node.name for node in self._registry.nodes() if not (node.is_self or node.is_missing)]
        if others:
            raise StartRefused(f"other servers share the present store: {', '.join(others)}; stop them first")

    def _refuse_absent(self) -> None:
        health = self._to.health()
        if not (self._to.has_data and health.is_writable):
            raise StoreUnavailable(health.trouble or health.text)

    # Carrying over

    async def _carry_over(self) -> None:
        assert self.survey is not None, "looked at before"
        if self.survey.refused:
            raise UpstreamRefused(_reasons(self.survey.refused))
        self._decide_on_only_there()
        await self._copy([*self.survey.missing, *self.survey.differing])
        while True:
            self.phase = Phase.COMPARING
            await self._bring_changes()
            if not await self._compare():
                continue
            if await self._try_to_flip():
                return
            await asyncio.sleep(TRY_AGAIN_S)

    def _decide_on_only_there(self) -> None:
        unowned = [key for key in self._only_there if self._is_nobodys(key)]
        if unowned and self._on_only_there is OnlyThere.REFUSE:
            raise StartRefused(
                f"{len(unowned)} records are only there, perhaps left and ended since ({named(unowned[0])}): say "
                "with --only-there whether to keep or to remove them"
            )
        if self._on_only_there is OnlyThere.REMOVE:
            self._ours |= set(unowned)
            self._only_there -= set(unowned)
            self._changed |= dict.fromkeys(unowned)

    def _is_nobodys(self, key: RecordKey) -> bool:
        if isinstance(self._to, UpstreamStore):
            return self._to.is_here_alone(key)
        return not self._has_others_there()

    def _has_others_there(self) -> bool:
        nodes = self._to.cluster.nodes() if self._to.cluster is not None else ()
        return not all(node.is_self or node.is_missing for node in nodes)

    async def _copy(self, keys: Sequence[RecordKey]) -> None:
        """Slowly enough for others; what changes meanwhile does not wait for its turn."""
        self.phase = Phase.COPYING
        size = max(1, min(SLICE, int(self._rate / 10))) if self._rate else SLICE
        left = deque(keys)
        began_s = asyncio.get_running_loop().time()
        while left:
            part = [left.popleft() for _ in range(min(size, len(left)))]
            await self._bring(part)
            self.copied += len(part)
            self._store.note = f"Being switched to {self.title}: {self.copied} of {self.total} records are copied."
            await self._bring_changes()
            due_s = self.copied / self._rate if self._rate else 0.0
            await asyncio.sleep(max(0.0, began_s + due_s - asyncio.get_running_loop().time()))

    async def _bring_changes(self) -> None:
        """Until there are none. Raises UpstreamRefused for what the new store will never take."""
        while self._changed:
            changed, self._changed = list(self._changed), {}
            for start in range(0, len(changed), SLICE):
                await self._bring(changed[start : start + SLICE])
            if self.trouble:
                await asyncio.sleep(TRY_AGAIN_S)

    async def _bring(self, keys: Iterable[RecordKey]) -> None:
        self._go_on()
        writes = [write for key in keys if (write := self._missing(key)) is not None]
        self.trouble = ""
        puts = [write for write in writes if isinstance(write, Put)]
        removes = [write for write in writes if isinstance(write, Remove)]
        for rank in RANKS:
            await self._write_all([put for put in puts if rank_of(put.record.key) == rank])
        for rank in reversed(RANKS):
            await self._write_all([remove for remove in removes if rank_of(remove.key) == rank])
        if self._refused:
            raise UpstreamRefused(_reasons(self._refused))
        for key in (put.record.key for put in puts):
            if isinstance(key, InstanceKey) and (remaining_ms := self._registry.remaining_ms(key)):
                self._renewed[key] = remaining_ms

    def _missing(self, key: RecordKey) -> Write | None:
        """What makes the new store hold of this record what the old one does."""
        if key in self._theirs:
            return None
        here, there = self._registry.catalogue.find(key), self._there.get(key)
        if here is None:
            return Remove(key) if there is not None and key in self._ours else None
        return None if there is not None and is_same(there, here) else Put(here)

    async def _write_all(self, writes: Sequence[Write]) -> None:
        """In one commit where the store is ours; if that fails, one by one, for one of them may be what it cannot."""
        if writes and not isinstance(self._to, UpstreamStore):
            with suppress(FacadeError):
                await self._to.write(writes)
                return
        await at_once(map(self._write, writes))

    async def _write(self, write: Write) -> None:
        key = key_of(write)
        try:
            await self._to.write([write])
        except (UpstreamRefused, MalformedDocument) as refusal:
            self._refused[key] = str(refusal)
        except FacadeError as error:
            self._changed[key] = None
            self.trouble = str(error)

    async def _compare(self) -> bool:
        """Whether all records are alike but for those known to have changed meanwhile."""
        differing: dict[RecordKey, None] = {}
        async for key in in_turns(self._registry.catalogue.record_keys(), RECORDS_A_TURN):
            if key not in self._changed and self._missing(key) is not None:
                differing[key] = None
        self._changed |= differing
        return not differing

    async def _try_to_flip(self) -> bool:
        """False when it has to be put off."""
        await self._registry.prolong_kept()
        await self._bring_changes()
        try:
            async with asyncio.timeout(HELD_UP_AT_MOST_S), self._store.held_up():
                await self._bring_changes()
                await self._tell()
                if self._changed or not self._has_all():
                    return False
                self._go_on()
                last = Commit(self._revision, self._registry.clock.now_ms(), tuple(self._shown_from_now_on()))
                self._before = self._store.flip(self._to, last)
                self._note_switched()  # before anybody may hear of it
                self.phase = Phase.SWITCHED
        except TimeoutError:
            self.trouble = f"writes under way, or to {self.title}, took longer than {HELD_UP_AT_MOST_S:g} s"
            return False
        self.trouble = ""
        return True

    def _shown_from_now_on(self) -> Iterator[Write]:
        """What the new store holds otherwise than the old one."""
        for key in self._only_there | self._theirs:
            if key in self._there:
                yield Put(self._there[key])
            elif key in self._theirs:  # removed by the others since we looked
                yield Remove(key)

    def _has_all(self) -> bool:
        """Whether nothing of it waits in our memory alone."""
        health = self._to.health()
        if health.is_writable and not health.waiting and not health.doubted:
            return True
        self.trouble = health.trouble or health.text
        return False

    # What is heard

    def _hear_old(self, commit: Commit) -> None:
        for key in map(key_of, commit.writes):
            self._ours.add(key)
            self._only_there.discard(key)
            self._changed[key] = None

    def _hear_new(self, commit: Commit) -> None:
        self._revision = commit.revision
        for write in commit.writes:
            key = key_of(write)
            if isinstance(write, Put):
                self._there[key] = write.record
            else:
                self._there.pop(key, None)
            if key not in self._ours:
                (self._only_there.add if key in self._there else self._only_there.discard)(key)
            elif self._missing(key) is not None:
                self._changed[key] = None

    # Renewals

    def _note_renewals(self, remaining_ms: Mapping[InstanceKey, int]) -> None:
        self._renewed.update(remaining_ms)

    async def _tell_forever(self) -> None:
        while True:
            await asyncio.sleep(RENEWALS_TOLD_EVERY_S)
            await self._tell()

    async def _tell(self) -> None:
        """Of those that are there: who is copied later begins with what remains then."""
        renewed, self._renewed = self._renewed, {}
        there = {key: remaining_ms for key, remaining_ms in renewed.items() if key in self._there}
        try:
            if there:
                await self._to.renew(there)
        except BaseException as error:
            self._renewed = there | self._renewed
            if not isinstance(error, FacadeError):
                raise


def _reasons(refused: Mapping[RecordKey, str]) -> str:
    some = [f"{named(key)}: {why}" for key, why in list(refused.items())[:TOLD_AT_MOST]]
    more = f"; and {len(refused) - TOLD_AT_MOST} more" if len(refused) > TOLD_AT_MOST else ""
    return f"not taken there: {'; '.join(some)}{more}"
