"""B3-B7: whatever anybody sends, the answer is a refusal in the protocol's own form: never a 5xx, never a traceback."""

from __future__ import annotations

import gzip
import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from conformance.peers.patience import PATIENCE_S
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
JSON_TEXTS: dict[str, str | bytes] = {
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
WRONG: tuple[object, ...] = (None, True, -1, 1.5, "", "x" * 10_000, [], [[]], {}, {"$": {}}, ["a", {"b": []}])


HEADS = {
    "a field of 20 MB": b"GET /eureka/apps HTTP/1.1\r\nX: " + b"x" * 20_000_000 + b"\r\n\r\n",
    "100 000 fields": b"GET /eureka/apps HTTP/1.1\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
    "an address of 1 MB": b"GET /eureka/apps/" + b"x" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500) + b"\r\n\r\n",
    "unknown method": b"BREW /eureka/apps HTTP/1.1\r\nHost: x\r\n\r\n",
    "two lengths": b"POST /eureka/apps/A HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "length and chunks": (
        b"POST /eureka/apps/A HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a negative length": b"POST /eureka/apps/A HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
}
MEGABYTE = b"%x\r\n%b\r\n" % (1_000_000, b" " * 1_000_000)
STREAM = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
SILENT = (b"", b"GET /eureka/apps HT", b"POST /eureka/apps/A HTTP/1.1\r\nHost: x\r\nX: ")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with running(tmp_path_factory.mktemp("bad-input") / "data", "--store", "memory://") as process:
        httpx.post(f"{process.url}/eureka/apps/KEPT", json={"instance": eureka_document("KEPT", "kept")})
        yield process
        assert process.popen.poll() is None
        kept = httpx.get(f"{process.url}/eureka/apps/KEPT/kept")
        assert kept.status_code == 200
        assert "Traceback" not in process.log.read_text()


@pytest.fixture(scope="module")
def http(server: Process) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url) as http:
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
        f"/services/{hostile}?domain={hostile}&lang={hostile}&tab={hostile}",
        f"/services/{hostile}/schemas/{hostile}/download?project={hostile}",
        f"/services/{hostile}/status",
        f"/topology?q={hostile}",
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
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as peer:
        peer.sendall(head.encode() + b" " * 10_000)

        assert b" 413 " in peer.recv(200)


@pytest.mark.parametrize(
    ("path", "status"),
    [(b"/eureka/apps/A", b"413"), (BASE.encode() + b"/microservices", b"400"), (b"/nowhere", b"404")],
)
def test_a_body_of_100_mb_in_chunks_is_refused_on_the_way(server: Process, path: bytes, status: bytes) -> None:
    """Each in its own words, and none is read to its end."""
    assert thrown(server, STREAM % path, *[MEGABYTE] * 100) == status


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_a_hostile_head_is_refused(server: Process, head: bytes) -> None:
    """B6."""
    assert thrown(server, head) in (b"400", b"431")


def thrown(server: Process, *pieces: bytes) -> bytes:
    """Send all that is taken; the status of the answer, behind which the server must have closed."""
    answer = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as peer:
        try:
            for piece in pieces:
                peer.sendall(piece)
        except ConnectionError:
            pass
        try:
            while received := peer.recv(65_536):
                answer += received
        except ConnectionError:
            pass
    return answer.split()[1] if answer else b""


def test_who_says_nothing_is_left_and_hinders_nobody(server: Process, http: httpx.Client) -> None:
    """B6. Two hundred sockets that are silent, or fall silent within a head."""
    with ExitStack() as sockets:
        peers = [
            sockets.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S))
            for _ in range(200)
        ]
        for number, peer in enumerate(peers):
            peer.sendall(SILENT[number % len(SILENT)])

        assert http.put("/eureka/apps/KEPT/kept").status_code == 200
        assert {peer.recv(100).split(b"\r\n")[0] for peer in peers} == {b"", b"HTTP/1.1 408 Request Timeout"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/eureka/apps"),
        ("PUT", "/eureka/apps/A"),
        ("POST", "/eureka/apps/A/a"),
        ("GET", "/eureka/apps/A/a/status"),
        ("TRACE", "/eureka/apps/delta"),
        ("PUT", f"{BASE}/microservices"),
        ("POST", f"{BASE}/instances"),
        ("GET", f"{BASE}/instances/action"),
        ("TRACE", f"{BASE}/microservices"),
    ],
)
def test_a_wrong_method_is_refused_with_the_right_ones(http: httpx.Client, method: str, path: str) -> None:
    answer = http.request(method, path)

    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"] or "PUT" in answer.headers["Allow"] or "POST" in answer.headers["Allow"]


@pytest.mark.parametrize(
    "path",
    [
        *("/eureka", "/eureka/nowhere", "/eureka/apps/NOBODY", "/eureka/apps/NOBODY/nobody", "/t", "/t/a/b/c"),
        *("/v4", "/v4/default", f"{BASE}/nowhere", "/registry/v3/nowhere", "/nowhere", "/dashboard/static/none.css"),
    ],
)
def test_what_nobody_knows_is_not_found(http: httpx.Client, path: str) -> None:
    """In Eureka without a body: its clients parse whatever comes with a refusal."""
    answer = http.get(path)

    assert answer.status_code == 404
    assert not (path.startswith("/eureka") and answer.content)


