"""What the wiretap notes, and that it changes nothing, with a server of our own behind it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from conformance.clients.life import soon
from conformance.clients.wiretap import Wiretap


class _Echo(BaseHTTPRequestHandler):
    """Answers a request's own body; 404 for /nobody."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(404 if self.path == "/nobody" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def wire(server: str, free_port: Callable[[], int]) -> Iterator[Wiretap]:
    with Wiretap(server, free_port()) as wire:
        yield wire


def test_bytes_pass_unchanged_and_are_noted_in_order(wire: Wiretap) -> None:
    body = bytes(range(256)) * 1000
    with httpx.Client(base_url=wire.url) as client:
        assert client.put("/one?a=b", content=body).content == body
        assert client.put("/nobody", content=b"").status_code == 404

    assert [str(one) for one in wire.exchanges] == ["PUT /one?a=b 200", "PUT /nobody 404"]
    assert (len(wire.asked("PUT", "/one")), wire.statuses("PUT", "/nobody"), wire.asked("GET")) == (1, {404}, [])


def test_a_request_without_an_answer_has_no_status(wire: Wiretap) -> None:
    with socket.create_connection(("127.0.0.1", int(wire.url.rpartition(":")[2]))) as client:
        client.sendall(b"PUT /half HTTP/1.1\r\nContent-Length: 5\r\n\r\n12")
        soon(lambda: len(wire.exchanges) == 1)

        assert (wire.exchanges[0].status, wire.statuses("PUT")) == (0, set())


def test_a_server_that_is_down_is_a_closed_connection(free_port: Callable[[], int]) -> None:
    with Wiretap(f"http://127.0.0.1:{free_port()}", free_port()) as wire, pytest.raises(httpx.TransportError):
        httpx.put(wire.url)


def test_nobody_listens_after_its_end(server: str, free_port: Callable[[], int]) -> None:
    with Wiretap(server, free_port()) as wire:
        pass

    with pytest.raises(httpx.ConnectError):
        httpx.put(wire.url)
