"""What watching consumers are told. The books are tested without sockets; on sockets, what a client sees of it."""

from __future__ import annotations

import asyncio
import itertools
import json
from contextlib import ExitStack
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from facade.registry.model import InstanceKey, Origin, ServiceId, ServiceKey, Space, Status, Tenant
from facade.registry.registry import Registry
from facade.registry.rules import overridden
from facade.servicecenter import watch
from facade.servicecenter.routes import ServiceCenterFront
from tests.registry.records import flat

from .conftest import Client, Socket

pytestmark = pytest.mark.anyio

TENANT = Tenant()


class Watching:
    """A consumer's subscription, and what came by it since the last look."""

    def __init__(self, subscription: watch.Subscription) -> None:
        self.subscription = subscription

    def events(self) -> list[dict[str, Any]]:
        queue = self.subscription._events
        return [json.loads(queue.popleft()) for _ in range(len(queue))]

    def told(self) -> list[tuple[str, str]]:
        return [(event["action"], event["instance"]["instanceId"]) for event in self.events()]


@pytest.fixture
async def consumer(client: Client) -> str:
    return await client.create("consumer")


@pytest.fixture
async def watching(front: ServiceCenterFront, consumer: str) -> Any:
    with front.watchers.subscribed(ServiceId(TENANT, consumer)) as subscription:
        yield Watching(subscription)


async def test_each_change_of_a_provider_is_told_in_order(client: Client, consumer: str, watching: Watching) -> None:
    service_id = await client.create("orders")
    await client.find("orders", consumer=consumer)
    await client.register(service_id, instanceId="i1")
    path = f"microservices/{service_id}/instances/i1"
    await client.put(f"{path}/status?value=DOWN")
    await client.put(f"{path}/properties", {"properties": {"k": "v"}})
    await client.put(f"{path}/heartbeat")
    await client.delete(path)

    events = watching.events()

    assert [event["action"] for event in events] == ["CREATE", "UPDATE", "UPDATE", "DELETE"]
    assert [event["instance"]["status"] for event in events] == ["UP", "DOWN", "DOWN", "DOWN"]
    assert events[-1]["instance"]["properties"] == {"k": "v"}
    assert events[0]["key"] == {
        "tenant": "default/default",
        "environment": "development",
        "appId": "shop",
        "serviceName": "orders",
        "version": "1.0.0",
    }


async def test_an_equal_registration_is_not_told(client: Client, consumer: str, watching: Watching) -> None:
    service_id = await client.create("orders")
    await client.find("orders", consumer=consumer)
    for _ in range(2):
        await client.register(service_id, instanceId="i1")

    assert watching.told() == [("CREATE", "i1")]


async def test_who_asked_before_the_provider_came_is_told_of_its_first_instance(
    client: Client, consumer: str, watching: Watching
) -> None:
    await client.find("orders", consumer=consumer)
    await client.register(await client.create("orders"), instanceId="i1")

    assert watching.told() == [("CREATE", "i1")]


async def test_who_asked_by_an_alias_is_told(client: Client, consumer: str, watching: Watching) -> None:
    await client.find("shop%3Aorders", consumer=consumer)
    await client.register(await client.create("orders", alias="shop:orders"), instanceId="i1")

    (event,) = watching.events()
    assert (event["action"], event["key"]["alias"]) == ("CREATE", "shop:orders")


async def test_a_stranger_hears_nothing(client: Client, watching: Watching) -> None:
    await client.register(await client.create("orders"))

    assert watching.told() == []


async def test_what_may_not_be_seen_is_not_told(client: Client, consumer: str, watching: Watching) -> None:
    """Also when the consumer had asked for it before it came."""
    await client.find("closed", app="bank", consumer=consumer)
    await client.register(await client.create("closed", app="bank"))

    assert watching.told() == []


async def test_a_flat_named_provider_is_told_under_the_name_that_was_asked_for(
    client: Client, registry: Registry, consumer: str, watching: Watching
) -> None:
    account = flat("ACCOUNT-SERVER", portable_id="ab12")
    await client.find("account-server", consumer=consumer)
    await registry.register(account)
    found = await client.found("account-server", consumer=consumer)
    await registry.amend(account.key, lambda held: overridden(held, Status.OUT_OF_SERVICE))
    await registry.cancel(account.key)

    events = watching.events()

    assert [(event["action"], event["instance"]["status"]) for event in events] == [
        ("CREATE", "UP"),
        ("UPDATE", "OUTOFSERVICE"),
        ("DELETE", "OUTOFSERVICE"),
    ]
    assert {(event["key"]["appId"], event["key"]["serviceName"]) for event in events} == {("shop", "account-server")}
    assert {event["instance"]["serviceId"] for event in events} == {found[0]["serviceId"]}


