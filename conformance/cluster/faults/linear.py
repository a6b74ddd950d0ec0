"""Whether what clients of one node saw of one instance can be told as one story: is it linearizable? After Lowe.

In:     the calls to one instance, each with the time from asking to answer, and what was answered.
Out:    None, or a call that fits into no order of them all. Two calls at once may have come in either order;
        one without a known outcome may have come at any time after its begin, or never.
Rules:  an instance is a register: absent, or a number and an operator's word. No two registrations have one number.
How:    just in time: a call takes effect when an answer asks for it, at the latest its own. Kept are all places where
        the story may be by then. Calls without a known outcome are alike where they are of one kind and nobody ever saw
        their numbers: a place knows how many of each it has used up, and one that has used more is no better.
        So every history is decided: the work grows with the calls under way at once, not with those never answered.
Source: Wing and Gong, Testing and Verifying Concurrent Objects (1993); Lowe, Testing for Linearizability (2017).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf
from operator import le
from typing import NamedTuple

from .log import Op, Outcome, Shown, What

UNSEEN = -1
"""The number of all that no reader ever saw."""


class Held(NamedTuple):
    n: int
    word: str
    """The operator's; "" if there is none."""

    @property
    def shown(self) -> Shown:
        return Shown.of(self.n, self.word or "UP")


State = Held | None
"""None: there is no such instance."""


def misfit(ops: Iterable[Op]) -> Op | None:
    """The call at whose answer the longest story ends; None where all of them fit into one."""
    calls = [op for op in ops if _matters(op)]
    ends = _ends(calls)
    spare = [replace(op, n=UNSEEN) for op, end_s in zip(calls, ends, strict=True) if end_s == inf]
    story = _Story(calls, list({(op.what, op.status): op for op in spare}.values()))
    begins = [(op.began_s, False, at) for at, op in enumerate(calls)]
    for _, is_end, at in sorted(begins + [(end_s, True, at) for at, end_s in enumerate(ends) if end_s < inf]):
        if not is_end:
            story.begin(at, is_spare=ends[at] == inf)
        elif not story.end(at):
            return calls[at]
    return None


def _matters(op: Op) -> bool:
    """A refused call changed nothing; an unanswered one that could not change anything says nothing."""
    return op.outcome is not Outcome.REFUSED and not (op.outcome is Outcome.UNKNOWN and _only_looks(op))


def _only_looks(op: Op) -> bool:
    return op.what in (What.RENEW, What.READ) or op.outcome is Outcome.GONE


def _ends(calls: Sequence[Op]) -> Sequence[float]:
    """By when each has taken effect: answered, or seen by a reader. Infinite where it may never have."""
    reads = sorted((op.ended_s, op.status) for op in calls if op.what is What.READ and op.outcome is Outcome.DONE)
    sights: dict[int, list[float]] = {}
    for ended_s, shown in reads:
        sights.setdefault(Shown(shown).n, []).append(ended_s)

    def end_s(op: Op) -> float:
        if op.outcome is not Outcome.UNKNOWN:
            return op.ended_s
        is_numbered = op.what in (What.REGISTER, What.CHANGE)
        return next((at_s for at_s in sights.get(op.n, ()) if is_numbered and at_s >= op.began_s), inf)

    return [end_s(op) for op in calls]


class _Place(NamedTuple):
    """Where the story may be."""

    done: frozenset[int]
    """The calls under way that have taken effect already."""
    state: State
    used: tuple[int, ...]
    """How many unanswered calls of each kind have taken effect."""


class _Places:
    """All but those that have used up more than another does that is else the same."""

    def __init__(self, places: Iterable[_Place] = ()) -> None:
        self._used: dict[tuple[frozenset[int], State], list[tuple[int, ...]]] = {}
        for place in places:
            self.add(place)

    def add(self, place: _Place) -> bool:
        """Whether it is worth keeping."""
        others = self._used.setdefault((place.done, place.state), [])
        if any(all(map(le, other, place.used)) for other in others):
            return False
        others[:] = [other for other in others if not all(map(le, place.used, other))]
        others.append(place.used)
        return True

    def __iter__(self) -> Iterator[_Place]:
        for (done, state), used in self._used.items():
            yield from (_Place(done, state, one) for one in used)


class _Story:
    """What may be the case, told call by call."""

    def __init__(self, calls: Sequence[Op], kinds: Sequence[Op]) -> None:
        """`kinds` has one call of each kind of those that may never have taken effect."""
        self._calls = calls
        self._kinds = kinds
        self._kind_of: Mapping[tuple[What, str], int] = {(op.what, op.status): at for at, op in enumerate(kinds)}
        self._begun = [0] * len(kinds)
        self._under_way: set[int] = set()
        self._places = _Places([_Place(frozenset(), None, (0,) * len(kinds))])

    def begin(self, at: int, *, is_spare: bool) -> None:
        if is_spare:
            self._begun[self._kind_of[self._calls[at].what, self._calls[at].status]] += 1
        else:
            self._under_way.add(at)

    def end(self, at: int) -> bool:
        """Whether this call can have been answered so, after any of the stories."""
        self._places = _Places(
            place._replace(done=place.done - {at}) for before in self._places for place in self._where_done(at, before)
        )
        self._under_way.remove(at)
        return any(True for _ in self._places)

    def _where_done(self, at: int, place: _Place) -> Iterator[_Place]:
        """The places right after this call has taken effect, and before whatever need not come before it."""
        if at in place.done or (_only_looks(self._calls[at]) and _step(place.state, self._calls[at])[0]):
            yield place  # all else can come as well after it
            return
        found, open_ends = _Places([place]), [place]
        while open_ends:
            for following in self._next(open_ends.pop()):
                if at in following.done:
                    yield following
                elif found.add(following):
                    open_ends.append(following)

    def _next(self, place: _Place) -> Iterator[_Place]:
        for at in self._under_way - place.done:
            fits, state = _step(place.state, self._calls[at])
            if fits:
                yield place._replace(done=place.done | {at}, state=state)
        for kind, op in enumerate(self._kinds):
            fits, state = _step(place.state, op)
            if fits and state != place.state and place.used[kind] < self._begun[kind]:
                used = (*place.used[:kind], place.used[kind] + 1, *place.used[kind + 1 :])
                yield _Place(place.done, state, used)


def _step(state: State, op: Op) -> tuple[bool, State]:
    """Whether the call can have been answered so in this state, and what it leaves behind."""
    if op.what is What.READ:
        return (state is None) == (op.outcome is Outcome.GONE) and (state is None or state.shown == op.status), state
    if op.outcome is Outcome.GONE:
        return state is None, state
    if op.what in (What.REGISTER, What.CHANGE) and (op.what is What.REGISTER or state is not None):
        return True, Held(op.n, state.word if state is not None else "")
    if state is None:
        return op.outcome is Outcome.UNKNOWN, None
    match op.what:
        case What.CANCEL:
            return True, None
        case What.STATUS:
            return True, Held(state.n, op.status)
    return True, state


def histories(ops: Sequence[Op]) -> Iterator[Sequence[Op]]:
    """The calls to each instance."""
    by_who: dict[str, list[Op]] = {}
    for op in ops:
        by_who.setdefault(op.who, []).append(op)
    yield from by_who.values()
