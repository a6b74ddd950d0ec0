"""Which registration wins, which status shows, may we evict now."""

from __future__ import annotations

import pytest

from facade.registry import rules
from facade.registry.model import Origin, Status
from facade.registry.rules import Policy, Renewals
from tests.registry.records import flat, qualified

UP, DOWN, STARTING, OUT, UNKNOWN = Status.UP, Status.DOWN, Status.STARTING, Status.OUT_OF_SERVICE, Status.UNKNOWN


@pytest.mark.parametrize(
    ("reported", "override", "held", "shown"),
    [
        pytest.param(UP, None, None, UP, id="rule-5-own-word"),
        pytest.param(DOWN, OUT, UP, DOWN, id="rule-1-down-is-trusted"),
        pytest.param(STARTING, UP, UP, STARTING, id="rule-1-starting-is-trusted"),
        pytest.param(UP, OUT, UP, OUT, id="rule-2-override"),
        pytest.param(OUT, None, UP, UP, id="rule-4-the-lease-stays-up"),
        pytest.param(UP, None, OUT, OUT, id="rule-4-the-lease-stays-out-of-service"),
        pytest.param(UP, None, STARTING, UP, id="rule-4-does-not-hold-for-starting"),
    ],
)
def test_the_status_shown_follows_netflix_rules(
    reported: Status, override: Status | None, held: Status | None, shown: Status
) -> None:
    """Source: Netflix/eureka, registry/rule/*; cases 132 and 133."""
    assert rules.shown_status(Origin.EUREKA, reported, override, held) is shown


def test_a_peers_word_counts_more_than_the_lease() -> None:
    """Case 134: rule 4 is not for replicated registrations."""
    assert rules.shown_status(Origin.EUREKA, OUT, None, UP, is_replicated=True) is OUT


def test_a_servicecenter_lease_does_not_hold_a_status_back() -> None:
    assert rules.shown_status(Origin.SERVICECENTER, UP, None, OUT) is UP


def test_an_older_registration_leaves_the_data_that_is_held() -> None:
    held, older = flat(host="new", dirty_ms=2_000), flat(host="old", dirty_ms=1_000)

    assert rules.registered(held, older).host == "new"


def test_an_equally_old_registration_wins() -> None:
    held, again = flat(host="one"), flat(host="two")

    assert rules.registered(held, again).host == "two"


def test_an_override_outlives_a_registration() -> None:
    held = rules.overridden(flat(), OUT)

    again = rules.registered(held, flat(dirty_ms=3_000))

    assert (again.status, again.override) == (OUT, OUT)


def test_naming_the_status_already_shown_records_no_override() -> None:
    instance = flat()

    assert rules.overridden(instance, UP) is instance


def test_a_eureka_instance_shows_the_status_given_until_its_owner_speaks() -> None:
    restored = rules.restored(rules.overridden(flat(), OUT), UNKNOWN)

    assert (restored.status, restored.override) == (UNKNOWN, None)


def test_a_servicecenter_instance_shows_its_owners_last_word_at_once() -> None:
    restored = rules.restored(rules.overridden(qualified(), OUT), UNKNOWN)

    assert (restored.status, restored.override) == (UP, None)


def test_an_override_raises_the_dirty_time_and_never_lowers_it() -> None:
    assert rules.overridden(flat(), OUT, dirty_ms=5_000).dirty_ms == 5_000
    assert rules.overridden(flat(), OUT, dirty_ms=500).dirty_ms == 1_000


@pytest.mark.parametrize(("clients", "threshold"), [(1, 1), (2, 3), (10, 17), (100, 170)])
def test_the_threshold_is_netflix_arithmetic(clients: int, threshold: int) -> None:
    """Case 154, at 30 s and 0.85."""
    assert rules.renewal_threshold(Renewals(clients, 2 * clients, 0), Policy()) == threshold


def test_shorter_intervals_raise_the_threshold() -> None:
    """Case 154: ten clients at 10 s."""
    assert rules.renewal_threshold(Renewals(10, 60, 0), Policy()) == 51


@pytest.mark.parametrize(
    ("leases", "last_minute", "endangered"),
    [
        pytest.param(10, 18, False, id="above-the-threshold"),
        pytest.param(10, 17, True, id="at-the-threshold"),
        pytest.param(5, 0, False, id="a-handful-is-no-partition"),
        pytest.param(6, 0, True, id="more-than-a-handful"),
    ],
)
def test_self_preservation_begins_at_the_threshold(leases: int, last_minute: int, endangered: bool) -> None:
    """Case 153: the comparison is strict."""
    assert rules.is_endangered(Renewals(leases, 2 * leases, last_minute), Policy()) is endangered


def test_the_brake_lets_fifteen_in_a_hundred_go() -> None:
    """Case 150: 20 dead leave in steps."""
    left, remaining = 20, []
    while left:
        left -= rules.eviction_cap(left)
        remaining.append(left)

    assert remaining == [17, 14, 11, 9, 7, 5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("share", "hide", "application", "is_shared"),
    [
        pytest.param({"*"}, set(), "ORDERS", True, id="all, unless an operator says otherwise"),
        pytest.param({"*"}, {"shop.*"}, "SHOP.ORDERS", False, id="hidden by pattern, in any case of letters"),
        pytest.param({"*"}, {"shop.*"}, "ORDERS", True, id="not hidden"),
        pytest.param({"CARTS"}, set(), "ORDERS", False, id="not among those shared"),
        pytest.param({"CARTS"}, {"CARTS"}, "CARTS", False, id="hiding wins"),
    ],
)
def test_an_operator_decides_what_crosses(share: set[str], hide: set[str], application: str, is_shared: bool) -> None:
    """N11."""
    policy = Policy(share=frozenset(share), hide=frozenset(hide))

    assert rules.is_shared(application, policy) is is_shared


def test_marks_of_other_registries_are_taken_from_no_client() -> None:
    """Whoever could forge them could pass for a copy, and be deleted with it."""
    stated = {"zone": "a", "_eureka.app": "X", "_sc.appId": "y", "_bridge.origin": "eureka", "_other": "z"}

    assert rules.ordinary(stated, Policy()) == {"zone": "a", "_other": "z"}
    assert rules.ordinary(stated, Policy(keep_marks=True)) == stated
