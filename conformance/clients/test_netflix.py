"""Netflix's own client, of both lines (cases 164, 188, 190)."""

from __future__ import annotations

import re

import pytest

from conformance.clients.conftest import Noted
from conformance.clients.life import Life, soon
from conformance.clients.programs import NETFLIX

pytestmark = pytest.mark.parametrize("client", NETFLIX, ids=str, indirect=True)


def complaints(life: Life) -> list[str]:
    """What the client says when something is not as it should be; "reconcile" tells that its view was wrong."""
    lines = life.running.log_text.splitlines()
    return [line for line in lines if re.search(r"(ERROR|WARN) com\.netflix\.discovery|reconcil", line, re.IGNORECASE)]


def full_fetches(life: Life) -> int:
    """It asks for all while it knows of none, and when it finds its view wrong."""
    return sum("delta" not in one.path for one in life.wire.asked("GET"))


def test_registers(alive: Life) -> None:
    """Registers with the values it was given."""
    alive.registers_as_up(
        securePort={"$": 443, "@enabled": "false"},
        metadata={"team": "blue & <green>"},
        dataCenterInfo={"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
        overriddenStatus="UNKNOWN",
    )
    assert alive.wire.statuses("POST") == {204}


def test_is_found_in_servicecenter(alive: Life, noted: Noted) -> None:
    """Is found by consumers of the ServiceCenter side."""
    noted(alive.is_found_in_servicecenter())


def test_renews(alive: Life) -> None:
    """Renews its lease."""
    registered = len(alive.wire.exchanges)  # on a busy machine its first heartbeat comes before: 404
    alive.renews()

    assert alive.wire.statuses("PUT", since=registered) == {200}


def test_188_sees_others(alive: Life, app: str) -> None:
    """Sees itself, and another application come and go, by deltas alone; its log has no complaint."""
    soon(lambda: alive.id in alive.seen(app))
    at_first = full_fetches(alive)
    alive.sees_come_and_go(f"{app}-other")

    assert full_fetches(alive) == at_first
    assert alive.wire.statuses("GET") == {200}
    assert complaints(alive) == []


def test_162_163_164_applies_what_happens_between_two_looks(
    alive: Life, app: str, eureka_kind: str, noted: Noted
) -> None:
    """Applies what happened between two looks: changed twice, replaced by another (cases 162-164)."""
    soon(lambda: alive.id in alive.seen(app))
    at_first = full_fetches(alive)
    eureka, other = alive.registry.eureka, f"{app}-other".upper()
    lease = {"renewalIntervalInSecs": 30, "durationInSecs": 600}
    for _ in range(5):
        eureka.given(other, "a", leaseInfo=lease)
        eureka.override(other, "a", "?value=DOWN")
        eureka.override(other, "a", "?value=UP")
        eureka.cancel(other, "a")
        eureka.given(other, "b", leaseInfo=lease)
        soon(lambda: set(alive.seen(other)) == {"b"})
        eureka.cancel(other, "b")
        soon(lambda: not alive.seen(other))

    more = full_fetches(alive) - at_first
    if eureka_kind == "real":
        noted(f"{more} full fetches in 5 rounds" if more else "")
    else:
        assert (more, complaints(alive)) == (0, [])


def test_190_registers_again(alive: Life, eureka_kind: str, noted: Noted) -> None:
    """Registers again when the server was restarted without state."""
    before = len(alive.wire.exchanges)
    alive.registry.restart()

    if eureka_kind == "real":
        soon(lambda: [one.status for one in alive.wire.exchanges[before:] if one.method == "PUT"].count(404) >= 3)
        assert alive.registered is None
        noted("never does: it cannot read the body of Spring's 404")
    else:
        alive.becomes_registered()
        alive.renews()
        soon(lambda: alive.id in alive.seen(alive.app))


def test_leaves(alive: Life) -> None:
    """Takes itself away when it is told to end; nothing of it stays."""
    alive.leaves()

    assert alive.wire.statuses("DELETE") == {200}
