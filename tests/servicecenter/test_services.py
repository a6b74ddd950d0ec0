"""Microservices, tags and schemas through whole requests."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest
from msgspec import structs

from facade.clock import ManualClock
from facade.registry.model import Revision, ServiceId
from facade.registry.registry import Registry
from facade.registry.store import Put, Remove, Write
from facade.servicecenter.routes import ServiceCenterFront, ServiceCenterOptions
from tests.registry.records import flat

from .conftest import Client, client_of

pytestmark = pytest.mark.anyio


async def test_a_service_is_created_once_and_left_as_it_was(client: Client, clock: ManualClock) -> None:
    first = await client.create("orders", description="first")
    clock.advance(10)
    again = await client.create("orders", description="second")

    shown = (await client.get(f"microservices/{first}")).json()["service"]
    assert again == first
    assert (shown["description"], shown["timestamp"]) == ("first", shown["modTimestamp"])


async def test_ids_names_and_aliases_belong_to_one_service(client: Client) -> None:
    """The original hands out the id of the other service when an alias is taken."""
    await client.create("orders", serviceId="my-id", alias="shop:orders")

    for members in (
        {"serviceName": "orders", "version": "1.0.0", "serviceId": "other"},
        {"serviceName": "others", "version": "1.0.0", "serviceId": "my-id"},
        {"serviceName": "others", "version": "1.0.0", "alias": "shop:orders"},
    ):
        service = {"appId": "shop", "environment": "development", **members}
        answer = await client.post("microservices", {"service": service})

        assert (answer.status_code, answer.json()["errorCode"]) == (400, "400010")


async def test_two_who_create_the_same_service_at_once_get_one_id(client: Client) -> None:
    ids: list[str] = []

    async def create() -> None:
        ids.append(await client.create("orders"))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(create)

    assert len(ids) == 5
    assert len(set(ids)) == 1


async def test_a_service_that_was_only_given_rules_is_created(client: Client) -> None:
    """The original never answers this."""
    answer = await client.post("microservices", {"service": {"serviceName": "orders"}, "rules": [{}]})

    assert answer.status_code == 200


async def test_tags_and_instances_come_with_a_service(client: Client) -> None:
    body = {"service": {"serviceName": "orders"}, "tags": {"k": "v"}, "instances": [{"hostName": "h"}]}
    service_id = (await client.post("microservices", body)).json()["serviceId"]

    assert (await client.get(f"microservices/{service_id}/tags")).json() == {"tags": {"k": "v"}}
    assert len((await client.get(f"microservices/{service_id}/instances")).json()["instances"]) == 1


async def test_a_bad_instance_is_told_and_the_service_stays(client: Client) -> None:
    body = {"service": {"serviceName": "orders"}, "instances": [{"hostName": ""}, {"hostName": "h"}]}
    answer = await client.post("microservices", body)

    assert "errMessages: [Invalid parameter(s)(field 'MicroServiceInstance.HostName'" in answer.json()["detail"]
    (service,) = (await client.get("microservices")).json()["services"]
    assert len((await client.get(f"microservices/{service['serviceId']}/instances")).json()["instances"]) == 1


@pytest.mark.parametrize("path", ["", "/schemas", "/tags", "/providers", "/consumers", "/instances"])
async def test_an_id_outside_the_rules_is_refused(client: Client, path: str) -> None:
    answer = await client.get(f"microservices/a%20b{path}")

    assert (answer.status_code, answer.json()["errorCode"]) == (400, "400001")


async def test_the_path_counts_and_not_the_ids_in_the_body(client: Client) -> None:
    """The original writes to the service that the body names."""
    orders, others = await client.create("orders"), await client.create("others")
    answer = await client.put(f"microservices/{orders}/properties", {"serviceId": others, "properties": {"k": "v"}})

    assert (answer.status_code, answer.content) == (200, b"")
    assert (await client.get(f"microservices/{orders}")).json()["service"]["properties"] == {"k": "v"}
    assert "properties" not in (await client.get(f"microservices/{others}")).json()["service"]


async def test_domains_and_projects_never_meet(client: Client) -> None:
    service_id = await client.create("orders")

    elsewhere = await client.get(f"microservices/{service_id}", X_Domain_Name="t1")
    beside = await client.get(f"/v4/p2/registry/microservices/{service_id}")
    by_v3 = await client.get(f"/registry/v3/microservices/{service_id}", X_Tenant_Name="default")
    assert [answer.status_code for answer in (elsewhere, beside, by_v3)] == [400, 400, 200]


async def test_a_service_with_instances_or_consumers_is_only_deleted_by_force(client: Client) -> None:
    provider, consumer = await client.create("provider"), await client.create("consumer")
    await client.register(provider)
    codes = [(await client.delete(f"microservices/{provider}")).json()["errorCode"]]
    await client.find("provider", consumer=consumer)
    codes.append((await client.delete(f"microservices/{provider}")).json()["errorCode"])

    forced = await client.delete(f"microservices/{provider}?force=1")

    assert codes == ["400013", "400023"]
    assert forced.status_code == 200
    assert (await client.get(f"microservices/{provider}")).json()["errorCode"] == "400012"


async def test_deleting_many_answers_in_the_order_asked(client: Client) -> None:
    ids = [await client.create(name) for name in ("a", "b")]
    answer = await client.delete("microservices", {"serviceIds": [ids[1], "nope", "nope", ids[0]], "force": True})

    fault = "Micro-service does not exist(Service does not exist.)"
    assert answer.json() == {
        "services": [{"serviceId": ids[1]}, {"errMessage": fault, "serviceId": "nope"}, {"serviceId": ids[0]}]
    }


async def test_who_asked_by_an_alias_before_there_was_one_is_a_consumer(client: Client) -> None:
    consumer = await client.create("cart")
    await client.find("shop%3Aorders", consumer=consumer)
    provider = await client.create("orders", alias="shop:orders")

    listed = (await client.get(f"microservices/{provider}/consumers")).json()["consumers"]
    governed = (await client.get(f"/v4/default/govern/microservices/{provider}")).json()["service"]["consumers"]
    deleted = await client.delete(f"microservices/{provider}")

    assert [[one["serviceId"] for one in said] for said in (listed, governed)] == [[consumer], [consumer]]
    assert deleted.json()["errorCode"] == "400023"


async def test_a_deleted_service_takes_schemas_and_dependencies_along(client: Client, registry: Registry) -> None:
    provider, consumer = await client.create("provider"), await client.create("consumer")
    await client.put(f"microservices/{consumer}/schemas/x", {"schema": "s"})
    await client.find("provider", consumer=consumer)

    await client.delete(f"microservices/{consumer}?force=true")

    assert await client.create("consumer") == consumer
    assert (await client.get(f"microservices/{provider}/consumers")).json() == {}
    assert (await client.get(f"microservices/{consumer}/schemas/x")).json()["errorCode"] == "400016"


async def test_declared_schemas_are_listed_without_a_summary(client: Client) -> None:
    """Java-Chassis 2 compares the lists, and fails to start when a declared id is missing."""
    service_id = await client.create("orders", schemas=["declared"])
    await client.put(f"microservices/{service_id}/schemas/stored", {"schema": "text", "summary": "ab12"})

    listed = await client.get(f"microservices/{service_id}/schemas")

    assert listed.json() == {"schemas": [{"schemaId": "declared"}, {"schemaId": "stored", "summary": "ab12"}]}
    assert (await client.get(f"microservices/{service_id}/schemas/declared")).json()["errorCode"] == "400016"


async def test_a_deleted_schema_stays_declared(client: Client) -> None:
    service_id = await client.create("orders")
    await client.put(f"microservices/{service_id}/schemas/x", {"schema": "text"})
    await client.delete(f"microservices/{service_id}/schemas/x")

    assert (await client.get(f"microservices/{service_id}/schemas")).json() == {"schemas": [{"schemaId": "x"}]}
    assert (await client.delete(f"microservices/{service_id}/schemas/x")).json()["errorCode"] == "400016"


async def test_posted_schemas_replace_all_others(client: Client) -> None:
    service_id = await client.create("orders", schemas=["old"])
    await client.put(f"microservices/{service_id}/schemas/old", {"schema": "text"})
    schemas = [{"schemaId": "new", "schema": "text", "summary": "ab"}]
    await client.post(f"microservices/{service_id}/schemas", {"schemas": schemas})

    listed = await client.get(f"microservices/{service_id}/schemas?withSchema=1")
    assert listed.json() == {"schemas": [{"schemaId": "new", "summary": "ab", "schema": "text"}]}
    assert (await client.get(f"microservices/{service_id}/schemas/old")).json()["errorCode"] == "400016"


async def test_tags_are_dropped_all_or_none(client: Client) -> None:
    service_id = await client.create("orders")
    await client.post(f"microservices/{service_id}/tags", {"tags": {"k1": "v", "k2": "v"}})
    refused = await client.delete(f"microservices/{service_id}/tags/k1,none")

    assert refused.json()["detail"] == "Delete tags failed for this key none does not exist."
    assert (await client.get(f"microservices/{service_id}/tags")).json() == {"tags": {"k1": "v", "k2": "v"}}
    assert (await client.delete(f"microservices/{service_id}/tags/,")).json()["errorCode"] == "400001"


async def test_an_application_with_a_flat_name_exists_as_a_service(client: Client, registry: Registry) -> None:
    """The guide's account-server: same id as a real ServiceCenter gives it."""
    await registry.register(flat("ACCOUNT-SERVER"))
    query = "type=microservice&appId=eureka&serviceName=account-server&version=0.0.1"
    service_id = (await client.get(f"existence?{query}&env=")).json()["serviceId"]

    assert service_id == "80784229255ec96d90353e3c041bdf3586fdbbae"
    shown = (await client.get(f"microservices/{service_id}")).json()["service"]
    assert (shown["serviceName"], shown["appId"], shown["registerBy"]) == ("account-server", "eureka", "PLATFORM")
    assert shown in (await client.get("microservices")).json()["services"]


