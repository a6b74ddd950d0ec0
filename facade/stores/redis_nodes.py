"""The nodes that share one Redis: their signs of life, what each of them sees, and whose turn it is to end leases.

Every second each node says that it is there, and learns of the others. One of them, whoever comes first when the turn
of the last is over, looks for lapsed leases. All deadlines are by Redis' own clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from operator import attrgetter
from typing import Any, Literal, NamedTuple

import msgspec

from facade.clock import Clock
from facade.errors import StoreUnavailable
from facade.registry.leases import RenewalRate
from facade.registry.model import Instance, InstanceKey, Origin, Revision
from facade.registry.store import NodeHealth
from facade.stores.redis_link import Link, revision_of
from facade.stores.reunion import Held

TURN_MS = 5_000
"""So long a node that has gone may keep the others from ending leases."""
MISSING_AFTER_MS = 5_000
KEPT_FOR_MS = 10_000
"""A lease that a silent node may have seen renewed is looked at again after this."""
HOLD_MS = 90_000
"""After an absence of Redis nothing is ended for one term, the common lease."""
LAPSED_AT_ONCE = 5_000
STOOD_STILL_S = 3.0
"""Renewals are told ten times a second: a node that does not for so long stood still, or could not reach Redis."""


_ORIGIN = attrgetter("origin")


class Word(msgspec.Struct):
    """What a node says of itself."""

    name: str
    revision: Revision = 0
    lag_ms: int = 0
    renewals: dict[str, int] = {}


class Look(NamedTuple):
    """What Redis answers to a sign of life."""

    schema: str
    epoch: str
    head: str
    goes_on: Literal["yes", "no", "cut"]
    """Whether the log has our head, so that what comes after it is all that we have missed; "cut": it is too old."""


class Nodes:
    """A `Cluster`, as the Store contract calls it."""

    def __init__(
        self, link: Link, held: Mapping[bytes, Held], clock: Clock, id_: str, name: str, gone_after_s: float
    ) -> None:
        """A silent node's leases are kept for `gone_after_s`; `held` is what this node shows."""
        self.hold = False
        """Redis was away: the next sign of life asks for a term without evictions."""
        self.lag_ms = 0
        """The longest that a change of another node took to get here since the last sign of life."""
        self.may_end = False
        """Whether all renewals that we heard have been told: else some may only seem to have lapsed."""
        self._id = id_
        self._link = link
        self._held = held
        self._clock = clock
        self._name = name
        self._gone_after_ms = int(gone_after_s * 1000)
        self._rates = {origin: RenewalRate(clock.monotonic_s()) for origin in Origin}
        self._others: dict[str, tuple[int, Word]] = {}
        self._own: tuple[Revision, int] = (0, 0)
        self._leader = ""
        self._redis_ahead_ms = 0.0
        self._seen_ms = 0
        self._seen_s = clock.monotonic_s()
        self._told_s = clock.monotonic_s()
        self._last_told_s = self._told_s
        self._catches_up_until_s = self._told_s

    # Signs of life

    async def beat(self, epoch: str, head: str) -> Look:
        """Say that we are here, and look how things are."""
        word = Word(self._name, revision_of(head) if head else 0, self.lag_ms, self._own_renewals())
        before_us = [id_ for id_, (at_ms, other) in self._others.items() if self._is_ourselves(other, at_ms)]
        hold_ms = HOLD_MS if self.hold or before_us else 0
        look = await self._ask(epoch, head, msgspec.json.encode(word), hold_ms, is_sign=True)
        for id_ in before_us:  # after a term its clients have renewed here, or are gone: nobody needs to wait for it
            await self._link.leave(id_)
        self._own = word.revision, word.lag_ms
        self.hold = False
        self.lag_ms = 0
        return look

    def _is_ourselves(self, other: Word, at_ms: int) -> bool:
        """Whether it is what we were before we were restarted without a word."""
        return other.name == self._name and not self._is_heard(at_ms)

    async def look(self, epoch: str, head: str) -> Look:
        """The same without a sign of life."""
        return await self._ask(epoch, head, b"{}", 0, is_sign=False)

    async def _ask(self, epoch: str, head: str, word: bytes, hold_ms: int, *, is_sign: bool) -> Look:
        asked_s = self._clock.monotonic_s()
        told_ms = max(0, self._seen_ms - int((self._seen_s - self._told_s) * 1000))  # or earlier: never too late
        answer: Sequence[Any] = await self._link.run(
            "beat", self._id, word, epoch, head, hold_ms, int(is_sign), told_ms
        )
        now_ms, schema, epoch_there, head_there, goes_on, leader, words, beyond = answer
        self._seen_s = self._clock.monotonic_s()
        self._seen_ms = int(now_ms)
        self._redis_ahead_ms = self._seen_ms - (asked_s + self._seen_s) * 500
        self._leader = leader.decode()
        try:
            self._others = _others(words, self._id)
        except ValueError:
            raise self._link.not_ours("another field", "nodes") from None
        if beyond:  # whoever joined would find it in the log, part, and join again
            raise self._link.not_ours(f"an entry {beyond.decode()}", "log")
        return Look(schema.decode(), epoch_there.decode(), head_there.decode(), goes_on.decode())

    def note_lag(self, at_ms: int) -> None:
        """A change of another node, of that time by Redis' clock, is shown here now."""
        self.lag_ms = max(self.lag_ms, int(self._clock.monotonic_s() * 1000 + self._redis_ahead_ms) - at_ms)

    def note_renewals(self, keys: Collection[InstanceKey]) -> None:
        now_s = self._clock.monotonic_s()
        for origin, count in Counter(map(_ORIGIN, keys)).items():
            self._rates[origin].note(now_s, count)

    # Cluster

    def note_told(self, until_s: float) -> None:
        if until_s - self._last_told_s > STOOD_STILL_S:  # what clients sent meanwhile is still to be read
            self._catches_up_until_s = until_s + min(until_s - self._last_told_s, HOLD_MS / 1000)
        self._last_told_s = until_s
        if until_s >= self._catches_up_until_s:
            self._told_s = until_s

    def nodes(self) -> Sequence[NodeHealth]:
        since_ms = int((self._clock.monotonic_s() - self._seen_s) * 1000)
        revision, lag_ms = self._own
        own = Word(self._name, revision, lag_ms, self._own_renewals())
        return [
            self._health(self._id, own, self._seen_ms, since_ms),
            *(self._health(id_, word, at_ms, since_ms) for id_, (at_ms, word) in sorted(self._others.items())),
        ]

    def _health(self, id_: str, word: Word, at_ms: int, since_ms: int) -> NodeHealth:
        """As seen at our last look, `since_ms` ago: while Redis is away nobody is heard, and nobody's turn lasts."""
        return NodeHealth(
            id=id_,
            name=word.name,
            is_self=id_ == self._id,
            leads=id_ == self._leader and since_ms <= TURN_MS,
            is_missing=not self._is_heard(at_ms),
            age_s=max(0, self._seen_ms + since_ms - at_ms) / 1000,
            lag_ms=word.lag_ms,
            revision=word.revision,
            renewals_last_minute=sum(word.renewals.values()),
        )

    def renewals_elsewhere(self, origin: Origin) -> int:
        return sum(word.renewals.get(origin, 0) for at_ms, word in self._others.values() if self._is_heard(at_ms))

    async def lapsed(self) -> Collection[InstanceKey]:
        if not self.may_end:
            return ()
        try:
            found: Sequence[bytes] = await self._link.run(
                "lapsed", self._id, TURN_MS, self._gone_after_ms, KEPT_FOR_MS, LAPSED_AT_ONCE, HOLD_MS
            )
        except StoreUnavailable:
            return ()
        records = [self._held[key].record for key in found if key in self._held]
        return [record.key for record in records if isinstance(record, Instance)]

    @property
    def is_alone(self) -> bool:
        """Whether nobody else has been heard lately."""
        return not any(self._is_heard(at_ms) for at_ms, _ in self._others.values())

    def _is_heard(self, at_ms: int) -> bool:
        return self._seen_ms - at_ms <= MISSING_AFTER_MS

    def _own_renewals(self) -> dict[str, int]:
        now_s = self._clock.monotonic_s()
        return {origin.value: rate.last_minute(now_s) for origin, rate in self._rates.items()}


def _others(words: Sequence[bytes], own_id: str) -> dict[str, tuple[int, Word]]:
    """From id and word in turns; a word that cannot be read, of another release, still says that a node is there.
    Raises ValueError for what no release has put there."""
    found = {}
    for id_, text in zip(words[::2], words[1::2], strict=True):
        if (name := id_.decode()) != own_id:
            at_ms, _, said = text.split(b" ", 2)
            try:
                word = msgspec.json.decode(said, type=Word)
            except msgspec.MsgspecError:
                word = Word(name)
            found[name] = int(at_ms), word
    return found
