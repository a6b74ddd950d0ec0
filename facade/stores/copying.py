"""Copies in one direction: written, renewed and removed by the rules in `publishing.py`.

copying   one pass a second, which compares only what has changed since it was last found equal
renewals  apart from it, so that no number of writes makes them wait: a copy that is found there is renewed, whoever has
          written it, whether or not its original can be seen
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import is_
from typing import Any, NamedTuple, TypeVar

from facade.clock import Clock
from facade.errors import UpstreamRefused
from facade.registry import rules
from facade.registry.model import Instance, InstanceKey, Origin, Record, RecordKey, Revision, ServiceId
from facade.registry.rules import Policy
from facade.registry.turns import in_turns
from facade.stores.contact import at_once
from facade.stores.members import Members
from facade.stores.mirror import Mirror, is_same
from facade.stores.outward import RENEWALS_A_CALL

KEPT_UNSEEN_S = 600.0
"""How long copies of originals that cannot be seen are renewed, and how long a deletion of too many is held back."""
HELD_SHARE_OF_SERVICE = 0.5
HELD_SHARE_OF_ALL = 0.3
SENT_AGAIN_AFTER_S = 60.0
"""When a copy that was sent is still not there, or one that was removed still is: longer than any registry's caches."""
REFUSED_AGAIN_AFTER_S = 300.0
"""A refusal holds for as long as the original is the same, or nearly: quotas and conflicts pass."""
TAKEN_OVER_WITHIN_S = 5.0
"""A copy that another node has kept may be near the end of its lease."""
KEYS_A_TURN = 500
COMPARISONS_A_TURN = 50
"""What is looked at, or compared, in one turn of the event loop: a comparison packs and unpacks, 0.2 ms."""
PLACES_KEPT = 100_000

_T = TypeVar("_T")

log = logging.getLogger(__name__)


class _Source(NamedTuple):
    """What a copy is made of: ServiceCenter's instances are packed together with their service."""

    original: Instance
    service: Record | None


class _Sent(NamedTuple):
    source: _Source
    again_s: float
    """Not before then, unless it changes."""
    refusal: str
    """Why it was not taken; empty when it was."""


class _HeldBack(NamedTuple):
    """Copies without originals that are kept alive all the same: too many would go at once."""

    copies: Mapping[InstanceKey, Instance]
    since_s: float


