"""Peers when things cross: lists that are old, answers that are late, starts with records, operators at both ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import httpx
import msgspec
import pytest

from facade.clock import ManualClock
from facade.errors import StoreFull
from facade.eureka import peers as peers_module
from facade.eureka.client import EurekaClient
from facade.eureka.peers import COPY_WITHIN_S, Peers
from facade.eureka.routes import EurekaFront
from facade.outbound import Outbound
from facade.registry.model import Instance, Origin
from facade.registry.registry import Registry
from facade.registry.store import Put, Write
from tests.eureka.registrations import body, document, instance
from tests.eureka.test_peers import Network, Node, Start, _answered, met, network, start, until
from tests.registry.records import qualified, service

__all__ = ["network", "start"]  # fixtures

pytestmark = pytest.mark.anyio


async def live(node: Node, instance_id: str = "i1") -> dict[str, Any]:
    found = msgspec.json.decode((await node.ask("GET", f"/apps/A/{instance_id}")).content)["instance"]
    return dict(found)


async def nothing_waits(*nodes: Node) -> None:
    await until(lambda: not any(peer.waiting for node in nodes for peer in node.peers.health()))


async def test_an_override_is_told_as_the_operator_said_it_whatever_the_owner_says(
    start: Start, network: Network
) -> None:
    a, b = await start("a", "b"), await start("b", "a")
    await met(a, b)
    await a.register(lastDirtyTimestamp="1000")
    await b.shows({"i1": "UP"})
    network.down.add("b")
    await a.ask("PUT", "/apps/A/i1/status?value=OUT_OF_SERVICE")
    await a.register(lastDirtyTimestamp="2000", status="DOWN")
    await until(lambda: not a.peers.health()[0].is_available)
    network.down.clear()

    await b.shows({"i1": "DOWN"})

    assert (await live(b))["overriddenStatus"] == "OUT_OF_SERVICE"


async def test_an_override_that_a_peer_set_while_we_were_away_is_taken_over(start: Start, clock: ManualClock) -> None:
    b = await start("b")
    await b.register(lastDirtyTimestamp="1000")
    a = await start("a", "b")
    await a.registry.register(instance("A", "i1", lastDirtyTimestamp="1000"), is_replicated=True)  # as if from disk
    clock.advance(60)
    await b.ask("PUT", "/apps/A/i1/status?value=OUT_OF_SERVICE")

    await a.shows({"i1": "OUT_OF_SERVICE"})


async def test_of_two_overrides_that_of_the_newer_copy_counts(start: Start) -> None:
    a, b = await start("a", "b"), await start("b")
    await met(a)
    await a.register(lastDirtyTimestamp="1000")
    await b.shows({"i1": "UP"})
    await a.ask("PUT", "/apps/A/i1/status?value=OUT_OF_SERVICE")
    await b.shows({"i1": "OUT_OF_SERVICE"})
    await b.register(lastDirtyTimestamp="2000")
    await b.ask("PUT", "/apps/A/i1/status?value=DOWN")

    await a.renew()

    await a.shows({"i1": "DOWN"})
    assert (await live(a))["overriddenStatus"] == "DOWN"


async def test_a_list_that_is_on_its_way_brings_back_nobody_who_has_left(start: Start, network: Network) -> None:
    b = await start("b", "a")
    await b.register(lastDirtyTimestamp="1000")
    asked, go_on = asyncio.Event(), asyncio.Event()
    reached = network.servers["b"]

    class Slow(httpx.ASGITransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await reached.handle_async_request(request)
            if not request.url.path.endswith("/apps"):
                return response
            content = await response.aread()
            asked.set()
            await go_on.wait()
            return _answered(response.status_code, content)

    network.servers["b"] = Slow(app=reached.app)
    a = await start("a", "b")
    await a.registry.register(instance("A", "i1", lastDirtyTimestamp="1000"), is_replicated=True)  # as if from disk
    await asked.wait()
    assert (await a.ask("DELETE", "/apps/A/i1")).status_code == 200
    assert (await a.ask("DELETE", "/apps/A/i1")).status_code == 404
    go_on.set()
    await until(lambda: not a.peers.are_unheard)

    await b.shows({})
    assert await a.statuses() == {}


Answer = Callable[[httpx.Request], Any]


def peer_that(answers: Answer, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> tuple[Peers, httpx.AsyncClient]:
    """Our peers, of which there is one that answers so; and a client of ours."""
    monkeypatch.setattr(peers_module, "GATHER_S", 0.01)
    monkeypatch.setattr(peers_module, "TRY_AGAIN_S", 0.05)
    transport = httpx.MockTransport(answers)
    peers = Peers(registry, ["http://peer"], lambda url: EurekaClient(Outbound([url.base], transport=transport)))
    front = EurekaFront(registry, peers=peers)
    return peers, httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://us/eureka")


def results(items: Sequence[Any], **result: Any) -> httpx.Response:
    return _answered(200, msgspec.json.encode({"responseList": [result for _ in items]}))


@pytest.mark.parametrize("has_delta", [True, False])
async def test_a_list_that_its_cache_holds_back_is_completed_by_the_delta(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, has_delta: bool
) -> None:
    def listed(*documents: Any) -> httpx.Response:
        applications = {"application": [{"name": "A", "instance": list(documents)}]}
        return _answered(
            200, msgspec.json.encode({"applications": {"versions__delta": "1", "apps__hashcode": "", **applications}})
        )

    def answer(request: httpx.Request) -> httpx.Response:
        match request.url.path.removeprefix("/eureka"):
            case "/apps":
                return listed(document("A", "stays"), document("A", "has left"))
            case "/apps/delta" if has_delta:
                return listed(
                    document("A", "came and left"),
                    document("A", "came and left", actionType="DELETED"),
                    document("A", "has left", actionType="DELETED"),
                    document("A", "has come"),
                )
            case "/apps/delta":
                return _answered(404)
        return _answered(403)

    peers, _ = peer_that(answer, registry, monkeypatch)
    running = asyncio.create_task(peers.run())

    await until(lambda: peers.has_copied)

    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    held = {key.instance_id for key in registry.catalogue.leases}
    assert held == ({"stays", "has come"} if has_delta else {"stays", "has left"})


async def test_a_late_newer_copy_brings_back_nobody_who_has_left(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()
    told: list[str] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return _answered(403)
        items = msgspec.json.decode(request.content)["replicationList"]
        told.extend(item["action"] for item in items)
        if told[-1] != "Heartbeat":
            return results(items, statusCode=200)
        entered.set()
        await go_on.wait()
        return results(items, statusCode=409, responseEntity=document("A", "i1", lastDirtyTimestamp="9000"))

    peers, client = peer_that(answer, registry, monkeypatch)
    await registry.register(instance("A", "i1"), is_replicated=True)
    running = asyncio.create_task(peers.run())
    await until(lambda: bool(peers.health()) and peers.health()[0].is_available)
    assert (await client.put("/apps/A/i1")).status_code == 200
    await entered.wait()
    assert (await client.delete("/apps/A/i1")).status_code == 200
    go_on.set()

    await until(lambda: "Cancel" in told)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert not registry.catalogue.leases


async def test_a_newer_copy_that_our_store_does_not_take_holds_up_nothing(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return _answered(403)
        items = msgspec.json.decode(request.content)["replicationList"]
        told.extend(item["id"] for item in items)
        return results(items, statusCode=409, responseEntity=document("A", items[0]["id"], lastDirtyTimestamp="9000"))

    async def full(writes: Sequence[Write]) -> int:
        raise StoreFull("there is no room")

    peers, client = peer_that(answer, registry, monkeypatch)
    await registry.register(instance("A", "i1"), is_replicated=True)
    running = asyncio.create_task(peers.run())
    await until(lambda: bool(peers.health()))
    monkeypatch.setattr(registry._store, "write", full)
    await client.put("/apps/A/i1")

    await until(lambda: told == ["i1"])
    await asyncio.sleep(0.2)
    running.cancel()
    assert told == ["i1"]
    assert peers.health()[0].waiting == 0


async def test_a_peer_may_answer_with_nobody_elses_instance(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return _answered(403)
        items = msgspec.json.decode(request.content)["replicationList"]
        told.extend(item["action"] for item in items)
        return results(items, statusCode=409, responseEntity=document("A", "other", lastDirtyTimestamp="9000"))

    peers, client = peer_that(answer, registry, monkeypatch)
    await registry.register(instance("A", "i1"), is_replicated=True)
    await registry.register(instance("A", "other"), is_replicated=True)
    running = asyncio.create_task(peers.run())
    await until(lambda: bool(peers.health()))
    await client.put("/apps/A/i1")

    await until(lambda: len(told) == 1)
    await asyncio.sleep(0.05)
    running.cancel()
    held = [lease.instance.dirty_ms for lease in registry.catalogue.leases.values()]
    assert held == [1000, 1000]


async def test_a_peer_whose_list_cannot_be_read_is_told_all_the_same(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/status"):
            return _answered(200)
        if request.method == "GET":
            return _answered(200, b'{"applications":{}}')
        items = msgspec.json.decode(request.content)["replicationList"]
        told.extend(item["id"] for item in items)
        return results(items, statusCode=200)

    peers, client = peer_that(answer, registry, monkeypatch)
    running = asyncio.create_task(peers.run())
    await asyncio.sleep(0)
    await client.post("/apps/A", headers={"Content-Type": "application/json"}, content=body("A", "i1"))

    await until(lambda: told == ["i1"])
    running.cancel()


async def test_lists_stay_closed_while_one_is_being_taken_over(start: Start, clock: ManualClock) -> None:
    b = await start("b")
    for number in range(3):
        await b.register(f"i{number}")
    a = await start("a", "b")
    go_on = asyncio.Event()
    store = a.registry._store
    write = store.write

    async def slow(writes: Sequence[Write]) -> int:
        first = writes[0]
        assert isinstance(first, Put) and isinstance(first.record, Instance)
        if first.record.key.instance_id != "i0":
            await go_on.wait()
        return await write(writes)

    store.write = slow  # type: ignore[method-assign]  # of one object alone
    await until(lambda: len(a.registry.catalogue) == 1)
    clock.advance(COPY_WITHIN_S)

    assert (await a.ask("GET", "/apps")).status_code == 403
    go_on.set()
    await a.shows({"i0": "UP", "i1": "UP", "i2": "UP"})


async def test_a_peer_that_lists_nothing_does_not_open_ours(start: Start, network: Network) -> None:
    b, c = await start("b"), await start("c")
    await c.register("i1")
    network.down.add("c")
    a = await start("a", "b", "c")
    await until(lambda: any(peer.is_available for peer in a.peers.health()))
    assert len(b.registry.catalogue) == 0

    assert (await a.ask("GET", "/apps")).status_code == 403
    network.down.clear()
    await a.shows({"i1": "UP"})


async def test_records_of_the_other_protocol_do_not_open_them_either(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registry.register(qualified(service()))
    assert registry.catalogue.count(Origin.SERVICECENTER) == 1

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    _, client = peer_that(refuse, registry, monkeypatch)

    assert (await client.get("/apps")).status_code == 403
    assert (await client.get("http://us/t/default/default/production/eureka/apps")).status_code == 200


async def test_a_peer_cannot_lock_an_owner_out(start: Start) -> None:
    b = await start("b")
    await b.register()
    item = {"appName": "A", "id": "i1", "lastDirtyTimestamp": 1000, "status": "UNKNOWN", "action": "StatusUpdate"}

    stranger = item | {"id": "stranger", "status": "no such status"}

    answer = await b.ask("POST", "/peerreplication/batch/", msgspec.json.encode({"replicationList": [item, stranger]}))

    assert answer.json() == {"responseList": [{"statusCode": 500}, {"statusCode": 404}]}
    assert await b.renew() == 200


@pytest.mark.parametrize(("reported", "shown"), [("UP", "OUT_OF_SERVICE"), ("DOWN", "DOWN"), ("STARTING", "STARTING")])
async def test_an_override_in_a_peers_renewal_brings_nobody_up(start: Start, reported: str, shown: str) -> None:
    """It comes with newer data than ours, which the peer then sends."""
    b = await start("b")
    await b.register(status=reported)
    item = {"appName": "A", "id": "i1", "lastDirtyTimestamp": 2000, "action": "Heartbeat"}
    item["overriddenStatus"] = "OUT_OF_SERVICE"

    answer = await b.ask("POST", "/peerreplication/batch/", msgspec.json.encode({"replicationList": [item]}))

    assert answer.json() == {"responseList": [{"statusCode": 404}]}
    assert await b.statuses() == {"i1": shown}
    assert (await live(b))["overriddenStatus"] == "OUT_OF_SERVICE"
