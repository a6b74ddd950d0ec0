"""Access control on the Eureka front and in the lane: HTTP Basic, labels, peers."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from facade.eureka.routes import EurekaFront
from facade.servicecenter.routes import ServiceCenterFront

from .guarded import AS_ROOT, basic
from .product import BASE, Product, eureka_document

pytestmark = pytest.mark.anyio


async def test_a_spring_client_with_a_password_needs_nothing_else(guarded: Product) -> None:
    """Quality S1."""
    document = eureka_document("ORDERS", "orders-1")
    writer = basic("shopkeeper")

    told = await guarded.http.post("/eureka/apps/ORDERS", json={"instance": document}, headers=writer)
    assert (told.status_code, told.content) == (204, b"")
    assert (await guarded.http.put("/eureka/apps/ORDERS/orders-1", headers=writer)).status_code == 200
    assert (await guarded.http.get("/eureka/apps", headers=basic("reader"))).status_code == 200
    assert (await guarded.http.delete("/eureka/apps/ORDERS/orders-1", headers=writer)).status_code == 200


@pytest.mark.parametrize("headers", [{}, basic("nobody"), {"Authorization": "Bearer x"}, {"Authorization": "x"}])
async def test_a_refusal_is_empty_and_asks_for_a_password(guarded: Product, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/eureka/apps"), ("PUT", "/eureka/apps/A/a-1"), ("POST", "/eureka/apps/A")):
        answer = await guarded.http.request(method, path, headers=headers)
        assert (answer.status_code, answer.content) == (401, b"")
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="registry-facade", charset="UTF-8"'


async def test_labels_hold_for_applications(guarded: Product) -> None:
    for application in ("ORDERS", "PAYMENTS"):
        document = eureka_document(application, f"{application}-1")
        path = f"/eureka/apps/{application}"
        assert (await guarded.http.post(path, json={"instance": document}, headers=AS_ROOT)).status_code == 204
    keeper = basic("shopkeeper")
    http = guarded.http

    assert (await http.get("/eureka/apps/ORDERS", headers=keeper)).status_code == 200
    assert (await http.get("/eureka/apps/orders/ORDERS-1", headers=keeper)).status_code == 200
    for method, path in (
        ("GET", "/eureka/apps/PAYMENTS"),
        ("PUT", "/eureka/apps/PAYMENTS/PAYMENTS-1"),
        ("PUT", "/eureka/apps/PAYMENTS/PAYMENTS-1/status?value=DOWN"),
        ("PUT", "/eureka/apps/PAYMENTS/PAYMENTS-1/metadata?a=b"),
        ("DELETE", "/eureka/apps/PAYMENTS/PAYMENTS-1"),
        ("GET", "/eureka/apps"),
        ("GET", "/eureka/apps/delta"),
        ("GET", "/eureka/vips/payments"),
        ("GET", "/eureka/instances/PAYMENTS-1"),
        ("GET", "/eureka/serverinfo/statusoverrides"),
        ("GET", "/t/default/default/production/eureka/apps"),
    ):
        answer = await http.request(method, path, headers=keeper)
        assert (answer.status_code, answer.content) == (403, b""), path


async def test_nobody_takes_the_address_of_another_application(guarded: Product) -> None:
    """Consumers find instances by VIP, whatever the application is called."""
    document = eureka_document("ORDERS", "orders-1", vipAddress="payments")

    answer = await guarded.http.post("/eureka/apps/ORDERS", json={"instance": document}, headers=basic("shopkeeper"))

    assert answer.status_code == 403


async def test_a_service_of_servicecenter_keeps_its_labels_in_eureka(guarded: Product) -> None:
    """An account for Eureka's application `orders` has no say over another app's service of that name."""
    service_id = await create_and_register(guarded, "orders", "shop")
    assert service_id
    answer = await guarded.http.put(
        "/eureka/apps/SHOP.ORDERS/i-1/status?value=OUT_OF_SERVICE", headers=basic("shopkeeper")
    )
    assert answer.status_code == 403


async def create_and_register(guarded: Product, name: str, app: str) -> str:
    service = {"appId": app, "serviceName": name, "version": "1.0.0"}
    answer = await guarded.http.post(f"{BASE}/microservices", json={"service": service}, headers=AS_ROOT)
    service_id = str(answer.json()["serviceId"])
    instance = {"instanceId": "i-1", "hostName": "h", "endpoints": ["rest://h:1"]}
    path = f"{BASE}/microservices/{service_id}/instances"
    assert (await guarded.http.post(path, json={"instance": instance}, headers=AS_ROOT)).status_code == 200
    return service_id


def lane_scope(method: str, path: str, headers: dict[str, str]) -> dict[str, Any]:
    named = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    head = {"type": "http", "method": method, "path": path, "raw_path": path.encode()}
    return head | {"query_string": b"", "headers": named}


async def test_a_question_of_eurekas_lane_is_judged_whenever_it_is_asked(guarded: Product) -> None:
    """Another's service may be listed under that flat name since it was asked first."""
    document = eureka_document("ORDERS", "orders-1")
    await guarded.http.post("/eureka/apps/ORDERS", json={"instance": document}, headers=AS_ROOT)
    wanted = {"Accept": "application/json", "Accept-Encoding": "identity"}
    keeper, path = basic("shopkeeper") | wanted, "/eureka/apps/ORDERS"
    front = EurekaFront(guarded.registry, access=guarded.access)
    assert await answered(front, path, keeper) == 200
    question = front.question(lane_scope("GET", path, keeper))
    assert question is not None and question() is not None

    await create_and_register(guarded, "orders", "default")

    assert await answered(front, path, keeper) == 403
    assert await answered(front, path, AS_ROOT | wanted) == 200  # so that it is at hand
    assert question() is None


async def answered(front: EurekaFront, path: str, headers: dict[str, str]) -> int:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://x") as http:
        return (await http.get(path, headers=headers)).status_code


async def test_a_heartbeat_of_the_lane_is_judged_whenever_it_comes(guarded: Product) -> None:
    """An id may be that of another service by now."""
    service = {"serviceId": "s-1", "appId": "shop", "serviceName": "web", "version": "1", "environment": "testing"}
    instance = {"instanceId": "i-1", "hostName": "h", "endpoints": ["rest://h:1"]}
    path, tester = f"{BASE}/microservices/s-1/instances/i-1/heartbeat", basic("tester")

    async def set_up(headers: dict[str, str], **changes: str) -> None:
        body = {"service": service | changes, "instances": [instance]}
        assert (await guarded.http.post(f"{BASE}/microservices", json=body, headers=headers)).status_code == 200

    await set_up(tester)
    question = ServiceCenterFront(guarded.registry, access=guarded.access).question(lane_scope("PUT", path, tester))
    assert question is not None and question() is not None
    await guarded.http.delete(f"{BASE}/microservices/s-1?force=1", headers=AS_ROOT)
    await set_up(AS_ROOT, environment="production")

    assert question() is None


async def test_peers_need_to_write_everything(guarded: Product) -> None:
    batch = {"replicationList": []}
    path = "/eureka/peerreplication/batch"

    assert (await guarded.http.post(path, json=batch, headers=basic("peer"))).status_code == 200
    assert (await guarded.http.post(path, json=batch, headers=basic("reader"))).status_code == 403
    assert (await guarded.http.post(path, json=batch, headers=basic("shopkeeper"))).status_code == 403
    assert (await guarded.http.post(path, json=batch)).status_code == 401
