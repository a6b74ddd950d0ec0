"""py_eureka_client (cases 190-192): it reads XML, and registers again after whatever was not 200."""

from __future__ import annotations

import httpx
import pytest

from conformance.clients.conftest import Noted
from conformance.clients.life import Life, soon
from conformance.clients.programs import PY_EUREKA

pytestmark = pytest.mark.parametrize("client", PY_EUREKA, ids=str, indirect=True)


def test_191_registers(alive: Life) -> None:
    """Registers with the values it was given."""
    alive.registers_as_up(
        overriddenStatus="UNKNOWN",
        metadata={
            "management.port": str(alive.port),
            "zone": "default",
            "team": "blue & <green>",
            "my_key": "1",
        },
    )
    assert alive.wire.statuses("POST") == {204}


def test_is_found_in_servicecenter(alive: Life, noted: Noted) -> None:
    """Is found by consumers of the ServiceCenter side."""
    noted(alive.is_found_in_servicecenter())


def test_renews(alive: Life) -> None:
    """Renews its lease."""
    alive.renews()

    assert alive.wire.statuses("PUT") == {200}


def test_sees_others(alive: Life, app: str) -> None:
    """Sees itself, and another application come and go."""
    soon(lambda: alive.id in alive.seen(app))
    alive.sees_come_and_go(f"{app}-other")

    assert alive.wire.statuses("GET") == {200}
    assert alive.wire.asked("GET", "/delta")


def test_192_reads_underscores_twice(alive: Life, app: str) -> None:
    """Reads its metadata key my_key back as my__key: XML writes it so, and it does not translate (case 192)."""
    soon(lambda: alive.id in alive.seen(app))

    assert alive.seen(app)[alive.id]["metadata"]["my__key"] == "1"


def test_191_registers_again_after_an_operators_delete(alive: Life) -> None:
    """Registers again at its next heartbeat when an operator has removed it."""
    assert alive.registry.eureka.cancel(alive.app.upper(), alive.id).status_code == 200

    alive.becomes_registered()
    alive.renews()


def test_191_registers_again_although_stopped(alive: Life) -> None:
    """Registers again although stopped, as long as its process lives (a mistake of 0.13.3)."""
    alive.renews()  # before its first heartbeat it can still be stopped
    posts = len(alive.wire.asked("POST"))
    httpx.get(f"{alive.running.url}/stop")
    assert alive.wire.statuses("DELETE") == {200}

    # The first of these says that it is DOWN.
    soon(lambda: len(alive.wire.asked("POST")) >= posts + 2)
    assert alive.becomes_registered()["status"] == "UP"


def test_190_registers_again(alive: Life) -> None:
    """Registers again when the server was restarted without state."""
    # It sleeps meanwhile, and does not begin in the middle of a delta. 0.13.3 hangs for good, whatever the server, when
    # its first success after failures is a delta that makes it ask for the whole: it waits for a lock that it holds.
    deltas = len(alive.wire.asked("GET", "/delta"))
    soon(lambda: [one.status for one in alive.wire.asked("GET", "/delta")[deltas:]][:1] == [200])
    alive.running.freeze()
    soon(lambda: all(one.status for one in alive.wire.exchanges))  # what it had begun since is answered, too
    alive.registry.restart()
    alive.running.thaw()

    alive.becomes_registered()
    alive.renews()
    soon(lambda: alive.id in alive.seen(alive.app))


def test_leaves(alive: Life) -> None:
    """Takes itself away when it is told to end; nothing of it stays."""
    alive.leaves()

    assert alive.wire.statuses("DELETE") == {200}
