"""Deadlines, the wheel, the forgiving clock and the sliding minute."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from facade.clock import ManualClock
from facade.registry.leases import SLOTS, Lease, LeaseClock, RenewalRate, Wheel
from tests.registry.records import flat


def lease_until(deadline_s: float) -> Lease:
    lease = Lease(flat(), now_s=0, now_ms=0)
    lease.deadline_s = deadline_s
    return lease


def test_a_lease_lasts_its_first_term_and_after_a_renewal_the_longer_one() -> None:
    """Netflix's known quirk: 90 s from registration, 180 s from a renewal."""
    lease = Lease(flat(), now_s=1_000, now_ms=5)

    first_deadline_s = lease.deadline_s
    lease.renew(now_s=1_030, now_ms=6)

    assert (first_deadline_s, lease.deadline_s, lease.renewed_ms) == (1_090, 1_210, 6)


def test_the_wheel_yields_a_lease_in_the_second_after_its_deadline() -> None:
    wheel = Wheel(now_s=100)
    lease = lease_until(103.5)
    wheel.add(lease)

    assert list(wheel.lapsed(103.9)) == []
    assert list(wheel.lapsed(104.0)) == [lease]


def test_a_renewed_lease_is_moved_on() -> None:
    wheel = Wheel(now_s=100)
    lease = lease_until(103)
    wheel.add(lease)
    lease.deadline_s = 110

    assert list(wheel.lapsed(109)) == []
    assert list(wheel.lapsed(111)) == [lease]


def test_an_ended_lease_is_dropped() -> None:
    wheel = Wheel(now_s=100)
    lease = lease_until(103)
    wheel.add(lease)
    lease.ended = True

    assert list(wheel.lapsed(200)) == []


@given(st.lists(st.floats(min_value=1, max_value=4 * SLOTS), max_size=30), st.floats(min_value=0.2, max_value=300))
def test_every_lease_lapses_once_and_at_most_a_second_and_a_sweep_late(terms_s: list[float], step_s: float) -> None:
    """Also those whose term is longer than one turn of the wheel, and with sweeps that come late."""
    wheel = Wheel(now_s=0)
    leases = [lease_until(term_s) for term_s in terms_s]
    for lease in leases:
        wheel.add(lease)

    lapsed: dict[Lease, float] = {}
    now_s = 0.0
    while now_s < 4 * SLOTS + 2 * step_s + 2:
        now_s += step_s
        for lease in wheel.lapsed(now_s):
            assert lease not in lapsed
            lapsed[lease] = now_s

    assert set(lapsed) == set(leases)
    assert all(0 <= at_s - lease.deadline_s <= 1 + step_s for lease, at_s in lapsed.items())


def test_time_in_which_the_process_stood_still_is_forgiven() -> None:
    """A frozen process must not evict: it could hear no renewal."""
    clock = ManualClock()
    leases = LeaseClock(clock)
    begun_s = leases.now_s()

    clock.advance(600)
    forgiven_s = leases.note_sweep(interval_s=1)

    assert forgiven_s == 599
    assert leases.now_s() - begun_s == 1


def test_an_ordinary_delay_of_a_sweep_is_not_forgiven() -> None:
    clock = ManualClock()
    leases = LeaseClock(clock)

    clock.advance(1.7)

    assert leases.note_sweep(interval_s=1) == 0


@given(st.lists(st.tuples(st.floats(min_value=0, max_value=100), st.integers(0, 3)), max_size=40))
def test_the_rate_is_the_count_of_the_last_sixty_seconds(steps: list[tuple[float, int]]) -> None:
    rate = RenewalRate(now_s=0)
    now_s, noted = 0.0, []
    for pause_s, renewals in steps:
        now_s += pause_s
        for _ in range(renewals):
            rate.note(now_s)
            noted.append(int(now_s))

    assert rate.last_minute(now_s) == sum(int(now_s) - at_s < 60 for at_s in noted)
