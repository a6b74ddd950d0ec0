"""Servers of ours that are each other's peers, in one process: what each tells the others, and what it does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import count
from typing import Any

import httpx
import msgspec
import pytest

from conformance.peers.patience import PATIENCE_S
from facade.clock import ManualClock
from facade.errors import StartRefused
from facade.eureka import peers as peers_module
from facade.eureka.client import EurekaClient
from facade.eureka.peer_urls import PeerUrl
from facade.eureka.peers import COPY_WITHIN_S, Peers
from facade.eureka.routes import EurekaFront
from facade.outbound import Outbound
from facade.registry.registry import Registry
from facade.servicecenter.routes import ServiceCenterFront, ServiceCenterOptions
from facade.stores.memory import MemoryStore
from tests.eureka.registrations import body, document, instance

pytestmark = pytest.mark.anyio

AS_JSON = {"Accept": "application/json"}
JSON_BODY = {"Content-Type": "application/json"}


class Network(httpx.AsyncBaseTransport):
    """Reaches each server by its host name, while it is up."""

    def __init__(self) -> None:
        self.servers: dict[str, httpx.ASGITransport] = {}
        self.down: set[str] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host in self.down or request.url.host not in self.servers:
            raise httpx.ConnectError("refused")
        return await self.servers[request.url.host].handle_async_request(request)


class Node:
    """One server, asked as clients do."""

    def __init__(self, name: str, registry: Registry, peers: Peers, network: Network, *, has_peers: bool) -> None:
        self.registry = registry
        self.peers = peers
        front = EurekaFront(registry, peers=peers if has_peers else None)
        network.servers[name] = httpx.ASGITransport(front)
        self._http = httpx.AsyncClient(transport=network, base_url=f"http://{name}/eureka")

    async def ask(self, method: str, path: str, content: bytes = b"") -> httpx.Response:
        return await self._http.request(method, path, headers=AS_JSON | JSON_BODY, content=content)

    async def register(self, instance_id: str = "i1", **changes: Any) -> None:
        assert (await self.ask("POST", "/apps/A", body("A", instance_id, **changes))).status_code == 204

    async def renew(self, instance_id: str = "i1") -> int:
        return (await self.ask("PUT", f"/apps/A/{instance_id}")).status_code

    async def statuses(self) -> dict[str, str]:
        """Of application A, by id."""
        answer = await self.ask("GET", "/apps/A")
        if answer.status_code in (403, 404):
            return {}
        assert answer.status_code == 200, answer
        listed = msgspec.json.decode(answer.content)["application"]["instance"]
        return {one["instanceId"]: one["status"] for one in listed}

    async def shows(self, expected: dict[str, str]) -> None:
        give_up_s = asyncio.get_running_loop().time() + PATIENCE_S
        while (seen := await self.statuses()) != expected:
            assert asyncio.get_running_loop().time() < give_up_s, seen
            await asyncio.sleep(0.01)


Start = Callable[..., Any]


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
async def start(
    clock: ManualClock, network: Network, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Any]]:
    """`await start("a", "b", …)` starts server a, with the others named as its peers; `start.stop("a")` ends it."""
    monkeypatch.setattr(peers_module, "GATHER_S", 0.01)
    monkeypatch.setattr(peers_module, "TRY_AGAIN_S", 0.01)

    def connect(url: PeerUrl) -> EurekaClient:
        # A clock of its own: a breaker waits, and the manual one stands still.
        return EurekaClient(Outbound([url.base], transport=network))

    @asynccontextmanager
    async def running(name: str, urls: list[str]) -> AsyncIterator[Node]:
        registry = Registry(MemoryStore(clock), clock)
        await registry.open()
        node = Node(name, registry, Peers(registry, urls, connect), network, has_peers=bool(urls))
        task = asyncio.create_task(node.peers.run())
        try:
            yield node
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async with AsyncExitStack() as stack:

        async def start(name: str, *peers: str) -> Node:
            return await stack.enter_async_context(running(name, [f"http://{peer}:8761/eureka" for peer in peers]))

        yield start


def _answered(status: int, body: bytes = b"") -> httpx.Response:
    """As it comes from a socket: not read yet."""
    return httpx.Response(status, stream=httpx.ByteStream(body))


async def until(is_so: Callable[[], bool]) -> None:
    give_up_s = asyncio.get_running_loop().time() + PATIENCE_S
    while not is_so():
        assert asyncio.get_running_loop().time() < give_up_s
        await asyncio.sleep(0.01)


async def met(*nodes: Node) -> None:
    """Each has asked all its peers."""
    await until(
        lambda: all((there := node.peers.health()) and all(one.is_available for one in there) for node in nodes)
    )


async def test_clients_words_reach_the_peer(start: Start) -> None:
    a, b = await start("a", "b"), await start("b", "a")
    await met(a, b)

    await a.register("i1", lastDirtyTimestamp="1000")
    await a.register("i2", lastDirtyTimestamp="1000")
    await b.shows({"i1": "UP", "i2": "UP"})

    await a.ask("PUT", "/apps/A/i1/status?value=OUT_OF_SERVICE&lastDirtyTimestamp=1000")
    await b.shows({"i1": "OUT_OF_SERVICE", "i2": "UP"})
    await b.ask("DELETE", "/apps/A/i1/status?value=UP&lastDirtyTimestamp=1000")
    await a.shows({"i1": "UP", "i2": "UP"})
    await a.ask("PUT", "/apps/A/i1/metadata?colour=blue")
    await b.ask("DELETE", "/apps/A/i2")
    await a.shows({"i1": "UP"})
    await b.shows({"i1": "UP"})

    live = msgspec.json.decode((await b.ask("GET", "/apps/A/i1")).content)["instance"]
    assert live["metadata"]["colour"] == "blue"
    assert live["lastDirtyTimestamp"] == "1000"


async def test_a_renewal_keeps_the_lease_at_the_peer(start: Start, clock: ManualClock) -> None:
    a, b = await start("a", "b"), await start("b", "a")
    await met(a, b)
    await a.register(leaseInfo={"durationInSecs": 30})
    await b.shows({"i1": "UP"})

    for _ in range(4):
        clock.advance(25)
        assert await a.renew() == 200
        await until(lambda: not any(peer.waiting for peer in a.peers.health()))
        await b.registry.sweep()

    await b.shows({"i1": "UP"})


async def test_what_a_peer_told_is_not_passed_on_and_evictions_are_not_told(start: Start, clock: ManualClock) -> None:
    """b is the only peer of a, and c of b: Netflix's servers form a full mesh, in which each event is told once."""
    a, b, c = await start("a", "b"), await start("b", "c"), await start("c", "a")
    await met(a, b, c)
    await a.register("i1", leaseInfo={"durationInSecs": 1})
    await b.shows({"i1": "UP"})

    await b.register("mark", leaseInfo={"durationInSecs": 1000})
    await c.shows({"mark": "UP"})
    for _ in range(4):
        clock.advance(1)
        await b.registry.sweep()
    await b.register("mark2")

    await c.shows({"mark": "UP", "mark2": "UP"})
    assert await b.statuses() == {"mark": "UP", "mark2": "UP"}
    assert len(a.registry.catalogue) == 1


