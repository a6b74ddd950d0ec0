"""Judges what the fleet and its readers wrote down, by the promises of the design (§9), each fault in a line.

Rules:  a node *is bound* to list an instance from when it has acknowledged its registration, or shown it to any reader,
        until its owner asks for its end or lets its lease lapse: that number of it, or a later one.
        A cancellation that a node has acknowledged holds there at once. Elsewhere it may come late, but not undone.
        Requests without an answer may take effect at any time: they excuse, and never accuse.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf

from .linear import histories, misfit
from .log import Log, Look, Op, Outcome, What
from .watchers import Watcher

MOST_TOLD = 12
CONTENDED = "c"
"""Begins the names of instances with several writers: they are judged as registers, by their own calls."""


@dataclass
class _Life:
    """What one owner did, in order: it asks one thing at a time."""

    renewed: list[Op] = field(default_factory=list)
    """Renewals and registrations that were acknowledged."""
    heard: list[Op] = field(default_factory=list)
    """The same without those at a node that was cut off by then, of an owner who had come there from another."""
    registered: list[Op] = field(default_factory=list)
    unsure: list[Op] = field(default_factory=list)
    """Whatever was asked and never answered, but for renewals."""
    ended: list[Op] = field(default_factory=list)

    def may_be_over(self, n: int, before_s: float) -> bool:
        """Whether its owner asked for the end of its registration `n` or a later one, or an earlier end may come."""
        return any(op.began_s < before_s and (op.n >= n or op.outcome is Outcome.UNKNOWN) for op in self.ended)

    def may_be(self, n: int) -> bool:
        """Whether a change to this number was never answered: it may be done after later ones."""
        return any(op.n == n and op.outcome is Outcome.UNKNOWN for op in self.registered)

    def has_lease(self, look: Look, lease_s: float, *, is_cut: bool) -> bool:
        """By the last of them that was acknowledged before the look. It may have been done as early as it was asked."""
        renewed = self.renewed if is_cut else self.heard
        at = bisect_left(renewed, look.began_s, key=lambda op: op.ended_s)
        return at > 0 and renewed[at - 1].began_s + lease_s > look.ended_s


def faults(log: Log, watchers: Sequence[Watcher] = ()) -> list[str]:
    """In the order of promises; empty where all of them held."""
    return [*_missing(log), *_returned(log), *_refused(log), *_unlinear(log), *_told_oddly(log, watchers)]


def assert_promises(log: Log, watchers: Sequence[Watcher]) -> None:
    found = faults(log, watchers)
    told = "\n".join(found[:MOST_TOLD])
    assert not found, f"{len(found)} faults, of which the first:\n{told}"


def _lives(log: Log) -> dict[str, _Life]:
    lives: dict[str, _Life] = defaultdict(_Life)
    settled: dict[str, int] = {}
    for op in log.ops:
        if op.who.startswith(CONTENDED):
            continue
        life = lives[op.who]
        if op.outcome is Outcome.UNKNOWN and op.what is not What.RENEW:
            life.unsure.append(op)
        if op.what is What.CANCEL and op.outcome is not Outcome.REFUSED:
            life.ended.append(op)
        elif op.what in (What.REGISTER, What.CHANGE):
            life.registered.append(op)
        if op.what in (What.REGISTER, What.RENEW) and op.outcome is Outcome.DONE:
            life.renewed.append(op)
            # Who stays with a node that is cut off is known to have renewed there last; who moves to it is not.
            if not log.is_cut(op.node, op.began_s):
                settled[op.who] = op.node
            if settled.get(op.who) == op.node:
                life.heard.append(op)
    return lives


def _missing(log: Log) -> Iterator[str]:
    """Promises 2 and 4: who renews is listed at every node that ever knew, and no list becomes emptier or older."""
    lives = _lives(log)
    bound = _Bound(log)
    told: set[tuple[int, str, int]] = set()
    for look in sorted(_looks(log), key=lambda look: look.began_s):
        for who, n in bound.before(look).items():
            life, shown = lives[who], look.shown.get(who)
            if shown is not None and (shown.n >= n or life.may_be(shown.n)):
                continue
            is_cut = log.is_cut(look.node, look.began_s)
            if life.may_be_over(n, look.ended_s) or not life.has_lease(look, log.lease_s[who], is_cut=is_cut):
                continue
            if (look.node, who, n) not in told:
                told.add((look.node, who, n))
                how = "is missing" if shown is None else f"is shown as {shown}"
                yield f"node {look.node}, {look.reader}, {_when(log, look.began_s)}: {who} {how}, it had {n}"


class _Bound:
    """What each node has to list: by the registrations it acknowledged, and by what it has shown."""

    def __init__(self, log: Log) -> None:
        stated = (op for op in log.ops if op.what in (What.REGISTER, What.CHANGE) and op.outcome is Outcome.DONE)
        events = [(op.ended_s, op.node, {op.who: op.n}) for op in stated if not op.who.startswith(CONTENDED)]
        events += [
            (look.ended_s, look.node, {who: one.n for who, one in look.shown.items() if not who.startswith(CONTENDED)})
            for look in _looks(log)
        ]
        self._events = sorted(events, key=lambda event: event[0])
        self._at = 0
        self._n: dict[int, dict[str, int]] = defaultdict(dict)

    def before(self, look: Look) -> dict[str, int]:
        """The highest number by instance. To be asked in the order of time."""
        while self._at < len(self._events) and self._events[self._at][0] < look.began_s:
            _, node, numbers = self._events[self._at]
            held = self._n[node]
            for who, n in numbers.items():
                if n > held.get(who, 0):
                    held[who] = n
            self._at += 1
        return self._n[look.node]


def _returned(log: Log) -> Iterator[str]:
    """A node that has acknowledged a cancellation does not list the instance, until it is registered anew."""
    lives = _lives(log)
    looks: dict[int, list[Look]] = defaultdict(list)
    for look in sorted(_looks(log), key=lambda look: look.began_s):
        looks[look.node].append(look)
    for who, life in lives.items():
        for op in life.ended:
            if op.outcome is not Outcome.DONE:
                continue
            # One that was never answered may be done after it, an operator's word as well.
            late = any(other.n <= op.n for other in life.unsure if other.what is not What.CANCEL)
            until_s = min((other.began_s for other in life.registered if other.n > op.n), default=inf)
            here = looks[op.node]
            for look in here[bisect_left(here, op.ended_s, key=lambda look: look.began_s) :]:
                if late or look.ended_s >= until_s:
                    break
                if who in look.shown:
                    yield (
                        f"node {op.node}, {look.reader}, {_when(log, look.began_s)}: {who} is listed as "
                        f"{look.shown[who]} after its cancellation"
                    )
                    break


def _refused(log: Log) -> Iterator[str]:
    """No request of the fleet is wrong, and a node that has once read the registry answers its readers."""
    for op in log.ops:
        if op.outcome is Outcome.REFUSED:
            yield f"node {op.node}, {_when(log, op.began_s)}: {op.what} of {op.who} was refused: {op.code} {op.text}"
    for look in log.looks:
        if look.code not in (0, 200):
            yield f"node {look.node}, {look.reader}, {_when(log, look.began_s)}: a list was refused with {look.code}"


def _unlinear(log: Log) -> Iterator[str]:
    """What several clients of one node saw of one instance can be told as one story."""
    for history in histories([op for op in log.ops if op.who.startswith(CONTENDED)]):
        op = misfit(history)
        if op is not None:
            yield (
                f"node {op.node}, {_when(log, op.began_s)}: {op.what} of {op.who} ({op.n} {op.status!r}, {op.outcome}) "
                f"fits into no order of the {len(history)} calls"
            )


def _told_oddly(log: Log, watchers: Sequence[Watcher]) -> Iterator[str]:
    """Promise 5: no watcher is told anything twice, or of less than it knew. What had no answer was asked twice."""
    open_to_doubt = {(op.who, op.n) for op in log.ops if op.outcome is Outcome.UNKNOWN}
    for watcher in watchers:
        for who, number, known in watcher.odd:
            if (who, number) not in open_to_doubt:
                yield f"a watcher was told of {who} in number {number} when it knew {known}"


def _looks(log: Log) -> Sequence[Look]:
    return [look for look in log.looks if look.code == 200]


def _when(log: Log, at_s: float) -> str:
    start_s = log.ops[0].began_s if log.ops else 0.0
    broken = [name for name, began_s, ended_s in log.spans if began_s <= at_s <= ended_s]
    return f"{at_s - start_s:.2f} s" + "".join(f" ({name})" for name in broken)
