"""Calls to another Eureka server: asked of our own front in process. A stub tells what no such server says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import httpx
import pytest
from msgspec.structs import replace

from facade.clock import ManualClock
from facade.errors import StoreUnavailable, UpstreamRefused
from facade.eureka.client import EurekaClient
from facade.eureka.records import Action, BatchItem, BatchResult, InstanceInfo, LeaseInfo
from facade.eureka.routes import EurekaFront, EurekaOptions
from facade.outbound import Outbound
from facade.registry.model import Status
from facade.registry.registry import Registry
from tests.eureka.registrations import PLAIN, body

pytestmark = pytest.mark.anyio

Call = Callable[[EurekaClient], Awaitable[object]]

BASE = "http://eureka/eureka"


class Said(NamedTuple):
    """What a server says, whatever it is asked."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"


class Stub(httpx.AsyncBaseTransport):
    """A server made up for one answer."""

    def __init__(self, answer: Callable[[httpx.Request], Said]) -> None:
        self._answer = answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        status, body, content_type = self._answer(request)
        return httpx.Response(status, headers={"content-type": content_type}, stream=httpx.ByteStream(body))


def client_of(transport: httpx.AsyncBaseTransport, clock: ManualClock, *bases: str) -> EurekaClient:
    return EurekaClient(Outbound(bases or (BASE,), clock=clock, transport=transport))


@pytest.fixture
async def client(registry: Registry, clock: ManualClock) -> AsyncIterator[EurekaClient]:
    client = client_of(httpx.ASGITransport(EurekaFront(registry)), clock)
    yield client
    await client.outbound.close()


# Reading


async def test_a_list_of_all_has_what_was_registered_with_its_lease(client: EurekaClient, clock: ManualClock) -> None:
    await client.register(PLAIN)

    listing = await client.applications()

    now_ms = clock.now_ms()
    expected = replace(
        PLAIN,
        lease_info=LeaseInfo(registered_ms=now_ms, renewed_ms=now_ms, service_up_ms=now_ms),
        last_updated_ms=now_ms,
    )
    assert (listing.hash_code, listing.instances, listing.base) == ("UP_1_", (expected,), BASE)


async def test_a_list_that_has_not_changed_is_the_same_object(client: EurekaClient) -> None:
    """So whoever follows it sees at no cost that there is nothing to do."""
    await client.register(PLAIN)
    before = await client.applications()

    assert await client.applications() is before
    await client.register(replace(PLAIN, instance_id="i2"))
    assert await client.applications() is not before


async def test_renewals_alone_make_no_new_records(client: EurekaClient, registry: Registry, clock: ManualClock) -> None:
    """A list of all states the lease of each, so a busy server's list is never the same twice."""
    await client.register(PLAIN)
    before = await client.applications()
    clock.advance(10)
    await client.renew("A", "i1", Status.UP, 1000)
    await client.register(replace(PLAIN, instance_id="i2"))

    after = await client.applications()

    assert after.instances[0] is before.instances[0]
    assert len(after.instances) == 2


async def test_a_delta_names_those_that_are_gone(client: EurekaClient) -> None:
    await client.register(PLAIN)
    await client.cancel("A", "i1")

    delta = await client.delta()

    assert delta is not None
    assert [(info.instance_id, info.action) for info in delta.instances] == [("i1", Action.DELETED)]


async def test_a_server_without_deltas_says_so(registry: Registry, clock: ManualClock) -> None:
    client = client_of(httpx.ASGITransport(EurekaFront(registry, EurekaOptions(disable_delta=True))), clock)

    assert await client.delta() is None


async def test_an_instance_is_asked_for_live_by_any_id(client: EurekaClient) -> None:
    odd = replace(PLAIN, app="A B", instance_id="10.0.0.1:é %;+&?#")
    await client.register(odd)

    live = await client.instance("A B", "10.0.0.1:é %;+&?#")

    assert live is not None
    assert live.info.instance_id == odd.instance_id
    assert await client.instance("A B", "stranger") is None


