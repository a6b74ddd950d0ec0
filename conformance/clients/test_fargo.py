"""hudl/fargo, in XML and in JSON (cases 193, 194). The program around it does what its users write: it beats, and
registers again when a beat is refused."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from conformance.clients.conftest import Noted
from conformance.clients.life import Life, soon
from conformance.clients.programs import FARGO

pytestmark = pytest.mark.parametrize("client", FARGO, ids=str, indirect=True)


def asked_of(life: Life, path: str) -> Any:
    return httpx.get(f"{life.running.url}/{path}").raise_for_status().json()


def test_registers(alive: Life) -> None:
    """Registers with its values after it asked for itself; is found on the ServiceCenter side (only ours has one)."""
    alive.registers_as_up()
    wire = [(one.method, one.status) for one in alive.wire.exchanges[:3]]
    assert wire == [("GET", 404), ("POST", 204), ("GET", 200)]
    alive.is_found_in_servicecenter()


def test_193_registers_once(alive: Life) -> None:
    """A second RegisterInstance finds itself and sends no POST."""
    asked_of(alive, "register")

    assert [one.status for one in alive.wire.asked("POST")] == [204]


def test_renews(alive: Life) -> None:
    """Renews its lease, and logs no failure."""
    alive.renews()

    assert alive.wire.statuses("PUT") == {200}
    assert "failed" not in alive.running.log_text


def test_194_sees_others(alive: Life) -> None:
    """Sees itself, and another application come and go; reads the whole registry."""
    soon(lambda: alive.id in alive.seen(alive.app))
    alive.sees_come_and_go(f"{alive.app}-other")

    whole = asked_of(alive, "apps")
    assert (alive.app.upper() in whole["names"], whole["error"]) == (True, "")


def test_193_adds_metadata(alive: Life) -> None:
    """AddMetadataString is visible at once."""
    assert asked_of(alive, "metadata?key=colour&value=green") == ""

    assert (alive.registered or {})["metadata"]["colour"] == "green"


def test_190_registers_again(alive: Life, noted: Noted) -> None:
    """Is told by its heartbeat that the server was restarted without state, and registers again."""
    alive.registry.restart()

    alive.becomes_registered()
    alive.renews()


def test_leaves(alive: Life) -> None:
    """Takes itself away when it is told to end; nothing of it stays."""
    alive.leaves()

    assert alive.wire.statuses("DELETE") == {200}