async def test_a_peer_that_comes_back_empty_is_told_at_the_next_renewal(start: Start) -> None:
    a, b = await start("a", "b"), await start("b", "a")
    await met(a, b)
    await a.register("i1", metadata={"k": "v"})
    await b.shows({"i1": "UP"})
    await b.registry.cancel(next(iter(b.registry.catalogue.leases)), is_replicated=True)
    await b.shows({})

    assert await a.renew() == 200

    await b.shows({"i1": "UP"})


async def test_a_newer_copy_of_the_peer_is_taken_over_with_its_override(start: Start) -> None:
    a, b = await start("a", "b"), await start("b")
    await met(a)
    await a.register("i1", lastDirtyTimestamp="1000")
    await b.shows({"i1": "UP"})
    await b.register("i1", lastDirtyTimestamp="2000", metadata={"colour": "green"})
    await b.ask("PUT", "/apps/A/i1/status?value=OUT_OF_SERVICE")

    assert await a.renew() == 200

    await a.shows({"i1": "OUT_OF_SERVICE"})
    live = msgspec.json.decode((await a.ask("GET", "/apps/A/i1")).content)["instance"]
    assert (live["metadata"], live["overriddenStatus"]) == ({"colour": "green"}, "OUT_OF_SERVICE")


async def test_a_peer_that_is_away_holds_up_nobody_and_is_told_when_it_is_back(start: Start, network: Network) -> None:
    a, b, c = await start("a", "b", "c"), await start("b"), await start("c")
    await met(a)
    network.down.add("b")

    await a.register("i1")
    await a.register("i2")
    await c.shows({"i1": "UP", "i2": "UP"})
    await a.ask("DELETE", "/apps/A/i2")
    await c.shows({"i1": "UP"})
    await until(lambda: not a.peers.health()[0].is_available)
    away, there = a.peers.health()
    assert (away.is_available, away.waiting > 0) == (False, True)
    assert (there.is_available, there.waiting) == (True, 0)
    document = (await a.ask("GET", "/status")).content
    assert b'"available-replicas":"http://c:8761/eureka/,"' in document
    assert b'"unavailable-replicas":"http://b:8761/eureka/,"' in document
    network.down.clear()

    await b.shows({"i1": "UP"})


