"""The tools against whole servers of ours in this process, and against servers that lie."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from email.utils import formatdate

import httpx
import pytest
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from facade.clock import ManualClock
from facade.errors import StartRefused, StoreUnavailable
from facade.inspection.comparison import Side, compared
from facade.inspection.doctor import Level, examine
from facade.inspection.listing import listing_of
from facade.inspection.places import parse
from facade.inspection.restoring import ADDED, LEFT_OUT, THERE, restore
from facade.inspection.servers import Servers, identified, read
from facade.registry.rules import Policy
from facade.stores.memory import MemoryStore
from tests.flows.product import BASE, Product, eureka_document, product
from tests.inspection.examples import cart, cart_instance, contents, orders, projected_cart
from tests.inspection.hosts import Hosts

pytestmark = pytest.mark.anyio

POLICY = Policy()
OURS, OTHER = "http://ours.test:80", "http://other.test:80"


@pytest.fixture
def hosts() -> Hosts:
    return Hosts()


@pytest.fixture
async def through(hosts: Hosts, clock: ManualClock) -> AsyncIterator[Servers]:
    servers = Servers(hosts, clock)
    yield servers
    await servers.close()


@pytest.fixture
async def running(hosts: Hosts, clock: ManualClock) -> AsyncIterator[Callable[[str], Product]]:
    """Two servers of ours, by their host."""
    async with AsyncExitStack() as stack:
        found = {}
        for host in ("ours.test", "other.test"):
            found[host] = await stack.enter_async_context(product(MemoryStore(clock), clock))
            hosts.answers[host] = httpx.ASGITransport(found[host].application)
        yield found.__getitem__


@pytest.fixture
async def ours(running: Callable[[str], Product]) -> Product:
    """Holds two Eureka instances, one of them in the environment `testing`, and a service with all that it can have."""
    server = running("ours.test")
    await server.register_eureka("ORDERS", "orders-1", metadata={"zone": "a"})
    body = {"instance": {**eureka_document("STOCK", "stock-1"), "ipAddr": "10.0.0.3"}}
    await server.http.post("/t/default/default/testing/eureka/apps/STOCK", json=body)
    service = {"appId": "shop", "serviceName": "cart", "version": "1.0.0", "properties": {"owner": "team"}}
    answer = await server.http.post(f"{BASE}/microservices", json={"service": service, "tags": {"tier": "gold"}})
    service_id = answer.json()["serviceId"]
    await server.http.put(f"{BASE}/microservices/{service_id}/schemas/api", json={"schema": "{}", "summary": "5"})
    await server.register_servicecenter(service_id, "cart-1", properties={"weight": "1"}, status="TESTING")
    await server.register_servicecenter(service_id, "cart-2", endpoints=["highway://10.0.0.9:7070"])
    return server


async def differences(a: str, b: str, through: Servers) -> list[str]:
    sides = [Side.of(one, listing_of(one, POLICY)) for one in [await read(parse(name), through) for name in (a, b)]]
    return [str(found) for found in compared(*sides).differences]


# Reading


@pytest.mark.usefixtures("ours")
async def test_a_server_of_ours_is_known_by_its_version_and_tells_each_instance_in_its_own_protocol(
    through: Servers,
) -> None:
    held = await read(parse(OURS), through)

    assert held.product == "registry-facade as ServiceCenter 2.2.0"
    assert held.counts == {"services": 1, "schemas": 1, "serviceCenterInstances": 2, "eurekaInstances": 2}
    assert [(one.document.app, one.environment) for one in held.applications] == [("ORDERS", ""), ("STOCK", "testing")]
    assert held.services[0].tags == {"tier": "gold"}


@pytest.mark.usefixtures("ours")
async def test_both_fronts_of_one_server_tell_the_same(through: Servers) -> None:
    """Eureka's front is of one environment, so the other one is missing there."""
    whole = await differences(OURS, f"servicecenter+{OURS}", through)
    half = await differences(f"eureka+{OURS}/eureka", f"servicecenter+{OURS}", through)

    assert whole == []
    assert half == ["only in B: STOCK stock-1 (environment testing): UP at 10.0.0.3:8080"]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(HTMLResponse("<html>sign in</html>"), id="page"),
        pytest.param(Response(b'{"applications":{"versions__del'), id="cut"),
        pytest.param(Response(), id="empty"),
        pytest.param(RedirectResponse("http://elsewhere"), id="redirect"),
        pytest.param(Response(status_code=500), id="error"),
    ],
)
@pytest.mark.parametrize("place", ["eureka+http://liar.test:80/eureka", "servicecenter+http://liar.test:80"])
async def test_a_lying_server_is_never_an_empty_one(
    hosts: Hosts, through: Servers, place: str, answer: Response
) -> None:
    hosts.lie("liar.test", answer)

    with pytest.raises(StoreUnavailable, match=r"liar\.test"):
        await read(parse(place), through)


async def test_a_server_that_does_not_say_what_it_is_has_to_be_named(hosts: Hosts, through: Servers) -> None:
    hosts.lie("web.test", Response(status_code=404))

    with pytest.raises(StartRefused, match="does not say what it is; name it as one of"):
        await identified(parse("http://web.test:80"), through)


