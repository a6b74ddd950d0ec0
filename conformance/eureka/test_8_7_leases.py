"""Leases and eviction, without self-preservation (cases 148-152).

Nobody sets the server's clock: these tests wait until it has done something, and assert in which order things happen.
"""

from __future__ import annotations

import os
import signal
import time
from itertools import pairwise

import pytest

from conformance.eureka.client import Eureka
from conformance.eureka.conftest import ClientOf, ServerWith, wait_until

_CLOCK_S = 0.1
"""So far the server's clock and ours may be apart."""


@pytest.fixture
def lonely(server_with: ServerWith, client_of: ClientOf) -> Eureka:
    """A server that is swept every second and lists nobody: how many go at once depends on how many there are."""
    eureka = client_of(server_with())
    wait_until(lambda: eureka.registry()["application"] == [])
    return eureka


def test_148_who_never_renews_goes(lonely: Eureka, app: str) -> None:
    lonely.given(app, leaseInfo={"durationInSecs": 2})
    lonely.given(app, "stays")

    wait_until(lambda: _ids(lonely, app) == ["stays"])

    assert {i["instanceId"]: i["actionType"] for i in lonely.changed(app)} == {"i1": "DELETED", "stays": "ADDED"}


def test_149_a_renewal_holds_twice_as_long(lonely: Eureka, app: str) -> None:
    """The original adds the duration when it renews and once more when it judges."""
    held_s = _held_after_renewal(lonely, app, duration_s=2, witness_s=12)

    assert held_s >= 4 - _CLOCK_S


def test_149_unless_leases_are_exact(eureka_kind: str, server_with: ServerWith, client_of: ClientOf, app: str) -> None:
    if eureka_kind == "real":
        pytest.skip("the original has no such option")
    eureka = client_of(server_with(exact_leases=True))

    held_s = _held_after_renewal(eureka, app, duration_s=6, witness_s=11)

    assert held_s >= 6 - _CLOCK_S


def _held_after_renewal(eureka: Eureka, app: str, duration_s: int, witness_s: int) -> float:
    """For how long it was listed, at least; it leaves before a lease does that begins after its renewal."""
    while True:  # a slow client comes too late to renew, and registers again
        eureka.given(app, "renewed", leaseInfo={"durationInSecs": duration_s})
        began_s = time.monotonic()
        if eureka.renew(app, "renewed").status_code == 200:
            break
    eureka.given(app, "witness", leaseInfo={"durationInSecs": witness_s})

    wait_until(lambda: "renewed" not in _ids(eureka, app))
    held_s = time.monotonic() - began_s

    assert _ids(eureka, app) == ["witness"]
    return held_s


@pytest.mark.parametrize(
    ("dead", "sweeps"),
    [
        pytest.param(20, 11, id="case150-twenty"),
        pytest.param(1, 1, id="case151-one"),
        pytest.param(6, 6, id="case151-six"),
    ],
)
def test_no_sweep_takes_more_than_its_share(lonely: Eureka, app: str, dead: int, sweeps: int) -> None:
    """Which sweep took whom is told by when it was changed last."""
    for number in range(dead):
        lonely.given(app, f"i{number}", leaseInfo={"durationInSecs": 2})

    wait_until(lambda: _ids(lonely, app) == [])

    taken = _taken_by_each_sweep(sorted(int(one["lastUpdatedTimestamp"]) for one in lonely.changed(app)))
    left = dead
    for number in taken:
        assert number <= left - int(left * 0.85), taken
        left -= number
    assert left == 0
    assert len(taken) >= sweeps


def _taken_by_each_sweep(moments_ms: list[int]) -> list[int]:
    """A sweep takes them all at once, and the next one comes a second later."""
    pauses = [after - before > 500 for before, after in pairwise(moments_ms)]
    taken = [1]
    for is_next in pauses:
        if is_next:
            taken.append(1)
        else:
            taken[-1] += 1
    return taken


def test_152_a_frozen_server_evicts_nobody_when_it_wakes(
    eureka_kind: str, lonely: Eureka, server_with: ServerWith, app: str
) -> None:
    """Ten minutes in the case; what counts is that the lease has lapsed by the clock when the process wakes.

    measured: the original's very first sweep forgives nothing; by now there was one, or this test waits for it.
    """
    lonely.given(app, "swept", leaseInfo={"durationInSecs": 1})
    wait_until(lambda: _ids(lonely, app) == [])

    # The original forgives in its first sweep only: who comes too late for what is between two sweeps comes again.
    for _ in range(1 if eureka_kind == "ours" else 5):
        lonely.given(app, leaseInfo={"durationInSecs": 5})
        pid = server_with().pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(6)
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.4)  # the first sweep is overdue and runs at once; the next one comes a second later
        listed, renewal = _ids(lonely, app), lonely.renew(app).status_code
        if renewal == 200:
            break

    assert (listed, renewal) == (["i1"], 200)


def _ids(eureka: Eureka, app: str) -> list[str]:
    return sorted(instance["instanceId"] for instance in eureka.listed(app))
