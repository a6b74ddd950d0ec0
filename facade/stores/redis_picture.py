"""What a node shows of the records in Redis: the log in order, differences after an absence, and writes that wait here.

Readers see one row of growing revisions. Usually they are the log's own; while Redis is away, and where its numbers are
behind for another reason, the row goes on by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Mapping, Sequence

import msgspec

from facade.clock import Clock
from facade.registry.model import Cause, Instance, Record, Revision
from facade.registry.store import Commit, Follower, Put, Remove, Write, key_of
from facade.stores.redis_link import Entry, revision_of
from facade.stores.reunion import Base, End, Held

LOG_LENGTH = 10_000
"""Entries, about: a node that was away for longer reads all records instead."""
ENDED_KEPT = 10_000
CHANGES_A_COMMIT = 200

Step = tuple[bytes, str, Revision, int | str, bytes | str]
"""A write as the script `commit` wants it: key, kind, version decided on, lease, body."""

_SEEN = f"R{Cause.GONE.value[0]}s".encode()
_CAUSES = {cause.value[0]: cause for cause in Cause}

log = logging.getLogger(__name__)
encode = msgspec.msgpack.Encoder().encode
decode_record = msgspec.msgpack.Decoder(Record).decode


class Picture:
    def __init__(self, clock: Clock, node: str) -> None:
        """`node` is the id under which our own writes are in the log."""
        self.held: dict[bytes, Held] = {}
        self.ended: dict[bytes, Base] = {}
        """What is over of records that ended lately, so that a Redis that has forgotten that can be told."""
        self.heads: deque[str] = deque(maxlen=LOG_LENGTH)
        self.epoch = ""
        self.head = ""
        """Of the last entry of the log that is shown."""
        self.revision: Revision = 0
        """Of the log, as far as it is shown."""
        self.shown: Revision = 0
        """Our readers' revision."""
        self.waiting: dict[bytes, Write] = {}
        """Writes that are shown and that Redis has not heard of."""
        self.bases: dict[bytes, Base] = {}
        """What each of these was decided on."""
        self.follower: Follower | None = None
        self._clock = clock
        self._node = node

    def step(self, write: Write) -> Step:
        """Raises UnicodeEncodeError, OverflowError where a record cannot be encoded."""
        key = encode(key_of(write))
        version = self.version(key)
        mark = f"{write.cause.value[0]}{int(write.is_replicated)}"
        if isinstance(write, Remove):
            return key, f"R{mark}", version, "", ""
        return key, f"P{mark}", version, lease_ms(write.record), encode(write.record)

    def version(self, key: bytes) -> Revision:
        """Of a record as it is shown; 0: there is none."""
        held = self.held.get(key)
        return held.version if held is not None else 0

    def take(self, entry: Entry) -> bool:
        """Show one commit; False: it does not follow on what is shown, something is missing between."""
        if entry.revision <= self.revision:
            return True
        if entry.previous != self.head:
            return False
        changes = [change for said in entry.said if (change := self._heard(said, entry)) is not None]
        self.note_head(entry.head)
        if changes or entry.revision > self.shown:
            self._tell(changes, entry.revision)
        return True

    def is_of_another(self, revision: Revision) -> bool:
        """Whether another node has written the commit that is shown under this number."""
        head = next((head for head in reversed(self.heads) if revision_of(head) <= revision), "")
        return revision_of(head) == revision and head.split(" ", 2)[1] != self._node

    def note_head(self, head: str) -> None:
        self.head, self.revision = head, revision_of(head)
        self.heads.append(head)

    def take_here(self, writes: Sequence[Write]) -> None:
        """Show writes of our own that Redis is to hear of later."""
        changes: list[Write] = []
        for write in writes:
            key = encode(key_of(write))
            held, earlier = self.held.get(key), self.waiting.get(key)
            if earlier is None:
                base = Base(held.version) if held is not None else self.ended.get(key, Base(0))
            else:
                base = self.bases[key].and_then(earlier.record) if isinstance(earlier, Put) else self.bases[key]
            if isinstance(write, Put):
                self.held[key] = Held(write.record, self.version(key))
            elif held is None:
                continue
            else:
                self._end(key, base)
            self.bases[key] = base
            self.waiting[key] = write
            changes.append(write)
        if changes:
            self._tell(changes, self.shown)

    def forget(self, key: bytes) -> None:
        """Its write waits no more: Redis has a later one."""
        del self.waiting[key]
        del self.bases[key]

    def note_told(self, key: bytes, write: Write, revision: Revision) -> None:
        """Redis has this write that waited, as its commit of that revision; 0: it changed nothing there."""
        held = self.held.get(key)
        if revision > 0 and isinstance(write, Remove):
            over = self.ended.get(key, Base(0))
            self._note_end(key, over._replace(version=max(over.version, revision)))
        elif revision > 0 and held is not None:
            self.held[key] = held._replace(version=revision)
        if self.waiting.get(key) is write:
            self.forget(key)
        elif revision > 0 and key in self.waiting:  # another came meanwhile, and was decided on this one
            self.bases[key] = Base(revision)

    async def show(
        self, differences: Mapping[bytes, Held | None], ends: Mapping[bytes, End], revision: Revision
    ) -> None:
        """In commits of a bearable size; then our readers are at this revision, where that is ahead of theirs. `ends`
        are those of which the log tells."""
        if self.follower is None:  # we begin: all that there is comes with the snapshot
            self.held.update({key: held for key, held in differences.items() if held is not None})
            differences = {}
        keys = list(differences)
        for start in range(0, len(keys), CHANGES_A_COMMIT):
            some = keys[start : start + CHANGES_A_COMMIT]
            found = [self._differs(key, differences[key], _over(ends.get(key), revision)) for key in some]
            changes = [change for change in found if change is not None]
            if changes:
                self._tell(changes, self.shown)
                await asyncio.sleep(0)
        if revision > self.shown:
            self._tell((), revision)

    def _heard(self, said: bytes, entry: Entry) -> Write | None:
        """One write of the log as it is to be shown; None when it is shown already."""
        is_put, cause = said[:1] == b"P", _CAUSES[chr(said[1])]
        is_replicated = said[2:3] == b"1" or entry.writer != self._node  # the node that was asked tells its peers
        if not is_put:
            key, seen = _ended(said)
            held = self.held.get(key)
            if held is None or held.version > entry.revision:
                return None
            self._end(key, Base(seen or entry.revision))
            return Remove(held.record.key, cause, is_replicated)
        record = decode_record(said[3:])
        key = encode(record.key)
        held = self.held.get(key)
        if held is not None and held.version > entry.revision:
            return None
        self.held[key] = Held(record, entry.revision)
        self.ended.pop(key, None)
        return Put(record, cause, is_replicated) if held is None or held.record != record else None

    def _differs(self, key: bytes, now: Held | None, over: Base) -> Write | None:
        held = self.held.get(key)
        if key in self.waiting:  # written while we were at it
            return None
        if now is None:
            if held is None:
                return None
            self._end(key, over)
            return Remove(held.record.key, Cause.GONE, is_replicated=True)
        self.held[key] = now
        if held is not None and held.record == now.record:
            return None
        return Put(now.record, Cause.REGISTERED if held is None else Cause.AMENDED, is_replicated=True)

    def _end(self, key: bytes, over: Base) -> None:
        del self.held[key]
        self._note_end(key, over)

    def _note_end(self, key: bytes, over: Base) -> None:
        self.ended[key] = over
        if len(self.ended) > ENDED_KEPT:
            del self.ended[next(iter(self.ended))]

    def _tell(self, changes: Sequence[Write], revision: Revision) -> None:
        self.shown = max(revision, self.shown + 1)
        if self.follower is not None:
            self.follower(Commit(self.shown, self._clock.now_ms(), tuple(changes)))


def lease_ms(record: Record) -> int | str:
    """The first term of an instance's lease; "" for what has none."""
    return record.lease.first_ms if isinstance(record, Instance) else ""


def written_in(entry: Entry) -> Collection[bytes]:
    """The keys of the records that a commit has put."""
    return [encode(decode_record(said[3:]).key) for said in entry.said if said[:1] == b"P"]


def ended_in(entry: Entry) -> dict[bytes, End]:
    """The records that a commit has ended."""
    return {key: End(entry.at_ms, seen) for key, seen in (_ended(said) for said in entry.said if said[:1] == b"R")}


def _over(end: End | None, revision: Revision) -> Base:
    """What of a record is over by an end that was found at this revision, or that the log dates otherwise."""
    return Base(end.seen if end is not None and end.seen else revision)


def end_seen(revision: Revision) -> str:
    """The kind of a step that ends what the store has lost the end of: this is put into the log before its key."""
    return f"{_SEEN.decode()}{revision} "


def _ended(said: bytes) -> tuple[bytes, Revision]:
    """The key that a commit has ended, and the revision at which its writer had seen that; 0: it ended just then."""
    if not said.startswith(_SEEN):
        return said[3:], 0
    seen, _, key = said[3:].partition(b" ")
    return key, int(seen)
