"""The stories that the product exists for: written in one protocol, shown in the other's very next answer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from facade.clock import ManualClock
from facade.stores.memory import MemoryStore
from tests.flows.product import BASE, Product, eureka_document, product

pytestmark = pytest.mark.anyio

ACCOUNT_SERVER = "80784229255ec96d90353e3c041bdf3586fdbbae"
HELLO_SERVER = "d0d72e092a9a77e7b6dcbe19418c19e8209e05bc"


@pytest.fixture
async def server(clock: ManualClock) -> AsyncIterator[Product]:
    async with product(MemoryStore(clock), clock) as server:
        yield server


async def test_a_spring_application_is_found_by_a_go_service(server: Product) -> None:
    """The guide's first half: account-server on Eureka, hello-server on ServiceCenter, both in app `eureka`."""
    await server.register_eureka("ACCOUNT-SERVER", "10.0.0.10:account-server:8090")

    (found,) = await server.found("account-server")

    assert found["serviceId"] == ACCOUNT_SERVER
    assert found["endpoints"] == ["rest://10.0.0.1:8080"]
    assert found["status"] == "UP"


async def test_a_go_service_is_found_by_a_spring_application(server: Product) -> None:
    """And back: Spring looks it up by its vip, which is the natural name."""
    service_id = await server.create_service("hello-server")
    await server.register_servicecenter(service_id, "h1", endpoints=["rest://10.0.0.11:8091"])

    found = await server.in_eureka("/eureka/vips/hello-server")

    assert service_id == HELLO_SERVER
    assert (found["h1"]["app"], found["h1"]["ipAddr"], found["h1"]["port"]["$"]) == ("HELLO-SERVER", "10.0.0.11", 8091)


async def test_existence_tells_the_id_of_an_application(server: Product) -> None:
    await server.register_eureka("ACCOUNT-SERVER", "a1")
    query = {"type": "microservice", "appId": "eureka", "serviceName": "account-server", "version": "0.0.1"}

    answer = await server.http.get(f"{BASE}/existence", params=query)

    assert answer.json() == {"serviceId": ACCOUNT_SERVER}


async def test_a_consumer_in_another_app_finds_it_too_and_can_ask_for_its_id(server: Product) -> None:
    """Virtual faces: each id in an answer can be asked for."""
    consumer = await server.create_service("hello-server", app="shop")
    await server.register_eureka("ACCOUNT-SERVER", "a1")

    (found,) = await server.found("account-server", app="shop", consumer=consumer)
    service = (await server.http.get(f"{BASE}/microservices/{found['serviceId']}")).json()["service"]

    assert (service["appId"], service["serviceName"], service["version"]) == ("shop", "account-server", "0.0.1")


async def test_drained_over_eureka_is_drained_in_servicecenter_and_back(server: Product) -> None:
    await server.register_eureka("ACCOUNT-SERVER", "a1")
    path = "/eureka/apps/ACCOUNT-SERVER/a1/status"

    await server.http.put(path, params={"value": "OUT_OF_SERVICE"})
    (drained,) = await server.found("account-server")
    await server.http.delete(path, params={"value": "UP"})
    (restored,) = await server.found("account-server")

    assert (drained["status"], restored["status"]) == ("OUTOFSERVICE", "UP")


async def test_drained_over_servicecenter_is_drained_in_eureka_also_when_it_registers_again(server: Product) -> None:
    await server.register_eureka("ACCOUNT-SERVER", "a1")
    (found,) = await server.found("account-server")
    path = f"{BASE}/microservices/{found['serviceId']}/instances/{found['instanceId']}/status"

    await server.http.put(path, params={"value": "OUTOFSERVICE"})
    await server.register_eureka("ACCOUNT-SERVER", "a1", lastDirtyTimestamp="2000")
    drained = (await server.in_eureka())["a1"]["status"]
    await server.http.put(path, params={"value": "UP"})

    assert drained == "OUT_OF_SERVICE"
    assert (await server.in_eureka())["a1"]["status"] == "UP"


async def test_a_servicecenter_instance_is_drained_over_eureka_and_put_back(server: Product) -> None:
    service_id = await server.create_service("hello-server")
    await server.register_servicecenter(service_id, "h1")
    path = "/eureka/apps/HELLO-SERVER/h1/status"

    await server.http.put(path, params={"value": "OUT_OF_SERVICE"})
    (drained,) = await server.found("hello-server")
    await server.http.delete(path)
    (restored,) = await server.found("hello-server")

    assert (drained["status"], restored["status"]) == ("OUTOFSERVICE", "UP")


