"""The read gate, switches, the status page, and what a peer tells in a batch."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from facade.clock import ManualClock
from facade.eureka.routes import EurekaOptions
from facade.registry.model import Cause
from facade.registry.registry import Registry
from tests.eureka.registrations import document, instance
from tests.eureka.routes.client import AS_JSON, JSON_BODY, Client, status_of

pytestmark = pytest.mark.anyio


async def test_lists_are_refused_for_a_while_after_an_empty_start(registry: Registry, clock: ManualClock) -> None:
    """Case 103: clients keep the lists they have."""
    client = Client(registry, EurekaOptions(read_gate_s=40))
    await client.register()
    lists = ["apps", "apps/delta", "apps/A", "vips/v1", "svips/s1"]

    assert [(await client("GET", f"/eureka/{path}")).status_code for path in lists] == [403] * 5
    assert (await client("GET", "/eureka/apps/A/i1")).status_code == 200
    assert (await client("PUT", "/eureka/apps/A/i1")).status_code == 200
    clock.advance(40)
    assert [(await client("GET", f"/eureka/{path}")).status_code for path in lists] == [200] * 5
    await client.close()


async def test_lists_are_open_at_once_when_the_store_remembers(registry: Registry) -> None:
    await registry.register(instance())
    client = Client(registry, EurekaOptions(read_gate_s=40))

    assert (await client("GET", "/eureka/apps")).status_code == 200
    await client.close()


async def test_the_delta_can_be_switched_off(registry: Registry) -> None:
    """Case 104."""
    client = Client(registry, EurekaOptions(disable_delta=True))

    assert (await client("GET", "/eureka/apps/delta")).status_code == 403
    assert (await client("GET", "/eureka/apps")).status_code == 200
    await client.close()


async def test_an_application_may_be_called_delta(client: Client) -> None:
    """Case 85."""
    assert (await client.register("DELTA")).status_code == 204

    assert (await client.json("/eureka/apps/DELTA"))["name"] == "DELTA"
    assert "apps__hashcode" in await client.json("/eureka/apps/delta")
    assert (await client("PUT", "/eureka/apps/delta/i1")).status_code == 200


async def test_the_status_is_complete(client: Client) -> None:
    """Case 105: the original's JSON breaks off in the middle."""
    answer = await client("GET", "/eureka/status", AS_JSON)
    in_xml = ElementTree.fromstring((await client("GET", "/eureka/status")).content)

    status = msgspec.json.decode(answer.content)
    assert list(status) == ["generalStats", "applicationStats", "instanceInfo", "healthy"]
    assert status["healthy"] is True
    assert [child.tag for child in in_xml] == ["generalStats", "applicationStats", "instanceInfo", "isHeathly"]


async def batch(client: Client, *items: dict[str, Any]) -> list[dict[str, Any]]:
    content = msgspec.json.encode({"replicationList": items})
    answer = await client("POST", "/eureka/peerreplication/batch/", JSON_BODY, content)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    results: list[dict[str, Any]] = msgspec.json.decode(answer.content)["responseList"]
    return results


def item(action: str | None, instance_id: str = "i1", **more: Any) -> dict[str, Any]:
    return {"appName": "A", "id": instance_id, "action": action} | more


async def test_a_peer_tells_of_what_it_heard(client: Client) -> None:
    """Cases 169-171, 173-175 and 177."""
    assert await batch(client) == []
    results = await batch(
        client,
        item("Register", instanceInfo=document()),
        item("Heartbeat", lastDirtyTimestamp=1000),
        item("Heartbeat", "nobody"),
        item("Heartbeat", lastDirtyTimestamp=1001),
        item("StatusUpdate", status="DOWN", lastDirtyTimestamp=1000),
        item("StatusUpdate", status="foo"),
        item("DeleteStatusOverride", status="UP"),
        item("Cancel", "nobody"),
        item("Register"),
        item(None),
    )

    assert [result["statusCode"] for result in results] == [200, 200, 404, 404, 200, 500, 200, 404, 500, 500]
    (stale,) = await batch(client, item("Heartbeat", lastDirtyTimestamp=999))
    assert (stale["statusCode"], stale["responseEntity"]["instanceId"]) == (409, "i1")
    assert await batch(client, item("Cancel"), item("Cancel")) == [{"statusCode": 200}, {"statusCode": 404}]


async def test_a_peers_status_counts_where_a_clients_would_not(client: Client) -> None:
    """Case 182: the existing lease has no say in it."""
    await client.register()
    await client.register(status="OUT_OF_SERVICE")
    assert (await status_of(client))[0] == "UP"

    await batch(client, item("Register", instanceInfo=document(status="OUT_OF_SERVICE")))

    assert (await status_of(client))[0] == "OUT_OF_SERVICE"


async def test_a_batch_that_means_nothing_is_refused_whole(client: Client) -> None:
    """Cases 178 and 179."""
    items = [item("Register", instanceInfo=document()), item("Explode")]
    for content in (b"", b"{}", b"null", msgspec.json.encode({"replicationList": items})):
        assert (await client("POST", "/eureka/peerreplication/batch", JSON_BODY, content)).status_code == 400

    assert (await client("GET", "/eureka/apps/A/i1")).status_code == 404


async def test_changes_carry_their_cause(client: Client, registry: Registry) -> None:
    causes: list[Cause] = []
    registry.feed.follow(lambda change: causes.append(change.cause))

    await client.register()
    await client("PUT", "/eureka/apps/A/i1/status?value=DOWN")
    await client("PUT", "/eureka/apps/A/i1/metadata?a=b")
    await client("DELETE", "/eureka/apps/A/i1")

    assert causes == [Cause.REGISTERED, Cause.AMENDED, Cause.REGISTERED, Cause.CANCELLED]
