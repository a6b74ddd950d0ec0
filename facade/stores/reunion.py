"""What a node and a shared store owe each other after they have been apart. Pure; no I/O.

The node goes on showing what it holds while the store is away, and takes writes. The store may have gone on without it,
may have lost its latest writes in a fail-over, or all of them. Both histories agree up to one revision, the `fork`:

1.  What only one of them has changed since, is taken from that one: acknowledged once, it is kept. A record in the
    store that its log does not tell of was put back by another node, as that one knew it: the later version counts.
2.  What both have changed goes by the newer wall clock; accounts and keys by who was there first. An end counts as a
    change: who registered anew after it, on the other side, stays.
3.  What the node holds from before the fork and the store does not has been ended there by somebody who could tell,
    unless the store's log is whole since the fork and tells of no such end: then it was lost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from facade.registry.model import Account, Record, Revision, Role, SigningKey
from facade.registry.store import Put, Write

EARLIER_KEPT = 6
"""At most one write of a record is on its way at a time: the first that waited, or the last at a new try."""


class Held(NamedTuple):
    record: Record
    version: Revision
    """The revision of the commit that wrote it."""


class Base(NamedTuple):
    """Of one record, what is over: a write that waits was decided on it, or has ended it."""

    version: Revision
    """The last; 0: there was none."""
    earlier: tuple[Record, ...] = ()
    """What waited before it, and may have come through all the same, without an answer to us."""

    def and_then(self, record: Record) -> Base:
        return Base(self.version, (*self.earlier[:1], *self.earlier[1:][-EARLIER_KEPT:], record))

    def covers(self, their: Held, *, is_changed: bool) -> bool:
        """Numbers of a history that went on without us are its own: the same one is all that they tell."""
        is_over = their.version == self.version if is_changed else their.version <= self.version
        return is_over or their.record in self.earlier


class Restored(NamedTuple):
    """A record that the store lost, or had ended before it lost that."""

    held: Held | None
    version_seen: Revision
    """What the store has instead; 0: nothing."""


class End(NamedTuple):
    """Of a record in the store, as its log tells of it."""

    at_ms: int
    """By its clock."""
    seen: Revision = 0
    """The revision that the end had in a history that the store has lost: a node that had seen it said so later."""


class Fork(NamedTuple):
    """Where both histories part."""

    revision: Revision
    """The last that they have in common."""
    changed: Collection[bytes]
    """Records that were written in the store since, as its log says."""
    ended: Mapping[bytes, End]
    """Records that have ended there since."""
    is_whole: bool
    """Whether the log goes back so far."""


class Reunion(NamedTuple):
    restored: dict[bytes, Restored]
    """To be put back into the store."""
    told: dict[bytes, tuple[Write, Revision]]
    """Writes that waited, and what was changed here after its end there, each with the version that it goes against."""
    shown: dict[bytes, Held | None]
    """What the node has to show from now on in place of what it holds; None: no more. Writes that waited are shown."""


def reunite(
    ours: Mapping[bytes, Held],
    theirs: Mapping[bytes, Held],
    fork: Fork,
    ended_here: Mapping[bytes, Base],
    waiting: Mapping[bytes, Write],
    bases: Mapping[bytes, Base],
) -> Reunion:
    """`ended_here` is what is over of records that the node saw end; `waiting` are writes that the store has not heard
    of, each decided on what `bases` says."""
    restored: dict[bytes, Restored] = {}
    told: dict[bytes, tuple[Write, Revision]] = {}
    shown: dict[bytes, Held | None] = {}
    for key in ours.keys() | theirs.keys() | waiting.keys():
        mine, their = ours.get(key), theirs.get(key)
        version = their.version if their is not None else 0
        is_changed, end = key in fork.changed, fork.ended.get(key)
        if key in waiting:
            write = waiting[key]
            if (
                their is None
                or their.version <= fork.revision
                or bases[key].covers(their, is_changed=is_changed)
                or _is_newer(write, their)
            ):
                if their is not None or isinstance(write, Put):
                    told[key] = write, version
            else:
                shown[key] = their
        elif mine is None:
            if key in ended_here and their is not None and ended_here[key].covers(their, is_changed=is_changed):
                restored[key] = Restored(None, version)
            else:
                shown[key] = their
        elif their is None and end is not None:
            if mine.version <= fork.revision or not _is_after(mine, end):
                shown[key] = None
            elif end.seen:
                restored[key] = Restored(mine, 0)  # with the number that it had: of those who saw more, each can tell
            else:
                told[key] = Put(mine.record), 0  # a log that has told of its end has to tell of this as well
        elif their is None:
            if mine.version > fork.revision or fork.is_whole:
                restored[key] = Restored(mine, 0)
            else:
                shown[key] = None
        elif mine != their:
            if _is_later(mine, their, fork.revision, is_changed=is_changed):
                restored[key] = Restored(mine, version)
            else:
                shown[key] = their
    return Reunion(restored, told, shown)


def _is_later(mine: Held, their: Held, fork: Revision, *, is_changed: bool) -> bool:
    """Versions of one history tell; a history that went on without us has its own, and then clocks do."""
    if not is_changed:
        return mine.version > their.version
    return mine.version > fork and _outranks(mine.record, their.record)


def _is_after(mine: Held, end: End) -> bool:
    return mine.version > end.seen if end.seen else _changed_ms(mine.record) > end.at_ms


def _is_newer(write: Write, their: Held) -> bool:
    return isinstance(write, Put) and _outranks(write.record, their.record)


def _outranks(mine: Record, their: Record) -> bool:
    """By the clock of the last change, where such a record knows one. Of what opens doors the one that was there first
    counts: a node that starts over a store that has just lost all makes a root and a key of its own."""
    match mine, their:
        case Account() | Role(), Account() | Role():
            return (-mine.created_s, mine.updated_s) > (-their.created_s, their.updated_s)
        case SigningKey(), SigningKey():
            return mine.made_s < their.made_s
    return _changed_ms(mine) > _changed_ms(their)


def _changed_ms(record: Record) -> int:
    return int(getattr(record, "updated_ms", 0))
