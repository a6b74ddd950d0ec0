"""What a node and a shared store owe each other: laws over any two histories that agree up to a fork."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

from facade.clock import ManualClock
from facade.registry.model import Account, AccountName, Revision, SigningKey
from facade.registry.store import Put, Remove, Write
from facade.stores.redis_picture import Picture
from facade.stores.reunion import Base, End, Fork, Held, Restored, Reunion, reunite
from tests.stores.examples import instance

KEYS = st.sampled_from(["a", "b", "c", "d"])
END_MS = 2
"""When all ends were, beside changes at 0 to 3 ms."""
CHANGES = st.lists(st.tuples(KEYS, st.sampled_from(["put", "remove"]), st.integers(0, 3)), max_size=6)


class Side(NamedTuple):
    """One history: what it holds, and what has ended in it."""

    held: dict[bytes, Held]
    ended: dict[bytes, Revision]
    revision: Revision

    def after(self, changes: list[tuple[str, str, int]], first: Revision) -> Side:
        held, ended, revision = dict(self.held), dict(self.ended), first - 1
        for name, what, updated_ms in changes:
            key = name.encode()
            if what == "put":
                revision += 1
                record = structs.replace(instance(name), updated_ms=updated_ms, host=f"h{revision}.example")
                held[key] = Held(record, revision)
                ended.pop(key, None)
            elif key in held:
                revision += 1
                del held[key]
                ended[key] = revision
        return Side(held, ended, max(revision, self.revision))


class Apart(NamedTuple):
    ours: Side
    theirs: Side
    fork: Revision
    waiting: dict[bytes, Write]

    def plan(self) -> Reunion:
        ended = {key: End(END_MS) for key, revision in self.theirs.ended.items() if revision > self.fork}
        changed = [key for key, held in self.theirs.held.items() if held.version > self.fork]
        fork = Fork(self.fork, changed, ended, is_whole=True)
        bases = {key: Base(self.ours.held[key].version if key in self.ours.held else 0) for key in self.waiting}
        over = {key: Base(revision) for key, revision in self.ours.ended.items()}
        return reunite(self.ours.held, self.theirs.held, fork, over, self.waiting, bases)


def at(revision: Revision, changed: list[bytes] | None = None) -> Fork:
    """With a log that goes back so far, and tells of these changes."""
    return Fork(revision, changed or [], {}, is_whole=True)


@st.composite
def apart(draw: st.DrawFn) -> Apart:
    common = Side({}, {}, 0).after(draw(CHANGES), 1)
    fork = common.revision
    ours = common.after(draw(CHANGES), fork + 1)
    theirs = common.after(draw(CHANGES), fork + draw(st.integers(1, 3)))
    held, waiting = dict(ours.held), dict[bytes, Write]()
    for name, what, updated_ms in draw(CHANGES):
        key = name.encode()
        if what == "put":
            record = structs.replace(instance(name), updated_ms=updated_ms, host="waits.example")
            held[key] = Held(record, held[key].version if key in held else 0)
            waiting[key] = Put(record)
        elif key in held:
            waiting[key] = Remove(held.pop(key).record.key)
    return Apart(ours._replace(held=held), theirs, fork, waiting)


def shown_after(apart: Apart, plan: Reunion) -> dict[bytes, object]:
    held = {key: one.record for key, one in apart.ours.held.items()}
    for key, now in plan.shown.items():
        if now is None:
            held.pop(key, None)
        else:
            held[key] = now.record
    return held


def stored_after(apart: Apart, plan: Reunion) -> dict[bytes, object]:
    held = {key: one.record for key, one in apart.theirs.held.items()}
    for key, restored in plan.restored.items():
        assert restored.version_seen == (apart.theirs.held[key].version if key in apart.theirs.held else 0)
        if restored.held is None:
            del held[key]
        else:
            held[key] = restored.held.record
    for key, (write, version) in plan.told.items():
        assert version == (apart.theirs.held[key].version if key in apart.theirs.held else 0)
        if isinstance(write, Put):
            held[key] = write.record
        else:
            del held[key]
    return held


@given(apart())
def test_both_hold_the_same_afterwards(apart: Apart) -> None:
    plan = apart.plan()

    assert shown_after(apart, plan) == stored_after(apart, plan)


@given(apart())
def test_what_one_side_alone_has_changed_since_the_fork_is_kept(apart: Apart) -> None:
    result = shown_after(apart, apart.plan())

    for key in apart.ours.held.keys() | apart.theirs.held.keys() | apart.waiting.keys():
        their = apart.theirs.held.get(key)
        mine = apart.ours.held.get(key)
        has_changed_there = (their is not None and their.version > apart.fork) or (
            apart.theirs.ended.get(key, 0) > apart.fork
        )
        has_changed_here = (
            key in apart.waiting
            or (mine is not None and mine.version > apart.fork)
            or apart.ours.ended.get(key, 0) > apart.fork
        )
        if has_changed_here and not has_changed_there:
            assert result.get(key) == (mine.record if mine is not None else None)
        if has_changed_there and not has_changed_here:
            assert result.get(key) == (their.record if their is not None else None)


class Store:
    """That has lost all after a fork, and what its log tells of since."""

    def __init__(self, before: Side) -> None:
        self.held = dict(before.held)
        self.revision = before.revision
        self.changed: dict[bytes, Revision] = {}
        self.ended: dict[bytes, tuple[Revision, End]] = {}

    def fork(self, revision: Revision) -> Fork:
        changed = [key for key, since in self.changed.items() if since > revision]
        ended = {key: end for key, (since, end) in self.ended.items() if since > revision}
        return Fork(revision, changed, ended, is_whole=True)


class Node:
    def __init__(self, side: Side, fork: Revision) -> None:
        self.held, self.revision, self.fork = dict(side.held), side.revision, fork
        self.over = {key: Base(revision) for key, revision in side.ended.items()}

    def rejoin(self, store: Store) -> None:
        fork = store.fork(self.fork)
        plan = reunite(self.held, store.held, fork, self.over, {}, {})
        for key, now in plan.shown.items():
            if now is not None:
                self.held[key] = now
            elif self.held.pop(key, None) is not None:
                end = fork.ended.get(key)
                self.over[key] = Base(end.seen if end is not None and end.seen else store.revision)
        for key, (held, seen) in plan.restored.items():
            if held is not None:
                store.held[key] = held
            else:
                del store.held[key]
                store.ended[key] = store.revision + 1, End(END_MS, max(self.over[key].version, seen))
            store.revision = max(store.revision, self.revision) + 1
        for key, (write, _) in plan.told.items():
            assert isinstance(write, Put)
            store.revision += 1
            self.held[key] = store.held[key] = Held(write.record, store.revision)
            store.changed[key] = store.revision
        self.fork = self.revision = store.revision


@example([("a", "put", 0)], [("a", "remove", 0), ("a", "put", 0), ("a", "remove", 0)], [1, 2, 3], [0, 1, 2])
@given(CHANGES, CHANGES, st.lists(st.integers(0, 6), min_size=3, max_size=3), st.permutations([0, 1, 2]))
def test_of_a_lost_history_the_latest_holds_whoever_comes_back_first(
    before: list[tuple[str, str, int]], lost: list[tuple[str, str, int]], heard: list[int], order: list[int]
) -> None:
    """Each node has heard it up to another place; clocks are all the same."""
    common = Side({}, {}, 0).after(before, 1)
    lost = [(name, what, 0) for name, what, _ in lost]
    sides = [common.after(lost[:until], common.revision + 1) for until in heard]
    nodes, store = [Node(side, common.revision) for side in sides], Store(common)

    for at in (*order, *order, *order):
        nodes[at].rejoin(store)

    latest = max(sides, key=lambda side: side.revision)
    assert store.held == latest.held
    assert all(node.held == latest.held for node in nodes)


@given(apart())
def test_where_nothing_has_happened_nothing_is_owed(apart: Apart) -> None:
    assert reunite(apart.theirs.held, apart.theirs.held, at(apart.fork), {}, {}, {}) == Reunion({}, {}, {})


def test_of_two_changes_the_newer_by_the_clock_holds() -> None:
    ours, older, newer = {b"a": held(11, 5)}, {b"a": held(11, 4)}, {b"a": held(11, 6)}

    assert reunite(ours, older, at(10, [b"a"]), {}, {}, {}).restored[b"a"].held == ours[b"a"]
    assert reunite(ours, newer, at(10, [b"a"]), {}, {}, {}).shown == newer


def test_a_registration_that_waits_holds_against_an_end_of_our_own_that_was_told_after_it_came() -> None:
    ours, waiting = {b"a": held(0, 6)}, {b"a": Put(held(0, 6).record)}
    fork = at(10)._replace(ended={b"a": End(7)})

    assert reunite(ours, {}, fork, {b"a": Base(11)}, waiting, {b"a": Base(11)}).told == {b"a": (waiting[b"a"], 0)}


def test_who_registers_here_after_its_end_there_stays() -> None:
    """As after a fail-over: one node went over to the new primary, and told it of an end that it had lost; meanwhile
    the instance was registered anew with a node that the old primary still served."""
    ours, fork = {b"a": held(12, 6)}, at(10)

    assert reunite(ours, {}, fork._replace(ended={b"a": End(5)}), {}, {}, {}).told == {
        b"a": (Put(ours[b"a"].record), 0)
    }
    assert reunite(ours, {}, fork._replace(ended={b"a": End(7)}), {}, {}, {}).shown == {b"a": None}
    assert reunite({b"a": held(9, 6)}, {}, fork._replace(ended={b"a": End(5)}), {}, {}, {}).shown == {b"a": None}


def test_an_end_that_another_node_had_seen_before_it_was_lost_holds_against_what_was_there_before_it() -> None:
    """It says so later than it was; which of both came first, the numbers of the lost history tell."""
    ours, fork = {b"a": held(12, 6)}, at(10)

    assert reunite(ours, {}, fork._replace(ended={b"a": End(7, 11)}), {}, {}, {}).restored == {
        b"a": Restored(ours[b"a"], 0)
    }
    assert reunite(ours, {}, fork._replace(ended={b"a": End(5, 13)}), {}, {}, {}).shown == {b"a": None}


def test_a_store_that_is_empty_gets_all_and_takes_nothing_away() -> None:
    ours = Side({}, {}, 0).after([("a", "put", 1), ("b", "put", 1), ("b", "remove", 1)], 1)

    plan = reunite(ours.held, {}, at(0), {key: Base(revision) for key, revision in ours.ended.items()}, {}, {})

    assert set(plan.restored) == {b"a"}
    assert not plan.shown


def test_what_is_lost_without_a_word_of_a_whole_log_is_put_back() -> None:
    ours = {b"a": held(5)}

    assert reunite(ours, {}, at(10), {}, {}, {}).restored == {b"a": Restored(ours[b"a"], 0)}
    assert reunite(ours, {}, at(10)._replace(ended={b"a": End(1)}), {}, {}, {}).shown == {b"a": None}
    assert reunite(ours, {}, at(10)._replace(is_whole=False), {}, {}, {}).shown == {b"a": None}


def test_of_what_another_node_has_put_back_the_later_version_holds() -> None:
    """It is not in the log, and not from before the fork: that node knew it so before all was lost."""
    known, later = {b"a": held(12, 9)}, {b"a": held(13, 1)}

    assert reunite(later, known, at(10), {}, {}, {}).restored == {b"a": Restored(later[b"a"], 12)}
    assert reunite(known, later, at(10), {}, {}, {}).shown == later


def test_an_end_that_we_saw_ends_what_another_node_has_put_back() -> None:
    theirs = {b"a": held(12)}

    assert reunite({}, theirs, at(10), {b"a": Base(13)}, {}, {}).restored == {b"a": Restored(None, 12)}
    assert reunite({}, theirs, at(10, [b"a"]), {b"a": Base(13)}, {}, {}).shown == theirs


def test_an_end_that_waited_ends_just_the_version_that_it_was_decided_on() -> None:
    ours, waiting = held(12), {b"a": Remove(instance("a").key)}

    assert reunite({}, {b"a": ours}, at(0), {}, waiting, {b"a": Base(12)}).told == {b"a": (waiting[b"a"], 12)}
    assert reunite({}, {b"a": held(14)}, at(0), {}, waiting, {b"a": Base(12)}).shown == {b"a": held(14)}


def test_an_end_that_waited_ends_also_what_waited_before_it_and_came_through() -> None:
    """Its answer was lost with Redis: we took it for not told, and decided the end on it."""
    theirs, waiting = held(14, 5), {b"a": Remove(instance("a").key)}

    assert reunite({}, {b"a": theirs}, at(0), {}, waiting, {b"a": Base(12).and_then(theirs.record)}).told


def test_what_was_registered_and_ended_while_no_answer_came_does_not_come_back_with_whom_heard_it() -> None:
    """The store had taken the registration, under a number that we were never told, told another node, and lost it."""
    picture = Picture(ManualClock(), "ours")
    registered, later = held(50, 5), held(51, 6)
    picture.take_here([Put(registered.record)])
    picture.take_here([Remove(instance("a").key)])
    ((key, ended),) = picture.ended.items()

    assert reunite({}, {key: registered}, at(0), {key: ended}, {}, {}).restored == {key: Restored(None, 50)}
    assert reunite({}, {key: later}, at(0), {key: ended}, {}, {}).shown == {key: later}


def test_a_root_and_a_key_that_were_made_over_an_emptied_store_do_not_count() -> None:
    def account(created_s: int, updated_s: int, version: Revision) -> Held:
        named = AccountName("root")
        record = Account(
            key=named, id="1", password_hash=f"{updated_s}", roles=(), created_s=created_s, updated_s=updated_s
        )
        return Held(record, version)

    def signing(made_s: int, version: Revision) -> Held:
        return Held(SigningKey(pem=f"{made_s}", made_s=made_s), version)

    fork = Fork(0, [b"root", b"key"], {}, is_whole=True)
    ours = {b"root": account(5, 5, 12), b"key": signing(5, 12)}

    assert reunite(ours, {b"root": account(9, 9, 20), b"key": signing(9, 20)}, fork, {}, {}, {}).restored.keys() == {
        b"root",
        b"key",
    }
    changed = {b"root": account(5, 9, 20), b"key": ours[b"key"]}
    assert reunite(ours, changed, fork, {}, {}, {}).shown == {b"root": changed[b"root"]}


def held(version: Revision, updated_ms: int = 0) -> Held:
    return Held(structs.replace(instance("a"), updated_ms=updated_ms), version)
