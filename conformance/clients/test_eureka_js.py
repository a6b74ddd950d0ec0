"""eureka-js-client (cases 190, 195, 196)."""

from __future__ import annotations

import pytest

from conformance.clients.conftest import Live, Noted
from conformance.clients.life import Life, soon
from conformance.clients.programs import EUREKA_JS, Client, eureka_js
from conformance.clients.wiretap import Wiretap
from conformance.peers.processes import PeerError

each_way = pytest.mark.parametrize("client", EUREKA_JS, ids=str, indirect=True)

_WITHOUT_OBJECT = Client("eureka-js-client", EUREKA_JS[0].version, EUREKA_JS[0].transport, eureka_js("number-port"))


@each_way
def test_195_registers(alive: Life) -> None:
    """Registers with the values it was given, and is ready after the first look at the registry."""
    alive.registers_as_up(metadata={"team": "blue & <green>"})
    assert alive.wire.statuses("POST") == {204}
    assert "started after 1 looks" in alive.running.log_text


@each_way
def test_is_found_in_servicecenter(alive: Life, noted: Noted) -> None:
    """Is found by consumers of the ServiceCenter side."""
    noted(alive.is_found_in_servicecenter())


@each_way
def test_renews(alive: Life) -> None:
    """Renews its lease."""
    alive.renews()

    assert alive.wire.statuses("PUT") == {200}


@each_way
def test_sees_others(alive: Life, app: str) -> None:
    """Sees itself, and another application come and go."""
    soon(lambda: alive.id in alive.seen(app))
    alive.sees_come_and_go(f"{app}-other")

    assert alive.wire.statuses("GET") == {200}


@pytest.mark.parametrize("client", EUREKA_JS[1:], ids=str, indirect=True)
def test_reads_deltas(alive: Life, app: str) -> None:
    """Asks for deltas alone once it has the whole."""
    alive.sees_come_and_go(f"{app}-other")

    first, *later = alive.wire.asked("GET")
    assert first.path == "/eureka/apps/"
    # It asks for the whole twice at first: when it starts, and to find itself.
    assert {one.path for one in later[1:]} == {"/eureka/apps/delta"}


@each_way
def test_190_195_registers_again(alive: Life) -> None:
    """Registers again when the server was restarted without state."""
    alive.registry.restart()

    alive.becomes_registered()
    alive.renews()
    assert "Re-registering" in alive.running.log_text


@each_way
def test_leaves(alive: Life) -> None:
    """Takes itself away when it is told to end; nothing of it stays."""
    alive.leaves()

    assert alive.wire.statuses("DELETE") == {200}
    assert "stopped" in alive.running.log_text


@pytest.mark.parametrize("client", [_WITHOUT_OBJECT], ids=["number-port"], indirect=True)
def test_196_is_refused_with_a_bare_port(live: Live, wire: Wiretap, eureka_kind: str, noted: Noted) -> None:
    """Is refused with a bare number as port, its users' usual mistake."""
    with pytest.raises(PeerError, match="status: 400"):
        live()

    (refused,) = wire.asked("POST")
    names_it = b"port" in refused.answer.partition(b"\r\n\r\n")[2]
    assert names_it or eureka_kind == "real"
    noted("the answer names the field" if names_it else "the answer does not say why")
