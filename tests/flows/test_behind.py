"""A whole server over a registry behind it, which is a second whole server of ours: what clients of both protocols see.

The real ones are asked in conformance/backing; here the registry behind can be made to fail in any way at any moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from facade.clock import ManualClock
from facade.eureka.client import EurekaClient
from facade.outbound import Outbound
from facade.registry.model import Origin
from facade.registry.rules import Policy
from facade.servicecenter.client import ServiceCenterClient
from facade.stores.backend import Backend
from facade.stores.memory import MemoryStore
from facade.stores.mirror import Mirror
from facade.stores.opening import mirrors
from facade.stores.upstream import UpstreamStore
from facade.stores.upstream_eureka import EurekaBackend
from facade.stores.upstream_servicecenter import ServiceCenterBackend
from tests.flows.product import BASE, Product, product

pytestmark = pytest.mark.anyio

AGE = "X-Registry-Data-Age"

LIES = {
    "nobody listens": None,
    "a proxy's page": httpx.Response(200, html="<html>Welcome</html>"),
    "cut short": httpx.Response(200, content=b'{"services":[{"serv'),
    "nothing": httpx.Response(200, content=b""),
    "null": httpx.Response(200, content=b"null"),
    "a list": httpx.Response(200, content=b"[]"),
    "another document": httpx.Response(200, content=b'{"hello":"world"}'),
    "an error": httpx.Response(500, content=b"{}"),
    "overload": httpx.Response(503),
    "too many requests": httpx.Response(429),
    "elsewhere": httpx.Response(302, headers={"Location": "http://169.254.169.254/"}),
    "not found": httpx.Response(404, text="404 page not found"),
    "not allowed": httpx.Response(403, content=b""),
    "compressed, unasked": httpx.Response(200, headers={"Content-Encoding": "x-bomb"}, content=b"..."),
}


class Line(httpx.AsyncBaseTransport):
    """The way to the registry behind, which can be cut or tapped."""

    def __init__(self, application: httpx.AsyncBaseTransport) -> None:
        self._application = application
        self.lie: str | None = None
        self.asked: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(f"{request.method} {request.url.path}")
        if self.lie is None:
            return await self._application.handle_async_request(request)
        told = LIES[self.lie]
        if told is None:
            raise httpx.ConnectError("connection refused")
        return httpx.Response(told.status_code, headers=told.headers, stream=httpx.ByteStream(told.content))


class Setup:
    """Our server in front, the registries behind, and the lines to them."""

    def __init__(
        self, front: Product, behind: dict[Origin, Product], lines: list[Line], pictures: list[Mirror]
    ) -> None:
        self.front = front
        self.behind = behind
        self.lines = lines
        self.pictures = pictures

    def tell(self, lie: str | None) -> None:
        for line in self.lines:
            line.lie = lie

    async def in_registries(self) -> dict[str, str]:
        """Ids and statuses of all instances behind, as the registries' own readers see them."""
        found: dict[str, str] = {}
        for server in self.behind.values():
            found |= {name: one["status"] for name, one in (await server.in_eureka()).items()}
        return found

    async def read(self, after_s: float = 10.0) -> None:
        """What the server does every second; past all caches."""
        await self.front.registry.tell_renewals()
        self.front.clock.advance(after_s)
        for picture in self.pictures:
            await picture.refresh()


Make = Callable[[Line, ManualClock], Backend]


def servicecenter(line: Line, clock: ManualClock) -> Backend:
    outbound = Outbound(["http://behind.test"], clock=clock, transport=line)
    return ServiceCenterBackend(ServiceCenterClient(outbound), Policy(), clock)


def eureka(line: Line, clock: ManualClock) -> Backend:
    outbound = Outbound(["http://behind.test/eureka"], clock=clock, transport=line)
    return EurekaBackend(EurekaClient(outbound), Policy(), clock)


MAKE: dict[Origin, Make] = {Origin.SERVICECENTER: servicecenter, Origin.EUREKA: eureka}
KINDS = {
    "servicecenter": [Origin.SERVICECENTER],
    "eureka": [Origin.EUREKA],
    "both": [Origin.SERVICECENTER, Origin.EUREKA],
}


