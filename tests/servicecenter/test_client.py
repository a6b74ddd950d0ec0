"""The client, asked to talk to our own front; a stub stands in only where a server has to lie."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import httpx
import pytest

from facade.clock import ManualClock
from facade.errors import InstanceNotFound, ServiceNotFound, StoreUnavailable, UpstreamRefused
from facade.outbound import Outbound
from facade.registry.model import ServiceKey, Tenant
from facade.servicecenter.answers import Found, decode_instance
from facade.servicecenter.client import STORED_BYTES, ServiceCenterClient
from facade.servicecenter.records import (
    FindService,
    MicroService,
    MicroServiceInstance,
    MicroServiceKey,
    Schema,
)
from facade.servicecenter.routes import ServiceCenterFront

pytestmark = pytest.mark.anyio

TENANT = Tenant()
KEY = ServiceKey("default", "default", "development", "shop", "orders", "1.0.0")
ORDERS = MicroService(app_id="shop", service_name="orders", version="1.0.0", environment="development")
INSTANCE = MicroServiceInstance(
    instance_id="i1", endpoints=("rest://10.0.0.1:80",), host_name="h", properties={"a": "<é>"}
)
ASKED = FindService(service=MicroServiceKey(environment="development", app_id="shop", service_name="orders"))

Handler = Callable[[httpx.Request], httpx.Response]
Call = Callable[[ServiceCenterClient], Awaitable[object]]


@pytest.fixture
async def there(front: ServiceCenterFront) -> AsyncIterator[ServiceCenterClient]:
    client = ServiceCenterClient(Outbound(["http://there.test"], transport=httpx.ASGITransport(front)))
    yield client
    await client.close()


def answer(status: int, body: bytes | Mapping[str, object]) -> httpx.Response:
    """A response that is still to be read."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.Response(status, stream=httpx.ByteStream(content), headers={"Location": "/login"})


def lying(handler: Handler, **login: object) -> ServiceCenterClient:
    outbound = Outbound(["http://there.test"], transport=httpx.MockTransport(handler))
    return ServiceCenterClient(outbound, **login)  # type: ignore[arg-type]  # as its signature has it


async def test_a_service_is_created_and_listed(there: ServiceCenterClient) -> None:
    service_id = await there.create_service(TENANT, ORDERS, {"tag": "value"})
    listed = await there.services(TENANT)

    assert service_id == KEY.derived_id == await there.existing(KEY)
    assert [one.service_id for one in listed.values()] == [service_id]
    assert await there.service(TENANT, service_id) == next(iter(listed.values()))
    assert await there.tags_of(TENANT, service_id) == {"tag": "value"}


async def test_an_unchanged_list_is_the_very_one_before(there: ServiceCenterClient) -> None:
    await there.create_service(TENANT, ORDERS)
    listed = await there.services(TENANT)

    assert await there.services(TENANT, listed) is listed


async def test_all_tags_are_told_at_once(there: ServiceCenterClient) -> None:
    service_id = await there.create_service(TENANT, ORDERS)
    await there.create_service(TENANT, MicroService(service_name="untagged"))
    await there.add_tags(TENANT, service_id, {"tier": "gold"})

    assert await there.all_tags(TENANT) == {service_id: {"tier": "gold"}}


async def test_tags_are_told_one_by_one_where_nothing_tells_them_all() -> None:
    assert await lying(lambda _: answer(404, b"404 page not found\n")).all_tags(TENANT) is None

    refused = {"errorCode": "403205", "errorMessage": "role has no permissions[governance:get]"}
    assert await lying(lambda _: answer(403, refused)).all_tags(TENANT) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda there: there.put_schema(TENANT, "s", "api", "\u00e9" * (STORED_BYTES // 2 + 1)),
        lambda there: there.create_service(
            TENANT, MicroService(service_name="s", properties={"p": "v" * STORED_BYTES})
        ),
    ],
)
async def test_what_the_server_s_store_would_not_take_is_refused_unsent(call: Call) -> None:
    """It says 500003, as if it were out of order. Seen with v2.2.0."""
    with pytest.raises(UpstreamRefused):
        await call(lying(lambda _: answer(500, {"errorCode": "500003", "errorMessage": "request is too large"})))


def test_a_watch_may_be_opened_at_each_server() -> None:
    there = ServiceCenterClient(Outbound(["http://a.test", "https://b.test/sc"]))
    path = "/v4/default/registry/microservices/c/watcher"

    assert there.watchers(TENANT, "c") == (f"ws://a.test{path}", f"wss://b.test/sc{path}")


async def test_tenants_do_not_meet(there: ServiceCenterClient) -> None:
    await there.create_service(Tenant("d", "p"), ORDERS)

    assert not await there.services(TENANT)
    assert await there.services(Tenant("d", "p"))


