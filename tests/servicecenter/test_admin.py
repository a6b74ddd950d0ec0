"""What operators ask of the server itself, over both worlds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from facade.registry.registry import Registry
from facade.registry.store import StoreHealth
from facade.servicecenter import pace
from facade.servicecenter.routes import ServiceCenterFront, ServiceCenterOptions
from facade.stores.memory import MemoryStore
from tests.registry.records import flat

from .conftest import Client, client_of, longest_pause

pytestmark = pytest.mark.anyio

ADMIN = "/v4/default/admin/"


async def told(client: Client, path: str) -> Any:
    answer = await client.get(ADMIN + path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_dump_shows_applications_with_flat_names(client: Client, registry: Registry) -> None:
    await registry.register(flat())
    consumer = await client.create("cart")
    await client.found("orders", consumer=consumer)
    cache = (await told(client, "dump"))["cache"]
    services = {entry["value"]["serviceName"]: entry["value"]["serviceId"] for entry in cache["services"]}
    instances = {entry["value"]["hostName"]: entry for entry in cache["instances"]}
    providers = [entry for entry in cache["dependencyRules"] if "/default/default/p/" in entry["key"]]

    assert services.keys() == {"orders", "cart", "SERVICECENTER"}
    assert instances["orders-1"]["value"]["serviceId"] == services["orders"]
    assert instances["orders-1"]["key"].startswith(f"/cse-sr/inst/files/default/default/{services['orders']}/")
    assert [entry["key"] for entry in providers] == [
        "/cse-sr/ms/dep-rules/default/default/p/development/shop/orders/0.0.0+"
    ]


@pytest.mark.usefixtures("no_collector")
async def test_a_dump_keeps_nobody_waiting(client: Client, registry: Registry) -> None:
    for number in range(5_000):
        await registry.register(flat(f"APP-{number % 1_000}", f"i-{number}"))
    ended = asyncio.Event()
    pause = longest_pause(ended)
    await asyncio.sleep(0)
    await client.get(f"{ADMIN}dump", Accept_Encoding="gzip")
    ended.set()

    assert await pause < 0.025


async def test_whoever_writes_while_a_dump_is_made_spoils_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "RESTS_EVERY_S", -1.0)
    path = f"microservices/{await client.create('orders')}/schemas/"
    for number in range(80):
        await client.put(f"{path}s{number}", {"schema": "x", "summary": "y"})
    dump = asyncio.create_task(client.get(f"{ADMIN}dump"))
    for number in range(80, 90):
        await asyncio.sleep(0)
        await client.put(f"{path}s{number}", {"schema": "x", "summary": "y"})

    assert (await dump).status_code == 200


async def test_an_alarm_lasts_until_somebody_takes_notice(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    before = await told(client, "alarms")
    with monkeypatch.context() as patched:
        patched.setattr(MemoryStore, "health", lambda _: StoreHealth(False, "The disk is full."))
        raised = await told(client, "alarms")
    ended = await told(client, "alarms")
    await client.delete(f"{ADMIN}alarms")
    after = await told(client, "alarms")

    alarm = {"id": "BackendConnectionRefuse", "fields": {"detail": "The disk is full."}}
    assert before == after == {}
    assert raised == {"alarms": [{"status": "ACTIVATED", **alarm}]}
    assert ended == {"alarms": [{"status": "CLEARED", **alarm}]}


async def test_alarms_are_told_while_nothing_else_is_known(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryStore, "has_data", False)
    monkeypatch.setattr(MemoryStore, "health", lambda _: StoreHealth(False, "Nobody answers."))

    assert (await client.get(f"{ADMIN}dump")).status_code == 500
    assert (await told(client, "alarms"))["alarms"][0]["fields"] == {"detail": "Nobody answers."}


async def test_where_records_live_is_told(registry: Registry) -> None:
    front = ServiceCenterFront(registry, ServiceCenterOptions(stores=("servicecenter+http://sc:30100",)))
    async with client_of(front) as client:
        assert await told(client, "clusters") == {"clusters": {"default": ["servicecenter+http://sc:30100"]}}


@pytest.mark.parametrize("query", ["options=", "options=%20", "options=,", "options=%00", "options=info&options=cache"])
async def test_odd_options_are_answered(client: Client, query: str) -> None:
    assert (await client.get(f"{ADMIN}dump?{query}")).status_code == 200
