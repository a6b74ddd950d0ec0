"""Limits that are exact, also while many ask at the same time; and services that every tenant finds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from facade.clock import ManualClock
from facade.errors import StoreUnavailable
from facade.registry.model import Origin, Tenant
from facade.registry.registry import Registry
from facade.registry.store import Write
from facade.servicecenter.quotas import Quotas
from facade.servicecenter.routes import ServiceCenterFront, ServiceCenterOptions
from facade.stores.memory import MemoryStore
from tests.registry.records import flat

from .conftest import Client, client_of

pytestmark = pytest.mark.anyio

SHARED = ServiceCenterOptions(quotas=Quotas(services=2, instances=2), shared_services=frozenset({"everywhere"}))


class SlowStore(MemoryStore):
    """Lets others go first before it writes, as one on disk does."""

    async def write(self, writes: Sequence[Write]) -> int:
        await asyncio.sleep(0)
        return await super().write(writes)


@pytest.fixture
async def registry(clock: ManualClock) -> AsyncIterator[Registry]:
    registry = Registry(SlowStore(clock), clock)
    await registry.open()
    yield registry
    await registry.close()


@pytest.fixture
async def limited(registry: Registry) -> AsyncIterator[Client]:
    async with client_of(ServiceCenterFront(registry, SHARED)) as client:
        yield client


def creation(name: str, app: str = "shop") -> dict[str, object]:
    return {"service": {"appId": app, "serviceName": name, "environment": "development"}}


REGISTRATION = {"instance": {"hostName": "h"}}


async def test_no_more_services_than_allowed_are_taken_at_once(limited: Client) -> None:
    answers = await asyncio.gather(*[limited.post("microservices", creation(f"svc-{n}")) for n in range(9)])

    assert sorted(answer.status_code for answer in answers) == [200] * 2 + [400] * 7


async def test_the_last_free_place_is_not_refused(limited: Client) -> None:
    """One that is on its way and visible already counts once."""
    service_id = await limited.create("orders")
    answers = await asyncio.gather(
        *[limited.post(f"microservices/{service_id}/instances", REGISTRATION) for _ in range(9)]
    )

    assert sorted(answer.status_code for answer in answers) == [200] * 2 + [400] * 7


async def test_a_repeat_on_its_way_costs_nothing(limited: Client) -> None:
    service_id = await limited.create("orders")
    repeated = {"instance": {"hostName": "h", "instanceId": "i1"}}
    answers = await asyncio.gather(
        *[limited.post(f"microservices/{service_id}/instances", repeated) for _ in range(5)],
        limited.post(f"microservices/{service_id}/instances", REGISTRATION),
    )

    assert {answer.status_code for answer in answers} == {200}


async def test_what_the_store_refused_takes_no_place(
    limited: Client, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    service_id = await limited.create("orders")

    async def refuse(_: object, writes: Sequence[Write]) -> int:
        raise StoreUnavailable("full")

    with monkeypatch.context() as patched:
        patched.setattr(SlowStore, "write", refuse)
        failed = await limited.post(f"microservices/{service_id}/instances", REGISTRATION)
    for _ in range(2):
        await limited.register(service_id)

    assert failed.status_code == 500
    assert registry.catalogue.count(Origin.SERVICECENTER, Tenant()) == 2


async def test_what_has_a_flat_name_takes_no_place(limited: Client, registry: Registry) -> None:
    for number in range(5):
        await registry.register(flat(f"APP-{number}"))
    service_id = await limited.create("orders")
    await limited.create("cart")

    assert await limited.register(service_id)


async def test_who_leaves_makes_room(limited: Client) -> None:
    service_id = await limited.create("orders")
    first, _ = await limited.register(service_id), await limited.register(service_id)
    await limited.delete(f"microservices/{service_id}/instances/{first}")

    assert await limited.register(service_id)


async def test_counts_are_of_one_tenant(limited: Client, registry: Registry) -> None:
    service_id = await limited.create("orders")
    await limited.register(service_id)

    assert registry.catalogue.count(Origin.SERVICECENTER) == 1
    assert registry.catalogue.count(Origin.SERVICECENTER, Tenant("other")) == 0


async def test_consumers_of_another_environment_see_what_is_shared(limited: Client) -> None:
    provider = await limited.create("everywhere", app="default")
    await limited.register(provider)
    consumer = await limited.create("cart", app="default", environment="production")
    other_app = await limited.create("till", app="bank")

    assert len(await limited.found("everywhere", app="default", env="", consumer=consumer)) == 1
    assert (await limited.get(f"microservices/{provider}/instances", X_ConsumerId=consumer)).status_code == 200
    assert await limited.found("everywhere", app="default", env="", consumer=other_app) == []
    providers = (await limited.get(f"microservices/{consumer}/providers")).json()["providers"]
    assert [one["serviceId"] for one in providers] == [provider]


async def test_a_tenant_s_own_service_comes_before_what_is_shared(limited: Client) -> None:
    await limited.register(await limited.create("everywhere", app="default"))
    path = "instances?appId=default&serviceName=everywhere&env=development"
    found = await limited.get(path, X_Domain_Name="t1")
    await limited.post("microservices", creation("everywhere", "default"), X_Domain_Name="t1")
    own = await limited.get(path, X_Domain_Name="t1")

    assert len(found.json()["instances"]) == 1
    assert own.json() == {}


async def test_only_a_tenant_s_own_are_known_to_exist(limited: Client) -> None:
    """A client asks this before it registers a service of its own."""
    await limited.create("everywhere", app="default")
    path = "existence?type=microservice&appId=default&serviceName=everywhere&version=1.0.0&env=development"

    assert (await limited.get(path)).status_code == 200
    assert (await limited.get(path, X_Domain_Name="t1")).status_code == 400


async def test_a_name_in_another_app_is_not_shared(limited: Client) -> None:
    await limited.create("everywhere")
    listed = (await limited.get("microservices")).json()["services"]

    assert [one["serviceName"] for one in listed] == ["everywhere"]
