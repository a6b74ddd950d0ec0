"""A node and Redis after they have been apart: at the start, after an absence, after a fail-over, after a loss.

Usually the log tells all that a node has missed. Where it does not, because it is cut, or is another than the node has
followed, the node reads all that Redis holds and compares. What Redis has lost is put back by one node at a time, which
then begins a new epoch: by that every other node notices, and compares as well.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

import msgspec

from facade.errors import StartRefused
from facade.registry.model import Instance, Revision
from facade.registry.store import Write
from facade.stores.redis_line import Word, sent
from facade.stores.redis_link import Link, revision_of
from facade.stores.redis_nodes import HOLD_MS, Look, Nodes
from facade.stores.redis_picture import (
    LOG_LENGTH,
    Picture,
    Step,
    decode_record,
    encode,
    end_seen,
    ended_in,
    lease_ms,
    written_in,
)
from facade.stores.reunion import Base, End, Fork, Held, Restored, Reunion, reunite

SCHEMA_VERSION = 1
"""Kept in the meta key. Raise it with every change of the keys, the scripts' meaning or the records' encoding."""
RECORDS_A_BATCH = 1_000
RESTORED_AT_ONCE = 500
"""Redis answers nobody else meanwhile."""
RESTORES_FOR_MS = 15_000
"""How long one node may put records back, since its last batch, before another does."""

log = logging.getLogger(__name__)

_T = TypeVar("_T")

Send = Callable[[Sequence[Sequence[Step]]], Awaitable[Sequence[int]]]


class Rejoining:
    def __init__(self, link: Link, picture: Picture, nodes: Nodes, id_: str, send: Send) -> None:
        """`send` commits calls as the store does: Redis' revision, then one for each call, -1 when it was overtaken."""
        self.restored = 0
        """Records that Redis had lost and that this node has put back."""
        self.is_asked = False
        """Compare although the log tells of nothing: Redis has not got what we hold."""
        self._link = link
        self._picture = picture
        self._nodes = nodes
        self._id = id_
        self._send = send

    async def is_done(self) -> bool:
        """Catch up as far as can be done now; False: once more. Raises StartRefused for data of another release, or of
        somebody else."""
        picture = self._picture
        look = await self._look()
        if look.goes_on != "yes" and picture.head and not (look.goes_on == "cut" and look.epoch == picture.epoch):
            if not await self._link.take("restorer", self._id, RESTORES_FOR_MS):
                return False
            try:
                look = await self._look()
                is_compared = await self._compare(look)
            finally:
                await self._link.release("restorer", self._id)
        elif look.goes_on != "yes" or look.epoch != picture.epoch or picture.waiting or self.is_asked:
            is_compared = await self._compare(look)
        else:
            is_compared = True
        self.is_asked = self.is_asked and not is_compared
        return is_compared and not picture.waiting

    async def prolong_all(self) -> None:
        """Nobody could renew while no node was there: each lease gets one fresh term."""
        records = {key: held.record for key, held in self._picture.held.items()}
        leases = {key: one.lease.first_ms for key, one in records.items() if isinstance(one, Instance)}
        for batch in _batches(leases):
            await self._link.renew(self._id, {key: leases[key] for key in batch})

    async def _look(self) -> Look:
        look = await self._nodes.look(self._picture.epoch, self._picture.head)
        if not look.epoch:
            await self._link.run("found", SCHEMA_VERSION, secrets.token_hex(8), self._picture.shown)
            look = await self._nodes.look(self._picture.epoch, self._picture.head)
        if not (look.schema and look.epoch and look.head):
            raise self._link.not_ours("another hash", "meta")
        if look.schema != str(SCHEMA_VERSION):
            raise StartRefused(
                f"store: {self._link.title} holds data in version {look.schema} of their form; this release knows "
                f"{SCHEMA_VERSION}: run the release that wrote them, or name another --cluster"
            )
        return look

    async def _fork(self, look: Look) -> Fork:
        if not self._picture.heads:  # we begin, and hold nothing
            return Fork(0, (), {}, is_whole=False)
        known, changed, ended = set(self._picture.heads), set[bytes](), dict[bytes, End]()
        async for entry in self._link.history():
            if entry.head in known:
                return Fork(entry.revision, changed, ended, is_whole=True)
            changed.update(written_in(entry))
            ended = ended_in(entry) | ended  # the newest entries come first
            if entry.previous in known:
                return Fork(revision_of(entry.previous), changed, ended, is_whole=True)
        has_gone_on = look.goes_on == "yes" or (look.goes_on == "cut" and look.epoch == self._picture.epoch)
        return Fork(self._picture.revision if has_gone_on else 0, changed, ended, is_whole=False)

    async def _compare(self, look: Look) -> bool:
        """Read all that Redis holds, show it, and put there what it lacks; False: another node was at it as well."""
        picture = self._picture
        theirs = {key: self._held(key, version, body) async for key, version, body in self._link.records()}
        fork = await self._fork(look)  # now: what ended while we read is not lost
        plan = await self._plan(theirs, fork)
        picture.epoch = look.epoch
        await picture.show(plan.shown, fork.ended, revision_of(look.head))
        if plan.restored and not await self._restore(plan.restored):
            return False
        await self._send_waiting(plan.told)
        picture.note_head(look.head)  # last: what fails half-way is done again from where it began
        return True

    def _held(self, key: bytes, version: Revision, body: bytes) -> Held:
        """What we hold is held once, and not decoded. A version alone does not tell: another history may use it too."""
        mine = self._picture.held.get(key)
        if mine is not None and mine.version == version and encode(mine.record) == body:
            return mine
        try:
            return Held(decode_record(body), version)
        except (msgspec.MsgspecError, ValueError):
            raise self._link.not_ours(f"a record {key!r}", "records") from None

    async def _plan(self, theirs: Mapping[bytes, Held], fork: Fork) -> Reunion:
        """`reunite`, with room for others in between. Writes that wait no longer, because Redis has later ones, are
        forgotten."""
        picture, plan = self._picture, Reunion({}, {}, {})
        if not (picture.held or picture.ended or picture.waiting):  # we begin, and owe nothing
            return plan._replace(shown=dict(theirs))
        for batch in _batches(set(picture.held).union(theirs, picture.waiting)):
            waiting = _of(batch, picture.waiting)
            part = reunite(_of(batch, picture.held), _of(batch, theirs), fork, picture.ended, waiting, picture.bases)
            for key in waiting.keys() - part.told.keys():
                picture.forget(key)
            for key in part.told.keys() - waiting.keys():
                picture.waiting[key], picture.bases[key] = part.told[key][0], Base(0)
            plan.restored.update(part.restored)
            plan.told.update(part.told)
            plan.shown.update(part.shown)
            await asyncio.sleep(0)
        return plan

    async def _restore(self, restored: Mapping[bytes, Restored]) -> bool:
        log.warning("putting back what Redis has lost records=%s store=%s", len(restored), self._link.title)
        picture = self._picture
        ended: list[bytes] = []
        batches = _batches(restored, RESTORED_AT_ONCE)
        batch = next(batches, ())
        lost = _lost(batch, restored)
        while batch:
            if not await self._link.take("restorer", self._id, RESTORES_FOR_MS):
                return False
            asked = await sent(self._link.run("restore", self._id, picture.epoch, *lost))
            ended += [key for key in batch if restored[key].held is None]
            batch = next(batches, ())
            lost = _lost(batch, restored)  # while Redis takes those before
            count = await asked
            if count < 0:
                return False
            self.restored += count
        epoch = secrets.token_hex(8)
        if not await self._link.run("turn", self._id, picture.epoch, epoch, picture.shown + 1, LOG_LENGTH, HOLD_MS):
            return False
        picture.epoch = epoch
        for batch in _batches(ended):  # the log has to tell of them, or who compares later takes them for lost
            await self._send([[self._end(key, restored[key].version_seen)] for key in batch])
        return True

    def _end(self, key: bytes, seen: Revision) -> Step:
        return key, end_seen(max(self._picture.ended[key].version, seen)), seen, "", ""

    async def _send_waiting(self, told: Mapping[bytes, tuple[Write, Revision]]) -> None:
        """What is overtaken waits on, and is compared once more."""
        for batch in _batches(told):
            calls = []
            for key in batch:
                write, version = told[key]
                _, kind, _, lease, body = self._picture.step(write)
                calls.append([(key, kind, version, lease, body)])
            for key, revision in zip(batch, (await self._send(calls))[1:], strict=True):
                if revision >= 0:
                    self._picture.note_told(key, told[key][0], revision)


def _of(keys: Iterable[bytes], all_: Mapping[bytes, _T]) -> dict[bytes, _T]:
    return {key: all_[key] for key in keys if key in all_}


def _lost(keys: Iterable[bytes], restored: Mapping[bytes, Restored]) -> Sequence[Word]:
    """Those of them that are to be put back, not ended, as the script `restore` wants them."""
    told: list[Word] = []
    for key in keys:
        held, seen = restored[key]
        if held is not None:
            told += (key, seen, lease_ms(held.record), b"%d %b" % (held.version, encode(held.record)))
    return told


def _batches(keys: Iterable[bytes], size: int = RECORDS_A_BATCH) -> Iterator[Sequence[bytes]]:
    rest = iter(list(keys))
    while batch := list(islice(rest, size)):
        yield batch
