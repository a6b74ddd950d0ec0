"""The doorway under a real uvicorn, asked over raw sockets: what each kind of peer gets, and what it may cost us."""

import base64
import logging
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from facade import doorway as doorway_module
from facade.doorway import LINGER_BYTES, Limits, doorway, spelt
from facade.errors import StartRefused

ROOMY = Limits(connections_per_address=10_000)
PATIENCE_S = 20.0  # of the client: only how long a failing test takes


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


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """One server for all tests that need nothing but the ordinary limits."""
    with serving(ROOMY, loop=request.param) as server:
        yield server


@pytest.fixture
def quick_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorway_module, "SWEEP_S", 0.02)


# What ordinary clients send


def test_a_request_byte_by_byte_is_one_request(server: Server) -> None:
    request = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"

    answer = server.ask(*(request[i : i + 1] for i in range(len(request))))

    assert (status(answer), field_of(answer, "X-Asked"), body(answer)) == (200, b"POST /a", b"hello")


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    """With and without bodies, the last one cut inside its head."""
    first = b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
    second = b"POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n\r\n\r\n\r\n\r\n"
    third = b"GET /3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    answers = server.ask(first + second + third[:30], third[30:])

    assert re.findall(rb"X-Asked: (.*)\r\n", answers) == [b"GET /1", b"POST /2", b"GET /3"]


def test_a_connection_serves_requests_one_after_the_other(server: Server) -> None:
    with closing(server.connect()) as peer:
        for number in range(3):
            peer.sendall(b"PUT /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" % number)
            answer = read_head(peer)

            assert field_of(answer, "X-Asked") == b"PUT /%d" % number


def test_h2c_offer_of_the_jdk_is_answered_in_http_1_with_the_body_intact(server: Server) -> None:
    """httptools stops at the offer and uvicorn loses the body, yet answers 200."""
    head = (
        b"POST /a HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings, close\r\nContent-Length: 24\r\nHost: x\r\n"
        b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\nUser-Agent: Java\r\n\r\n"
    )

    for pieces in [(head + b"\r\nUpgrade: in the body\r\n",), (head, b"\r\nUpgrade: in the body\r\n")]:
        assert body(server.ask(*pieces)) == b"\r\nUpgrade: in the body\r\n"


@pytest.mark.parametrize("name", [b"Upgrade", b"UPGRADE", b"uPGRADE"])
def test_h2c_offers_are_ignored_in_any_case(server: Server, name: bytes) -> None:
    answer = server.ask(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: upgrade,close\r\n%s:h2c\r\n\r\n" % name)

    assert (status(answer), field_of(answer, "X-Fields")) == (200, b"host,connection")


def test_expect_continue_is_granted_before_the_body(server: Server) -> None:
    with closing(server.connect()) as peer:
        peer.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
        )
        assert read_head(peer) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(b"ok")
        answer = read_to_end(peer)

    assert (status(answer), field_of(answer, "X-Resource-Revision"), body(answer)) == (200, b"7", b"ok")


def test_blank_lines_between_requests_mean_nothing(server: Server) -> None:
    """Old clients send one behind a body."""
    answer = server.ask(
        b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nok\r\n", b"\r\nGET /2 HTTP/1.1\r\nConnection: close\r\n\r\n"
    )

    assert answer.count(b"HTTP/1.1 200 OK") == 2


def test_http_1_0_is_answered_and_closed(server: Server) -> None:
    answer = server.ask(b"GET /old HTTP/1.0\r\n\r\n")

    assert (status(answer), field_of(answer, "Connection")) == (200, b"close")


def test_a_chunked_body_arrives_and_its_trailers_do_not(server: Server) -> None:
    """uvicorn adds trailers to the headers of the request that is being handled."""
    answer = server.ask(
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        b"5\r\nhello\r\n0\r\nAuthorization: trailing\r\n\r\n",
    )

    assert body(answer) == b"hello"
    assert b"authorization" not in answer


