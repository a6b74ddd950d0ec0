"""B6 and B8 against a running server: lengths that lie, and texts that would write lines of their own into the log."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from conformance.peers.patience import PATIENCE_S
from tests.flows.product import BASE, Process, eureka_document, running, wait_until

FORGED = '{"event": "forged", "level": "info"}'
TEXTS = (
    f"a\n{FORGED}\n",
    f"a\r\n{FORGED}\r\n",
    f"a\u2028{FORGED}",
    f"a\x85{FORGED}\x0b{FORGED}\x0c{FORGED}",
    "a\x1b[2J\x1b]0;owned\x07\x9b31m\x08\x08",
    "%s %d %n {0} {event} %(message)s",
    '", "event": "forged',
    "\u202ea\ufffe\x00b",
)
PRINTED = re.compile(r"^(Eureka|ServiceCenter|Dashboard) +http://")
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")

DOCUMENT = json.dumps({"instance": eureka_document("LIE", "lie")}).encode()
HEAD = b"POST /eureka/apps/LIE HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"


@pytest.fixture(scope="module", params=["json", "text"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    data_dir = tmp_path_factory.mktemp("lines") / "data"
    flags = ("--store", "memory://", "--no-self-preservation", "--log-level", "debug", "--log-format", request.param)
    with running(data_dir, *flags, "--eviction-interval-s", "0.1") as process:
        yield process
        assert process.popen.poll() is None
        assert "Traceback" not in process.log.read_text()


def test_each_line_of_the_log_is_the_servers_own(server: Process, request: pytest.FixtureRequest) -> None:
    """Each text in every place that is logged or might be: names, ids, refusals, headers, addresses."""
    with httpx.Client(base_url=server.url) as http:
        for text in TEXTS:
            _say_everywhere(http, text)
        wait_until(lambda: "lie" not in http.get("/eureka/apps").text)

    lines = [line for line in server.log.read_text().split("\n") if line and not PRINTED.match(line)]
    assert any("lease lapsed" in line for line in lines)
    assert any("registration is refused" in line for line in lines)
    assert [line for line in lines if CONTROL.search(line.replace("\x1b", ""))] == []
    if request.node.callspec.params["server"] == "json":
        events = [json.loads(line) for line in lines]
        assert all({"event", "level", "timestamp"} <= event.keys() for event in events)
        assert "forged" not in [event["event"] for event in events]
    else:
        assert [line for line in lines if not re.match(r"^(\x1b\[\d+m)*\d{4}-\d\d-\d\d", line)] == []
        assert [line for line in lines if re.search(r"\x1b(?!\[\d*(;\d+)*m)", line)] == []


def _say_everywhere(http: httpx.Client, text: str) -> None:
    short = {"durationInSecs": 1, "renewalIntervalInSecs": 1}
    application = f"LIE{text}".upper()
    document = eureka_document(application, f"lie{text}", leaseInfo=short, hostName=text, metadata={text: text})
    where = f"/eureka/apps/{quote(application, safe='')}"
    http.post(where, json={"instance": document})
    http.put(f"{where}/{quote(text, safe='')}?status={quote(text)}&lastDirtyTimestamp={quote(text)}")
    http.get(f"/eureka/apps/{quote(text, safe='')}?regions={quote(text)}")
    http.get(f"/{quote(text, safe='')}")
    lacking = {name: value for name, value in document.items() if name != "hostName"} | {"app": f"OTHER{text}"}
    for action in ("Register", "Heartbeat", "Cancel", "StatusUpdate", text):
        item = {"action": action, "appName": application, "id": text, "status": text, "instanceInfo": lacking}
        http.post("/eureka/peerreplication/batch/", json={"replicationList": [item]})
    header = text.encode("utf-8", "replace").translate(None, b"\r\n\0")
    for name in (b"User-Agent", b"X-Forwarded-For", b"DiscoveryIdentity-Name", b"Accept", b"Content-Type"):
        try:
            http.post("/eureka/apps/LIE", content=b"{", headers=[(name, header)])
        except httpx.HTTPError:  # the client's own library will not send some
            continue
    http.post(f"{BASE}/microservices", json={"service": {"serviceName": text, "appId": text}})
    http.get(f"{BASE}/instances", params={"appId": text, "serviceName": text, "version": text})


@pytest.mark.parametrize(
    ("length", "statuses"),
    [
        pytest.param(b"%d" % (len(DOCUMENT) - 5), {b"400"}, id="too short"),
        pytest.param(b"0", {b"400"}, id="nothing"),
        pytest.param(b"-1", {b"400"}, id="negative"),
        pytest.param(b"+%d" % len(DOCUMENT), {b"400"}, id="with a sign"),
        pytest.param(b"0x%x" % len(DOCUMENT), {b"400"}, id="in hexadecimal"),
        pytest.param(b"%d, %d" % (len(DOCUMENT), len(DOCUMENT)), {b"400"}, id="twice in one"),
        pytest.param(b"9" * 30, {b"400", b"413"}, id="beyond all numbers"),
        pytest.param(b"5000000", {b"413"}, id="more than is taken"),
        pytest.param(b"", {b"400"}, id="no number"),
        pytest.param(b"many", {b"400"}, id="a word"),
    ],
)
def test_a_length_that_lies_is_refused(server: Process, length: bytes, statuses: set[bytes]) -> None:
    answer = _answer(server, HEAD + b"Content-Length: " + length + b"\r\n\r\n" + DOCUMENT)

    assert answer.split()[1] in statuses, answer
    assert answer.count(b"HTTP/1.1") == 1
    assert httpx.get(f"{server.url}/eureka/apps/LIE").status_code == 404


def test_a_body_that_ends_before_its_length_registers_nothing(server: Process) -> None:
    answer = _answer(server, HEAD + b"Content-Length: %d\r\n\r\n" % (len(DOCUMENT) + 5) + DOCUMENT, is_last=True)

    assert answer == b"" or answer.split()[1] in (b"400", b"408")
    assert httpx.get(f"{server.url}/eureka/apps/LIE").status_code == 404


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param(b"zz\r\n{}\r\n0\r\n\r\n", id="no number"),
        pytest.param(b"-5\r\n{}\r\n0\r\n\r\n", id="negative"),
        pytest.param(b"ffffffffffffffffff\r\n{}\r\n0\r\n\r\n", id="beyond all numbers"),
        pytest.param(b"2\r\n{}}}\r\n0\r\n\r\n", id="too short"),
        pytest.param(b"2" + b";x" * 50_000 + b"\r\n{}\r\n0\r\n\r\n", id="with much beside it"),
        pytest.param(b"2\n{}\n0\n\n", id="bare line feeds"),
    ],
)
def test_chunks_that_lie_are_refused(server: Process, chunks: bytes) -> None:
    answer = _answer(server, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)

    assert answer.split()[1] in (b"400", b"413", b"431"), answer
    assert answer.count(b"HTTP/1.1") == 1


def test_a_body_where_none_is_read_is_no_request(server: Process) -> None:
    """The next request on the connection begins behind it, or is not answered at all."""
    request = b"GET /eureka/apps/NOBODY HTTP/1.1\r\nHost: x\r\n"
    smuggled = b"GET /eureka/status HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /eureka/apps HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with_length = _answer(server, request + b"Content-Length: %d\r\n\r\n" % len(smuggled) + smuggled + last)
    chunked = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(smuggled), smuggled)
    in_chunks = _answer(server, request + chunked + last)

    assert [part.split()[0] for part in with_length.split(b"HTTP/1.1 ")[1:]] == [b"404", b"200"]
    assert [part.split()[0] for part in in_chunks.split(b"HTTP/1.1 ")[1:]] in ([b"404"], [b"404", b"400"])


def _answer(server: Process, sent: bytes, *, is_last: bool = False) -> bytes:
    """All that comes back until the server closes."""
    answer = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as peer:
        try:
            peer.sendall(sent)
            if is_last:
                peer.shutdown(socket.SHUT_WR)
            while received := peer.recv(65_536):
                answer += received
        except ConnectionError:
            pass
    return answer