# Restoring


@pytest.mark.usefixtures("ours")
async def test_a_dump_makes_another_server_tell_the_same_and_twice_does_no_more(through: Servers) -> None:
    held = await read(parse(OURS), through)
    place = await identified(parse(OTHER), through)

    first = await restore(held, place, through, POLICY)
    again = await restore(held, place, through, POLICY)

    assert {one.state for one in first} == {ADDED}
    assert {one.state for one in again} == {THERE}
    assert len(first) == len(again) == 6
    assert await differences(OURS, OTHER, through) == []


@pytest.mark.usefixtures("ours")
async def test_a_dry_run_changes_nothing(through: Servers) -> None:
    held = await read(parse(OURS), through)
    place = await identified(parse(OTHER), through)

    outcomes = await restore(held, place, through, POLICY, is_dry=True)

    assert {one.state for one in outcomes} == {ADDED}
    assert (await read(parse(OTHER), through)).counts == dict.fromkeys(held.counts, 0)


async def test_what_lives_is_never_replaced_by_a_dump(running: Callable[[str], Product], through: Servers) -> None:
    server = running("other.test")
    await server.register_eureka("ORDERS", "orders-1", ipAddr="10.9.9.9", lastDirtyTimestamp="1")
    held = contents(orders(last_dirty_ms=99))

    [outcome] = await restore(held, await identified(parse(OTHER), through), through, POLICY)

    assert outcome.state == THERE
    assert (await server.in_eureka())["orders-1"]["ipAddr"] == "10.9.9.9"


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("place", "said"),
    [
        (f"servicecenter+{OTHER}", "1 Eureka instances, and http://other.test:80 is a ServiceCenter: restore it to a"),
        (f"eureka+{OTHER}/eureka", "1 ServiceCenter services, and http://other.test:80/eureka is a Eureka: restore"),
    ],
)
async def test_a_dump_of_both_protocols_goes_only_to_a_server_of_ours(through: Servers, place: str, said: str) -> None:
    held = contents(orders(), cart(cart_instance()))

    with pytest.raises(StartRefused, match=said):
        await restore(held, parse(place), through, POLICY)


@pytest.mark.usefixtures("running")
async def test_what_is_told_by_the_other_protocol_only_is_left_out(through: Servers) -> None:
    """Its marks are no packing: to register it as a Eureka instance would make a second one of it."""
    place = await identified(parse(OTHER), through)

    outcomes = await restore(contents(projected_cart()), place, through, POLICY)

    assert [one.state for one in outcomes] == [LEFT_OUT]


# The doctor


async def examined(through: Servers, *names: str, own_urls: tuple[str, ...] = ()) -> list[tuple[Level, str]]:
    report = await examine([*map(parse, names)], through, POLICY, cluster="c", own_urls=own_urls)
    return [(finding.level, f"{finding.place}: {finding.text}") for finding in report.findings]


def found(findings: list[tuple[Level, str]], text: str) -> Level:
    [level] = [level for level, told in findings if text in told]
    return level


async def test_who_cannot_be_reached_is_a_problem_for_each_address(through: Servers) -> None:
    findings = await examined(through, "servicecenter+http://a.test:80,b.test:80")

    assert [level for level, _ in findings] == [Level.PROBLEM, Level.PROBLEM]
    assert "http://a.test:80: cannot be reached (nobody is there)" in findings[0][1]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "it asks for credentials; give them in the URL, as in eureka+http://USER:PASSWORD"),
        (404, "is the address"),
    ],
)
async def test_a_refusal_is_told_with_what_to_do(hosts: Hosts, through: Servers, status: int, said: str) -> None:
    hosts.lie("e.test", Response(status_code=status))

    assert found(await examined(through, "eureka+http://e.test:80/eureka"), said) is Level.PROBLEM


async def test_credentials_that_are_refused_are_told_but_never_shown(hosts: Hosts, through: Servers) -> None:
    hosts.lie("e.test", Response(status_code=401))

    findings = await examined(through, "eureka+http://ann:secret@e.test:80/eureka")

    assert found(findings, "it does not take these credentials") is Level.PROBLEM
    assert "secret" not in str(findings)


@pytest.mark.parametrize(
    ("ahead_s", "level"), [(0, Level.OK), (30, Level.WARNING), (-30, Level.WARNING), (3600, Level.PROBLEM)]
)
async def test_clocks_that_differ_are_told(
    hosts: Hosts, through: Servers, clock: ManualClock, ahead_s: int, level: Level
) -> None:
    date = formatdate(clock.now_ms() / 1000 + ahead_s, usegmt=True)
    hosts.lie("s.test", JSONResponse({"version": "2.2.0", "apiVersion": "4.0.0"}, headers={"date": date}))

    assert found(await examined(through, "servicecenter+http://s.test:80"), "its clock") is level