def test_header_names_of_answers_are_spelt_canonically_and_bodies_left_alone(server: Server) -> None:
    answer = server.ask(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, rest = answer.partition(b"\r\n\r\n")
    names = [line.partition(b":")[0] for line in head.split(b"\r\n")[1:]]

    assert names == [
        b"Date",
        b"Server",
        b"Content-Length",
        b"X-Resource-Revision",
        b"X-Asked",
        b"X-Fields",
        b"Connection",
    ]
    assert rest == b"HTTP/1.1 200 OK\r\nx-not-a-head: 1\r\n" * 1_000_000


@pytest.mark.parametrize("name", ["X-Resource-Revision", "X-Schema-Summary", "Deprecation", "Content-Type", "Etag"])
def test_spelling(name: str) -> None:
    assert spelt(name.lower().encode()) == name.encode()


# Websockets


@pytest.mark.parametrize("offer", [b"Upgrade: websocket", b"upgrade:WebSocket", b"UPGRADE: \t websocket \t"])
def test_websockets_are_upgraded_however_they_are_spelt(server: Server, offer: bytes) -> None:
    with closing(server.connect()) as peer:
        assert status(upgrade(peer, offer)) == 101
        assert say(peer, b"hello") == b"hello"


@pytest.mark.usefixtures("quick_sweeps")
def test_the_sweep_leaves_websockets_alone_and_counts_them_until_they_close() -> None:
    """Past every deadline of the connection that it was; the bystander shows that the sweep did run."""
    with serving(replace(ROOMY, head_s=0.3, body_s=0.3, idle_s=0.3)) as server:
        with closing(server.connect()) as watcher:
            upgrade(watcher)
            with closing(server.connect()) as bystander:
                assert read_to_end(bystander) == b""
            assert say(watcher, b"still here") == b"still here"
            assert server.inside() == 1
        wait_until(lambda: server.inside() == 0)


def test_the_place_of_a_websocket_is_free_as_soon_as_it_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the next sweep: go-chassis dials a refused watch again at once, and would fill its host's places."""
    monkeypatch.setattr(doorway_module, "SWEEP_S", 3_600)
    with serving(replace(ROOMY, connections_per_address=1)) as server:
        with closing(server.connect()) as watcher:
            upgrade(watcher)
        wait_until(lambda: server.inside() == 0)


def test_an_upgrade_with_a_body_is_refused(server: Server) -> None:
    answer = server.ask(
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nok"
    )

    assert is_refusal(answer, 400)


# Too much


REFUSED = [
    pytest.param(b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000_000, 431, id="20 MB head"),
    pytest.param(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000 + b"\r\n", 431, id="100 000 fields"),
    pytest.param(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431, id="101 fields"),
    pytest.param(b"GET / HTTP/1.1\r\nX:" + b"y" * 65_519 + b"\r\n\r\n", 431, id="a head one byte too long"),
    pytest.param(b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431, id="1 MB URL"),
    pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 4194305\r\n\r\n", 413, id="Content-Length one too high"),
    pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 9_000_000, 413, id="a large body"),
    pytest.param(
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"100000\r\n%s\r\n" % (b"x" * 0x100000) * 5,
        413,
        id="a large chunked body",
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1_000_000,
        413,
        id="a chunked body that is mostly framing",
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 5_000_000, 413, id="a 5 MB chunk extension"
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 1_000_000, 413, id="trailers"
    ),
]


@pytest.mark.parametrize(("request_", "expected"), REFUSED)
def test_too_much_is_refused(server: Server, request_: bytes, expected: int) -> None:
    """The whole is sent before the answer is read, as most clients do."""
    assert is_refusal(push(server, request_), expected)


def test_what_just_fits_is_answered(server: Server) -> None:
    fields = b"Connection: close\r\nContent-Length: 4194304\r\n" + b"X: y\r\n" * 97
    filler = b"X:" + b"y" * (65_536 - 2 - len(b"POST / HTTP/1.1\r\n" + fields))
    head = b"POST / HTTP/1.1\r\n" + fields + filler

    answer = server.ask(head + b"\r\n\r\n" + b"x" * 4_194_304)

    assert (len(head), status(answer), len(body(answer))) == (65_536, 200, 4_194_304)


