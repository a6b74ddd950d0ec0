"""The search for one story: it takes what can be one, and refuses what cannot."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import combinations, permutations
from math import inf

import pytest

from .linear import Held, State, _step, misfit
from .log import Op, Outcome, Shown, What

DONE, GONE, UNKNOWN = Outcome.DONE, Outcome.GONE, Outcome.UNKNOWN
REGISTER, CANCEL, RENEW, STATUS = What.REGISTER, What.CANCEL, What.RENEW, What.STATUS


def call(what: What, began: float, ended: float, outcome: Outcome = DONE, *, n: int = 0, status: str = "") -> Op:
    return Op("c0", what, 0, began, n, status, ended if outcome is not UNKNOWN else inf, outcome)


def read(began: float, ended: float, n: int = 0, status: str = "UP") -> Op:
    """Of no instance where no number is given."""
    shown = Shown.of(n, status) if n else ""
    return call(What.READ, began, ended, DONE if n else GONE, status=shown)


FITS = {
    "nothing": [],
    "a read after a registration": [call(REGISTER, 0, 1, n=1), read(2, 3, n=1)],
    "a read before it": [read(0, 1), call(REGISTER, 2, 3, n=1)],
    "reads beside it, in its order": [call(REGISTER, 0, 9, n=1), read(1, 2), read(3, 4, n=1)],
    "two writes at once, the first wins": [call(REGISTER, 0, 9, n=1), call(REGISTER, 0, 9, n=2), read(10, 11, n=1)],
    "two writes at once, the second wins": [call(REGISTER, 0, 9, n=1), call(REGISTER, 0, 9, n=2), read(10, 11, n=2)],
    "one without an answer that happened late": [
        call(REGISTER, 0, 1, n=1),
        call(CANCEL, 2, 3, UNKNOWN),
        read(4, 5, n=1),
        read(6, 7),
    ],
    "one without an answer that never happened": [
        call(REGISTER, 0, 1, n=1),
        call(CANCEL, 2, 3, UNKNOWN),
        read(4, 5, n=1),
    ],
    "an unanswered read": [call(REGISTER, 0, 1, n=1), call(What.READ, 2, 3, UNKNOWN), read(4, 5, n=1)],
    "a word that lasts over a registration": [
        call(REGISTER, 0, 1, n=1),
        call(STATUS, 2, 3, status="OUT_OF_SERVICE"),
        call(REGISTER, 4, 5, n=2),
        read(6, 7, n=2, status="OUTOFSERVICE"),
    ],
    "a word that is taken back": [
        call(REGISTER, 0, 1, n=1),
        call(STATUS, 2, 3, status="OUT_OF_SERVICE"),
        call(STATUS, 4, 5),
        read(6, 7, n=1),
    ],
    "a word that ends with the instance": [
        call(REGISTER, 0, 1, n=1),
        call(STATUS, 2, 3, status="OUT_OF_SERVICE"),
        call(CANCEL, 4, 5),
        call(RENEW, 5.5, 5.6, GONE),
        call(REGISTER, 6, 7, n=2),
        read(8, 9, n=2),
    ],
}

DOES_NOT = {
    "a registration is not seen": ([call(REGISTER, 0, 1, n=1), read(2, 3)], 1),
    "an older one is seen": ([call(REGISTER, 0, 1, n=1), call(REGISTER, 2, 3, n=2), read(4, 5, n=1)], 2),
    "seen and then not": ([call(REGISTER, 0, 9, n=1), read(1, 2, n=1), read(3, 4)], 2),
    "seen before it was asked for": ([read(0, 1, n=1), call(REGISTER, 2, 3, n=1)], 0),
    "seen after its end": ([call(REGISTER, 0, 1, n=1), call(CANCEL, 2, 3), read(4, 5, n=1)], 2),
    "renewed after its end": ([call(REGISTER, 0, 1, n=1), call(CANCEL, 2, 3), call(RENEW, 4, 5)], 2),
    "not renewed while there": ([call(REGISTER, 0, 1, n=1), call(RENEW, 2, 3, GONE)], 1),
    "ended twice": ([call(REGISTER, 0, 1, n=1), call(CANCEL, 2, 3), call(CANCEL, 4, 5)], 2),
    "a word that is lost": (
        [call(REGISTER, 0, 1, n=1), call(STATUS, 2, 3, status="OUT_OF_SERVICE"), read(4, 5, n=1)],
        2,
    ),
    "back after it happened late": (
        [call(REGISTER, 0, 1, n=1), call(CANCEL, 2, 3, UNKNOWN), read(4, 5), read(6, 7, n=1)],
        3,
    ),
    "two orders for two readers": (
        [
            call(REGISTER, 0, 9, n=1),
            call(REGISTER, 0, 9, n=2),
            read(10, 11, n=1),
            read(12, 13, n=2),
        ],
        3,
    ),
}


@pytest.mark.parametrize("name", FITS)
def test_what_can_be_one_story_is_taken(name: str) -> None:
    assert misfit(FITS[name]) is None


@pytest.mark.parametrize("name", DOES_NOT)
def test_what_cannot_is_refused_and_the_call_named(name: str) -> None:
    history, at = DOES_NOT[name]

    assert misfit(history) is history[at]


@pytest.mark.parametrize("seed", range(10))
def test_what_a_true_register_answers_is_taken_however_long(seed: int) -> None:
    """Five clients, a thousand calls, each done at some moment between its begin and its end; some hear no answer."""
    history = lived(random.Random(seed), calls=1000)

    assert misfit(history) is None


@pytest.mark.parametrize("seed", range(10))
def test_one_stale_answer_among_them_is_found(seed: int) -> None:
    chance = random.Random(seed)
    history = lived(chance, calls=300)
    sight = chance.choice([op for op in history if op.what is What.READ and op.outcome is DONE])
    never = max(op.n for op in history) + 1
    sight.status = Shown.of(never, "UP")

    assert misfit(history) is sight


@pytest.mark.parametrize("seed", range(3))
def test_a_history_is_decided_however_many_calls_had_no_answer(seed: int) -> None:
    """As in twenty fail-overs: each way in which some hundreds may have happened, or not, cannot be tried."""
    chance = random.Random(seed)
    history = lived(chance, calls=1000, unheard=0.5)
    answered = [op for op in history if op.outcome is not UNKNOWN]

    assert len(answered) < 700
    assert misfit(history) is None

    sight = [op for op in answered if op.what is What.READ and op.outcome is DONE][-1]
    older = next(op for op in answered if op.what is REGISTER)
    sight.status = Shown.of(older.n, "UP")

    assert misfit(history) is sight


def test_the_search_finds_what_trying_all_orders_finds() -> None:
    """In thousands of short histories, most of which cannot be one story."""
    chance = random.Random(1)
    verdicts = []
    for _ in range(4000):
        history = drawn(chance, calls=5)
        verdicts.append(misfit(history) is None)
        assert verdicts[-1] == any(is_story(order) for order in orders(history)), history

    assert 500 < sum(verdicts) < 3500


def drawn(chance: random.Random, calls: int) -> list[Op]:
    """Calls at any times with any answers."""
    history = []
    for number in range(1, calls + 1):
        what = chance.choice([REGISTER, REGISTER, CANCEL, RENEW, STATUS, What.CHANGE, What.READ, What.READ])
        began = chance.randrange(8)
        outcome = DONE if what is REGISTER else chance.choice([DONE, DONE, GONE])
        outcome = UNKNOWN if chance.random() < 0.3 else outcome
        word = chance.choice(["OUT_OF_SERVICE", ""])
        status = {STATUS: word, What.READ: Shown.of(chance.randrange(1, calls + 1), word or "UP")}.get(what, "")
        history.append(call(what, began, began + chance.randrange(1, 6), outcome, n=number, status=status))
    return history


def orders(history: Sequence[Op]) -> Iterator[Sequence[Op]]:
    """In which those that were answered, and any of the others, can have come."""
    answered = [op for op in history if op.outcome is not UNKNOWN]
    others = [op for op in history if op.outcome is UNKNOWN]
    for count in range(len(others) + 1):
        for some in combinations(others, count):
            for order in permutations([*answered, *some]):
                if not any(later.ended_s < op.began_s for op, later in combinations(order, 2)):
                    yield order


def is_story(order: Sequence[Op]) -> bool:
    state: State = None
    for op in order:
        fits, state = _step(state, op) if op.what is not What.READ or op.outcome is not UNKNOWN else (True, state)
        if not fits:
            return False
    return True


def lived(chance: random.Random, calls: int, unheard: float = 0.03) -> list[Op]:
    """The calls of clients that take turns at one register, with what it answered."""
    state: State = None
    free_s, history = [0.0] * 5, []
    for number in range(1, calls + 1):
        client = min(range(5), key=free_s.__getitem__)
        what = chance.choice([REGISTER, CANCEL, RENEW, STATUS, What.READ, What.READ])
        began_s = free_s[client] + chance.random()
        # Clients come in the order of their begins here; a call is done before the next one of any begins.
        history.append((began_s, what, client, number))
        free_s[client] = began_s + 1 + chance.random()
    done: list[Op] = []
    for began_s, what, _client, number in sorted(history):
        is_heard = chance.random() > unheard
        outcome, state, shown = _answered(state, what, number)
        ended_s = began_s + chance.random()
        word = "OUT_OF_SERVICE" if what is STATUS else ""
        done.append(
            call(what, began_s, ended_s, outcome if is_heard else UNKNOWN, n=number, status=shown if shown else word)
        )
    return done


def _answered(state: State, what: What, number: int) -> tuple[Outcome, State, str]:
    if what is REGISTER:
        return DONE, Held(number, state.word if state else ""), ""
    if state is None:
        return GONE, None, ""
    match what:
        case What.CANCEL:
            return DONE, None, ""
        case What.STATUS:
            return DONE, Held(state.n, "OUT_OF_SERVICE"), ""
        case What.READ:
            return DONE, state, state.shown
    return DONE, state, ""