@pytest.mark.parametrize(("lists_virtual", "apps"), [(False, {"eureka"}), (True, {"eureka", "shop"})])
async def test_names_in_use_are_listed_where_that_is_wanted(
    registry: Registry, lists_virtual: bool, apps: set[str]
) -> None:
    """Gateways that list all services want to see those of their own app (N12)."""
    await registry.register(flat("ACCOUNT-SERVER"))
    options = ServiceCenterOptions(list_virtual=lists_virtual)
    async with client_of(ServiceCenterFront(registry, options)) as client:
        await client.found("account-server", app="shop")
        services = (await client.get("microservices")).json()["services"]

    assert {service["appId"] for service in services} == apps
    assert len(services) == len(apps)


async def test_what_is_written_to_an_implied_service_makes_it_one(client: Client, registry: Registry) -> None:
    """A client that found the native face goes on as if it were its own service; ids and instances stay."""
    await registry.register(flat("ACCOUNT-SERVER", portable_id="flat-born"))
    service_id = "80784229255ec96d90353e3c041bdf3586fdbbae"
    await client.put(f"microservices/{service_id}/properties", {"properties": {"k": "v"}})
    own = await client.register(service_id)

    found = {one["instanceId"] for one in await client.found("account-server", app="eureka", env="")}
    by_mark = {one["instanceId"] for one in await client.found("eureka%3Aaccount-server", app="eureka", env="")}
    assert (await client.get(f"microservices/{service_id}")).json()["service"]["properties"] == {"k": "v"}
    assert found == {own, "flat-born"}
    assert "flat-born" in by_mark


