"""The doorway under a real uvicorn, and clients that speak to it over raw sockets."""

import base64
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from facade.doorway.connection import doorway
from facade.doorway.hall import Limits

ROOMY = Limits(connections_per_address=10_000)
PATIENCE_S = 60.0  # of the client: only how long a failing test takes


@dataclass
class Server:
    """A running server; it counts what the doorway was given and the largest beginning of a head that it held."""

    port: int
    bytes_taken: int = 0
    most_held: int = 0
    inside: Callable[[], int] = field(default=lambda: 0)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)

    def ask(self, *pieces: bytes) -> bytes:
        """Send the pieces on a connection of their own, each by itself, and read until the server closes."""
        with closing(self.connect()) as peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                peer.sendall(piece)
            return read_to_end(peer)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what it was asked: method, target and header names in its own headers, the body as the body."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
    else:
        body, more = b"", scope["path"] != "/early"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        if scope["path"] == "/large":
            body = b"HTTP/1.1 200 OK\r\nx-not-a-head: 1\r\n" * 1_000_000
        headers = [
            (b"content-length", b"%d" % len(body)),
            (b"x-resource-revision", b"7"),
            (b"x-asked", scope["method"].encode() + b" " + scope["raw_path"]),
            (b"x-fields", b",".join(name for name, _ in scope["headers"])),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@contextmanager
def serving(limits: Limits, loop: str = "uvloop") -> Iterator[Server]:
    """A server in a thread of its own, on a free port of the loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(listener.getsockname()[1])
    guarded: Any = doorway(limits)
    server.inside = lambda: len(guarded.hall.inside) + len(guarded.hall.upgraded)

    class Observed(guarded):  # type: ignore[misc]  # its base is made at run time
        def data_received(self, data: bytes) -> None:
            server.bytes_taken += len(data)
            super().data_received(data)
            server.most_held = max(server.most_held, len(self.held))

    config = uvicorn.Config(
        application,
        http=Observed,
        loop=loop,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        timeout_keep_alive=0,  # the doorway's own idle time holds
        timeout_graceful_shutdown=1,
    )
    runner = uvicorn.Server(config)
    thread = threading.Thread(target=runner.run, kwargs={"sockets": [listener]})
    thread.start()
    wait_until(lambda: runner.started)
    try:
        yield server
    finally:
        runner.should_exit = True
        thread.join(PATIENCE_S)
        listener.close()


def push(server: Server, request: bytes) -> bytes:
    """Send all of it, or as much as the server lets us, and only then read."""
    with closing(server.connect()) as peer:
        with suppress(BrokenPipeError, ConnectionResetError):
            peer.sendall(request)
        return read_to_end(peer)


def read_to_end(peer: socket.socket) -> bytes:
    parts = []
    with suppress(ConnectionResetError):
        while part := peer.recv(1 << 20):
            parts.append(part)
    return b"".join(parts)


def read_head(peer: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        part = peer.recv(1)
        assert part, head
        head += part
    return head


def upgrade(peer: socket.socket, offer: bytes = b"Upgrade: websocket") -> bytes:
    key = base64.b64encode(bytes(16))
    peer.sendall(
        b"GET /watch HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n%s\r\n"
        b"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n" % (offer, key)
    )
    return read_head(peer)


def say(peer: socket.socket, text: bytes) -> bytes:
    """One text message (RFC 6455, 5.2; masked with zeros), and the one that comes back."""
    peer.sendall(struct.pack("!BBI", 0x81, 0x80 | len(text), 0) + text)
    _, length = peer.recv(1), peer.recv(1)[0]
    return peer.recv(length, socket.MSG_WAITALL)


def status(answer: bytes) -> int:
    return int(answer[9:12])


def field_of(answer: bytes, name: str) -> bytes | None:
    """The value of a header field in exactly this spelling."""
    found = re.search(rb"\r\n%s: (.*)\r\n" % name.encode(), answer.partition(b"\r\n\r\n")[0] + b"\r\n")
    return found and found[1]


def body(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


def is_refusal(answer: bytes, expected: int) -> bool:
    """One whole answer: the status, a short text in plain words, and the end of the connection."""
    return (
        status(answer) == expected
        and field_of(answer, "Connection") == b"close"
        and field_of(answer, "Content-Length") == b"%d" % len(body(answer))
        and 0 < len(body(answer)) < 80
    )


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.005)
