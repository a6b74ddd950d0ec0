"""The lane and the long way, asked of one server in the same state: the answers are the same, byte for byte.

A body that nobody reads sends a request the long way, as does `--no-lane` all of them.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import closing
from unittest.mock import AsyncMock

import httpx
import pytest

from facade.application import application
from facade.clock import ManualClock
from facade.config import Settings
from facade.registry.registry import Registry
from facade.rendered import no_body
from facade.stores.memory import MemoryStore
from tests.eureka.registrations import instance

from .product import BASE, Process, eureka_document

OWNER = "PUT /eureka/apps/ORDERS/orders-1"
LONG_WAY = "Content-Length: 1\r\n"


@pytest.fixture(scope="module", params=[(), ("--no-lane",)], ids=["lane", "no-lane"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    running = Process(tmp_path_factory.mktemp("lane") / "data", "--no-self-preservation", *request.param)
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.kill()


@pytest.fixture(scope="module")
def beat(server: Process) -> str:
    """Both protocols' instances are there; the path of a ServiceCenter heartbeat."""
    for number in range(30):
        document = eureka_document("ORDERS", f"orders-{number}") | {"metadata": {"zone": "a" * number}}
        httpx.post(f"{server.url}/eureka/apps/ORDERS", json={"instance": document}).raise_for_status()
    services = f"{server.url}{BASE}/microservices"
    told = httpx.post(services, json={"service": {"serviceName": "stock", "appId": "shop", "version": "1.0.0"}})
    service_id = told.json()["serviceId"]
    instance = {"hostName": "h", "endpoints": ["rest://10.0.0.9:80"], "instanceId": "stock-1"}
    httpx.post(f"{services}/{service_id}/instances", json={"instance": instance}).raise_for_status()
    return f"{BASE}/microservices/{service_id}/instances/stock-1/heartbeat"


@pytest.mark.parametrize(
    "request_line",
    [
        OWNER,
        f"{OWNER}?status=UP&lastDirtyTimestamp=1000",
        f"{OWNER}?status=UP&lastDirtyTimestamp=2000",
        f"{OWNER}?lastDirtyTimestamp=soon",
        "PUT /eureka/apps/orders/orders-1",
        "PUT /eureka/v2/apps/ORDERS/orders-1",
        "PUT /eureka/apps/ORDERS/nobody",
        "PUT /eureka/apps/ORDERS/orders%2D1",
        "GET /eureka/apps",
        "GET /eureka/apps/",
        "GET /eureka/apps?regions=x",
        "GET /eureka/apps/delta",
        "GET /eureka/apps/ORDERS",
        "GET /eureka/apps/nothing",
        "GET /eureka/vips/orders",
        "GET /eureka/vips/nothing",
        "GET /eureka/svips/orders",
        "GET /eureka/apps/ORDERS/orders-1",
        "HEAD /eureka/apps",
        "DELETE /eureka/apps",
        "GET /t/default/default/-/eureka/apps",
        "PUT BEAT",
        "PUT BEAT?",
        "PUT BEAT;",
        "PUT /v4/default/registry/microservices/nobody/instances/none/heartbeat",
        "GET /v4/default/registry/instances?appId=shop&serviceName=stock&version=0%2B",
        "GET /v4/default/registry/instances?appId=shop&serviceName=ORDERS&version=0%2B",
        "GET /v4/default/registry/instances?appId=shop&serviceName=nobody&version=0%2B",
        "GET /v4/default/registry/instances?appId=shop",
        "GET /v4/default/registry/instances?appId=shop&serviceName=stock&rev=REVISION",
        "GET /registry/v3/instances?appId=shop&serviceName=stock&version=0%2B",
    ],
)
@pytest.mark.parametrize(
    "fields",
    ["", "Accept: application/json\r\nAccept-Encoding: gzip\r\n", "Accept: application/xml\r\nOrigin: http://a\r\n"],
    ids=["plain", "json-gzip", "xml-origin"],
)
def test_the_lane_answers_as_the_long_way_does(server: Process, beat: str, request_line: str, fields: str) -> None:
    line = request_line.replace("BEAT", beat).replace("REVISION", revision(server))
    for_the_lane = f"{line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode()
    for_the_routes = f"{line} HTTP/1.1\r\nHost: a\r\n{fields}{LONG_WAY}\r\nx".encode()

    # A list has to be made first, then its head is remembered, then known.
    *by_lane, long_way = (answer_of(server, one) for one in (*[for_the_lane] * 3, for_the_routes))

    assert by_lane == [long_way] * 3


