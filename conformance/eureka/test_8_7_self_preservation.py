"""Self-preservation (cases 153-155, 157, 158; 156 in test_8_7_peers.py).

Spring's server counts itself as one client more than there are instances; ours counts instances.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import httpx
import pytest

from conformance.eureka.client import Eureka
from conformance.eureka.conftest import ClientOf, Expected, ServerWith, wait_until
from conformance.peers.patience import PATIENCE_S
from conformance.peers.processes import Running

SOME_SWEEPS_S = 4

_THRESHOLD_SHOWN = {
    "real": re.compile(r"<td>Renews threshold</td>\s*<td>(\d+)</td>"),
    "ours": re.compile(r"eureka</b>[^<]*?(\d+) must be exceeded"),
}


@pytest.fixture
def threshold_of(eureka_kind: str) -> Callable[[Eureka], int]:
    """How many renewals a minute the server waits for, as its page for people says."""

    def read(eureka: Eureka) -> int:
        page = httpx.get(f"{eureka.url}/").text
        shown = _THRESHOLD_SHOWN[eureka_kind].search(page)
        assert shown, "the page at / does not show the threshold"
        return int(shown[1])

    return read


def test_153_157_158_leases_lapse_while_more_renew_than_the_threshold(
    start_eureka: ServerWith, client_of: ClientOf, app: str, expected: Expected
) -> None:
    """Ten clients expected, threshold 17: after 17 renewals in a minute the dead stay, after 18 they go.

    In the original a minute's renewals count when the minute is over, and its minutes begin when it starts.
    What counts as a renewal is in it: a refused heartbeat with newer data does; registering again (which raises no
    expectation either) and a stranger's heartbeat do not.
    """
    living = [f"i{number}" for number in range(expected(153, ours=9, real=8))]
    servers = {renewals: client_of(start_eureka(self_preservation=True)) for renewals in (17, 18)}
    for renewals, eureka in servers.items():
        for instance_id in living:
            eureka.given(app, instance_id)
        eureka.given(app, "dead", leaseInfo={"durationInSecs": 1})
        for number in range(renewals - 1):
            assert eureka.renew(app, living[number % len(living)]).status_code == 200
        assert eureka.renew(app, living[0], "?lastDirtyTimestamp=1001").status_code == 404
        for _ in range(3):
            eureka.given(app, living[0])
            assert eureka.renew(app, "stranger").status_code == 404

    wait_until(lambda: "dead" not in _ids(servers[18], app), within_s=2 * PATIENCE_S)
    time.sleep(SOME_SWEEPS_S)

    assert "dead" in _ids(servers[17], app)


def test_154_the_threshold_follows_the_registrations(
    server_with: ServerWith,
    client_of: ClientOf,
    app: str,
    threshold_of: Callable[[Eureka], int],
    expected: Expected,
) -> None:
    eureka = client_of(server_with(self_preservation=True))

    thresholds = {}
    for number in range(101):
        if number in (0, 1, 2, 10, 100):
            thresholds[number] = threshold_of(eureka)
        eureka.given(app, f"i{number}")

    assert thresholds == expected(
        153, ours={0: 0, 1: 1, 2: 3, 10: 17, 100: 170}, real={0: 1, 1: 3, 2: 5, 10: 18, 100: 171}
    )


def test_154_the_threshold_follows_the_interval(
    eureka_kind: str,
    server_with: ServerWith,
    start_real: Callable[[str], Running],
    client_of: ClientOf,
    app: str,
    threshold_of: Callable[[Eureka], int],
) -> None:
    """Ten clients that renew every ten seconds: the original has to be told so, we add up what the clients state."""
    if eureka_kind == "ours":
        eureka = client_of(server_with(self_preservation=True))
        instances = 10
    else:
        eureka = client_of(start_real("conformance,self-preserving,ten-seconds"))
        instances = 9
    for number in range(instances):
        eureka.given(app, f"i{number}", leaseInfo={"renewalIntervalInSecs": 10})

    assert threshold_of(eureka) == 51


def test_155_who_deregisters_is_no_longer_expected(
    server_with: ServerWith,
    client_of: ClientOf,
    app: str,
    threshold_of: Callable[[Eureka], int],
    expected: Expected,
) -> None:
    eureka = client_of(server_with(self_preservation=True))
    for number in range(10):
        eureka.given(app, f"i{number}")
    before = threshold_of(eureka)

    eureka.cancel(app, "i0")

    assert (before, threshold_of(eureka)) == expected(153, ours=(17, 15), real=(18, 17))


def _ids(eureka: Eureka, app: str) -> list[str]:
    return [instance["instanceId"] for instance in eureka.listed(app)]