class Way:
    """One direction: what `origin` holds is copied to `target`."""

    def __init__(self, origin: Mirror, target: Mirror, members: Members, policy: Policy, clock: Clock) -> None:
        self.origin = origin
        self.target = target
        self.held_back: _HeldBack | None = None
        self._members = members
        self._policy = policy
        self._clock = clock
        self._originals: Mapping[InstanceKey, Instance] = {}
        self._equal: dict[InstanceKey, tuple[_Source, Record]] = {}
        self._sent: dict[InstanceKey, _Sent] = {}
        self._gone_s: dict[InstanceKey, float] = {}
        """Since when a copy is not there, by our own deed or by the target's word, whatever readings still show."""
        self._due_s: dict[InstanceKey, float] = {}
        """When each copy that is ours to keep is to be renewed."""
        self._passed: tuple[object, ...] = ()
        self._look_again_s = float("inf")
        self._kept_by: tuple[object, ...] = (None,)
        self._untold: list[tuple[InstanceKey, str]] = []

    def open(self, held: Mapping[RecordKey, Record], revision: Callable[[], Revision]) -> None:
        """`held` is what we show, as of `revision`."""
        self._held = held
        self._revision = revision

    @property
    def kept(self) -> int:
        """Copies that this node keeps alive."""
        return len(self._due_s)

    @property
    def refused(self) -> int:
        """Originals that the target does not take."""
        return sum(1 for sent in self._sent.values() if sent.refusal)

    @property
    def _is_open(self) -> bool:
        return not self.target.contact.is_lost and self.origin.contact.lost_for_s <= KEPT_UNSEEN_S

    # Copying

    async def copy(self) -> None:
        """One pass; it has nothing to do when nothing of what the last one went by has changed.

        Raises StoreUnavailable: the next one goes on with the rest.
        """
        is_current = self.origin.is_current
        seen = (self._revision(), self.target.copies, self._members.nodes, is_current)
        is_quiet = _are_the_same(seen, self._passed) and self._clock.monotonic_s() < self._look_again_s
        if is_quiet or not self._is_open:
            return
        self._passed, self._look_again_s = (), float("inf")
        self._originals = await self._find_originals()
        self._tidy()
        if is_current:
            await _in_parts(self._remove, self._surplus())
            await self._write([one async for one in self._missing()])
        self._passed = seen

    async def _find_originals(self) -> dict[InstanceKey, Instance]:
        """What is to be copied: not what the target has by itself, registered by both (N10)."""
        ours: list[Instance] = []
        there: set[tuple[str, str]] = set()
        async for one in in_turns(self._held.values(), KEYS_A_TURN):
            if not isinstance(one, Instance):
                continue
            if self.target.concerns(one.key):
                there |= _places(one.application, one.endpoints)
            elif self.origin.concerns(one.key):
                ours.append(one)
        shared = {name for name in {one.application for one in ours} if rules.is_shared(name, self._policy)}
        return {
            one.key: one
            async for one in in_turns(ours, KEYS_A_TURN)
            if one.application in shared and there.isdisjoint(_places(one.application, one.endpoints))
        }

    def _tidy(self) -> None:
        """Let go of what can matter no more."""
        now_s = self._clock.monotonic_s()
        for key in [key for key, at_s in self._gone_s.items() if at_s + SENT_AGAIN_AFTER_S <= now_s]:
            del self._gone_s[key]
        for known in (self._equal, self._sent):
            for key in [key for key in known if key not in self._originals or not self._members.owns(key)]:
                del known[key]
        for at_s in self._gone_s.values():
            self._look_again_at(at_s + SENT_AGAIN_AFTER_S)

    def _look_again_at(self, at_s: float) -> None:
        self._look_again_s = min(self._look_again_s, at_s)

    def _source(self, original: Instance) -> _Source:
        if original.key.origin is Origin.EUREKA:
            return _Source(original, None)
        return _Source(original, self._held.get(ServiceId(original.key.space.tenant, original.key.group)))

    async def _missing(self) -> AsyncIterator[Instance]:
        """Of the originals that are ours to copy, those without a copy like it."""
        unsure = [
            one
            async for one in in_turns(self._originals.values(), KEYS_A_TURN)
            if self._members.owns(one.key) and not self._was_equal(one)
        ]
        async for one in in_turns(unsure, COMPARISONS_A_TURN):
            if not self._is_equal(one) and not self._waits(one):
                yield one

    def _was_equal(self, original: Instance) -> bool:
        return self._equal.get(original.key) == (self._source(original), self._copy_of(original))

    def _is_equal(self, original: Instance) -> bool:
        source, copy = self._source(original), self._copy_of(original)
        self._equal.pop(original.key, None)
        if copy is None:
            return False
        try:
            is_equal = is_same(self.target.backend.as_kept(original), copy)
        except UpstreamRefused:  # as it is now, it would not even fit there
            return False
        if is_equal:
            self._equal[original.key] = source, copy
        return is_equal

    def _copy_of(self, original: Instance) -> Record | None:
        return None if original.key in self._gone_s else self.target.copies.get(original.key)

    def _waits(self, original: Instance) -> bool:
        """Whether it has been sent as it is, and not so long ago that it is sent again."""
        sent = self._sent.get(original.key)
        if sent is None or sent.source != self._source(original) or sent.again_s <= self._clock.monotonic_s():
            return False
        self._look_again_at(sent.again_s)
        return True

    async def _write(self, originals: Sequence[Instance]) -> None:
        try:
            await _in_parts(self._write_one, originals)
        finally:
            self._tell_refusals()

    async def _write_one(self, original: Instance) -> None:
        key = original.key
        if self._held.get(key) is not original or not self._members.owns(key):
            return  # no longer so: the next pass knows what to do
        source, refusal = self._source(original), ""
        try:
            await self.target.backend.put(original, self._copy_of(original))
        except UpstreamRefused as error:
            refusal = str(error)
            self._note_refusal(key, refusal)
        else:
            self._gone_s.pop(key, None)
            self._due_s[key] = self._next_s(original)
        again_s = self._clock.monotonic_s() + (REFUSED_AGAIN_AFTER_S if refusal else SENT_AGAIN_AFTER_S)
        self._sent[key] = _Sent(source, again_s, refusal)
        self._look_again_at(again_s)

    def _note_refusal(self, key: InstanceKey, refusal: str) -> None:
        known = self._sent.get(key)
        if known is None or known.refusal != refusal:
            self._untold.append((key, refusal))

    def _tell_refusals(self) -> None:
        """One line for all of a pass."""
        if self._untold:
            key, refusal = self._untold[0]
            log.warning(
                "not copied registry=%s instances=%d, the first of them: application=%s instance=%s reason=%s",
                *(self.target.backend.title, len(self._untold), key.group, key.instance_id, refusal),
            )
            self._untold.clear()

    # Removing

    def _surplus(self) -> list[Instance]:
        """Copies of ours without originals, unless they are held back."""
        surplus = {
            one.key: one
            for one in self.target.copies.values()
            if isinstance(one, Instance)
            and one.key not in self._originals
            and one.key not in self._gone_s
            # What another of ours keeps there, packed, is no copy: it names no bridge.
            and self.target.backend.cluster_of(one) == self._members.cluster
        }
        if self._are_held_back(surplus):
            return []
        return [copy for key, copy in surplus.items() if self._members.owns(key)]

    def _are_held_back(self, surplus: Mapping[InstanceKey, Instance]) -> bool:
        """Rule 7. What has been held back for long enough goes after all."""
        held, self.held_back = self.held_back, None
        if not _are_too_many(surplus, [key for key in self.target.copies if isinstance(key, InstanceKey)]):
            return False
        now_s = self._clock.monotonic_s()
        if held is None:
            title = self.target.backend.title
            log.error("deletions of copies held back registry=%s copies=%d", title, len(surplus))
        since_s = held.since_s if held is not None else now_s
        if now_s - since_s >= KEPT_UNSEEN_S:
            return False
        self.held_back = _HeldBack(surplus, since_s)
        self._look_again_at(since_s + KEPT_UNSEEN_S)
        return True

    async def _remove(self, copy: Instance) -> None:
        try:
            await self.target.backend.remove(copy)
        except UpstreamRefused as error:
            log.warning("copy not removed application=%s instance=%s reason=%s", *copy.key[2:], error)
        self._note_gone(copy.key)

    def _note_gone(self, key: InstanceKey) -> None:
        self._gone_s[key] = self._clock.monotonic_s()
        self._look_again_at(self._gone_s[key] + SENT_AGAIN_AFTER_S)
        self._due_s.pop(key, None)
        self._sent.pop(key, None)

    # Renewing

    async def renew(self) -> None:
        """Renew what is due. Raises StoreUnavailable: then it stays due."""
        if not self._is_open:
            return
        await self._take_over()
        now_s = self._clock.monotonic_s()
        due = [one for key, at_s in self._due_s.items() if at_s <= now_s and (one := self._to_renew(key)) is not None]
        await at_once(self._renew(batch) for batch in _parts(due))

    async def _take_over(self) -> None:
        """Renew from now on what is found there and ours to keep, and no longer what is not."""
        copies = self.target.copies
        seen = (copies, self._originals, self._members.nodes, self.origin.is_current, self.held_back)
        if _are_the_same(seen, self._kept_by):
            return
        now_s = self._clock.monotonic_s()
        async for key in in_turns(copies, KEYS_A_TURN):
            if isinstance(key, InstanceKey) and key not in self._due_s and self._is_kept(key):
                self._due_s[key] = now_s + TAKEN_OVER_WITHIN_S * _spread(key)
        async for key in in_turns(self._due_s, KEYS_A_TURN):
            if not self._is_kept(key):
                self._due_s.pop(key, None)
        self._kept_by = seen

    def _is_kept(self, key: InstanceKey) -> bool:
        """Rules 5 to 7. While originals cannot be seen, none of them is known to be gone."""
        if key in self._gone_s or not self._members.owns(key):
            return False
        if key in self._originals or not self.origin.is_current:
            return True
        return self.held_back is not None and key in self.held_back.copies

    def _to_renew(self, key: InstanceKey) -> Instance | None:
        one = self._originals.get(key) or self.target.copies.get(key)
        return one if isinstance(one, Instance) and self._members.owns(key) else None

    async def _renew(self, batch: Sequence[Instance]) -> None:
        unknown = await self.target.backend.renew(batch)
        for one in batch:
            if one.key in self._due_s:
                self._due_s[one.key] = self._next_s(one)
        for one in unknown:
            self._note_gone(one.key)
            self._look_again_s = float("-inf")  # the next pass writes it again

    def _next_s(self, instance: Instance) -> float:
        """Renewals of many copies that were written together drift apart."""
        interval_s = min(max(instance.lease.interval_ms / 1000, 5.0), 30.0)
        return self._clock.monotonic_s() + interval_s * (0.75 + 0.25 * _spread(instance.key))


