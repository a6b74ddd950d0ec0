"""What operators see: both worlds in one view, and heartbeats that need not wait for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from facade.clock import ManualClock
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.servicecenter import pace
from facade.servicecenter.routes import ServiceCenterFront, ServiceCenterOptions
from facade.stores.memory import MemoryStore
from tests.registry.records import asked, flat, qualified, service

from .conftest import Client, client_of, longest_pause

pytestmark = pytest.mark.anyio

GOVERN = "/v4/default/govern/"


async def view(client: Client, path: str) -> Any:
    answer = await client.get(GOVERN + path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def shown(client: Client, query: str) -> dict[str, Any]:
    """The services of a view by their names."""
    services = (await view(client, f"microservices?{query}")).get("allServicesDetail", [])
    return {one["microService"]["serviceName"]: one for one in services}


async def test_an_application_with_a_flat_name_is_a_service(client: Client, registry: Registry) -> None:
    await registry.register(flat())
    await client.create("cart")
    detail = (await shown(client, "options=instances"))["orders"]

    assert detail["microService"]["appId"] == "eureka"
    assert [one["hostName"] for one in detail["instances"]] == ["orders-1"]
    assert "properties" not in detail["instances"][0]


async def test_both_worlds_are_counted(client: Client, registry: Registry) -> None:
    await registry.register(flat())
    await registry.register(flat(instance_id="orders-2"))
    await client.register(await client.create("cart"))

    assert (await view(client, "statistics"))["statistics"] == {
        "services": {"count": 2, "onlineCount": 2},
        "instances": {"count": 3, "countByDomain": 3},
        "apps": {"count": 2},
    }


async def test_a_line_leads_to_where_an_application_is_listed(client: Client, registry: Registry) -> None:
    """The consumer asks in its own app; the picture has one node for the application, not one for each asker."""
    await registry.register(flat())
    consumers = [await client.create("cart"), await client.create("till", app="bank")]
    await client.found("orders", consumer=consumers[0])
    await client.found("orders", app="bank", consumer=consumers[1])
    graph = await view(client, "relations")
    ids = {node["name"]: node["id"] for node in graph["nodes"]}

    assert len(graph["nodes"]) == 3
    assert {(line["from"]["id"], line["to"]["id"]) for line in graph["lines"]} == {
        (consumer, ids["orders"]) for consumer in consumers
    }


async def test_whoever_comes_while_a_view_is_made_spoils_nothing(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where each name of an application is listed."""
    monkeypatch.setattr(pace, "RESTS_EVERY_S", -1.0)
    async with client_of(ServiceCenterFront(registry, ServiceCenterOptions(list_virtual=True))) as client:
        for number in range(50):
            await registry.register(flat(f"APP-{number}"))
            await registry.rely_on(asked(f"app-{number}"))
        answer = asyncio.create_task(client.get(f"{GOVERN}statistics"))
        for number in range(50, 200):
            await asyncio.sleep(0)
            await registry.register(flat(f"APP-{number}"))
            await registry.rely_on(asked(f"app-{number}"))

        assert (await answer).status_code == 200


async def test_both_ends_of_a_dependency_tell_of_it(client: Client, registry: Registry) -> None:
    await registry.register(flat())
    consumer = await client.create("cart")
    await client.found("orders", consumer=consumer)
    listed = await shown(client, "options=dependencies")
    provider_id = listed["orders"]["microService"]["serviceId"]
    alone = (await view(client, f"microservices/{provider_id}"))["service"]

    assert [one["serviceId"] for one in listed["cart"]["providers"]] == [provider_id]
    assert [one["serviceId"] for one in listed["orders"]["consumers"]] == [consumer]
    assert [one["serviceId"] for one in alone["consumers"]] == [consumer]


async def test_listed_under_every_name_it_is_a_node_for_each(registry: Registry) -> None:
    front = ServiceCenterFront(registry, ServiceCenterOptions(list_virtual=True))
    async with client_of(front) as client:
        await registry.register(flat())
        consumer = await client.create("cart")
        await client.found("orders", consumer=consumer)
        graph = await view(client, "relations")
    nodes = {node["id"]: node for node in graph["nodes"]}

    assert [(one["name"], one["appId"]) for one in nodes.values()].count(("orders", "shop")) == 1
    assert [nodes[line["to"]["id"]]["appId"] for line in graph["lines"]] == ["shop"]


async def test_what_is_hidden_from_consumers_is_hidden_here(clock: ManualClock) -> None:
    registry = Registry(MemoryStore(clock), clock, Policy(hide=frozenset({"SECRET"})))
    await registry.open()
    async with client_of(ServiceCenterFront(registry)) as client:
        await registry.register(flat("SECRET"))
        await registry.register(flat())
        listed = await shown(client, "")

    assert listed.keys() == {"orders"}


async def test_an_application_alone_tells_its_versions_and_instances(client: Client, registry: Registry) -> None:
    await registry.register(flat(metadata={"zone": "z1"}))
    listed = await shown(client, "")
    detail = (await view(client, f"microservices/{listed['orders']['microService']['serviceId']}"))["service"]

    assert detail["microServiceVersions"] == ["0.0.1"]
    assert detail["instances"][0]["properties"]["zone"] == "z1"
    assert detail["microService"]["framework"]["name"] == "eureka"


async def test_other_tenants_are_not_shown(client: Client, registry: Registry) -> None:
    await registry.register(flat())
    await client.create("cart")
    theirs = await client.get(f"{GOVERN}microservices?options=all&withShared=true", X_Domain_Name="other")

    assert theirs.json() == {"statistics": {"services": {}, "instances": {}, "apps": {}}}


async def test_a_large_view_is_compressed_for_who_takes_it_so(client: Client, registry: Registry) -> None:
    for number in range(200):
        await registry.register(flat(instance_id=f"orders-{number}", metadata={"n": str(number)}))
    path = f"{GOVERN}microservices?options=instances"
    plain, packed = await client.get(path, Accept_Encoding="identity"), await client.get(path, Accept_Encoding="gzip")

    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert "content-encoding" not in plain.headers


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("path", ["microservices?options=all", "relations", "statistics", "apps"])
async def test_who_asks_for_everything_keeps_nobody_waiting(client: Client, registry: Registry, path: str) -> None:
    """10,000 instances, in 1,000 applications and one service."""
    one = service()
    await client.create("orders")
    for number in range(5_000):
        await registry.register(flat(f"APP-{number % 1_000}", f"i-{number}"))
        await registry.register(qualified(one, f"a{number}"))
    ended = asyncio.Event()
    pause = longest_pause(ended)
    await asyncio.sleep(0)
    await client.get(GOVERN + path, Accept_Encoding="gzip")
    ended.set()

    assert await pause < 0.025


async def test_a_service_that_goes_meanwhile_is_no_fault(client: Client, registry: Registry) -> None:
    ids = [await client.create(f"svc-{number}") for number in range(300)]
    view_of_all = asyncio.create_task(client.get(f"{GOVERN}microservices?options=all"))
    await asyncio.sleep(0)
    for service_id in ids:
        await client.delete(f"microservices/{service_id}")
        await asyncio.sleep(0)

    assert (await view_of_all).status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "options=%FF",
        "options=all,all,,",
        "property",
        "property=",
        "property=%00:%00",
        "countOnly=",
        "env=%2F",
        "appId=" + "x" * 1_500,
    ],
    ids=str,
)
async def test_odd_questions_are_answered(client: Client, query: str) -> None:
    await client.create("cart")

    assert (await client.get(f"{GOVERN}microservices?{query}")).status_code == 200
