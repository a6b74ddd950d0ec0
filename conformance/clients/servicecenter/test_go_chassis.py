"""go-chassis: a program on it registers, follows others by polling and by watch, and calls them by version."""

from __future__ import annotations

import pytest

from conformance.clients.conftest import Noted
from conformance.clients.life import soon
from conformance.clients.servicecenter.conftest import Live
from conformance.clients.servicecenter.life import Life
from conformance.clients.servicecenter.programs import GO_CHASSIS, Client

pytestmark = pytest.mark.parametrize("client", GO_CHASSIS, ids=str, indirect=True)


def test_registers_and_leaves(alive: Life) -> None:
    """Registers with its values and its contract; takes itself away when it is told to end"""
    instance = alive.becomes_registered()
    assert instance["healthCheck"] == {"mode": "push", "interval": 30, "times": 3}
    soon(lambda: alive.becomes_registered()["properties"].get("colour") == "<green> & blue")

    sc, service_id = alive.registry.sc, alive.service_id
    service = sc.service(service_id)
    assert (service["alias"], service["framework"]["name"]) == (f"{alive.app}:{alive.app}", "Go-Chassis")
    contract = sc.get(f"microservices/{service_id}/schemas/contract")
    assert "the contract of a test" in contract.json()["schema"]

    alive.leaves()
    assert alive.wire.statuses("DELETE") == {200}


def test_polls(alive: Life) -> None:
    """Without a watch, sees others come with each `refreshInterval`"""
    alive.sees_come("other", "10.1.2.3:80")
    alive.sees_come("other", "10.1.2.4:80", version="2.0.0")

    assert alive.seen("other") == {"10.1.2.3:80", "10.1.2.4:80"}
    assert alive.wire.statuses("POST", "type=query") == {200}


def test_watches(live: Live, client: Client, noted: Noted) -> None:
    """With a watch, drops the last instance of a provider, which polling never does"""
    # From the first look at the provider on, only the watch is quick enough.
    life = live(registry_watch="true")
    life.becomes_registered()
    service_id, instance_id = life.sees_come("other", "127.0.0.1:1")
    assert life.registry.sc.delete(f"microservices/{service_id}/instances/{instance_id}").status == 200

    if client.access == "on":
        soon(lambda: "watch failed" in life.running.log_text)
        noted("its watch sends no token: refused; keeps the last instance")
        return
    soon(lambda: life.seen("other") == set())
    life.sees_come("other", "127.0.0.1:2")
    assert life.wire.statuses("GET", "/watcher") == set()  # answered by 101


def test_calls_by_version(live: Live, app: str) -> None:
    """Calls by name the latest version, and by a route rule the version that it names"""
    old, new = live("provider", "1.0.0"), live("provider", "1.1.0")
    free = live("free")
    soon(lambda: free.seen("provider") == {old.endpoint, new.endpoint})
    assert {free.ask("call/provider").text for _ in range(6)} == {"1.1.0"}

    rule = "- precedence: 1\n  route:\n    - tags:\n        version: 1.0.0\n      weight: 100\n"
    bound = live("bound", routeRule_provider=rule)
    soon(lambda: bound.seen("provider") == {old.endpoint, new.endpoint})
    assert {bound.ask("call/provider").text for _ in range(6)} == {"1.0.0"}


def test_registers_again(alive: Life) -> None:
    """Beats, and registers again when the server was restarted without state"""
    alive.renews()
    alive.registers_again()
    alive.renews()


def test_beats_by_websocket(live: Live, client: Client) -> None:
    """Beats by websocket where it is told to; with access control that is refused, and it beats by PUT"""
    life = live(registry_heartbeat_mode="ping-pong")
    life.becomes_registered()

    soon(lambda: len(life.wire.asked("GET", "/heartbeat")) == 1)
    if client.access == "on":
        life.renews()
    else:
        service_id, instance_id = life.service_id, life.becomes_registered()["instanceId"]
        assert life.registry.sc.delete(f"microservices/{service_id}/instances/{instance_id}").status == 200
        # Close code 4001 at the server's next ping.
        soon(lambda: len(life.instances) == 1)
        assert not life.beats