async def test_servicecenter_itself_is_listed_when_asked_for_and_cannot_be_deleted(client: Client) -> None:
    assert (await client.get("microservices")).json() == {}
    (own,) = (await client.get("microservices?withShared=true")).json()["services"]

    assert (own["serviceName"], own["environment"]) == ("SERVICECENTER", "development")
    refused = await client.delete(f"microservices/{own['serviceId']}?force=1")
    assert refused.json()["detail"] == "not allow to delete service center"


async def test_who_registers_at_another_node_while_the_service_is_deleted_goes_with_it(
    client: Client, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other node has not heard of the end yet; nobody could find what would be left, nor end it."""
    service_id = await client.create("orders")
    kept = await client.register(await client.create("kept"))
    (key,) = [one for one in registry.catalogue.leases if one.instance_id == kept]
    held = registry.catalogue.leases[key].instance
    service = registry.catalogue.service(ServiceId(key.space.tenant, service_id))
    assert service is not None
    late = structs.replace(held, key=key._replace(group=service_id, instance_id="late"), service=service.name)
    store = registry._store
    write = store.write

    async def late_write(writes: Sequence[Write]) -> Revision:
        if Remove(service.key) in writes:
            await write([Put(late)])
        return await write(writes)

    monkeypatch.setattr(store, "write", late_write)
    await client.delete(f"microservices/{service_id}")

    assert list(registry.catalogue.leases) == [key]