async def test_schemas(there: ServiceCenterClient) -> None:
    service_id = await there.create_service(TENANT, ORDERS)
    await there.put_schema(TENANT, service_id, "api", "openapi: 3", "abc")

    assert await there.schemas(TENANT, service_id) == (Schema(schema_id="api", summary="abc", schema="openapi: 3"),)
    assert await there.has_schema(TENANT, service_id, "api")
    await there.delete_schema(TENANT, service_id, "api")
    assert not await there.has_schema(TENANT, service_id, "api")


async def test_an_instance_lives_and_ends(there: ServiceCenterClient) -> None:
    service_id = await there.create_service(TENANT, ORDERS)
    assert await there.register(TENANT, service_id, INSTANCE) == "i1"
    await there.set_properties(TENANT, service_id, "i1", {"b": "c"})
    await there.set_status(TENANT, service_id, "i1", "OUTOFSERVICE")
    instance = await there.find_instance(TENANT, service_id, "i1")

    assert instance is not None
    assert (instance.status, instance.properties, instance.endpoints) == (
        "OUTOFSERVICE",
        {"b": "c"},
        INSTANCE.endpoints,
    )
    await there.unregister(TENANT, service_id, "i1")
    assert await there.find_instance(TENANT, service_id, "i1") is None


async def test_a_find_tells_only_what_has_changed(there: ServiceCenterClient) -> None:
    service_id = await there.create_service(TENANT, ORDERS)
    await there.register(TENANT, service_id, INSTANCE)
    nobody = FindService(service=MicroServiceKey(app_id="shop", service_name="nobody"))
    found, missing = await there.find_changed(TENANT, [ASKED, nobody])

    assert missing == Found("", ())
    assert found is not None
    assert [decode_instance(raw).instance_id for raw in found.instances] == ["i1"]
    assert await there.find_changed(TENANT, [FindService(service=ASKED.service, rev=found.rev)]) == [None]


async def test_heartbeats_tell_who_is_unknown(there: ServiceCenterClient) -> None:
    service_id = await there.create_service(TENANT, ORDERS)
    await there.register(TENANT, service_id, INSTANCE)
    pairs = [(service_id, "i1"), (service_id, "i2"), ("none", "i1")]

    assert await there.heartbeats(TENANT, pairs) == set(pairs[1:])


MISSING: list[tuple[Call, type[Exception]]] = [
    (lambda there: there.delete_service(TENANT, "none"), ServiceNotFound),
    (lambda there: there.set_service_properties(TENANT, "none", {}), ServiceNotFound),
    (lambda there: there.add_tags(TENANT, "none", {}), ServiceNotFound),
    (lambda there: there.schemas(TENANT, "none"), ServiceNotFound),
    (lambda there: there.delete_schema(TENANT, "none", "api"), ServiceNotFound),
    (lambda there: there.instances(TENANT, "none"), ServiceNotFound),
    (lambda there: there.register(TENANT, "none", INSTANCE), ServiceNotFound),
    (lambda there: there.find(TENANT, "none", KEY.unversioned), ServiceNotFound),
    (lambda there: there.unregister(TENANT, "none", "i1"), InstanceNotFound),
    (lambda there: there.set_status(TENANT, "none", "i1", "UP"), InstanceNotFound),
    (lambda there: there.set_properties(TENANT, "none", "i1", {}), InstanceNotFound),
]


