"""The judge of a run: each promise broken in a log of a few lines is found, and what is excused is not."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import pytest

from .checker import faults
from .figures import registered_anew
from .log import Log, Look, Op, Outcome, Shown, What
from .watchers import Watcher

DONE, GONE, UNKNOWN = Outcome.DONE, Outcome.GONE, Outcome.UNKNOWN
REGISTER, RENEW, CANCEL = What.REGISTER, What.RENEW, What.CANCEL
LEASE_S = 10.0


def op(what: What, at_s: float, n: int = 1, node: int = 0, outcome: Outcome = DONE) -> Op:
    """Asked at that time, and answered half a second later."""
    return Op("e0", what, node, at_s, n, "", at_s + 0.5 if outcome is not UNKNOWN else inf, outcome)


def look(at_s: float, n: int | None, node: int = 0, status: str = "UP", code: int = 200) -> Look:
    """One instance is shown, or (None) nobody."""
    shown: Mapping[str, Shown] = {} if n is None else {"e0": Shown.of(n, status)}
    return Look(node, "EurekaReader", at_s, at_s + 0.2, code, shown=shown)


def log(*lines: Op | Look) -> Log:
    return Log(
        {"e0": LEASE_S},
        [line for line in lines if isinstance(line, Op)],
        [line for line in lines if isinstance(line, Look)],
    )


HELD = {
    "renewed and shown": (op(REGISTER, 0), op(RENEW, 5), look(9, 1), look(14, 1)),
    "not shown before the registration is answered": (look(0.2, None), op(REGISTER, 0), look(1, 1)),
    "not shown yet at another node": (op(REGISTER, 0), look(1, None, node=1), look(2, 1, node=1)),
    "gone after its lease": (op(REGISTER, 0), look(1, 1), look(11, None)),
    "gone after its lease, until it is registered anew": (
        op(REGISTER, 0),
        look(1, 1),
        op(REGISTER, 12),
        look(12.1, None),
    ),
    "gone after its cancellation": (op(REGISTER, 0), look(1, 1), op(CANCEL, 2), look(3, None)),
    "gone while the cancellation is on its way": (op(REGISTER, 0), look(1, 1), op(CANCEL, 2), look(2.1, None)),
    "gone elsewhere after it": (op(REGISTER, 0), look(1, 1, node=1), op(CANCEL, 2), look(5, None, node=1)),
    "still there elsewhere after it": (op(REGISTER, 0), look(1, 1, node=1), op(CANCEL, 2), look(5, 1, node=1)),
    "back by an operator's word that was never answered": (
        op(REGISTER, 0),
        op(What.STATUS, 1, node=1, outcome=UNKNOWN),
        op(CANCEL, 2),
        look(3, 1),
    ),
    "back with the next registration": (
        op(REGISTER, 0),
        op(CANCEL, 2),
        op(REGISTER, 3, n=2),
        look(4, 2),
        look(4, None, node=1),
    ),
    "ended by a request that was never answered": (
        op(REGISTER, 0),
        op(CANCEL, 1, outcome=UNKNOWN),
        op(CANCEL, 2, node=1),
        op(REGISTER, 3, n=2),
        look(4, 2),
        look(5, None),
    ),
    "an old number by a request that was never answered": (
        op(REGISTER, 0, outcome=UNKNOWN),
        op(REGISTER, 1, n=1, node=1),
        op(REGISTER, 3, n=2, node=1),
        look(4, 2),
        look(5, 1),
    ),
    "a later number": (op(REGISTER, 0), op(REGISTER, 2, n=2), look(1, 1), look(3, 2)),
    "a node without an answer": (op(REGISTER, 0), look(1, None, code=0)),
}

BROKEN = {
    "not shown where it was registered": ((op(REGISTER, 0), look(1, None)), "is missing"),
    "not shown though it renews": ((op(REGISTER, 0), look(1, 1), op(RENEW, 5), look(14, None)), "is missing"),
    "not shown though another node has its renewals": (
        (op(REGISTER, 0), look(1, 1), op(RENEW, 5, node=2), look(14, None)),
        "is missing",
    ),
    "gone at a node that had shown it": (
        (op(REGISTER, 0), look(1, 1, node=1), look(2, None, node=1)),
        "node 1, EurekaReader, 2.00 s: e0 is missing",
    ),
    "an older number than it had shown": ((op(REGISTER, 0, n=2), look(1, 2), look(2, 1)), "is shown as 1 UP, it had 2"),
    "gone by a cancellation before it": (
        (op(REGISTER, 0), op(CANCEL, 1), op(REGISTER, 2, n=2), look(3, None)),
        "is missing",
    ),
    "there after its cancellation": ((op(REGISTER, 0), op(CANCEL, 2), look(3, 1)), "after its cancellation"),
    "there after an operator's word and its cancellation": (
        (op(REGISTER, 0), op(What.STATUS, 1, node=1), op(CANCEL, 2), look(3, 1)),
        "after its cancellation",
    ),
    "back after its cancellation": (
        (op(REGISTER, 0), op(CANCEL, 2), look(3, None), look(9, 1)),
        "after its cancellation",
    ),
    "a list that is refused": ((op(REGISTER, 0), look(1, None, code=403)), "a list was refused with 403"),
    "a request that is refused": ((op(REGISTER, 0, outcome=Outcome.REFUSED),), "register of e0 was refused"),
}


@pytest.mark.parametrize("name", HELD)
def test_what_is_promised_passes(name: str) -> None:
    assert faults(log(*HELD[name])) == []


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_a_promise_is_found(name: str) -> None:
    lines, told = BROKEN[name]

    (fault,) = faults(log(*lines))

    assert told in fault


def test_a_fault_tells_what_was_broken_then() -> None:
    run = log(op(REGISTER, 0), look(1, None))
    run.spans.append(("Redis is away", 0.5, 2.0))

    assert faults(run) == ["node 0, EurekaReader, 1.00 s (Redis is away): e0 is missing, it had 1"]


def test_a_renewal_at_a_node_that_is_cut_off_counts_for_who_had_been_there() -> None:
    stays = log(op(REGISTER, 0, node=2), look(1, 1), op(RENEW, 9, node=2), look(14, None))
    moves = log(op(REGISTER, 0), look(1, 1), op(RENEW, 9, node=2), look(14, None))
    for run in (stays, moves):
        run.cuts.append((2, 5.0, 20.0))

    assert len(faults(stays)) == 1
    assert faults(moves) == []


def test_who_renews_within_its_lease_and_is_told_that_it_is_not_there_had_to_register_anew() -> None:
    late, left = log(op(REGISTER, 0), op(RENEW, 11, outcome=GONE)), log(op(REGISTER, 0), op(RENEW, 3, outcome=GONE))
    left.ops.insert(1, op(CANCEL, 1, outcome=UNKNOWN))

    assert registered_anew(log(op(REGISTER, 0), op(RENEW, 5), op(RENEW, 12, outcome=GONE))) == 1
    assert registered_anew(late) == registered_anew(left) == 0

    moved = log(op(REGISTER, 0), op(RENEW, 5), op(RENEW, 7, node=1, outcome=GONE))
    assert registered_anew(moved) == 1
    moved.spans.append(("Redis is away", 6.0, 9.0))
    assert registered_anew(moved) == 0


def test_contended_instances_are_judged_as_registers() -> None:
    run = log(op(REGISTER, 0), op(RENEW, 2, outcome=GONE))
    for one in run.ops:
        one.who = "c0"

    (fault,) = faults(run)

    assert "renew of c0" in fault and "fits into no order" in fault


def event(n: int, action: str = "UPDATE") -> dict[str, object]:
    return {"action": action, "instance": {"instanceId": "s0", "properties": {"n": str(n)}}}


@pytest.mark.parametrize(
    ("numbers", "odd", "skipped"),
    [
        ((4, 5, 6), [], 0),
        ((2, 3, 4), [], 0),  # what the list had already
        ((4, 3), [("s0", 3, 4)], 0),
        ((4, 4), [("s0", 4, 4)], 0),
        ((4, 6), [], 1),
    ],
)
def test_a_watcher_notices_what_is_not_the_next(
    numbers: tuple[int, ...], odd: list[tuple[str, int, int]], skipped: int
) -> None:
    """It has listed the third change."""
    watcher = watcher_told_of(*numbers)

    assert (watcher.odd, watcher.skipped) == (odd, skipped)


def test_what_a_watcher_is_told_twice_was_asked_for_twice() -> None:
    twice = [watcher_told_of(4, 4)]
    asked = Op("s0", What.CHANGE, 0, 1.0, 4)

    assert faults(Log(), twice) == ["a watcher was told of s0 in number 4 when it knew 4"]
    assert faults(Log(ops=[asked]), twice) == []


def watcher_told_of(*numbers: int) -> Watcher:
    watcher = Watcher(["http://127.0.0.1:1"], 0, "consumer", ["provider"])
    watcher.known, told = {"s0": 3}, dict[str, int]()
    for number in numbers:
        watcher.take_in(event(number), told)
    return watcher
