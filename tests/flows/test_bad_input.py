"""B3-B7: whatever anybody sends, the answer is a refusal in the protocol's own form: never a 5xx, never a traceback."""

from __future__ import annotations

import gzip
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flows.product import BASE, Process, eureka_document, running

DEEP = 100_000
MOST_CPU_S = 0.2
"""Four times the 50 ms that one bad request may cost: the machine may be busy."""

MOST_GROWTH_BYTES = 20 * 1024 * 1024

BOMB = (
    '<!DOCTYPE b [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY a{n} "{"&a" + str(n - 1) + ";" if n > 1 else "&a;"}{"&a;" * 9}">' for n in range(1, 9))
    + "]><instance><app>&a8;</app></instance>"
)
XML = {
    "billion laughs": BOMB,
    "external entity": '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><instance><app>&x;</app></instance>',
    "parameter entity": '<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1:9/">%x;]><instance/>',
    "deep": "<a>" * DEEP + "</a>" * DEEP,
    "wide": "<instance>" + "<a/>" * 40_000 + "</instance>",
    "many attributes": "<instance " + " ".join(f'a{n}="1"' for n in range(20_000)) + "/>",
    "not closed": "<instance><app>",
    "NUL": "<instance><app>\0</app></instance>",
    "utf-16": '<?xml version="1.0" encoding="utf-16"?><instance/>',
    "empty": "",
}
JSON_TEXTS = {
    "deep lists": "[" * DEEP,
    "deep objects": '{"instance":' * DEEP,
    "NaN": '{"instance":NaN}',
    "infinity": '{"instance":{"port":{"$":1e999}}}',
    "long integer": '{"instance":{"port":{"$":' + "9" * 100_000 + "}}}",
    "lone surrogate": '{"instance":{"app":"\\ud800","hostName":"\\udfff"}}',
    "not UTF-8": b'{"instance":{"app":"\xff\xfe"}}',
    "cut": '{"instance":{"app":"A"',
    "null": "null",
    "a word": "hello",
    "empty": "",
    "many keys": json.dumps({"instance": {f"k{n}": n for n in range(15_000)}}),
}
WRONG = (None, True, -1, 1.5, "", "x" * 10_000, [], [[]], {}, {"$": {}}, ["a", {"b": []}])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with running(tmp_path_factory.mktemp("bad-input") / "data", "--store", "memory://") as process:
        httpx.post(f"{process.url}/eureka/apps/KEPT", json={"instance": eureka_document("KEPT", "kept")})
        yield process
        kept = httpx.get(f"{process.url}/eureka/apps/KEPT/kept")
        assert kept.status_code == 200
        assert "Traceback" not in process.log.read_text()


@pytest.fixture(scope="module")
def http(server: Process) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as http:
        yield http


@pytest.fixture(scope="module")
def instances(http: httpx.Client) -> str:
    service = {"appId": "eureka", "serviceName": "hello-server", "version": "0.0.1"}
    service_id = http.post(f"{BASE}/microservices", json={"service": service}).json()["serviceId"]
    return f"{BASE}/microservices/{service_id}/instances"


@pytest.mark.parametrize("text", XML.values(), ids=XML)
def test_hostile_xml_is_refused(http: httpx.Client, text: str) -> None:
    answer = http.post("/eureka/apps/A", content=text.encode(), headers={"Content-Type": "application/xml"})

    assert answer.status_code in (400, 413)


@pytest.mark.parametrize("text", JSON_TEXTS.values(), ids=JSON_TEXTS)
def test_hostile_json_is_refused_by_both_fronts(http: httpx.Client, instances: str, text: str | bytes) -> None:
    content = text if isinstance(text, bytes) else text.encode()
    headers = {"Content-Type": "application/json"}

    for path in ("/eureka/apps/A", "/eureka/peerreplication/batch/"):
        assert http.post(path, content=content, headers=headers).status_code in (400, 413)
    for path in (f"{BASE}/microservices", instances, f"{BASE}/instances/action?type=query"):
        answer = http.post(path, content=content, headers=headers)
        assert answer.status_code == 400
        assert answer.json()["errorCode"] == "400001"


@pytest.mark.parametrize(
    "field", [*eureka_document("A", "a"), "leaseInfo", "metadata", "overriddenStatus", "countryId"]
)
def test_a_wrong_value_in_any_field_of_eureka_is_taken_or_refused(http: httpx.Client, field: str) -> None:
    """Eureka takes many; what matters is that none is a 5xx and that every reader can still read."""
    for value in WRONG:
        document = eureka_document("ODD", "odd") | {field: value}
        assert http.post("/eureka/apps/ODD", json={"instance": document}).status_code in (204, 400)
    for accept in ("application/json", "application/xml"):
        assert http.get("/eureka/apps", headers={"Accept": accept}).status_code == 200
    _forget(http, "ODD")


