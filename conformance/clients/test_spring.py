"""Spring Cloud's client on each Boot and over each transport that it has there (cases 189, 190).

A JVM takes seconds to start: each test tells as much of one life as it can.
"""

from __future__ import annotations

import re

import httpx
import pytest

from conformance.clients.conftest import Live, Noted
from conformance.clients.life import Life, soon
from conformance.clients.programs import SPRING

pytestmark = pytest.mark.parametrize("client", SPRING, ids=str, indirect=True)

HEARTBEATS = 10
"""Of one a second: who has not registered again by then does not."""

_COMPLAINS = re.compile(r"\b(ERROR|WARN)\b|reconcil|exception", re.IGNORECASE)
# Spring's own words, whichever server it talks to. Its clock interrupts what has taken it a second: on a busy machine
# the machine's fault, and at first that of the classes that it loads.
_ABOUT_ITSELF = re.compile(
    r"LoadBalancerCacheAuto|BeanPostProcessorChecker|PostProcessorRegistrationDelegate"
    r"|TimedSupervisorTask|InterruptedException"
)
_ENTRY = re.compile(r"^(?=\d{4}-\d\d-\d\d)", re.MULTILINE)


def complaints(log: str) -> list[str]:
    """What it says about the registry; "reconcile" tells that its view was wrong."""
    return [entry for entry in _ENTRY.split(log) if _COMPLAINS.search(entry) and not _ABOUT_ITSELF.search(entry)]


def test_189_lives_with_others(alive: Life) -> None:
    """Registers with its values, renews, sees others come and go by deltas alone; its log has no complaint."""
    alive.registers_as_up(
        securePort={"$": 443, "@enabled": "false"},
        metadata={"team": "blue & <green>", "management.port": str(alive.port)},
        overriddenStatus="UNKNOWN",
    )

    alive.renews()
    soon(lambda: alive.id in alive.seen(alive.app))
    # Before that it asks for the whole list, for it knows of nobody.
    before, said = len(alive.wire.exchanges), len(alive.running.log_text)
    alive.sees_come_and_go(f"{alive.app}-other")

    assert {one.path.rstrip("/") for one in alive.wire.asked("GET", since=before)} == {"/eureka/apps/delta"}
    assert [alive.wire.statuses(method) for method in ("POST", "GET")] == [{204}, {200}]
    # On a busy machine its first heartbeat comes before it has registered: 404.
    assert alive.wire.statuses("PUT", since=before) <= {200}
    assert complaints(alive.running.log_text[said:]) == []


def test_is_found_in_servicecenter_and_leaves(alive: Life, noted: Noted) -> None:
    """Is found on the ServiceCenter side (only ours has one), and takes itself away when it is told to end."""
    soon(lambda: (alive.registered or {})["status"] == "UP")
    alive.is_found_in_servicecenter()

    alive.running.stop()

    soon(lambda: alive.registered is None)
    soon(lambda: alive.registry.ids(alive.app) == set())
    if not alive.wire.asked("DELETE"):
        noted("sends no DELETE: gone when its lease ended")
        return
    assert alive.wire.statuses("DELETE") == {200}


def test_190_registers_again(alive: Life, eureka_kind: str, noted: Noted) -> None:
    """Registers again when the server was restarted without state."""
    before = len(alive.wire.exchanges)
    alive.registry.restart()

    # After the original's 404, which has a body, some clients just go on with renewals.
    soon(lambda: alive.registered or _refused_since(alive, before) >= HEARTBEATS)
    if eureka_kind == "real" and alive.registered is None:
        noted(f"does not within {HEARTBEATS} heartbeats")
        return
    alive.becomes_registered()
    alive.renews()
    soon(lambda: alive.id in alive.seen(alive.app))


def _refused_since(life: Life, before: int) -> int:
    return [one.status for one in life.wire.exchanges[before:] if one.method == "PUT"].count(404)


def test_calls_by_name(live: Live, app: str) -> None:
    """A @LoadBalanced call by name reaches another instance, and none that has left."""
    caller = live()
    caller.becomes_registered()
    called = _called(caller, f"{app}-callee", caller.port)

    assert called == str(caller.port)
    caller.registry.eureka.cancel(f"{app}-callee".upper(), "callee")
    soon(lambda: httpx.get(f"{caller.running.url}/call/{app}-callee").status_code != 200)


def _called(caller: Life, name: str, port: int) -> str:
    """Registers an instance of another name at the port given, and calls it."""
    lease = {"renewalIntervalInSecs": 30, "durationInSecs": 600}
    at = {"ipAddr": "127.0.0.1", "hostName": "127.0.0.1", "port": {"$": port, "@enabled": "true"}, "vipAddress": name}
    caller.registry.eureka.given(name.upper(), "callee", leaseInfo=lease, **at)
    soon(lambda: "callee" in caller.seen(name))
    answer = httpx.get(f"{caller.running.url}/call/{name}")
    assert answer.status_code == 200, answer.text
    return answer.text
