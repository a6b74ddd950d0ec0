"""Registration, heartbeats, status and end of instances, through whole requests."""

from __future__ import annotations

import pytest

from facade.registry.model import InstanceKey, Origin, Status
from facade.registry.registry import Registry
from facade.servicecenter.exchange import SMALL_BODY
from tests.conftest import PassTime
from tests.registry.records import SPACE, flat

from .conftest import Client

pytestmark = pytest.mark.anyio

ACCOUNTS = "80784229255ec96d90353e3c041bdf3586fdbbae"
"""The serviceId of account-server under its native face."""


async def test_an_instance_gets_an_id_and_the_defaults(client: Client) -> None:
    service_id = await client.create("orders")
    instance_id = await client.register(service_id)

    shown = (await client.get(f"microservices/{service_id}/instances/{instance_id}")).json()["instance"]
    assert len(instance_id) == 32
    assert (shown["status"], shown["version"], shown["serviceId"]) == ("UP", "1.0.0", service_id)
    assert shown["healthCheck"] == {"mode": "push", "interval": 30, "times": 3}


async def test_an_instance_that_registers_anew_is_updated(client: Client) -> None:
    """The original ignores the new data of an id that lives."""
    service_id = await client.create("orders")
    await client.register(service_id, instanceId="i1")
    await client.register(service_id, instanceId="i1", endpoints=["rest://10.0.0.2:80"])

    (shown,) = await client.found("orders")
    assert (shown["instanceId"], shown["endpoints"]) == ("i1", ["rest://10.0.0.2:80"])


async def test_a_lease_ends_after_its_interval_was_missed_once_too_often(client: Client, pass_time: PassTime) -> None:
    service_id = await client.create("orders")
    instance_id = await client.register(service_id, healthCheck={"mode": "push", "interval": 5, "times": 3})
    await pass_time(15)
    beat = await client.put(f"microservices/{service_id}/instances/{instance_id}/heartbeat")
    await pass_time(15)
    still_there = await client.found("orders")
    await pass_time(10)

    late = await client.put(f"microservices/{service_id}/instances/{instance_id}/heartbeat")
    assert (beat.status_code, len(still_there)) == (200, 1)
    assert await client.found("orders") == []
    assert late.json()["errorCode"] == "400017"


async def test_a_heartbeat_makes_no_revision(client: Client, registry: Registry) -> None:
    service_id = await client.create("orders")
    instance_id = await client.register(service_id)
    before = registry.revision

    await client.put(f"microservices/{service_id}/instances/{instance_id}/heartbeat")

    assert registry.revision == before


async def test_heartbeats_are_taken_many_at_once(client: Client) -> None:
    service_id = await client.create("orders")
    good = {"serviceId": service_id, "instanceId": await client.register(service_id)}
    bad = {"serviceId": service_id, "instanceId": "nope"}
    answer = await client.put("heartbeats", {"instances": [bad, good, good, bad, {}]})

    fault = {"errMessage": "Instance does not exist(leaseId not exist, instance not exist)"}
    assert answer.json() == {"instances": [bad | fault, good, fault]}


async def test_a_status_is_shown_as_reported(client: Client) -> None:
    service_id = await client.create("orders")
    instance_id = await client.register(service_id)
    answer = await client.put(f"microservices/{service_id}/instances/{instance_id}/status?value=OUTOFSERVICE")

    (shown,) = await client.found("orders")
    assert (answer.status_code, answer.content, shown["status"]) == (200, b"", "OUTOFSERVICE")


async def test_a_status_of_a_flat_named_instance_is_an_operators_word(client: Client, registry: Registry) -> None:
    """It survives the owner's next registration, and UP takes it back."""
    account = flat("ACCOUNT-SERVER", portable_id="ab12")
    await registry.register(account)
    await client.put(f"microservices/{ACCOUNTS}/instances/ab12/status?value=OUTOFSERVICE")
    drained = await registry.register(account)
    await client.put(f"microservices/{ACCOUNTS}/instances/ab12/status?value=UP")

    restored = registry.catalogue.instance(account.key)
    assert (drained.status, drained.override) == (Status.OUT_OF_SERVICE, Status.OUT_OF_SERVICE)
    assert restored is not None
    assert (restored.status, restored.override) == (Status.UP, None)


async def test_a_flat_named_instance_is_renewed_and_ended_by_the_id_that_is_shown(
    client: Client, registry: Registry
) -> None:
    account = flat("ACCOUNT-SERVER", portable_id="ab12")
    await registry.register(account)
    beat = await client.put(f"microservices/{ACCOUNTS}/instances/ab12/heartbeat")
    ended = await client.delete(f"microservices/{ACCOUNTS}/instances/ab12")

    assert (beat.status_code, ended.status_code) == (200, 200)
    assert registry.catalogue.instance(account.key) is None