def test_a_20_mb_head_is_neither_kept_nor_taken(server: Server) -> None:
    before = server.bytes_taken
    push(server, b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000_000)
    one_read = 256 * 1024

    assert server.most_held <= ROOMY.head_bytes
    assert server.bytes_taken - before <= ROOMY.head_bytes + LINGER_BYTES + 2 * one_read


def test_pipelining_without_end_is_cut_short(server: Server) -> None:
    """Each waiting request costs a few kilobytes: those that are answered come in order, then the end."""
    answers = push(server, b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(5_000)))
    asked = re.findall(rb"X-Asked: GET /(\d+)\r\n", answers)

    assert asked == [b"%d" % number for number in range(len(asked))]
    assert 0 < len(asked) < 5_000
    assert answers.endswith(b"Connection: close\r\n\r\n")


def test_a_body_that_grows_too_large_behind_its_answer_gets_no_second_one(server: Server) -> None:
    with closing(server.connect()) as peer:
        peer.sendall(b"POST /early HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert status(read_head(peer)) == 200
        with suppress(BrokenPipeError, ConnectionResetError):
            peer.sendall(b"500000\r\n" + b"x" * 0x500000)

        assert read_to_end(peer) == b""


def test_who_is_refused_may_finish_speaking(server: Server) -> None:
    """A reset at once could take the answer with it."""
    with closing(server.connect()) as peer:
        peer.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100000000\r\n\r\n")
        assert is_refusal(read_to_end(peer), 413)
        before = server.bytes_taken
        peer.sendall(b"still speaking")
        wait_until(lambda: server.bytes_taken == before + len(b"still speaking"))


@pytest.mark.usefixtures("quick_sweeps")
@pytest.mark.parametrize("refused", ["no HTTP", "a chunk size that is none"])
def test_who_is_refused_and_stays_is_left(refused: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorway_module, "LINGER_S", 0.05)
    with serving(ROOMY) as server, closing(server.connect()) as peer:
        peer.sendall(MALFORMED[refused])
        assert is_refusal(read_to_end(peer), 400)
        wait_until(lambda: server.inside() == 0)


# Malformed, or meant to be read in two ways


MALFORMED = {
    "Content-Length and chunked": (
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "two Content-Lengths": b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a negative Content-Length": b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "a huge Content-Length": b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "xchunked": b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked is not last": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "a folded field": b"GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
    "a field folded by a tab": b"GET / HTTP/1.1\r\nX: a\r\n\tb\r\n\r\n",
    "a blank before the colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: x\n\n",
    "one bare line feed": b"GET / HTTP/1.1\nHost: x\r\n\r\n",
    "a bare line feed before an h2c offer": b"GET / HTTP/1.1\r\nConnection: upgrade\nUpgrade: h2c\r\n\r\n",
    "NUL in a field": b"GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
    "HTTP/2 at once": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "CONNECT": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "a chunk size that is none": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a target with bytes above ASCII": b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_requests_are_refused(server: Server, kind: str) -> None:
    assert is_refusal(server.ask(MALFORMED[kind]), 400)


def test_a_request_that_turns_out_malformed_is_answered_once(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Its handler, already called, is told that the peer is gone, and what it answers is dropped."""
    answer = server.ask(b"POST /early HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    server.ask(b"GET /after HTTP/1.1\r\nConnection: close\r\n\r\n")  # by then the handler has had its turn

    assert is_refusal(answer, 400)
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_a_request_behind_a_chunked_body_is_not_read(server: Server) -> None:
    """The first is answered, and the connection ends; a hidden head passes no guard."""
    answer = server.ask(
        b"POST /1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n"
    )

    assert re.findall(rb"X-Asked: (.*)\r\n", answer) == [b"POST /1"]
    assert field_of(answer, "Connection") == b"close"


def test_a_malformed_request_does_not_take_the_answer_of_the_one_before_it(server: Server) -> None:
    answer = server.ask(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nnonsense\r\n\r\n")

    assert (status(answer), field_of(answer, "X-Asked"), field_of(answer, "Connection")) == (200, b"GET /1", b"close")
    assert answer.count(b"HTTP/1.1") == 1


# Too slow, or silent


@pytest.mark.usefixtures("quick_sweeps")
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize(
    ("beginning", "expected"),
    [
        pytest.param(b"", [], id="silent"),
        pytest.param(b"GET / HTTP/1.1\r\nX: ", [408], id="head"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx", [408], id="body"),
        pytest.param(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nx", [408], id="chunk"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", [200], id="idle"),
        pytest.param(b"POST /early HTTP/1.1\r\nContent-Length: 9\r\n\r\nx", [200], id="body of an answered request"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\r\n", [200], id="idle after a blank line"),
        pytest.param(b"\r\n\r\n", [], id="blank lines"),
    ],
)
def test_slow_peers_are_left(beginning: bytes, expected: list[int], loop: str) -> None:
    with serving(replace(ROOMY, head_s=0.3, body_s=0.3, idle_s=0.3), loop) as server:
        answers = server.ask(beginning)

    assert [int(number) for number in re.findall(rb"HTTP/1.1 (\d+)", answers)] == expected


@pytest.mark.usefixtures("quick_sweeps")
@pytest.mark.parametrize(
    "beginning", [b"GET / HTTP/1.1\r\nX: ", b"POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n"], ids=["head", "body"]
)
def test_a_byte_now_and_then_buys_no_time(beginning: bytes) -> None:
    with serving(replace(ROOMY, head_s=0.3, body_s=0.3)) as server, closing(server.connect()) as peer:
        peer.sendall(beginning)
        while not select.select([peer], [], [], 0.02)[0]:  # the server has not spoken yet
            peer.sendall(b"x")

        assert is_refusal(read_to_end(peer), 408)


@pytest.mark.usefixtures("quick_sweeps")
def test_who_never_takes_his_answer_is_left() -> None:
    with serving(replace(ROOMY, idle_s=0.1)) as server, closing(socket.socket()) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.settimeout(PATIENCE_S)
        peer.connect(("127.0.0.1", server.port))
        peer.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: server.inside() == 1)
        wait_until(lambda: server.inside() == 0)

        assert len(read_to_end(peer)) < 30_000_000


# Too many


@pytest.mark.parametrize("limits", [replace(ROOMY, connections=3), Limits(connections_per_address=3)])
def test_connections_are_capped_and_room_is_made_by_those_who_leave(limits: Limits) -> None:
    """A websocket takes its room too."""
    hello = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving(limits) as server:
        peers = [server.connect() for _ in range(3)]
        upgrade(peers[0])
        for peer in peers[1:]:
            peer.sendall(hello)
            read_head(peer)
        assert is_refusal(server.ask(), 503)
        peers.pop().close()
        wait_until(lambda: server.inside() == 2)
        with closing(server.connect()) as late:
            late.sendall(hello)
            assert status(read_head(late)) == 200
        for peer in peers:
            peer.close()


@pytest.mark.usefixtures("quick_sweeps")
def test_refusals_are_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """One line per kind and sweep, however many were refused."""

    def told() -> list[Any]:
        return [record.args for record in caplog.records if record.name == doorway_module.__name__]

    with caplog.at_level(logging.WARNING, logger=doorway_module.__name__), serving(ROOMY) as server:
        for _ in range(50):
            server.ask(b"nonsense\r\n\r\n")
        wait_until(lambda: sum(times for _, _, times, _ in told()) == 50)
        server.ask(b"POST / HTTP/1.1\r\nContent-Length: 100000000\r\n\r\n")
        wait_until(lambda: len(told()) > 0 and told()[-1][0] == 413)

    assert {(status, reason, address) for status, reason, _, address in told()} == {
        (400, "malformed request", "127.0.0.1"),
        (413, "body too large", "127.0.0.1"),
    }
    assert sum(times for _, _, times, _ in told()) == 51


def test_a_uvicorn_with_other_internals_is_not_served_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(HttpToolsProtocol, "_start_asgi_task")

    with pytest.raises(StartRefused, match=r"^uvicorn \S+ lacks HttpToolsProtocol\._start_asgi_task: .*$"):
        doorway(Limits())


# Raw clients


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