async def test_at_the_start_the_peers_list_is_taken_over_but_for_what_was_not_born_in_eureka(start: Start) -> None:
    b = await start("b")
    for number in range(3):
        await b.register(f"i{number}", status="DOWN" if number == 2 else "UP")
    await b.ask("PUT", "/apps/A/i0/status?value=OUT_OF_SERVICE")
    servicecenter = httpx.AsyncClient(
        transport=httpx.ASGITransport(ServiceCenterFront(b.registry, ServiceCenterOptions())), base_url="http://b"
    )
    service = await servicecenter.post(
        "/v4/default/registry/microservices", json={"service": {"serviceName": "go", "appId": "default"}}
    )
    there = f"/v4/default/registry/microservices/{service.json()['serviceId']}/instances"
    answer = await servicecenter.post(there, json={"instance": {"hostName": "h", "endpoints": ["rest://10.0.0.1:80"]}})
    assert answer.status_code == 200

    a = await start("a", "b")

    await a.shows({"i0": "OUT_OF_SERVICE", "i1": "UP", "i2": "DOWN"})
    assert [key.group for key in a.registry.catalogue.leases] == ["A", "A", "A"]
    assert len(b.registry.catalogue) == 4


async def test_lists_are_refused_until_a_peer_has_told_what_it_has(start: Start, network: Network) -> None:
    b = await start("b")
    await b.register("i1")
    network.down.add("b")
    a = await start("a", "b")

    assert (await a.ask("GET", "/apps")).status_code == 403
    network.down.clear()

    await until(lambda: a.peers.has_copied)
    assert b'"instanceId":"i1"' in (await a.ask("GET", "/apps")).content


async def test_lists_open_without_a_peer_that_does_not_answer(start: Start, clock: ManualClock) -> None:
    a = await start("a", "nobody")
    assert (await a.ask("GET", "/apps")).status_code == 403

    clock.advance(COPY_WITHIN_S)

    assert (await a.ask("GET", "/apps")).status_code == 200


async def test_two_that_start_empty_do_not_wait_for_each_other(start: Start) -> None:
    a, b = await start("a", "b"), await start("b", "a")

    await met(a, b)

    assert [(await node.ask("GET", "/apps")).status_code for node in (a, b)] == [200, 200]


async def test_we_may_be_among_our_own_peers(start: Start) -> None:
    a, b = await start("a", "a", "b"), await start("b", "a", "b")
    await a.register("i1")
    await b.shows({"i1": "UP"})

    assert [peer.url for peer in a.peers.health()] == ["http://b:8761/eureka"]
    await until(lambda: not any(peer.waiting for peer in a.peers.health()))


async def test_one_item_that_a_peer_does_not_take_costs_no_other(registry: Registry, monkeypatch: Any) -> None:
    monkeypatch.setattr(peers_module, "GATHER_S", 0.01)
    taken: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return _answered(403)
        items = msgspec.json.decode(request.content)["replicationList"]
        if any(item["id"] == "poison" for item in items):
            return _answered(400, b"cannot be read")
        taken.extend(item["id"] for item in items)
        return _answered(200, msgspec.json.encode({"responseList": [{"statusCode": 200} for _ in items]}))

    def connect(url: PeerUrl) -> EurekaClient:
        return EurekaClient(Outbound([url.base], transport=httpx.MockTransport(answer)))

    peers = Peers(registry, ["http://peer"], connect)
    front = httpx.AsyncClient(
        transport=httpx.ASGITransport(EurekaFront(registry, peers=peers)), base_url="http://us/eureka"
    )
    task = asyncio.create_task(peers.run())
    await asyncio.sleep(0)
    for instance_id in ("i1", "poison", "i2"):
        await front.post("/apps/A", headers=JSON_BODY, content=body("A", instance_id))

    await until(lambda: sorted(taken) == ["i1", "i2"])
    task.cancel()


async def test_a_name_stands_for_all_its_addresses(registry: Registry, monkeypatch: Any) -> None:
    addresses = [["10.0.0.1", "10.0.0.2"], ["10.0.0.2", "fd00::3"], None]

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        found = addresses.pop(0)
        if found is None:
            raise OSError("no such name")
        return [(0, 0, 0, "", (address, port)) for address in found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve, raising=False)
    monkeypatch.setattr(peers_module, "LOOK_UP_EVERY_S", 0.01)
    transport = httpx.MockTransport(lambda _: _answered(403))
    peers = Peers(
        registry,
        ["dns+http://eureka.svc:1/x", "http://b:2"],
        lambda url: EurekaClient(Outbound([url.base], transport=transport)),
    )
    seen: list[list[str]] = []
    task = asyncio.create_task(peers.run())
    async with asyncio.timeout(PATIENCE_S):
        while addresses:
            await asyncio.sleep(0.005)
            shown = sorted(peer.url for peer in peers.health())
            if shown and shown not in seen:
                seen.append(shown)
    task.cancel()

    assert seen[0] == ["http://10.0.0.1:1/x", "http://10.0.0.2:1/x", "http://b:2/eureka"]
    assert seen[-1] == ["http://10.0.0.2:1/x", "http://[fd00::3]:1/x", "http://b:2/eureka"]