async def test_many_statuses_are_set_by_properties(client: Client) -> None:
    service_id = await client.create("orders")
    for number, group in enumerate(("g1", "g1", "g2")):
        await client.register(service_id, instanceId=f"i{number}", properties={"grp": group, "n": str(number)})
    body = {"matches": {"properties": {"grp": "g1"}}, "status": "OUTOFSERVICE"}
    answer = await client.put("instances/status", body)

    assert answer.status_code == 200
    statuses = {one["instanceId"]: one["status"] for one in await client.found("orders")}
    assert statuses == {"i0": "OUTOFSERVICE", "i1": "OUTOFSERVICE", "i2": "UP"}


@pytest.mark.parametrize("body", [b"{}", b'{"status":"up"}', b'{"matches":{}}'])
async def test_many_statuses_are_not_emptied(client: Client, body: bytes) -> None:
    """The original takes {} for an order to leave every instance without a status."""
    await client.register(await client.create("orders"))
    answer = await client.put("instances/status", body)

    assert answer.json()["errorCode"] == "400001"
    assert [one["status"] for one in await client.found("orders")] == ["UP"]


async def test_properties_are_replaced_whole(client: Client) -> None:
    service_id = await client.create("orders")
    instance_id = await client.register(service_id, properties={"old": "1"})
    body = {"serviceId": "other", "instanceId": "other", "hostName": "x", "properties": {"new": "2"}}
    await client.put(f"microservices/{service_id}/instances/{instance_id}/properties", body)

    (shown,) = await client.found("orders")
    assert (shown["properties"], shown["hostName"]) == ({"new": "2"}, "h")


async def test_an_instance_is_gone_at_once(client: Client) -> None:
    service_id = await client.create("orders")
    instance_id = await client.register(service_id)
    await client.delete(f"microservices/{service_id}/instances/{instance_id}")

    again = await client.delete(f"microservices/{service_id}/instances/{instance_id}")
    assert await client.found("orders") == []
    assert (again.status_code, again.json()["detail"]) == (400, "Instance's leaseId not exist.")


@pytest.mark.parametrize(
    ("path", "body", "code", "detail"),
    [
        ("nope/instances", b'{"instance":{"hostName":"h"}}', "400012", "Invalid 'serviceID' in request body."),
        ("{id}/instances", b"x", "400001", "Unmarshal error"),
        ("{id}/instances", b"{}", "400001", "RegisterInstanceRequest.Instance"),
        ("{id}/instances", b'{"instance":{}}', "400001", "MicroServiceInstance.HostName"),
        ("{id}/instances", b"x" * (SMALL_BODY + 1), "400001", "request body too large"),
    ],
    ids=["no-service", "no-json", "no-instance", "no-host", "too-large"],
)
async def test_a_bad_registration_is_refused(client: Client, path: str, body: bytes, code: str, detail: str) -> None:
    service_id = await client.create("orders")
    answer = await client.post(f"microservices/{path.format(id=service_id)}", body)

    assert (answer.status_code, answer.json()["errorCode"]) == (400, code)
    assert detail in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "call", "request_type"),
    [
        ("PUT", "/heartbeat", "HeartbeatRequest"),
        ("PUT", "/status?value=UP", "UpdateInstanceStatusRequest"),
        ("PUT", "/properties", "UpdateInstancePropsRequest"),
        ("DELETE", "", "UnregisterInstanceRequest"),
        ("GET", "", "GetOneInstanceRequest"),
    ],
)
async def test_an_id_outside_the_rules_is_refused_by_field(
    client: Client, method: str, call: str, request_type: str
) -> None:
    service_id = await client.create("orders")
    path = f"microservices/{service_id}/instances/a%20b{call}"
    answer = await client.ask(method, path, {"properties": {}} if "properties" in call else None)

    assert answer.json()["errorCode"] == "400001"
    assert request_type in answer.json()["detail"]


@pytest.mark.parametrize(("app", "application"), [("default", "ORDERS"), ("shop", "SHOP.ORDERS")])
async def test_readers_of_flat_names_find_it_by_app_and_name(
    client: Client, registry: Registry, app: str, application: str
) -> None:
    """Apps that say nothing are left out (N6)."""
    service_id = await client.create("orders", app=app, environment="")
    await client.register(service_id, instanceId="i1")

    (instance,) = registry.catalogue.in_application(SPACE, application)
    assert instance.key == InstanceKey(Origin.SERVICECENTER, SPACE, service_id, "i1")