@asynccontextmanager
async def setup(
    kind: str, clock: ManualClock, *, is_strict: bool = False, lie: str | None = None
) -> AsyncIterator[Setup]:
    async with AsyncExitStack() as stack:
        behind: dict[Origin, Product] = {}
        lines: list[Line] = []
        for origin in KINDS[kind]:
            behind[origin] = await stack.enter_async_context(product(MemoryStore(clock), clock, keep_marks=True))
            lines.append(Line(httpx.ASGITransport(behind[origin].application)))
            lines[-1].lie = lie
        backends = [MAKE[origin](line, clock) for origin, line in zip(behind, lines, strict=True)]
        pictures = mirrors(clock, *backends, is_strict=is_strict)
        front = await stack.enter_async_context(product(UpstreamStore(MemoryStore(clock), pictures), clock))
        yield Setup(front, behind, lines, pictures)


@pytest.fixture(params=list(KINDS))
async def both(request: pytest.FixtureRequest, clock: ManualClock) -> AsyncIterator[Setup]:
    async with setup(request.param, clock) as made:
        yield made


async def ids(server: Product) -> tuple[set[str], int]:
    """What Eureka's readers see, and how many ServiceCenter's readers find of orders and carts."""
    found = [*await server.found("orders"), *await server.found("carts")]
    return set(await server.in_eureka()), len(found)


async def test_what_is_registered_is_behind_before_the_answer_and_in_both_views_in_the_next(both: Setup) -> None:
    assert (await both.front.register_eureka("ORDERS", "a:orders:80")).status_code == 204
    carts = await both.front.create_service("carts")
    assert (await both.front.register_servicecenter(carts, "c1")).status_code == 200

    assert await ids(both.front) == ({"a:orders:80", "c1"}, 2)
    assert len(await both.in_registries()) == 2


async def test_what_is_registered_behind_is_in_both_views(both: Setup) -> None:
    for origin, server in both.behind.items():
        if origin is Origin.EUREKA:
            await server.register_eureka("ORDERS", "a:orders:80")
        else:
            await server.register_servicecenter(await server.create_service("carts"), "c1")
    await both.read()

    in_eureka, found = await ids(both.front)
    assert in_eureka == {{Origin.EUREKA: "a:orders:80", Origin.SERVICECENTER: "c1"}[origin] for origin in both.behind}
    assert found == len(both.behind)


async def test_a_cancellation_is_behind_and_in_both_views_at_once(both: Setup) -> None:
    await both.front.register_eureka("ORDERS", "a:orders:80")
    assert (await both.front.http.delete("/eureka/apps/ORDERS/a:orders:80")).status_code == 200

    assert await ids(both.front) == (set(), 0)
    assert await both.in_registries() == {}
    await both.read()
    assert await ids(both.front) == (set(), 0)


async def test_drained_through_us_is_drained_behind(both: Setup) -> None:
    await both.front.register_eureka("ORDERS", "a:orders:80")
    await both.front.http.put("/eureka/apps/ORDERS/a:orders:80/status?value=OUT_OF_SERVICE")
    await both.read()

    assert list((await both.in_registries()).values()) == ["OUT_OF_SERVICE"]
    assert (await both.front.in_eureka())["a:orders:80"]["status"] == "OUT_OF_SERVICE"
    assert [one["status"] for one in await both.front.found("orders")] == ["OUTOFSERVICE"]