async def test_who_asked_with_a_mark_is_told(
    client: Client, registry: Registry, consumer: str, watching: Watching
) -> None:
    """N2: `eureka:NAME` is another way of writing a name."""
    account = flat("ACCOUNT-SERVER", portable_id="ab12")
    await client.find("eureka%3Aaccount-server", consumer=consumer)
    await registry.register(account)
    await registry.cancel(account.key)

    assert watching.told() == [("CREATE", "ab12"), ("DELETE", "ab12")]


async def test_a_name_that_falls_back_to_the_unnamed_environment_is_told_so(
    client: Client, registry: Registry, consumer: str, watching: Watching
) -> None:
    """N5: an environment's own application is found first, and while it has none, that of the unnamed one."""
    space = Space("default", "default", "development")
    common, other = (
        flat("ACCOUNT-SERVER", "c1", portable_id="common"),
        flat("ACCOUNT-SERVER", "c2", portable_id="other"),
    )
    own = flat(
        "ACCOUNT-SERVER",
        key=InstanceKey(Origin.EUREKA, space, "ACCOUNT-SERVER", "own"),
        service=ServiceKey("default", "default", "development", "eureka", "account-server", "0.0.1"),
        portable_id="own",
    )
    second = replace(own, key=own.key._replace(instance_id="second"), portable_id="second")
    await registry.register(common)
    await registry.register(other)
    await client.find("account-server", consumer=consumer)
    steps = []
    for change in (
        registry.register(own),
        registry.register(second),
        registry.cancel(own.key),
        registry.cancel(second.key),
    ):
        await change
        steps.append(
            (watching.told(), {one["instanceId"] for one in await client.found("account-server", consumer=consumer)})
        )

    assert steps == [
        ([("CREATE", "own"), ("DELETE", "common"), ("DELETE", "other")], {"own"}),
        ([("CREATE", "second")], {"own", "second"}),
        ([("DELETE", "own")], {"second"}),
        ([("CREATE", "common"), ("CREATE", "other"), ("DELETE", "second")], {"common", "other"}),
    ]


async def test_those_who_join_a_new_version_are_told_of_before_its_first_instance(
    client: Client, registry: Registry, consumer: str, watching: Watching
) -> None:
    """go-chassis calls the highest version it knows: alone, the newcomer would take all calls until the next poll."""
    await registry.register(flat("ORDERS", portable_id="flat"))
    await client.find("orders", consumer=consumer)
    await client.register(await client.create("orders", version="3.0.0"), instanceId="native")

    events = watching.events()

    told = [(event["action"], event["instance"]["instanceId"], event["instance"]["version"]) for event in events]
    assert told == [("UPDATE", "flat", "3.0.0"), ("CREATE", "native", "3.0.0")]


async def test_deleting_a_provider_tells_of_each_instance(client: Client, consumer: str, watching: Watching) -> None:
    service_id = await client.create("orders")
    await client.find("orders", consumer=consumer)
    await client.register(service_id, instanceId="i1")
    await client.delete(f"microservices/{service_id}?force=true")

    assert watching.told() == [("CREATE", "i1"), ("DELETE", "i1")]


async def test_an_event_is_encoded_once_for_all(
    client: Client, front: ServiceCenterFront, consumer: str, watching: Watching
) -> None:
    service_id = await client.create("orders")
    await client.find("orders", consumer=consumer)
    with front.watchers.subscribed(ServiceId(TENANT, consumer)) as other:
        await client.register(service_id)

        assert watching.subscription._events[0] is other._events[0]


async def test_who_falls_too_far_behind_is_dropped_and_not_skipped(
    client: Client, consumer: str, watching: Watching
) -> None:
    service_id = await client.create("orders")
    await client.find("orders", consumer=consumer)
    await client.register(service_id, instanceId="i1")
    for number in range(watch.QUEUED_EVENTS - 1):
        body = {"properties": {"n": str(number)}}
        await client.put(f"microservices/{service_id}/instances/i1/properties", body)
    full = watching.subscription.over.is_set()
    await client.put(f"microservices/{service_id}/instances/i1/status?value=DOWN")

    assert not full
    assert watching.subscription.over.is_set()
    assert watching.events() == []


async def test_the_watch_of_a_deleted_consumer_ends(client: Client, consumer: str, watching: Watching) -> None:
    await client.delete(f"microservices/{consumer}?force=true")

    assert watching.subscription.over.is_set()


async def test_who_left_is_forgotten(front: ServiceCenterFront) -> None:
    with front.watchers.subscribed(ServiceId(TENANT, "c")):
        pass

    assert len(front.watchers) == 0


async def test_a_subscription_waits_for_its_next_event() -> None:
    subscription = watch.Subscription()
    received: list[str] = []

    async def receive() -> None:
        received.append(await subscription.next())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        await anyio.lowlevel.checkpoint()
        waiting = list(received)
        subscription.push("event")
        subscription.wake()

    assert (waiting, received) == ([], ["event"])