async def test_a_moment_that_no_clock_shows_is_told_as_none(hosts: Hosts, through: Servers) -> None:
    date = "Fri, 31 Dec 9999 23:59:59 +99999999999999"
    hosts.lie("s.test", JSONResponse({"version": "2.2.0", "apiVersion": "4.0.0"}, headers={"date": date}))

    assert found(await examined(through, "servicecenter+http://s.test:80"), "tells no time") is Level.WARNING


async def test_the_passwords_of_a_eurekas_peers_are_neither_shown_nor_used(hosts: Hosts, through: Servers) -> None:
    peers = "http://ann:secret@e.test:80/eureka/,http://ann:secret@peer.test:80/eureka/,http://ann:secret@away.test/e"
    status = f"<applicationStats><registered-replicas>{peers}</registered-replicas></applicationStats>"
    hosts.lie("e.test", Response(status, media_type="application/xml"))
    asked: list[str] = []

    async def peer(scope: Scope, receive: Receive, send: Send) -> None:
        asked.extend(name.decode() for name, _ in scope["headers"])
        await Response(status_code=404)(scope, receive, send)

    hosts.answers["peer.test"] = httpx.ASGITransport(peer)

    findings = await examined(through, "eureka+http://e.test:80/eureka")

    assert found(findings, "tells http://peer.test:80/eureka of its changes, which is not in our list") is Level.WARNING
    assert found(findings, "tells http://away.test/e of its changes, where nobody answers us") is Level.WARNING
    assert "secret" not in str(findings)
    assert "user-agent" in asked
    assert "authorization" not in asked


@pytest.mark.usefixtures("ours")
async def test_a_eureka_is_looked_at_with_what_it_holds_its_peers_and_what_would_not_fit(through: Servers) -> None:
    findings = await examined(through, f"eureka+{OTHER}/eureka", own_urls=(OURS,))

    assert found(findings, "a registry-facade as a Eureka server") is Level.OK
    assert found(findings, "holds nothing") is Level.OK
    assert found(findings, "does not list us as its peer") is Level.WARNING
    assert found(findings, "a registry-facade with these addresses is running") is Level.OK
    assert found(findings, "SHOP.CART cart-2 can be kept there, but not be called") is Level.WARNING


async def test_what_a_servicecenter_would_refuse_is_told(running: Callable[[str], Product], through: Servers) -> None:
    many = {f"key{number}": "x" * 200 for number in range(40)}
    await running("ours.test").register_eureka("BIG", "big-1", metadata=many)
    await running("ours.test").register_eureka("SMALL", "small-1", ipAddr="10.0.0.2")

    findings = await examined(through, f"servicecenter+{OTHER}", own_urls=(OURS,))

    assert found(findings, "BIG big-1 fits there only in part") is Level.WARNING
    assert found(findings, "1 of 2 instances of the other protocol fit whole") is Level.OK


async def test_a_bridge_of_another_name_is_a_problem(hosts: Hosts, clock: ManualClock, through: Servers) -> None:
    async with product(MemoryStore(clock), clock, keep_marks=True) as server:
        hosts.answers["s.test"] = httpx.ASGITransport(server.application)
        service_id = await server.create_service("registry-facade-bridge", app="registry-facade")
        marks = {"_bridge.cluster": "elsewhere", "_bridge.origin": "registry-facade"}
        await server.register_servicecenter(service_id, "node-1", properties=marks)

        findings = await examined(through, "servicecenter+http://s.test:80")

    assert (
        found(findings, "another bridge, with the cluster name 'elsewhere', works here; ours is 'c'") is Level.PROBLEM
    )


async def test_the_same_place_named_twice_is_looked_at_once(through: Servers) -> None:
    assert len(await examined(through, "eureka+http://e.test:80/eureka", "http://e.test:80/eureka/")) == 1


async def test_that_our_own_server_wants_an_account_leaves_the_other_findings(
    hosts: Hosts, running: Callable[[str], Product], through: Servers
) -> None:
    """Its version and its readiness are open to everybody, what it holds is not."""
    refusal = JSONResponse({"errorCode": "401204", "errorMessage": "No authorization header"}, status_code=401)
    open_to_all = running("ours.test").application

    async def with_accounts(scope: Scope, receive: Receive, send: Send) -> None:
        answer = open_to_all if scope["path"] in ("/version", "/readyz") else refusal
        await answer(scope, receive, send)

    hosts.answers["ours.test"] = httpx.ASGITransport(with_accounts)

    findings = await examined(through, f"servicecenter+{OTHER}", own_urls=(OURS,))

    assert found(findings, "a registry-facade with these addresses is running") is Level.OK
    assert found(findings, "what it holds is not looked at: ") is Level.WARNING
    assert found(findings, "give them in the URL, as in http://USER:PASSWORD@HOST") is Level.WARNING
    assert found(findings, "holds nothing") is Level.OK


@pytest.mark.usefixtures("running")
async def test_why_our_own_server_does_not_answer_is_told(through: Servers) -> None:
    findings = await examined(through, f"servicecenter+{OTHER}", own_urls=("http://away.test:80",))

    assert found(findings, "with these settings answers us (http://away.test:80: nobody is there)") is Level.OK