@pytest.mark.parametrize("lie", LIES)
async def test_a_registry_that_fails_is_never_an_empty_one(both: Setup, lie: str) -> None:
    """Promise 4: reads become old and say so; renewals are answered; writes wait, and are there when it is back."""
    await both.front.register_eureka("ORDERS", "a:orders:80")
    carts = await both.front.create_service("carts")
    await both.front.register_servicecenter(carts, "c1")
    await both.read()
    both.tell(lie)
    for _ in range(5):
        await both.read(after_s=60)

    assert await ids(both.front) == ({"a:orders:80", "c1"}, 2)
    answer = await both.front.http.get("/eureka/apps")
    assert int(answer.headers[AGE]) >= 240
    assert (await both.front.http.put("/eureka/apps/ORDERS/a:orders:80")).status_code == 200
    assert (await both.front.http.put(f"{BASE}/microservices/{carts}/instances/c1/heartbeat")).status_code == 200
    assert (await both.front.register_eureka("ORDERS", "b:orders:80")).status_code == 204
    assert (await both.front.register_servicecenter(carts, "c2")).status_code == 200
    ready = (await both.front.http.get("/readyz")).json()
    assert ready["status"] == "degraded"
    assert "has not answered for" in ready["store"]["text"]

    both.tell(None)
    await both.read()
    await both.read()
    assert await ids(both.front) == ({"a:orders:80", "b:orders:80", "c1", "c2"}, 4)
    assert len(await both.in_registries()) == 4
    assert AGE not in (await both.front.http.get("/eureka/apps")).headers
    assert (await both.front.http.get("/readyz")).json()["status"] == "ok"


async def test_a_strict_server_refuses_writes_while_nobody_answers(clock: ManualClock) -> None:
    async with setup("servicecenter", clock, is_strict=True) as both:
        carts = await both.front.create_service("carts")
        both.tell("nobody listens")
        refused = await both.front.register_eureka("ORDERS", "a:orders:80")
        refused_there = await both.front.register_servicecenter(carts, "c1")

        assert (refused.status_code, refused.content) == (503, b"")
        assert (refused_there.status_code, refused_there.json()["errorCode"]) == (500, "500011")
        assert await ids(both.front) == (set(), 0)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_never_read_anything_says_so_instead_of_nothing(kind: str, clock: ManualClock) -> None:
    """An empty list would make every client forget what it knows; 403 and an error make it keep that."""
    async with setup(kind, clock, lie="nobody listens") as both:
        assert (await both.front.http.get("/eureka/apps")).status_code == 403
        assert (await both.front.http.get("/eureka/apps/delta")).status_code == 403
        find = await both.front.http.get(f"{BASE}/instances", params={"appId": "eureka", "serviceName": "orders"})
        assert (find.status_code, find.json()["errorCode"]) == (500, "500011")
        assert (await both.front.http.get("/version")).status_code == 200

        both.tell(None)
        await both.read()
        assert (await both.front.http.get("/eureka/apps")).status_code == 200


async def test_marks_of_ordinary_clients_go_nowhere(both: Setup) -> None:
    metadata = {"zone": "a", "_bridge.origin": "servicecenter", "_sc.appId": "forged", "_eureka.app": "FORGED"}
    await both.front.register_eureka("ORDERS", "a:orders:80", metadata=metadata)

    assert (await both.front.in_eureka())["a:orders:80"]["metadata"] == {"zone": "a"}
    for server in both.behind.values():
        for one in (await server.in_eureka()).values():
            assert not {"forged", "FORGED"} & set(one["metadata"].values())


async def test_quiet_readings_ask_little_and_change_nothing(both: Setup) -> None:
    await both.front.register_eureka("ORDERS", "a:orders:80")
    await both.read()
    await both.read()
    revision = both.front.registry.revision
    for line in both.lines:
        line.asked.clear()
    for _ in range(5):
        await both.read(after_s=1)

    assert both.front.registry.revision == revision
    assert all(len(line.asked) <= 3 * 5 for line in both.lines)


async def test_a_changed_service_is_told_with_its_instances(clock: ManualClock) -> None:
    """Behind a Eureka nothing else could bring it back when our own directory is lost."""
    async with setup("eureka", clock) as both:
        carts = await both.front.create_service("carts")
        await both.front.register_servicecenter(carts, "c1")
        await both.front.http.put(f"{BASE}/microservices/{carts}/properties", json={"properties": {"team": "blue"}})
        for _ in range(20):
            await asyncio.sleep(0)

        (behind,) = (await both.behind[Origin.EUREKA].in_eureka()).values()
        assert '"team":"blue"' in behind["metadata"]["_sc.service"]