async def test_a_long_list_is_whole_though_it_is_read_in_slices(client: EurekaClient) -> None:
    for number in range(600):
        await client.register(replace(PLAIN, instance_id=f"i{number}"))

    assert len((await client.applications()).instances) == 600


async def test_a_server_names_its_peers(clock: ManualClock) -> None:
    """In XML alone: asked for JSON, Spring's answers 500."""

    def answer(request: httpx.Request) -> Said:
        if request.headers["accept"] != "application/xml":
            return Said(500)
        return Said(200, b"<x><registered-replicas>http://a:1/eureka/,http://b/eureka/</registered-replicas></x>")

    client = client_of(Stub(answer), clock)

    assert await client.replicas(BASE) == ("http://a:1/eureka", "http://b/eureka")


async def test_our_own_front_names_no_peers_and_itself(client: EurekaClient) -> None:
    assert await client.replicas(BASE) == ()
    assert await client.is_facade()


# Writing


async def test_what_a_server_does_not_take_is_refused_in_its_own_words(client: EurekaClient) -> None:
    with pytest.raises(UpstreamRefused, match="Missing hostname"):
        await client.register(replace(PLAIN, host_name=None))


@pytest.mark.parametrize("instance_id", ["a/b", "a\\b", "..", ""])
async def test_an_id_that_no_path_can_hold_is_refused(client: EurekaClient, instance_id: str) -> None:
    """The real server would list it, and then could not be asked for it, nor told of its end."""
    with pytest.raises(UpstreamRefused):
        await client.register(replace(PLAIN, instance_id=instance_id, host_name=""))


async def test_a_renewal_tells_whether_the_instance_is_known_as_it_is(client: EurekaClient) -> None:
    await client.register(PLAIN)

    assert await client.renew("A", "i1", Status.UP, 1000)
    assert not await client.renew("A", "i1", Status.UP, 1001)
    assert not await client.renew("A", "stranger", Status.UP, 1000)


async def test_an_override_is_set_and_taken_back(client: EurekaClient) -> None:
    await client.register(PLAIN)

    assert await client.set_status("A", "i1", Status.OUT_OF_SERVICE, 1000)
    overridden = await client.instance("A", "i1")
    assert await client.delete_status("A", "i1", Status.UP, 1000)
    restored = await client.instance("A", "i1")

    assert overridden is not None and restored is not None
    assert (overridden.info.status, overridden.info.overridden_status) == (Status.OUT_OF_SERVICE,) * 2
    assert (restored.info.status, restored.info.overridden_status) == (Status.UP, Status.UNKNOWN)


async def test_nobody_can_be_ended_twice(client: EurekaClient) -> None:
    await client.register(PLAIN)

    assert await client.cancel("A", "i1")
    assert not await client.cancel("A", "i1")
    assert not await client.set_status("A", "i1", Status.DOWN, 0)
    assert not await client.delete_status("A", "i1", Status.UP, 0)


async def test_a_batch_is_answered_item_by_item(client: EurekaClient) -> None:
    def item(action: str, instance_id: str, dirty_ms: int | None, info: InstanceInfo | None = None) -> BatchItem:
        return BatchItem(
            action=action,
            app_name="A",
            instance_id=instance_id,
            last_dirty_ms=dirty_ms,
            status=Status.UP,
            instance_info=info,
        )

    results = await client.batch(
        BASE,
        [
            item("Register", "i1", 1000, PLAIN),
            item("Heartbeat", "i1", 1000),
            item("Heartbeat", "i1", 999),
            item("Heartbeat", "stranger", 1000),
            item("Cancel", "i1", None),
        ],
    )

    assert [result.status for result in results] == [200, 200, 409, 404, 200]
    assert results[2].entity is not None and results[2].entity.instance_id == "i1"
    assert results[3] == BatchResult(404)