def test_a_known_head_asks_for_the_present_answer(server: Process, beat: str) -> None:
    """What is remembered of a head is the question, never an answer."""
    ask = b"GET /eureka/apps/LATER HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n"
    renew = b"PUT /eureka/apps/LATER/later-1 HTTP/1.1\r\nHost: a\r\n\r\n"
    find = f"GET {BASE}/instances?appId=shop&serviceName=later HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    before = [answer_of(server, one)[:12] for one in (ask, renew, find) for _ in range(2)]
    document = {"instance": eureka_document("LATER", "later-1")}
    httpx.post(f"{server.url}/eureka/apps/LATER", json=document).raise_for_status()
    there = [answer_of(server, one)[:12] for one in (ask, renew, find) for _ in range(2)]
    httpx.delete(f"{server.url}/eureka/apps/LATER/later-1").raise_for_status()
    after = [answer_of(server, one)[:12] for one in (ask, renew) for _ in range(2)]

    assert before == [b"HTTP/1.1 404"] * 4 + [b"HTTP/1.1 400"] * 2
    assert there == [b"HTTP/1.1 200"] * 6
    assert after == [b"HTTP/1.1 404"] * 4


def test_pipelined_requests_of_both_ways_keep_their_order(server: Process, beat: str) -> None:
    lane = f"{OWNER} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    slow = b"GET /eureka/apps/ORDERS/nobody HTTP/1.1\r\nHost: a\r\n\r\n"
    last = b"GET /eureka/apps/ORDERS/nobody HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    answer_of(server, lane)

    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=60)) as peer:
        peer.sendall(lane + slow + lane + lane + slow + last)
        answers = b"".join(iter(lambda: peer.recv(65_536), b""))

    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"404", b"200", b"200", b"404", b"404"]


@pytest.mark.parametrize("fields", ["Connection: close\r\n", "Expect: 100-continue\r\n"])
def test_what_the_lane_leaves_alone(server: Process, beat: str, fields: str) -> None:
    request = f"{OWNER} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode()

    assert b"HTTP/1.1 200" in answer_of(server, request)
    assert (b"Connection: close" in answer_of(server, request)) == ("close" in fields)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/eureka/apps/ORDERS/nobody", 404),
        ("GET", "/eureka/apps", 200),
        ("GET", "/eureka/apps/delta", 200),
        ("GET", "/eureka/vips/orders", 200),
        ("GET", "/eureka/apps/ORDERS/orders-1", None),
        ("POST", "/eureka/apps/ORDERS", None),
        ("GET", "/metrics", None),
    ],
)
@pytest.mark.anyio
async def test_what_is_asked_most_is_for_the_lane(method: str, path: str, status: int | None) -> None:
    registry = Registry(MemoryStore(clock := ManualClock()), clock)
    await registry.open()
    app, lane = application(registry, Settings(), [])
    await registry.register(instance("STOCK", "stock-1"))
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
    scope |= {"headers": []}
    await app(dict(scope), no_body, AsyncMock())  # a document that has to be made first is not for the lane

    question = lane.question(scope)

    reply = question() if question is not None else None
    assert (reply.status if reply is not None else None) == status
    assert lane.is_open
    await registry.close()


def revision(server: Process) -> str:
    found = httpx.get(f"{server.url}{BASE}/instances?appId=shop&serviceName=stock")
    return found.headers.get("X-Resource-Revision", "")


def answer_of(server: Process, request: bytes) -> bytes:
    """One whole answer, without its date."""
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=60)) as peer:
        peer.sendall(request)
        head, got = b"", b""
        while b"\r\n\r\n" not in head:
            head += peer.recv(65_536)
        head, _, got = head.partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        wanted = int(length[1]) if length is not None and not request.startswith(b"HEAD") else 0
        while len(got) < wanted:
            got += peer.recv(65_536)
    return re.sub(rb"Date: [^\r]*", b"Date", head) + b"\r\n\r\n" + got