async def _in_parts(call: Callable[[Instance], Coroutine[Any, Any, None]], instances: Sequence[Instance]) -> None:
    """A call for each; to begin thousands in one moment would keep everybody waiting."""
    for part in _parts(instances):
        await at_once(map(call, part))


def _parts(instances: Sequence[Instance]) -> Iterator[Sequence[Instance]]:
    for start in range(0, len(instances), RENEWALS_A_CALL):
        yield instances[start : start + RENEWALS_A_CALL]


def _are_the_same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return len(one) == len(other) and all(map(is_, one, other))


def _spread(key: InstanceKey) -> float:
    """From 0 to 1, the same for one copy and different among many."""
    return hash(key) % 1024 / 1024


@lru_cache(PLACES_KEPT)
def _places(application: str, endpoints: tuple[str, ...]) -> frozenset[tuple[str, str]]:
    """Name and address of each endpoint: who shares one with another is the same program."""
    return frozenset(
        (application, endpoint.partition("://")[2].partition("?")[0].rstrip("/")) for endpoint in endpoints
    )


def _are_too_many(surplus: Collection[InstanceKey], copies: Collection[InstanceKey]) -> bool:
    if len(surplus) <= rules.FEW:
        return False
    of_service = Counter(key.group for key in copies)
    going = Counter(key.group for key in surplus)
    return len(surplus) > HELD_SHARE_OF_ALL * len(copies) or any(
        count > max(rules.FEW, HELD_SHARE_OF_SERVICE * of_service[group]) for group, count in going.items()
    )
