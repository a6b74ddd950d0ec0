"""What a server tells its peers of leases that end (case 156)."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conformance.eureka.client import Document, Eureka
from conformance.eureka.conftest import ClientOf, wait_until
from conformance.peers.processes import Processes, Program
from conformance.peers.processes import eureka as real_eureka


class Peer(ThreadingHTTPServer):
    """Takes every batch, says yes to every item, and remembers them."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Answers)
        self.items: list[Document] = []

    def told(self, action: str) -> list[str]:
        return [item["id"] for item in self.items if item["action"] == action]


class _Answers(BaseHTTPRequestHandler):
    server: Peer

    def do_GET(self) -> None:
        self._answer({"applications": {"versions__delta": "1", "apps__hashcode": "", "application": []}})

    def do_POST(self) -> None:
        items = json.loads(self._body())["replicationList"]
        self.server.items += items
        self._answer({"responseList": [{"statusCode": 200} for _ in items]})

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: pytest shows what matters."""

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers["Content-Length"]))
        body = b""
        while length := int(self.rfile.readline(), 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        return body

    def _answer(self, document: Document) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def peer(free_port: Callable[[], int]) -> Iterator[Peer]:
    with Peer(free_port()) as peer:
        thread = threading.Thread(target=peer.serve_forever)
        thread.start()
        yield peer
        peer.shutdown()
        thread.join()


@pytest.fixture
def eureka_beside(
    eureka_kind: str,
    peer: Peer,
    processes: Processes,
    free_port: Callable[[], int],
    client_of: ClientOf,
    ours_program: Callable[..., Program],
) -> Eureka:
    """A server that has that peer. The original takes a peer on its own host name for itself, hence "localhost"."""
    url = f"http://localhost:{peer.server_port}/eureka/"
    if eureka_kind == "ours":
        return client_of(processes.start(ours_program(free_port(), eureka_peers=url)))
    program = real_eureka(free_port(), "conformance", [url])
    return client_of(processes.start(replace(program, ready="/")))


def test_156_peers_hear_of_a_deletion_and_not_of_an_eviction(eureka_beside: Eureka, peer: Peer, app: str) -> None:
    eureka_beside.given(app, "evicted", leaseInfo={"durationInSecs": 1})
    eureka_beside.given(app, "deleted")
    wait_until(lambda: len(eureka_beside.listed(app)) == 1)

    eureka_beside.cancel(app, "deleted")

    wait_until(lambda: peer.told("Cancel") != [])
    assert peer.told("Cancel") == ["deleted"]
    assert set(peer.told("Register")) == {"evicted", "deleted"}
