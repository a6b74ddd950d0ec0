"""Questions of the lane, asked again and again while the registry changes: always what the long way would answer."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec
import pytest

from facade.rendered import Question, Reply
from facade.servicecenter import lane
from facade.servicecenter.routes import ServiceCenterFront

from .conftest import REGISTRY, Client

pytestmark = pytest.mark.anyio


def question(front: ServiceCenterFront, method: str, path: str, **headers: str) -> Question:
    parts = urlsplit(REGISTRY + path)
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": parts.path, "raw_path": parts.path.encode(), "headers": fields}
    found = front.question(scope | {"query_string": parts.query.encode()})
    assert found is not None
    return found


def listed(reply: Reply | None) -> list[str]:
    assert reply is not None and reply.status == 200
    return [one["instanceId"] for one in msgspec.json.decode(reply.body).get("instances", [])]


def revision(reply: Reply | None) -> str:
    assert reply is not None
    return dict(reply.fields)[b"X-Resource-Revision"].decode()


FIND = "instances?appId=shop&serviceName=orders&env=development"


async def test_a_find_follows_every_change(client: Client, front: ServiceCenterFront) -> None:
    service_id = await client.create("orders")
    find = question(front, "GET", FIND)
    assert listed(find()) == []

    first = await client.register(service_id)
    assert listed(find()) == [first]
    second = await client.register(service_id, endpoints=["rest://10.0.0.2:80"])
    assert listed(find()) == [first, second]
    await client.delete(f"microservices/{service_id}/instances/{first}")

    assert listed(find()) == [second]


async def test_unchanged_holds_until_something_of_it_changes(client: Client, front: ServiceCenterFront) -> None:
    service_id, other_id = await client.create("orders"), await client.create("stock")
    await client.register(service_id)
    unchanged = question(front, "GET", f"{FIND}&rev={revision(question(front, 'GET', FIND)())}")

    statuses = [reply.status if (reply := unchanged()) else None for _ in range(2)]
    await client.register(other_id)
    after_another = unchanged()
    await client.register(service_id, endpoints=["rest://10.0.0.2:80"])
    after_its_own = unchanged()

    assert statuses == [304, 304]
    assert after_another is not None and after_another.status == 304
    assert len(listed(after_its_own)) == 2


async def test_what_was_told_is_kept_within_bounds(
    client: Client, front: ServiceCenterFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    service_id = await client.create("orders")
    await client.register(service_id)
    monkeypatch.setattr(lane, "TOLD_BYTES", 3 * 2_048)
    asked = [question(front, "GET", FIND) for _ in range(10)]

    told = [find() for find in asked]
    again = [find() for find in asked]

    kept = [one is other for one, other in zip(told, again, strict=True)]
    assert told == again
    assert any(kept) and not all(kept)


async def test_who_gets_less_is_told_so_each_time(client: Client, front: ServiceCenterFront) -> None:
    """Two askers with equal questions, but for who they are."""
    provider = await client.create("orders", app="other")
    consumer = await client.create("web")
    await client.register(provider)
    path = "instances?appId=other&serviceName=orders&env=development"
    stranger, known = question(front, "GET", path), question(front, "GET", path, x_consumerid=consumer)
    await client.get(path, X_ConsumerId=consumer)  # its wish is recorded

    told = [(len(listed(stranger())), known()) for _ in range(2)]
    long_way = await client.get(path, X_ConsumerId=consumer)

    assert [count for count, _ in told] == [1, 1]
    assert all(long_way.status_code == (reply.status if reply else 400) for _, reply in told)


async def test_a_heartbeat_follows_its_instance(client: Client, front: ServiceCenterFront) -> None:
    service_id = await client.create("orders")
    beat = question(front, "PUT", f"microservices/{service_id}/instances/i1/heartbeat")
    assert beat() is None  # the long way says what is wrong

    await client.register(service_id, instanceId="i1")
    renewed = [reply.status if (reply := beat()) else None for _ in range(2)]
    await client.register(service_id, instanceId="i1", hostName="moved")
    after_another_registration = beat()
    await client.delete(f"microservices/{service_id}/instances/i1")

    assert renewed == [200, 200]
    assert after_another_registration is not None
    assert beat() is None


async def test_a_heartbeat_ends_with_its_service(client: Client, front: ServiceCenterFront) -> None:
    service_id = await client.create("orders")
    await client.register(service_id, instanceId="i1")
    beat = question(front, "PUT", f"microservices/{service_id}/instances/i1/heartbeat")
    assert beat() is not None

    await client.delete(f"microservices/{service_id}?force=1")

    assert beat() is None