async def test_many_watchers_are_told_a_few_at_a_time(
    client: Client, front: ServiceCenterFront, consumer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A renewal must not wait until five thousand have their event."""
    monkeypatch.setattr(watch, "WOKEN_AT_ONCE", 2)
    service_id = await client.create("orders")
    await client.find("orders", consumer=consumer)
    told = 0

    async def receive(subscription: watch.Subscription) -> None:
        nonlocal told
        await subscription.next()
        told += 1

    with ExitStack() as subscribed:
        readers = [
            asyncio.create_task(
                receive(subscribed.enter_context(front.watchers.subscribed(ServiceId(TENANT, consumer))))
            )
            for _ in range(7)
        ]
        await asyncio.sleep(0)
        await client.register(service_id)
        told_by_turn = [told]
        while told < len(readers):
            await asyncio.sleep(0)
            told_by_turn.append(told)

    steps = [after - before for before, after in itertools.pairwise(told_by_turn)]
    assert max(steps) == 2


# On sockets


async def test_an_unknown_consumer_is_told_so_and_the_stream_ends(
    front: ServiceCenterFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Go client looks for these words in a text frame; the connection falls without a farewell."""
    monkeypatch.setattr(watch, "REFUSED_AFTER_S", 0)
    async with Socket(front, "/v4/default/registry/microservices/nope/watcher") as socket:
        accepted, told = await socket.receive(), await socket.receive()
        await socket.until_ended()

    assert accepted["type"] == "websocket.accept"
    assert told == {"type": "websocket.send", "text": "service does not exist"}


async def test_an_unknown_consumer_waits_for_its_refusal(front: ServiceCenterFront) -> None:
    """go-chassis dials again the moment it is refused; one that leaves meanwhile is told nothing."""
    async with Socket(front, "/v4/default/registry/microservices/nope/watcher") as socket:
        accepted = await socket.receive()

    assert accepted["type"] == "websocket.accept"
    assert watch.REFUSED_AFTER_S >= 1


@pytest.mark.parametrize("prefix", ["/v4/default/registry", "/registry/v3"])
async def test_a_watch_is_upgraded_in_both_forms_of_the_api(
    client: Client, front: ServiceCenterFront, consumer: str, prefix: str
) -> None:
    service_id = await client.create("orders")
    await client.find("orders", consumer=consumer)
    async with Socket(front, f"{prefix}/microservices/{consumer}/watcher") as socket:
        await socket.receive()
        socket.send_text("x" * 65)  # closes the original's socket; means nothing here
        await anyio.wait_all_tasks_blocked()
        await client.register(service_id)

        assert json.loads((await socket.receive())["text"])["action"] == "CREATE"

    assert len(front.watchers) == 0


async def test_a_client_that_is_dropped_gets_no_farewell(
    client: Client, front: ServiceCenterFront, consumer: str
) -> None:
    """The Java client takes a proper close for the end, and does not come back."""
    async with Socket(front, f"/v4/default/registry/microservices/{consumer}/watcher") as socket:
        await socket.receive()
        await anyio.wait_all_tasks_blocked()
        await client.delete(f"microservices/{consumer}?force=true")
        await socket.until_ended()

        assert socket.unread() == []


async def test_an_open_heartbeat_socket_renews(client: Client, registry: Registry, front: ServiceCenterFront) -> None:
    service_id = await client.create("orders")
    await client.register(service_id, instanceId="i1")
    async with Socket(front, f"/v4/default/registry/microservices/{service_id}/instances/i1/heartbeat") as socket:
        await socket.receive()
        await anyio.wait_all_tasks_blocked()

        (lease,) = registry.catalogue.leases.values()
        assert lease.renewed_ms


async def test_a_heartbeat_socket_of_a_missing_instance_is_closed_with_the_reason(front: ServiceCenterFront) -> None:
    async with Socket(front, "/v4/default/registry/microservices/s/instances/i/heartbeat") as socket:
        await socket.receive()
        closed = await socket.receive()

    assert (closed["code"], closed["reason"]) == (4001, watch.INSTANCE_MISSING_REASON)


async def test_a_watcher_keeps_up_with_one_request_that_changes_very_many(
    client: Client, front: ServiceCenterFront, consumer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "QUEUED_EVENTS", 20)
    service_id = await client.create("orders")
    for number in range(60):
        await client.register(service_id, endpoints=[f"rest://10.0.0.{number}:80"])
    await client.find("orders", consumer=consumer)
    told = 0

    async def receive(subscription: watch.Subscription) -> None:
        nonlocal told
        while True:
            await subscription.next()
            told += 1

    with front.watchers.subscribed(ServiceId(TENANT, consumer)) as subscription:
        reader = asyncio.create_task(receive(subscription))
        await client.put("instances/status", {"status": "DOWN"})
        await asyncio.sleep(0.01)
        is_over = subscription.over.is_set()
        reader.cancel()

    assert (told, is_over) == (60, False)