@pytest.mark.parametrize("field", ["hostName", "app", "ipAddr", "dataCenterInfo"])
def test_what_eureka_requires_must_be_there(http: httpx.Client, field: str) -> None:
    document = eureka_document("A", "a")
    del document[field]

    assert http.post("/eureka/apps/A", json={"instance": document}).status_code == 400


@pytest.mark.parametrize(
    "service",
    [
        pytest.param({"appId": "a", "version": "1"}, id="no name"),
        pytest.param({"serviceName": "n" * 129}, id="name too long"),
        pytest.param({"serviceName": "n", "appId": "a" * 161}, id="app too long"),
        pytest.param({"serviceName": "n", "version": "1." * 40 + "1"}, id="version too long"),
        pytest.param({"serviceName": "n", "description": "d" * 257}, id="description too long"),
        pytest.param({"serviceName": "n", "environment": "moon"}, id="unknown environment"),
        pytest.param({"serviceName": "n\0"}, id="NUL"),
        pytest.param({"serviceName": "n\r\nX: y"}, id="CR LF"),
        pytest.param({"serviceName": "n\u202eo"}, id="written backwards"),
    ],
)
def test_a_service_that_breaks_the_rules_is_refused(http: httpx.Client, service: dict[str, str]) -> None:
    answer = http.post(f"{BASE}/microservices", json={"service": service})

    assert (answer.status_code, answer.json()["errorCode"]) == (400, "400001")


@pytest.mark.parametrize("instance_id", ["i" * 65, "i\0", "i\r\nX: y", "i\u202ej", "../i", "i/j"])
def test_an_instance_id_that_breaks_the_rules_is_refused(http: httpx.Client, instances: str, instance_id: str) -> None:
    answer = http.post(instances, json={"instance": {"instanceId": instance_id, "hostName": "h"}})

    assert (answer.status_code, answer.json()["errorCode"]) == (400, "400001")


def test_of_whom_nobody_knows_nothing_can_be_changed(http: httpx.Client, instances: str) -> None:
    """Eureka's clients take 404 without a body as their cue to register, Go's take 400017."""
    eureka = [
        http.put("/eureka/apps/NOBODY/nobody"),
        http.delete("/eureka/apps/NOBODY/nobody"),
        http.put("/eureka/apps/NOBODY/nobody/status?value=DOWN"),
        http.put("/eureka/apps/NOBODY/nobody/metadata?key=value"),
    ]
    servicecenter = [
        http.put(f"{instances}/nobody/heartbeat"),
        http.delete(f"{instances}/nobody"),
        http.put(f"{instances}/nobody/status?value=DOWN"),
        http.put(f"{instances}/nobody/properties", json={"properties": {}}),
    ]

    assert {(answer.status_code, answer.content) for answer in eureka} == {(404, b"")}
    assert {(answer.status_code, answer.json()["errorCode"]) for answer in servicecenter} == {(400, "400017")}


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
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as peer:
        peer.sendall(head.encode() + body.encode())

        assert peer.recv(200).split()[1] in (b"204", b"200")


def test_bombs_cost_little_time_and_no_memory(server: Process, http: httpx.Client, instances: str) -> None:
    """50 ms of CPU and 20 MB of memory, whatever comes how often."""
    bombs: list[tuple[str, bytes, str]] = [
        *(("/eureka/apps/A", text.encode(), "application/xml") for text in XML.values()),
        *(
            (path, text.encode() if isinstance(text, str) else text, "application/json")
            for text in JSON_TEXTS.values()
            for path in ("/eureka/apps/A", instances)
        ),
    ]
    _throw(http, bombs, 3)  # whatever grows only once has grown now
    before = server.rss_bytes()

    worst_s = _throw(http, bombs, 30, server)
    for head in HEADS.values():
        worst_s = max(worst_s, _cost_s(server, head, times=3))
    for path in (b"/eureka/apps/A", BASE.encode() + b"/microservices"):
        worst_s = max(worst_s, _cost_s(server, STREAM % path, *[MEGABYTE] * 100, times=3))

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


def _cost_s(server: Process, *pieces: bytes, times: int) -> float:
    began_s = _cpu_s(server)
    for _ in range(times):
        thrown(server, *pieces)
    return (_cpu_s(server) - began_s) / times


def _cpu_s(server: Process) -> float:
    fields = Path(f"/proc/{server.popen.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _forget(http: httpx.Client, application: str) -> None:
    answer: dict[str, Any] = http.get("/eureka/apps", headers={"Accept": "application/json"}).json()
    for one in answer["applications"]["application"]:
        if one["name"] == application:
            for instance in one["instance"]:
                http.delete(f"/eureka/apps/{application}/{instance['instanceId']}")
