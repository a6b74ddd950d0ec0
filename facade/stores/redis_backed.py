"""Records in Redis, shared by any number of equal nodes: each serves all that there is from its memory.

Whatever is written, here or on another node, comes back by one log, in one order, and is shown when it does; so all
nodes show the same at the same revision. Write calls gather while one batch is under way, and share the next. A batch
says on which version of each record its calls were decided: who was overtaken is told so, and decides anew.

While Redis is away what is shown gets old and says so, renewals go on, nothing is evicted, and writes wait here (or are
refused, as the operator likes). On its return both sides compare: `reunion.py` says what each owes the other.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

from facade.clock import Clock
from facade.errors import MalformedDocument, Overtaken, StartRefused, StoreFull, StoreUnavailable
from facade.registry.model import InstanceKey, Revision
from facade.registry.store import Follower, Snapshot, StoreHealth, Write
from facade.stores.contact import Contact
from facade.stores.redis_calls import Call
from facade.stores.redis_link import Entry, Link, revision_of
from facade.stores.redis_nodes import Look, Nodes
from facade.stores.redis_picture import LOG_LENGTH, Picture, Step, encode
from facade.stores.redis_rejoining import Rejoining

WAITING_AT_MOST = 10_000
"""Records whose writes may wait for Redis; then writes are refused."""
CALLS_A_BATCH = 100
STEPS_A_CALL = 1_000
ENTRIES_A_TURN = 50
BEAT_EVERY_S = 1.0
TRY_AGAIN_S = 0.25
"""On average: nodes that lost Redis at once do not all come back at once."""
OLD_AFTER_S = 4.0
"""News are asked for every second; an answer that is late by more than this makes what is shown old."""
REJOINED_WITHIN_S = 5.0
DOUBTED_FOR_S = 3.0
"""For so long the log may keep us waiting for the end of what Redis does not know at a renewal."""

log = logging.getLogger(__name__)


class RedisStore:
    """Everything here runs on the event loop."""

    def __init__(self, link: Link, clock: Clock, node_name: str, gone_after_s: float, *, is_strict: bool) -> None:
        self._link = link
        self._clock = clock
        self._is_strict = is_strict
        self._id = secrets.token_hex(6)
        self._picture = Picture(clock, self._id)
        self._is_closing = False
        self._calls: list[Call] = []
        self._unshown: list[Call] = []
        """Committed, and not yet come back by the log."""
        self._committing: asyncio.Task[None] | None = None
        self._sending = asyncio.Lock()
        self._batches = 0
        self._joined = asyncio.Event()
        self._has_joined = False
        self._contact = Contact(link.title, clock)
        self._full = ""
        self._due: tuple[Revision, float] = (0, 0.0)
        """What the log had at a sign of life, and when that was."""
        self._doubted: dict[bytes, float] = {}
        """Records that we hold and that Redis did not know at a renewal: since when."""
        self._heard_s = clock.monotonic_s()
        self._tasks: list[asyncio.Task[None]] = []
        self.cluster = Nodes(link, self._picture.held, clock, self._id, node_name, gone_after_s)
        self._rejoining = Rejoining(link, self._picture, self.cluster, self._id, self._send)

    async def open(self, follower: Follower) -> Snapshot:
        """A Redis that cannot be reached is waited for, with nothing to show; one that will not do is refused."""
        try:
            await self._join()
        except StoreUnavailable as error:
            self._contact.lose(error)
        except StartRefused:
            await self._link.close()
            raise
        self._picture.follower = follower
        self._tasks = [asyncio.create_task(self._beat_forever()), asyncio.create_task(self._follow_forever())]
        records = [held.record for held in self._picture.held.values()]
        return Snapshot(self._picture.epoch, self._picture.shown, records)

    async def close(self) -> None:
        """What waits for an absent Redis is lost with us, unless its owner renews at another node."""
        self._is_closing = True
        if self._committing is not None:
            await asyncio.wait({self._committing}, timeout=REJOINED_WITHIN_S)
        if self._unshown:
            await asyncio.wait([call.answer for call in self._unshown], timeout=REJOINED_WITHIN_S)
        self._picture.follower = None
        under_way = set(self._tasks)
        while under_way:
            for task in under_way:
                task.cancel()
            _, under_way = await asyncio.wait(under_way, timeout=0.05)  # redis-py swallows one now and then
        for call in [*self._calls, *self._unshown]:
            call.fail(StoreUnavailable("the store is closed"))
        if self._joined.is_set():  # else we may have heard renewals that Redis has not: nobody is to end those leases
            with suppress(StoreUnavailable):
                await self._link.leave(self._id)
        await self._link.close()

    # What the registry asks

    async def write(self, writes: Sequence[Write]) -> Revision:
        if self._picture.follower is None or self._is_closing:
            raise StoreUnavailable("the store is not open")
        call = Call(writes, [self._step(write) for write in writes], asyncio.get_running_loop().create_future())
        if len(call.steps) > STEPS_A_CALL:
            raise MalformedDocument(f"{len(call.steps)} records at once; {STEPS_A_CALL} are the most")
        if not writes:
            return self._picture.shown
        if self._contact.is_lost:
            self._take_here(call)
        elif not self._joined.is_set():
            await self._until_joined()
        else:
            self._calls.append(call)
            if self._committing is None:
                self._committing = asyncio.create_task(self._commit_calls())
        return await call.answer

    async def _until_joined(self) -> NoReturn:
        """Redis answers, and is not what we knew: what a caller has decided on may change under it."""
        try:
            await asyncio.wait_for(self._joined.wait(), REJOINED_WITHIN_S)
        except TimeoutError:
            raise StoreUnavailable(f"{self._link.title} and this node are being compared") from None
        raise Overtaken("this node had not heard of all writes")

    async def renew(self, remaining_ms: Mapping[InstanceKey, int]) -> Collection[InstanceKey]:
        if not self._joined.is_set():
            raise StoreUnavailable(self._contact.trouble or "not joined yet")
        told = dict(zip(map(encode, remaining_ms), remaining_ms.values(), strict=True))
        try:
            unknown = await self._link.renew(self._id, told)
        except StoreUnavailable as error:
            self._lose(error)
            raise
        self.cluster.note_renewals(remaining_ms.keys())
        gone = set(self._gone(told, unknown))
        return [key for key in remaining_ms if encode(key) in gone] if gone else ()

    def _gone(self, asked: Collection[bytes], unknown: Collection[bytes]) -> Sequence[bytes]:
        """Those that Redis does not know and we do not hold. Of one that we hold the log is about to tell the end, or
        Redis has lost it, and gets it back: nobody has to register anew."""
        held, now_s = self._picture.held, self._clock.monotonic_s()
        for key in [key for key in self._doubted if key not in held or (key in asked and key not in unknown)]:
            del self._doubted[key]
        doubted = [key for key in unknown if key in held]
        if any(now_s - self._doubted.setdefault(key, now_s) > DOUBTED_FOR_S for key in doubted):
            log.warning("Redis has not got what it said it had: comparing store=%s", self._link.title)
            self._doubted.clear()
            self._rejoining.is_asked = True
            self._part()
        return [key for key in unknown if key not in held]

    def keeps_lease(self, key: InstanceKey) -> bool:
        return True

    @property
    def has_data(self) -> bool:
        return self._has_joined

    @property
    def data_age_s(self) -> float:
        age_s = self._clock.monotonic_s() - self._heard_s
        return age_s if self._contact.is_lost or age_s > OLD_AFTER_S else 0.0

    def health(self) -> StoreHealth:
        text = f"{self._link.title}, records: {len(self._picture.held)}"
        if self._contact.is_lost:
            why = self._contact.trouble.removeprefix("store: ").removeprefix(f"{self._link.title} ")
            shown = "what is shown is as old" if self.has_data else "nothing is known yet, so reads are refused"
            text += (
                f"; it has not answered for {self._contact.lost_for_s:.0f} s ({why}): {shown}, renewals go on, nothing "
                "is evicted, writes "
                + ("are refused" if self._is_strict else f"wait for its return: {len(self._picture.waiting)}")
            )
        elif self._full:
            text += f"; writes are refused: {self._full}; renewals, cancellations and reads go on"
        restored = self._rejoining.restored
        if restored:
            text += f"; records that it had lost and that this node put back: {restored}"
        is_writable = not self._contact.is_lost and not self._full
        waiting, trouble = len(self._picture.waiting), self._contact.trouble or self._full
        return StoreHealth(is_writable, text + ".", waiting=waiting, restored=restored, trouble=trouble)

    # Writes, while Redis answers

    def _step(self, write: Write) -> Step:
        """Raises MalformedDocument, in its writer's own call rather than in a batch shared with others."""
        try:
            return self._picture.step(write)
        except (UnicodeEncodeError, OverflowError) as error:
            raise MalformedDocument(f"cannot be kept: {error}") from error

    async def _commit_calls(self) -> None:
        """Commit until nobody waits. All who came during one batch share the next; the log tells when each is shown."""
        try:
            while self._calls:
                batch, self._calls = self._calls[:CALLS_A_BATCH], self._calls[CALLS_A_BATCH:]
                if self._joined.is_set():
                    await self._commit(batch)
                else:  # since they came: what waits here goes before them
                    self._put_off(batch)
        finally:
            self._committing = None

    def _put_off(self, batch: Sequence[Call]) -> None:
        for call in batch:
            if self._contact.is_lost:
                self._take_here(call)
            else:
                call.fail(Overtaken("this node had not heard of all writes"))

    async def _commit(self, batch: Sequence[Call], script: str = "commit") -> None:
        try:
            answers = await self._send([call.steps for call in batch], script)
        except StoreFull as error:
            self._full = str(error)
            await self._refuse_growth(batch, error)
        except StoreUnavailable as error:
            self._lose(error)
            for call in batch:
                self._take_here(call)
        except Exception as error:  # a fault of ours: whoever waits hears of it
            for call in batch:
                call.fail(error)
            log.exception("batch not committed")
        else:
            if script == "commit":
                self._full = ""
            for call, revision in zip(batch, answers[1:], strict=True):
                call.is_overtaken = revision < 0
                call.has_number = revision > 0
                call.due = revision if call.has_number else answers[0]  # what made it needless may not be shown yet
            self._unshown += batch
            first = next((call.due for call in batch if call.has_number), 0)
            if first and self._picture.is_of_another(first):
                self._lose(self._told_twice)
            elif self._joined.is_set():
                self._settle()
            else:
                self._part()

    async def _refuse_growth(self, batch: Sequence[Call], error: StoreFull) -> None:
        """Redis is out of memory. What only ends records makes room, and goes on."""
        for call in [call for call in batch if not call.only_ends]:
            call.fail(error)
        if ends := [call for call in batch if call.only_ends]:
            await self._commit(ends, script="end")

    async def _send(self, calls: Sequence[Sequence[Step]], script: str = "commit") -> Sequence[int]:
        """The revision of Redis, then for each call its own, 0 when it changed nothing, -1 when it was overtaken."""
        arguments: list[str | bytes | int] = []
        for steps in calls:
            arguments.append(len(steps))
            for step in steps:
                arguments += step
        async with self._sending:  # Redis keeps the answer to our last batch only, in case we ask again
            self._batches += 1
            epoch, known = self._picture.epoch, self._picture.revision
            answers: Sequence[int] = await self._link.run(
                script, self._id, self._batches, epoch, self._picture.shown, LOG_LENGTH, *arguments
            )
        if answers[0] >= 0:
            if answers[0] < known:  # it has lost what it had told us
                self._part()
            return answers
        if self._picture.epoch == epoch:
            self._part()
        return [self._picture.shown, *[-1] * len(calls)]

    def _settle(self) -> None:
        """Answer the calls whose writes are shown by now."""
        reached, shown = self._picture.revision, self._picture.shown
        for call in [call for call in self._unshown if call.due <= reached]:
            self._unshown.remove(call)
            if call.is_overtaken:
                call.fail(Overtaken("another node was quicker"))
            else:  # the log may have told of later ones before Redis answered this one
                call.succeed(call.due if shown == reached else shown)

    # Writes, while Redis is away

    def _lose(self, reason: object) -> None:
        self._contact.lose(reason)
        self.cluster.may_end = False
        self._part()

    def _part(self) -> None:
        """Redis is away, or is not what it was: what is committed and not shown may be lost there. We shall see; until
        then we are the ones who know of it."""
        self._joined.clear()
        unshown, self._unshown = self._unshown, []
        for call in unshown:
            if call.is_overtaken:
                call.fail(Overtaken("another node was quicker"))
            else:
                self._take_here(call)

    def _take_here(self, call: Call) -> None:
        new = sum(1 for step in call.steps if step[0] not in self._picture.waiting)
        trouble = self._contact.trouble or f"{self._link.title} and this node are being compared"
        if self._is_strict or self._is_closing or call.is_eviction:  # a renewal that only Redis knows may save it
            call.fail(StoreUnavailable(trouble))
        elif any(self._picture.version(step[0]) != step[2] for step in call.steps):
            call.fail(Overtaken("another node was quicker"))
        elif new + len(self._picture.waiting) > WAITING_AT_MOST:
            call.fail(StoreUnavailable(f"{trouble}; {len(self._picture.waiting)} writes wait already"))
        else:
            self._picture.take_here(call.writes)
            call.succeed(self._picture.shown)

    # The log

    async def _follow_forever(self) -> None:
        while self._picture.follower is not None:
            await self._joined.wait()
            with self._guarded():
                entries = await self._link.news(self._picture.revision)
                for number, entry in enumerate(entries, 1):
                    if not self._joined.is_set():
                        break
                    self._take(entry)
                    if number % ENTRIES_A_TURN == 0:
                        await asyncio.sleep(0)
                self._heard_s = self._clock.monotonic_s()

    def _take(self, entry: Entry) -> None:
        if not self._picture.take(entry):
            self._part()
        elif entry.writer != self._id:
            self.cluster.note_lag(entry.at_ms)
            if any(call.has_number and call.due == entry.revision for call in self._unshown):
                self._lose(self._told_twice)
        self._settle()

    @property
    def _told_twice(self) -> str:
        """After a fail-over one primary may take what we write, while another still tells us of what it takes."""
        return f"{self._link.title} has two commits of one number"

    # Together, apart, and together again

    async def _beat_forever(self) -> None:
        while self._picture.follower is not None:
            again_s = TRY_AGAIN_S * random.uniform(0.5, 1.5)  # noqa: S311  # no secret
            await asyncio.sleep(BEAT_EVERY_S if self._joined.is_set() else again_s)
            with self._guarded():
                if not self._joined.is_set():
                    await self._join()
                    continue
                if await self._link.has_moved():
                    raise StoreUnavailable(f"{self._link.title} has another primary now")
                look = await self.cluster.beat(self._picture.epoch, self._picture.head)
                if look.epoch != self._picture.epoch or look.goes_on != "yes":
                    log.warning("Redis is not what it was: comparing store=%s", self._link.title)
                    self._part()
                elif self._is_stuck(look):
                    raise StoreUnavailable(f"{self._link.title} has a longer log than it tells us")
                else:
                    self.cluster.may_end = True
                    if self._picture.shown > self._picture.revision:
                        await self._send([()])  # so that the next revision of all nodes is past ours
                    if self._full:  # nobody may come to write where it is said that writes are refused
                        with suppress(StoreFull):
                            await self._send([()])
                            self._full = ""

    def _is_stuck(self, look: Look) -> bool:
        """Whether the log has long gone on, and we have not heard of it: we listen to who is the primary no more."""
        due, since_s = self._due
        if self._picture.revision >= due:
            self._due = revision_of(look.head), self._clock.monotonic_s()
            return False
        return self._clock.monotonic_s() - since_s > OLD_AFTER_S

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Around one step of an endless task: whatever happens in it, the next step comes."""
        try:
            yield
        except (StoreUnavailable, StartRefused) as error:
            self._lose(error)
        except Exception as error:
            self._contact.tell_once(error)
            self._lose(f"a fault of this server, see its log: {error!r}")

    async def _join(self) -> None:
        """Catch up with Redis, and it with us; then follow its log."""
        if not self._link.is_made:
            await self._link.connect()
        elif self._contact.is_lost:
            await self._link.hang_up()
        if not await self._rejoining.is_done():
            return  # another node's turn, or something was written meanwhile: once more
        if not self._has_joined and self.cluster.is_alone:
            await self._rejoining.prolong_all()
            if self._picture.waiting:
                return  # written meanwhile: once more
        self.cluster.hold = self._contact.is_lost and self.cluster.is_alone  # else Redis was there, and we were away
        self._contact.regain()
        self._has_joined = True
        self._heard_s = self._clock.monotonic_s()
        self._joined.set()
        self._settle()
