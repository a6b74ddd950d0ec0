"""Leases and eviction, without self-preservation (cases 148-152).

Nobody sets the server's clock: these tests wait until it has done something, and assert in which order things happen.
"""

from __future__ import annotations

import os
import signal
import time

import pytest

from conformance.eureka.client import Eureka
from conformance.eureka.conftest import ClientOf, ServerWith, wait_until


@pytest.fixture
def lonely(server_with: ServerWith, client_of: ClientOf) -> Eureka:
    """A server that is swept every second and lists nobody: how many go at once depends on how many there are."""
    eureka = client_of(server_with())
    wait_until(lambda: eureka.registry()["application"] == [], within_s=30)
    return eureka


def test_148_who_never_renews_goes(lonely: Eureka, app: str) -> None:
    lonely.given(app, leaseInfo={"durationInSecs": 2})
    lonely.given(app, "stays")

    wait_until(lambda: _ids(lonely, app) == ["stays"], within_s=10)

    assert {i["instanceId"]: i["actionType"] for i in lonely.changed(app)} == {"i1": "DELETED", "stays": "ADDED"}


def test_149_a_renewal_holds_twice_as_long(lonely: Eureka, app: str) -> None:
    """The original adds the duration when it renews and once more when it judges."""
    for instance_id, duration_s in (("renewed-2", 2), ("never-3", 3), ("never-6", 6)):
        lonely.given(app, instance_id, leaseInfo={"durationInSecs": duration_s})
    lonely.renew(app, "renewed-2")  # lasts 4 s

    assert _order_of_leaving(lonely, app) == ["never-3", "renewed-2", "never-6"]


def test_149_unless_leases_are_exact(eureka_kind: str, server_with: ServerWith, client_of: ClientOf, app: str) -> None:
    if eureka_kind == "real":
        pytest.skip("the original has no such option")
    eureka = client_of(server_with(exact_leases=True))
    for instance_id, duration_s in (("renewed-3", 3), ("never-5", 5)):
        eureka.given(app, instance_id, leaseInfo={"durationInSecs": duration_s})
    eureka.renew(app, "renewed-3")

    assert _order_of_leaving(eureka, app) == ["renewed-3", "never-5"]


@pytest.mark.parametrize(
    ("dead", "remaining"),
    [
        pytest.param(20, [20, 17, 14, 11, 9, 7, 5, 4, 3, 2, 1, 0], id="case150-twenty"),
        pytest.param(1, [1, 0], id="case151-one"),
        pytest.param(6, [6, 5, 4, 3, 2, 1, 0], id="case151-six"),
    ],
)
def test_no_sweep_takes_more_than_its_share(lonely: Eureka, app: str, dead: int, remaining: list[int]) -> None:
    for number in range(dead):
        lonely.given(app, f"i{number}", leaseInfo={"durationInSecs": 2})

    seen = [len(_ids(lonely, app))]
    give_up_at = time.monotonic() + 30
    while seen[-1] and time.monotonic() < give_up_at:
        time.sleep(0.05)
        now = len(_ids(lonely, app))
        if now != seen[-1]:
            seen.append(now)

    assert seen == remaining


def test_152_a_frozen_server_evicts_nobody_when_it_wakes(lonely: Eureka, server_with: ServerWith, app: str) -> None:
    """Ten minutes in the case; what counts is that the lease has lapsed by the clock when the process wakes.

    measured: the original's very first sweep forgives nothing; by now there was one, or this test waits for it.
    """
    lonely.given(app, "swept", leaseInfo={"durationInSecs": 1})
    wait_until(lambda: _ids(lonely, app) == [], within_s=10)
    lonely.given(app, leaseInfo={"durationInSecs": 3})

    pid = server_with().pid
    os.kill(pid, signal.SIGSTOP)
    time.sleep(6)
    os.kill(pid, signal.SIGCONT)
    time.sleep(0.4)  # the first sweep is overdue and runs at once; the next one comes a second later

    assert _ids(lonely, app) == ["i1"]
    assert lonely.renew(app).status_code == 200


def _ids(eureka: Eureka, app: str) -> list[str]:
    return sorted(instance["instanceId"] for instance in eureka.listed(app))


def _order_of_leaving(eureka: Eureka, app: str) -> list[str]:
    left: list[str] = []
    there = _ids(eureka, app)
    give_up_at = time.monotonic() + 30
    while there and time.monotonic() < give_up_at:
        time.sleep(0.05)
        now = _ids(eureka, app)
        left += sorted(set(there) - set(now))
        there = now
    return left