@pytest.mark.parametrize(("call", "error"), MISSING)
async def test_what_is_missing_is_told_by_its_kind(
    there: ServiceCenterClient, call: Call, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await call(there)


async def test_what_is_refused_comes_with_the_server_s_words(there: ServiceCenterClient) -> None:
    with pytest.raises(UpstreamRefused, match=r"MicroService\.ServiceName") as refused:
        await there.create_service(TENANT, MicroService(service_name="?"))

    assert refused.value.code == 400001


@pytest.mark.parametrize("service_id", ["", "a/b", "..", "x" * 2048])
async def test_what_cannot_be_an_address_is_refused_unsent(there: ServiceCenterClient, service_id: str) -> None:
    with pytest.raises(UpstreamRefused):
        await there.service(TENANT, service_id)


LIES = [
    pytest.param(200, b"<html>Log in</html>", id="html"),
    pytest.param(200, b"", id="empty"),
    pytest.param(200, b'{"services":[{"serviceId":"', id="cut"),
    pytest.param(200, b'{"status":"UP"}', id="another-object"),
    pytest.param(200, b"[]", id="list"),
    pytest.param(200, b"null", id="null"),
    pytest.param(200, b'{"services":{"notModified":[1]}}', id="not-what-was-asked"),
    pytest.param(200, b"[" * 100_000, id="deep"),
    pytest.param(404, b"not here", id="404"),
    pytest.param(404, b"404 page not found\n", id="no-such-path"),
    pytest.param(403, b"<html>Forbidden</html>", id="403-of-a-proxy"),
    pytest.param(400, b'{"errorCode":"%b","errorMessage":""}' % (b"4" * 5_000), id="endless-code"),
    pytest.param(302, b"", id="redirect"),
    pytest.param(503, b"", id="503"),
]

READS: list[Call] = [
    lambda there: there.services(TENANT),
    lambda there: there.find_changed(TENANT, [ASKED]),
    lambda there: there.find_instance(TENANT, "s", "i"),
    lambda there: there.service(TENANT, "s"),
    lambda there: there.existing(KEY),
    lambda there: there.heartbeats(TENANT, [("s", "i")]),
    lambda there: there.register(TENANT, "s", INSTANCE),
    lambda there: there.version(),
]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(("status", "body"), LIES)
async def test_what_no_such_server_says_is_never_an_answer(status: int, body: bytes, read: Call) -> None:
    with pytest.raises(StoreUnavailable):
        await read(lying(lambda _: answer(status, body)))


async def test_a_page_is_no_acknowledgement() -> None:
    with pytest.raises(StoreUnavailable):
        await lying(lambda _: answer(200, b"<html>Log in</html>")).unregister(TENANT, "s", "i")


# Accounts


class Guarded:
    """A server that asks for tokens, and remembers what it was asked."""

    def __init__(self, clock: ManualClock, lasts_s: int = 3600) -> None:
        self.calls: list[str] = []
        self.good = 0
        self._clock = clock
        self._lasts_s = lasts_s

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v4/token":
            self.good += 1
            self.calls.append("login")
            return answer(200, {"token": self._token()})
        self.calls.append("call")
        if request.headers.get("Authorization") == f"Bearer {self._token()}":
            return answer(200, {})
        return answer(401, {"errorCode": "401205", "errorMessage": "Token expired"})

    def _token(self) -> str:
        claims = f'{{"account":"{self.good}","exp":{self._clock.now_ms() // 1000 + self._lasts_s}}}'
        return f"e30.{urlsafe_b64encode(claims.encode()).decode().rstrip('=')}.c2ln"


async def test_one_token_serves_many_calls(clock: ManualClock) -> None:
    server = Guarded(clock)
    there = lying(server, credentials=("root", "secret"), clock=clock)
    await there.services(TENANT)
    await there.services(TENANT)

    assert server.calls == ["login", "call", "call"]


async def test_a_token_is_renewed_before_it_ends(clock: ManualClock) -> None:
    server = Guarded(clock)
    there = lying(server, credentials=("root", "secret"), clock=clock)
    await there.services(TENANT)
    clock.advance(3301)
    await there.services(TENANT)

    assert server.calls == ["login", "call", "login", "call"]


async def test_a_token_that_is_not_taken_is_renewed_once(clock: ManualClock) -> None:
    server = Guarded(clock)
    there = lying(server, credentials=("root", "secret"), clock=clock)
    await there.services(TENANT)
    server.good += 1
    await there.services(TENANT)

    assert server.calls == ["login", "call", "call", "login", "call"]


async def test_a_refused_account_is_not_tried_until_it_is_banned(clock: ManualClock) -> None:
    asked: list[str] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return answer(401, {"errorCode": "401202", "errorMessage": "wrong", "detail": ""})

    there = lying(refuse, credentials=("root", "secret"), clock=clock)
    for _ in range(15 * 60):
        with pytest.raises(StoreUnavailable, match="401202"):
            await there.services(TENANT)
        clock.advance(1)

    assert asked == ["/v4/token"]


async def test_a_server_without_accounts_is_asked_without_a_token(front: ServiceCenterFront) -> None:
    outbound = Outbound(["http://there.test"], transport=httpx.ASGITransport(front))
    there = ServiceCenterClient(outbound, ("root", "secret"))

    assert await there.services(TENANT) == {}
    await there.close()


async def test_one_service_out_of_scope_does_not_spoil_all_heartbeats() -> None:
    """Seen with v2.2.0: to a developer, a serviceId that does not exist is a 401 for the whole set."""

    def renew(request: httpx.Request) -> httpx.Response:
        if b'"gone"' in request.content:
            error = {"errorCode": "401201", "errorMessage": "Unauthorized", "detail": "no valid resouce scope"}
            return answer(401, error)
        return answer(200, request.content)

    pairs = [("s", "1"), ("s", "2"), ("gone", "3"), ("s", "4")]

    assert await lying(renew).heartbeats(TENANT, pairs) == {("gone", "3")}