async def test_a_batch_goes_to_the_server_that_is_named_and_no_other(clock: ManualClock) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> Said:
        asked.append(request.url.host)
        return Said(503)

    client = client_of(Stub(answer), clock, "http://one/eureka", "http://two/eureka")

    with pytest.raises(StoreUnavailable):
        await client.batch("http://two/eureka", [])
    assert asked == ["two"]


# Lies

HTML = "text/html;charset=utf-8"
PAGE = Said(200, b"<!DOCTYPE html><title>Welcome</title>", HTML)
LIES = [
    pytest.param(PAGE, id="page"),
    pytest.param(Said(200, b"<html>"), id="page-without-type"),
    pytest.param(Said(404, b"<html>no such page", HTML), id="page-not-found"),
    pytest.param(Said(200, b'{"applications":{"versions__delta":"1","apps'), id="cut"),
    pytest.param(Said(200, b"{}"), id="empty-object"),
    pytest.param(Said(200), id="nothing"),
    pytest.param(Said(200, b"[]"), id="list"),
    pytest.param(Said(200, b'{"applications":{}}'), id="applications-of-nothing"),
    pytest.param(Said(200, b'{"applications":' + b"[" * 3000), id="nested"),
    pytest.param(Said(200, b'{"instance":' + b"[" * 3000), id="instance-nested"),
    pytest.param(Said(200, b'{"responseList":' + b"[" * 3000), id="results-nested"),
    pytest.param(Said(302), id="redirect"),
    pytest.param(Said(401), id="credentials"),
    pytest.param(Said(500), id="failure"),
]


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda client: client.applications(), id="applications"),
        pytest.param(lambda client: client.delta(), id="delta"),
        pytest.param(lambda client: client.instance("A", "i1"), id="instance"),
        pytest.param(lambda client: client.replicas(BASE), id="replicas"),
        pytest.param(lambda client: client.batch(BASE, []), id="batch"),
    ],
)
async def test_what_no_such_server_says_is_no_answer(call: Call, lie: Said, clock: ManualClock) -> None:
    """Least of all is it an empty registry."""
    client = client_of(Stub(lambda _: lie), clock)

    with pytest.raises(StoreUnavailable):
        await call(client)
    assert client.outbound.trouble


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda client: client.register(PLAIN), id="register"),
        pytest.param(lambda client: client.renew("A", "i1", Status.UP, 0), id="renew"),
        pytest.param(lambda client: client.cancel("A", "i1"), id="cancel"),
    ],
)
async def test_a_page_is_no_receipt(call: Call, clock: ManualClock) -> None:
    client = client_of(Stub(lambda _: PAGE), clock)

    with pytest.raises(StoreUnavailable):
        await call(client)


async def test_a_batch_with_too_few_results_is_no_answer(clock: ManualClock) -> None:
    client = client_of(Stub(lambda _: Said(200, b'{"responseList":[]}')), clock)

    with pytest.raises(StoreUnavailable):
        await client.batch(BASE, [BatchItem(action="Cancel", app_name="A", instance_id="i1")])


async def test_an_instance_that_cannot_be_read_does_not_hide_the_others(clock: ManualClock) -> None:
    listed = b'{"name":"A","instance":[{"app":"A","port":1},{"app":"A","instanceId":"i2"}]}'
    answer = b'{"applications":{"versions__delta":"1","apps__hashcode":"UP_2_","application":[%b]}}' % listed
    client = client_of(Stub(lambda _: Said(200, answer)), clock)

    assert [info.instance_id for info in (await client.applications()).instances] == ["i2"]


@pytest.mark.parametrize(
    "date", ["", "x", "Mon, 99 Jan 2026 00:00:00 GMT", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"]
)
async def test_a_clock_that_makes_no_sense_is_none(date: str) -> None:
    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, headers={"date": date}, stream=httpx.ByteStream(body()))
    )
    live = await EurekaClient(Outbound([BASE], transport=transport)).instance("A", "i1")

    assert live is not None and live.date_ms is None