@pytest.mark.parametrize(
    "field",
    ["instanceId", "hostName", "endpoints", "status", "properties", "healthCheck", "dataCenterInfo", "timestamp"],
)
def test_a_wrong_value_in_any_field_of_servicecenter_is_taken_or_refused(
    http: httpx.Client, instances: str, field: str
) -> None:
    for value in WRONG:
        answer = http.post(instances, json={"instance": {"hostName": "h", "endpoints": [], field: value}})
        assert answer.status_code in (200, 400)
        if answer.status_code == 400:
            assert answer.json()["errorCode"] == "400001"
    assert http.get(instances).status_code == 200


@pytest.mark.parametrize(
    "hostile", ["..", "%2e%2e", "%2F", "%5c", "%00", "%0d%0aX: y", "\u202e", "%ff", "x" * 1500, "a;b=c"]
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST", "PATCH"])
def test_hostile_ids_in_paths_are_answered(http: httpx.Client, method: str, hostile: str) -> None:
    for path in (
        f"/eureka/apps/{hostile}/{hostile}",
        f"/eureka/vips/{hostile}",
        f"{BASE}/microservices/{hostile}/instances/{hostile}/heartbeat",
        f"/v4/{hostile}/registry/instances?appId={hostile}&serviceName={hostile}",
        f"/{hostile}",
        f"/dashboard/static/{hostile}",
    ):
        assert http.request(method, path).status_code < 500
    _forget(http, "..")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br"])
def test_a_compressed_bomb_is_refused(http: httpx.Client, coding: str) -> None:
    """B5: 100 MB of blanks in 100 KB."""
    bomb = gzip.compress(b" " * 100_000_000)

    answer = http.post(
        "/eureka/apps/A", content=bomb, headers={"Content-Type": "application/json", "Content-Encoding": coding}
    )

    assert answer.status_code in (400, 413, 415)


@pytest.mark.parametrize("path", ["/eureka/apps/A", f"{BASE}/microservices", "/nowhere", "/"])
def test_a_body_of_100_mb_is_refused_before_it_is_read(server: Process, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as peer:
        peer.sendall(head.encode() + b" " * 10_000)

        assert b" 413 " in peer.recv(200)


@pytest.mark.parametrize("path", ["/eureka/apps/A", f"{BASE}/microservices"])
def test_an_offer_of_http2_does_not_lose_the_body(server: Process, path: str) -> None:
    """Java's own client makes one with each first request."""
    body = json.dumps(
        {"instance": eureka_document("A", "h2c")} if "eureka" in path else {"service": {"serviceName": "h2c"}}
    )
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        f"HTTP2-Settings: AAEAAEAA\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as peer:
        peer.sendall(head.encode() + body.encode())

        assert peer.recv(200).split()[1] in (b"204", b"200")


def test_bombs_cost_little_time_and_no_memory(server: Process, http: httpx.Client, instances: str) -> None:
    """50 ms of CPU and 20 MB of memory, whatever comes how often."""
    bombs: list[tuple[str, bytes, str]] = [
        *(("/eureka/apps/A", text.encode(), "application/xml") for text in XML.values()),
        *(
            (path, text if isinstance(text, bytes) else text.encode(), "application/json")
            for text in JSON_TEXTS.values()
            for path in ("/eureka/apps/A", instances)
        ),
    ]
    _throw(http, bombs, 3)  # whatever grows only once has grown now
    before = server.rss_bytes()

    worst_s = _throw(http, bombs, 30, server)

    print(
        f"the worst of them took {worst_s * 1000:.0f} ms of CPU, memory grew by {server.rss_bytes() - before:,} bytes"
    )
    assert worst_s <= MOST_CPU_S
    assert server.rss_bytes() - before <= MOST_GROWTH_BYTES


def _throw(http: httpx.Client, bombs: list[tuple[str, bytes, str]], times: int, server: Process | None = None) -> float:
    """All of them so often; the most CPU seconds that one kind cost on average."""
    worst_s = 0.0
    for path, content, kind in bombs:
        began_s = _cpu_s(server) if server else 0.0
        for _ in range(times):
            assert 400 <= http.post(path, content=content, headers={"Content-Type": kind}).status_code < 500
        worst_s = max(worst_s, (_cpu_s(server) - began_s) / times if server else 0.0)
    return worst_s


def _cpu_s(server: Process) -> float:
    fields = Path(f"/proc/{server.popen.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _forget(http: httpx.Client, application: str) -> None:
    answer: dict[str, Any] = http.get("/eureka/apps", headers={"Accept": "application/json"}).json()
    for one in answer["applications"]["application"]:
        if one["name"] == application:
            for instance in one["instance"]:
                http.delete(f"/eureka/apps/{application}/{instance['instanceId']}")
