"""Who finds whom, what is sent when nothing changed, and what follows from having asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from facade.clock import ManualClock
from facade.errors import StoreUnavailable
from facade.registry.registry import Registry
from facade.registry.store import Put, Write
from facade.servicecenter import pace
from facade.servicecenter.routes import ServiceCenterFront, ServiceCenterOptions
from facade.stores.memory import MemoryStore
from tests.registry.records import flat

from .conftest import Client, client_of

pytestmark = pytest.mark.anyio


async def test_all_versions_are_found_whatever_version_is_asked_for(client: Client) -> None:
    for version in ("1.0.0", "2.0.0"):
        await client.register(await client.create("orders", version=version))
    path = "instances?appId=shop&serviceName=orders&env=development&version="

    for version in ("1.0.0", "0%252B", "0.0.0.0%2B", "latest"):
        found = (await client.get(path + version)).json()["instances"]

        assert {one["version"] for one in found} == {"1.0.0", "2.0.0"}


async def test_a_name_is_found_by_its_alias_too(client: Client) -> None:
    await client.register(await client.create("orders", alias="shop:orders"))
    await client.register(await client.create("orders", version="2.0.0"))

    assert [one["version"] for one in await client.found("shop%3Aorders")] == ["1.0.0"]


async def test_of_a_parameter_given_twice_the_first_counts(client: Client) -> None:
    await client.register(await client.create("orders"))

    assert len(await client.found("orders&serviceName=nobody")) == 1


async def test_the_environment_of_the_consumer_counts(client: Client) -> None:
    await client.register(await client.create("orders"))
    consumer = await client.create("consumer")

    assert len(await client.found("orders", env="production", consumer=consumer)) == 1


async def test_other_apps_see_what_is_open_to_them(client: Client) -> None:
    await client.register(await client.create("closed", app="bank"))
    await client.register(await client.create("open", app="bank", properties={"allowCrossApp": "true"}))
    consumer = await client.create("consumer")

    assert await client.found("closed", app="bank", consumer=consumer) == []
    assert len(await client.found("open", app="bank", consumer=consumer)) == 1
    assert len(await client.found("closed", app="bank")) == 1


async def test_opening_a_service_shows_in_the_next_answer(client: Client) -> None:
    """What was kept for those who may not see it must not outlive that."""
    service_id = await client.create("closed", app="bank")
    await client.register(service_id)
    consumer = await client.create("consumer")
    before = await client.found("closed", app="bank", consumer=consumer)
    await client.put(f"microservices/{service_id}/properties", {"properties": {"allowCrossApp": "true"}})

    assert before == []
    assert len(await client.found("closed", app="bank", consumer=consumer)) == 1


async def test_a_known_name_without_instances_is_empty_and_an_unknown_one_refused(client: Client) -> None:
    """Java-Chassis 2 drops a provider on 400012, and keeps one that is empty."""
    await client.create("orders")
    empty, unknown = await client.find("orders"), await client.find("nobody")

    assert (empty.status_code, empty.text) == (200, "{}")
    assert unknown.json() == {
        "errorCode": "400012",
        "errorMessage": "Micro-service does not exist",
        "detail": "Consumer[][development///] find provider[development/shop/nobody] failed, provider does not exist",
    }


async def test_nothing_is_sent_to_who_has_it_all(client: Client) -> None:
    service_id = await client.create("orders")
    await client.register(service_id)
    path = "instances?appId=shop&serviceName=orders&env=development"
    revision = (await client.get(path)).headers["X-Resource-Revision"]
    unchanged = await client.get(f"{path}&rev={revision}")
    forced = await client.get(f"{path}&rev={revision}&noCache=1")
    await client.register(service_id)
    changed = await client.get(f"{path}&rev={revision}")

    assert len(revision) == 40
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["X-Resource-Revision"] == revision
    assert forced.status_code == 200
    assert len(changed.json()["instances"]) == 2
    assert changed.headers["X-Resource-Revision"] != revision


async def test_the_same_instances_have_the_same_revision_again(client: Client) -> None:
    service_id = await client.create("orders")
    tokens = [(await client.find("orders")).headers["X-Resource-Revision"]]
    for _ in range(2):
        instance_id = await client.register(service_id)
        tokens.append((await client.find("orders")).headers["X-Resource-Revision"])
        await client.delete(f"microservices/{service_id}/instances/{instance_id}")
        tokens.append((await client.find("orders")).headers["X-Resource-Revision"])

    assert tokens[0] == tokens[2] == tokens[4] == "97784746be9a2d00f08bc72fe1ce5ff8c7d07ffe"  # as the original's
    assert len(set(tokens)) == 3


async def test_a_node_that_began_later_tells_the_same_revisions(
    registry: Registry, client: Client, clock: ManualClock
) -> None:
    """It read what there is from the shared store, in any order, and never heard of what came and went before."""
    service_id, other_id = await client.create("orders"), await client.create("orders", version="2.0.0")
    for owner in (service_id, other_id, service_id):
        await client.register(owner, properties={"zone": "a"})
    gone = await client.register(other_id)
    await client.delete(f"microservices/{other_id}/instances/{gone}")
    await registry.register(flat())
    questions = [
        "instances?appId=shop&serviceName=orders&env=development",
        "instances?appId=another&serviceName=orders",
        f"microservices/{service_id}/instances",
    ]
    told = {path: (await client.get(path)).headers["X-Resource-Revision"] for path in questions}

    async with _later_node(registry, clock) as later:
        async with client_of(ServiceCenterFront(later, ServiceCenterOptions(version="2.2.0"))) as its_client:
            tells = {path: (await its_client.get(path)).headers["X-Resource-Revision"] for path in questions}

        assert later.revision != registry.revision
        assert tells == told


@asynccontextmanager
async def _later_node(registry: Registry, clock: ManualClock) -> AsyncIterator[Registry]:
    store = MemoryStore(clock)
    await store.open(lambda _: None)
    newest_first = (change.after for change in registry.feed.recent(100) if change.after is not None)
    held = [record for record in newest_first if registry.catalogue.find(record.key) is record]
    await store.write([Put(record) for record in held])
    clock.advance(60)
    later = Registry(store, clock, registry.policy)
    await later.open()
    yield later
    await later.close()


async def test_tags_narrow_what_is_found(client: Client) -> None:
    tagged = await client.create("orders")
    await client.post(f"microservices/{tagged}/tags", {"tags": {"k1": "v"}})
    for service_id in (tagged, await client.create("orders", version="2.0.0")):
        await client.register(service_id)
    path = "instances?appId=shop&serviceName=orders&env=development&tags="

    narrowed = (await client.get(f"{path}k1")).json()["instances"]
    assert [one["serviceId"] for one in narrowed] == [tagged]
    assert (await client.get(f"{path}k1,k2")).json() == {}


@pytest.mark.parametrize(("agent", "status"), [("microservice-client/1.0.0", "DOWN"), ("go-client", "OUTOFSERVICE")])
async def test_the_java_library_is_spared_a_status_that_stops_it(client: Client, agent: str, status: str) -> None:
    service_id = await client.create("orders")
    instance_id = await client.register(service_id, status="OUTOFSERVICE")
    path = "instances?appId=shop&serviceName=orders&env=development"

    (found,) = (await client.get(path, User_Agent=agent)).json()["instances"]
    one = (await client.get(f"microservices/{service_id}/instances/{instance_id}", User_Agent=agent)).json()
    assert (found["status"], one["instance"]["status"]) == (status, status)


async def test_many_are_found_at_once(client: Client) -> None:
    service_id = await client.create("orders")
    instance_id = await client.register(service_id)
    revision = (await client.find("orders")).headers["X-Resource-Revision"]
    orders = {"environment": "development", "appId": "shop", "serviceName": "orders"}
    configuration = {"appId": "default", "serviceName": "CseConfigCenter", "version": "0+"}
    body = {
        "services": [{"service": orders}, {"service": configuration}, {"service": orders, "rev": revision}],
        "instances": [
            {"instance": {"serviceId": service_id, "instanceId": "nope"}},
            {"instance": {"serviceId": service_id, "instanceId": instance_id}},
        ],
    }
    answer = await client.post("instances/action?type=query&rev=0", body)

    services, instances = answer.json()["services"], answer.json()["instances"]
    assert [(one["index"], one["rev"], len(one["instances"])) for one in services["updated"]] == [(0, revision, 1)]
    assert services["notModified"] == [2]
    assert [(one["indexes"], one["error"]["errorCode"]) for one in services["failed"]] == [([1], "400012")]
    assert [(one["indexes"], one["error"]["errorCode"]) for one in instances["failed"]] == [([0], "400017")]
    assert instances["updated"][0]["instances"][0]["instanceId"] == instance_id


async def test_an_empty_entry_of_a_batch_has_no_list(client: Client) -> None:
    await client.create("orders")
    orders = {"environment": "development", "appId": "shop", "serviceName": "orders"}
    answer = await client.post("instances/action?type=query", {"services": [{"service": orders}]})

    (updated,) = answer.json()["services"]["updated"]
    assert updated.keys() == {"index", "rev"}
    assert answer.json().keys() == {"services"}


async def test_a_long_list_is_compressed_for_who_takes_it(client: Client) -> None:
    service_id = await client.create("orders")
    for _ in range(10):
        await client.register(service_id)
    path = "instances?appId=shop&serviceName=orders&env=development"
    plain, first = await client.get(path, Accept_Encoding="identity"), await client.get(path, Accept_Encoding="gzip")

    assert "Content-Encoding" not in plain.headers
    assert first.headers["Content-Encoding"] == "gzip"
    assert first.json() == plain.json()
    assert int(first.headers["Content-Length"]) < len(plain.content)


# Dependencies


async def test_who_was_found_is_depended_on(client: Client) -> None:
    providers = [await client.create("orders", version=version) for version in ("1.0.0", "2.0.0")]
    consumer = await client.create("consumer")
    await client.find("orders", consumer=consumer)

    listed = (await client.get(f"microservices/{consumer}/providers")).json()["providers"]
    assert {one["serviceId"] for one in listed} == set(providers)
    (shown,) = (await client.get(f"microservices/{providers[0]}/consumers")).json()["consumers"]
    assert shown["serviceId"] == consumer


async def test_who_was_asked_for_before_it_came_is_depended_on(client: Client) -> None:
    """The original records nothing for a name that is not there yet."""
    consumer = await client.create("consumer")
    await client.find("orders", consumer=consumer)
    provider = await client.create("orders")

    (listed,) = (await client.get(f"microservices/{consumer}/providers")).json()["providers"]
    assert listed["serviceId"] == provider


async def test_a_batch_is_noted_in_one_write(client: Client, registry: Registry) -> None:
    """A gateway starts with hundreds of names; each write of its dependencies writes them all."""
    provider = await client.create("orders")
    consumer = await client.create("gateway")
    before = registry.revision
    asked = [{"service": {"appId": "shop", "serviceName": name}} for name in ("orders", "nobody", "no-one")]
    answer = await client.post("instances/action?type=query", {"services": asked}, X_ConsumerId=consumer)

    assert answer.status_code == 200
    assert registry.revision == before + 1
    (listed,) = (await client.get(f"microservices/{consumer}/providers")).json()["providers"]
    assert listed["serviceId"] == provider


@pytest.mark.parametrize(
    ("way", "path", "body"),
    [
        ("POST", "instances/action?type=query", {"services": [{"service": {"appId": "a", "serviceName": "b"}}] * 9}),
        ("PUT", "heartbeats", {"instances": [{"serviceId": "s", "instanceId": str(number)} for number in range(9)]}),
    ],
    ids=["finds", "heartbeats"],
)
async def test_a_long_batch_keeps_nobody_waiting(
    client: Client, monkeypatch: pytest.MonkeyPatch, way: str, path: str, body: object
) -> None:
    monkeypatch.setattr(pace, "RESTS_EVERY_S", -1.0)
    asked = asyncio.create_task(client.ask(way, path, body))
    turns = 0
    while not asked.done():
        await asyncio.sleep(0)
        turns += 1

    assert asked.result().status_code == 200
    assert turns > 9


async def test_a_batch_of_an_unknown_consumer_fails_entry_by_entry(client: Client) -> None:
    asked = [{"service": {"appId": "shop", "serviceName": name}} for name in ("a", "b")]
    answer = await client.post("instances/action?type=query", {"services": asked}, X_ConsumerId="nope")

    (failed,) = answer.json()["services"]["failed"]
    assert (failed["indexes"], failed["error"]["errorCode"]) == ([0, 1], "400012")


async def test_who_may_not_be_seen_is_not_depended_on(client: Client) -> None:
    closed = await client.create("closed", app="bank")
    consumer = await client.create("consumer")
    await client.find("closed", app="bank", consumer=consumer)

    assert (await client.get(f"microservices/{closed}/consumers")).json() == {}


async def test_dependencies_are_stated_by_consoles(client: Client) -> None:
    consumer, first, second = [await client.create(name) for name in ("consumer", "first", "second")]
    key: dict[str, Any] = {"environment": "development", "appId": "shop", "serviceName": "consumer", "version": "1.0.0"}

    async def providers() -> set[str]:
        listed = (await client.get(f"microservices/{consumer}/providers")).json()
        return {one["serviceId"] for one in listed.get("providers", [])}

    here = {"environment": "development"}
    body = {"dependencies": [{"consumer": key, "providers": [here | {"serviceName": "first", "version": "1.0.0+"}]}]}
    answer = await client.post("dependencies", body)
    body["dependencies"][0]["providers"] = [here | {"serviceName": "second"}]
    await client.post("dependencies", body)
    added = await providers()
    await client.put("dependencies", body)

    assert answer.headers["Deprecation"] == 'version="v4"'
    assert added == {first, second}
    assert await providers() == {second}


async def test_a_store_that_takes_no_writes_does_not_empty_answers(
    client: Client, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.register(await client.create("orders"))
    consumer = await client.create("consumer")

    async def refuse(store: MemoryStore, writes: list[Write]) -> int:
        raise StoreUnavailable("the disk is gone")

    monkeypatch.setattr(MemoryStore, "write", refuse)

    assert len(await client.found("orders", consumer=consumer)) == 1
    refused = await client.post("microservices", {"service": {"serviceName": "new"}})
    assert (refused.status_code, refused.json()["errorCode"]) == (500, "500011")


# Faces


async def test_a_flat_named_application_is_found_by_its_natural_name_from_any_app(
    client: Client, registry: Registry
) -> None:
    """A service in app `shop` calls `account-server`, and finds it as one of its own app and environment (N2, N3)."""
    await registry.register(flat("ACCOUNT-SERVER", portable_id="ab12"))
    consumer = await client.create("hello")

    (found,) = await client.found("account-server", consumer=consumer)

    named = (await client.get(f"microservices/{found['serviceId']}")).json()["service"]
    assert (found["instanceId"], found["version"]) == ("ab12", "0.0.1")
    assert (named["appId"], named["serviceName"], named["environment"]) == ("shop", "account-server", "development")
    one = await client.get(f"microservices/{found['serviceId']}/instances/ab12", X_ConsumerId=consumer)
    assert one.json()["instance"] == found
    (listed,) = (await client.get(f"microservices/{found['serviceId']}/instances")).json()["instances"]
    assert listed == found


async def test_a_name_in_use_keeps_its_instances_when_a_service_takes_it(client: Client, registry: Registry) -> None:
    """All are shown under the highest version, for go-chassis calls no other (N7, N8)."""
    for number in range(3):
        await registry.register(flat("ORDERS", f"orders-{number}", portable_id=f"flat{number}"))
    consumer = await client.create("consumer")
    before = await client.found("orders", consumer=consumer)
    service_id = await client.create("orders", version="3.0.0")
    await client.register(service_id, instanceId="native")

    after = await client.found("orders", consumer=consumer)

    assert {one["version"] for one in before} == {"0.0.1"}
    assert {one["instanceId"] for one in after} == {"native", "flat0", "flat1", "flat2"}
    assert {(one["serviceId"], one["version"]) for one in after} == {(service_id, "3.0.0")}


async def test_a_name_that_a_service_had_first_stays_apart(client: Client, registry: Registry) -> None:
    await client.register(await client.create("orders"), instanceId="native")
    await registry.register(flat("ORDERS", portable_id="flat"))

    assert [one["instanceId"] for one in await client.found("orders")] == ["native"]


async def test_a_change_in_the_other_protocol_shows_in_the_next_answer(client: Client, registry: Registry) -> None:
    account = flat("ACCOUNT-SERVER", portable_id="ab12")
    await registry.register(account)
    before = (await client.find("account-server")).headers["X-Resource-Revision"]
    await registry.cancel(account.key)

    path = f"instances?appId=shop&serviceName=account-server&env=development&rev={before}"
    answer = await client.get(path)
    assert (answer.status_code, answer.text) == (200, "{}")


# ServiceCenter itself


@pytest.mark.parametrize("domain", ["default", "elsewhere"])
async def test_servicecenter_is_found_from_everywhere(client: Client, domain: str) -> None:
    path = "instances?appId=default&serviceName=SERVICECENTER"
    (found,) = (await client.get(path, X_Domain_Name=domain)).json()["instances"]
    health = (await client.get("health", X_Domain_Name=domain)).json()

    assert found["endpoints"] == ["rest://10.0.0.5:30100/"]
    assert health == {"instances": [found]}


async def test_asking_for_servicecenter_writes_nothing(client: Client, registry: Registry) -> None:
    consumer = await client.create("consumer")
    before = registry.revision
    await client.find("SERVICECENTER", app="default", consumer=consumer)

    assert registry.revision == before


async def test_answers_are_compact(client: Client) -> None:
    await client.register(await client.create("orders"))
    text = (await client.find("orders")).text

    assert text == json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)
