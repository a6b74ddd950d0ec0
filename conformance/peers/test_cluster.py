"""The load balancer in front of our nodes, with small programs in their place."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from conformance.conftest import skip_without
from conformance.peers.builds import MissingToolError
from conformance.peers.cluster import load_balancer
from conformance.peers.processes import Processes, Program, Running

FreePort = Callable[[], int]

# Answers with its port; `POST /taken` counts what came, and one that is told to be unready answers 503.
_NODE = """
import http.server, sys
class Node(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    unready = False
    def do_GET(self):
        body = f"{self.server.server_port} {self.headers['host']}".encode()
        self.send_response(503 if Node.unready else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"] or 0))
        Node.unready = self.path == "/unready"
        self.do_GET()
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Node).serve_forever()
"""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as processes:
        yield processes


@pytest.fixture
def nodes(processes: Processes, free_port: FreePort) -> list[Running]:
    ports = [free_port() for _ in range(3)]
    return [
        processes.start(
            Program("node", [sys.executable, "-c", _NODE, f"{port}"], f"http://127.0.0.1:{port}", "/healthz")
        )
        for port in ports
    ]


@pytest.fixture
def balancer(processes: Processes, free_port: FreePort, nodes: list[Running]) -> Running:
    try:
        return processes.start(load_balancer([free_port()], [node.url for node in nodes]))
    except MissingToolError as missing:
        skip_without(missing)


def test_the_nodes_are_asked_in_turn(balancer: Running, nodes: list[Running]) -> None:
    asked = Counter(_answered_by(httpx.get(balancer.url)) for _ in range(30))

    assert asked == {node.url: 10 for node in nodes}


def test_a_node_that_is_gone_is_left_out(balancer: Running, nodes: list[Running]) -> None:
    nodes[0].kill()

    asked = [httpx.get(balancer.url) for _ in range(12)]

    assert {answer.status_code for answer in asked} == {200}
    assert {_answered_by(answer) for answer in asked} == {node.url for node in nodes[1:]}


def test_one_that_cannot_serve_yet_is_left_out(balancer: Running, nodes: list[Running]) -> None:
    """A node that has no data yet says 503; another has them."""
    httpx.post(f"{nodes[0].url}/unready")

    assert {httpx.get(balancer.url).status_code for _ in range(12)} == {200}


def test_one_that_takes_requests_and_answers_none_is_left_out(balancer: Running, nodes: list[Running]) -> None:
    nodes[0].freeze()

    answers = [httpx.get(balancer.url) for _ in range(6)]

    assert {answer.status_code for answer in answers} == {200}


def test_a_node_sees_the_host_that_the_client_asked(balancer: Running) -> None:
    """Answers name the server's own address."""
    assert httpx.get(balancer.url).text.split()[1] == balancer.url.removeprefix("http://")


def _answered_by(answer: httpx.Response) -> str:
    return f"http://127.0.0.1:{answer.text.split()[0]}"