async def test_who_falls_silent_leaves_both_views(server: Product) -> None:
    await server.register_eureka("ACCOUNT-SERVER", "a1", leaseInfo={"durationInSecs": 6, "renewalIntervalInSecs": 2})
    service_id = await server.create_service("hello-server")
    health = {"mode": "push", "interval": 5, "times": 3}
    await server.register_servicecenter(service_id, "h1", healthCheck=health)

    await server.pass_time(8)
    after_eight = set(await server.in_eureka()), await server.found("account-server")
    await server.pass_time(14)

    assert after_eight == ({"h1"}, [])
    assert (await server.in_eureka(), await server.found("hello-server")) == ({}, [])


async def test_a_newcomer_of_the_same_name_does_not_take_the_place_of_ten(server: Product) -> None:
    """N7 and N8: go-chassis uses only the highest version, so all are shown under it."""
    consumer = await server.create_service("hello-server", app="shop")
    for number in range(10):
        await server.register_eureka("ACCOUNT-SERVER", f"a{number}", ipAddr=f"10.0.1.{number}")
    await server.found("account-server", app="shop", consumer=consumer)

    service_id = await server.create_service("account-server", app="shop", version="2.0.0")
    await server.register_servicecenter(service_id, "newcomer")
    found = await server.found("account-server", app="shop", consumer=consumer)

    assert len(found) == 11
    assert {one["version"] for one in found} == {"2.0.0"}


async def test_an_environment_has_a_front_of_its_own(server: Product) -> None:
    """N5."""
    production = "/t/default/default/production/eureka"
    await server.create_service("hello-server", environment="production")
    body = {"instance": eureka_document("CARTS", "p1")}

    assert (await server.http.post(f"{production}/apps/CARTS", json=body)).status_code == 204
    assert (await server.in_eureka(f"{production}/apps")).keys() == {"p1"}
    assert await server.in_eureka() == {}
    query = {"appId": "shop", "serviceName": "carts", "env": "production"}
    found = (await server.http.get(f"{BASE}/instances", params=query)).json()["instances"]
    assert len(found) == 1


async def test_what_is_hidden_stays_in_its_own_protocol(clock: ManualClock) -> None:
    """N11, both ways: by list, by id, by status change."""
    async with product(MemoryStore(clock), clock, hide=frozenset({"ACCOUNT-*", "HELLO-SERVER"})) as server:
        await server.register_eureka("ACCOUNT-SERVER", "a1")
        service_id = await server.create_service("hello-server")
        await server.register_servicecenter(service_id, "h1")

        assert await server.found("account-server") == []
        assert [one["instanceId"] for one in await server.found("hello-server")] == ["h1"]
        assert (await server.in_eureka()).keys() == {"a1"}
        assert (await server.http.get("/eureka/apps/HELLO-SERVER/h1")).status_code == 404
        drain = await server.http.put("/eureka/apps/HELLO-SERVER/h1/status", params={"value": "DOWN"})
        assert drain.status_code == 404


async def test_metadata_goes_both_ways_to_the_letter(server: Product) -> None:
    """P2: 1.10 is no number."""
    metadata = {"version": "1.10", "build": "007", "my_key": "ü"}
    await server.register_eureka("ACCOUNT-SERVER", "a1", metadata=metadata)
    service_id = await server.create_service("hello-server")
    await server.register_servicecenter(service_id, "h1", properties=metadata)

    (found,) = await server.found("account-server")

    assert found["properties"].items() >= metadata.items()
    assert (await server.in_eureka())["h1"]["metadata"].items() >= metadata.items()


async def test_a_restart_shows_the_same_under_the_same_revision(clock: ManualClock) -> None:
    """A reader must never see an emptier list, and need not read again what has not changed."""
    store = MemoryStore(clock)
    query = {"appId": "eureka", "serviceName": "account-server"}
    async with product(store, clock) as before:
        await before.register_eureka("ACCOUNT-SERVER", "a1")
        first = await before.http.get(f"{BASE}/instances", params=query)
    clock.advance(3_600)

    async with product(store, clock) as after:
        revision = {"rev": first.headers["X-Resource-Revision"]}
        unchanged = await after.http.get(f"{BASE}/instances", params=query | revision)
        again = await after.http.get(f"{BASE}/instances", params=query)
        await after.pass_time(80)

        assert unchanged.status_code == 304
        assert again.json()["instances"] == first.json()["instances"]
        assert (await after.in_eureka()).keys() == {"a1"}


async def test_a_newcomer_does_not_hide_who_came_after_the_consumer_asked(server: Product) -> None:
    """N7. The consumer asked too early, was told of the application by its watch, and has not polled since."""
    consumer = await server.create_service("hello-server", app="shop")
    assert await server.found("account-server", app="shop", consumer=consumer) == []
    await server.register_eureka("ACCOUNT-SERVER", "a1")

    await server.create_service("account-server", app="shop", version="2.0.0")
    found = await server.found("account-server", app="shop", consumer=consumer)

    assert [one["properties"]["_eureka.instanceId"] for one in found] == ["a1"]
