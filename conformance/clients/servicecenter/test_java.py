"""Java-Chassis and spring-cloud-huawei, whose users write Spring applications. A JVM takes seconds to start: each test
tells as much of one life as it can."""

from __future__ import annotations

from contextlib import suppress

import pytest

from conformance.clients.conftest import Noted
from conformance.clients.life import soon
from conformance.clients.servicecenter.conftest import Live
from conformance.clients.servicecenter.life import Life
from conformance.clients.servicecenter.programs import JAVA_CHASSIS, SPRING_CLOUD_HUAWEI

pytestmark = pytest.mark.parametrize("client", [*JAVA_CHASSIS, *SPRING_CLOUD_HUAWEI], ids=str, indirect=True)


def test_lives_with_others(alive: Life) -> None:
    """Registers with its values and contracts, renews, sees others come and go"""
    instance = alive.becomes_registered()
    assert instance["properties"]["colour"] == "<green> & blue"
    assert (instance["healthCheck"]["mode"], instance["healthCheck"]["times"]) == ("push", 3)
    sc, service_id = alive.registry.sc, alive.service_id
    schemas = sc.service(service_id)["schemas"]
    assert schemas
    for schema in schemas:
        soon(lambda schema=schema: sc.get(f"microservices/{service_id}/schemas/{schema}").status == 200)  # type: ignore[misc]  # mypy infers no lambda with a default

    alive.renews()
    # Nobody listens there: Java-Chassis keeps an instance that it can connect to.
    alive.sees_come_and_go("other", "127.0.0.1:1")


def test_provides_and_consumes(live: Live, noted: Noted) -> None:
    """Calls another by name, by the contract in the registry; takes itself away at its end, and is called no more"""
    provider, consumer = live("provider", "1.0.1"), live("consumer")
    provider.becomes_registered()

    soon(lambda: consumer.ask("call/provider").text.strip('"') == "1.0.1")
    assert consumer.seen("provider") == {provider.endpoint}
    provider.leaves()
    assert provider.wire.statuses("DELETE") == {200}
    soon(lambda: consumer.ask("call/provider").status_code != 200)
    # Java-Chassis lets go of the last instance only if it cannot connect to it. Ours tells of the end at once, when the
    # provider may still listen; the original two seconds later.
    with suppress(AssertionError):
        soon(lambda: consumer.seen("provider") == set(), within_s=20)
    if consumer.seen("provider"):
        noted("calls fail; keeps the last instance, which it could still connect to when it was told")


def test_registers_again(alive: Life) -> None:
    """Registers again, its contracts too, when the server was restarted without state"""
    alive.registers_again()
    alive.renews()

    sc = alive.registry.sc
    for schema in sc.service(alive.service_id)["schemas"]:
        soon(lambda schema=schema: sc.get(f"microservices/{alive.service_id}/schemas/{schema}").status == 200)  # type: ignore[misc]  # mypy infers no lambda with a default
