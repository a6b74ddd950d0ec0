"""Who guesses is locked out, by name and address. Source: measured with v2.2.0."""

from __future__ import annotations

import pytest

from facade.access.lockouts import LOCKED_FOR_S, MOST_KEPT, REFILLED_EVERY_S, SHOWN_FOR_S, Lock, Lockouts
from facade.clock import ManualClock


@pytest.fixture
def lockouts(clock: ManualClock) -> Lockouts:
    return Lockouts(clock)


def test_the_third_failure_locks_out(lockouts: Lockouts) -> None:
    for _ in range(2):
        lockouts.note_failure("anna", "10.0.0.1")
    assert not lockouts.is_locked("anna", "10.0.0.1")

    lockouts.note_failure("anna", "10.0.0.1")

    assert lockouts.is_locked("anna", "10.0.0.1")
    assert not lockouts.is_locked("anna", "10.0.0.2")
    assert not lockouts.is_locked("otto", "10.0.0.1")


def test_a_lock_ends_after_a_quarter_of_an_hour_and_one_more_failure_is_free(
    lockouts: Lockouts, clock: ManualClock
) -> None:
    for _ in range(3):
        lockouts.note_failure("anna", "10.0.0.1")
    clock.advance(LOCKED_FOR_S)
    assert not lockouts.is_locked("anna", "10.0.0.1")

    lockouts.note_failure("anna", "10.0.0.1")
    assert not lockouts.is_locked("anna", "10.0.0.1")
    lockouts.note_failure("anna", "10.0.0.1")
    assert lockouts.is_locked("anna", "10.0.0.1")


def test_slow_failures_lock_nobody_out(lockouts: Lockouts, clock: ManualClock) -> None:
    for _ in range(10):
        lockouts.note_failure("anna", "10.0.0.1")
        clock.advance(REFILLED_EVERY_S)
        assert not lockouts.is_locked("anna", "10.0.0.1")


def test_failures_are_listed_for_a_while(lockouts: Lockouts, clock: ManualClock) -> None:
    lockouts.note_failure("", "10.0.0.1")
    now_s = clock.now_ms() // 1000

    assert list(lockouts) == [Lock("::10.0.0.1", False, now_s + int(SHOWN_FOR_S))]
    clock.advance(SHOWN_FOR_S)
    assert list(lockouts) == []


def test_who_guesses_names_fills_no_memory(lockouts: Lockouts) -> None:
    for number in range(MOST_KEPT + 100):
        lockouts.note_failure(f"n{number}" * 1_000, "10.0.0.1")

    kept = list(lockouts)
    assert len(kept) == MOST_KEPT
    assert max(len(lock.key) for lock in kept) < 200