async def test_what_happens_before_a_name_is_looked_up_is_told_to_whom_it_stands_for(
    registry: Registry, monkeypatch: Any
) -> None:
    """A name server is often the last to be there; a cancellation is not told by any later renewal."""
    is_known, told = False, []

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        if not is_known:
            raise OSError("no such name")
        return [(0, 0, 0, "", ("10.0.0.1", port))]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/eureka/peerreplication"):
            items = msgspec.json.decode(request.content)["replicationList"]
            told.extend((item["action"], item["id"]) for item in items)
            return _answered(200, msgspec.json.encode({"responseList": [{"statusCode": 200} for _ in items]}))
        return _answered(403)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve, raising=False)
    monkeypatch.setattr(peers_module, "TRY_AGAIN_S", 0.01)
    peers = Peers(
        registry,
        ["dns+http://eureka.svc:1"],
        lambda url: EurekaClient(Outbound([url.base], transport=httpx.MockTransport(answer))),
    )
    task = asyncio.create_task(peers.run())
    await asyncio.sleep(0.05)
    for instance_id in ("stays", "went"):
        await registry.register(instance("A", instance_id))
    await registry.cancel(instance("A", "went").key)
    peers.note_end(instance("A", "unknown").key)
    is_known = True

    await until(lambda: len(told) == 2)
    task.cancel()

    assert sorted(told) == [("Cancel", "went"), ("Register", "stays")]


async def test_a_copy_at_a_peer_that_is_none_of_ours_is_not_kept_alive_by_us(
    registry: Registry, clock: ManualClock, monkeypatch: Any
) -> None:
    """It refuses each renewal of ours with its own, which came from elsewhere, and prolongs the lease of that."""
    heartbeats = 0
    heard: set[str] = set()
    marks = count()
    foreign = document("A", "i1", lastDirtyTimestamp="9999999999999", metadata={"_sc.serviceId": "s"})

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal heartbeats
        if not request.url.path.startswith("/eureka/peerreplication"):
            return _answered(403)
        items = msgspec.json.decode(request.content)["replicationList"]
        heard.update(item["id"] for item in items)
        renewed = [item["action"] == "Heartbeat" for item in items]
        heartbeats += sum(renewed)
        refused = {"statusCode": 409, "responseEntity": foreign}
        results = [refused if is_renewal else {"statusCode": 200} for is_renewal in renewed]
        return _answered(200, msgspec.json.encode({"responseList": results}))

    monkeypatch.setattr(peers_module, "GATHER_S", 0.01)
    peers = Peers(
        registry,
        ["http://b:1"],
        lambda url: EurekaClient(Outbound([url.base], transport=httpx.MockTransport(answer))),
    )
    await registry.register(instance("A", "i1"))
    task = asyncio.create_task(peers.run())
    await until(lambda: bool(peers.health()) and peers.health()[0].is_available)

    async def all_heard() -> None:
        """The second mark is told when the answer to the first, and to all before it, has come."""
        for _ in range(2):
            mark = f"mark-{next(marks)}"
            await registry.register(instance("A", mark))
            await until(lambda mark=mark: mark in heard)

    async def renewed(times: int) -> int:
        for _ in range(times):
            peers.note_renewal(instance("A", "i1").key)
            await all_heard()
        return heartbeats

    assert await renewed(3) == 1
    clock.advance(301)
    assert await renewed(3) == 2
    await registry.register(instance("A", "i1", lastDirtyTimestamp="10000000000000"))
    await all_heard()
    assert await renewed(1) == 3
    task.cancel()


@pytest.mark.parametrize(
    ("url", "base", "credentials"),
    [
        ("http://peer", "http://peer:80/eureka", None),
        ("http://peer:80/eureka/", "http://peer:80/eureka", None),
        ("https://user:p%40ss@peer:8762/e/v2", "https://peer:8762/e/v2", ("user", "p@ss")),
        ("http://[::1]:8761/eureka", "http://[::1]:8761/eureka", None),
    ],
)
def test_peers_are_named_by_their_service_url(url: str, base: str, credentials: tuple[str, str] | None) -> None:
    parsed = PeerUrl.parse(url)

    assert (parsed.base, parsed.credentials) == (base, credentials)


@pytest.mark.parametrize("url", ["", "peer:8761", "ftp://peer", "http://", "http://peer:port", "http://peer/?x=secret"])
def test_what_is_no_url_of_a_peer_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(StartRefused, match="eureka_peers: expected http://HOST") as refused:
        PeerUrl.parse(url)
    assert "secret" not in str(refused.value)
