"""Too much, too slow, too many: what one peer may cost us."""

import logging
import re
import select
import socket
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

import pytest

from facade.doorway import hall
from facade.doorway.connection import LINGER_BYTES
from facade.doorway.hall import Limits
from tests.doorway.serving import (
    PATIENCE_S,
    ROOMY,
    Server,
    body,
    is_refusal,
    push,
    read_head,
    read_to_end,
    serving,
    status,
    upgrade,
    wait_until,
)

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
    with serving(replace(ROOMY, head_s=1.5, body_s=1.5, idle_s=1.5), loop) as server:
        answers = server.ask(beginning)

    assert [int(number) for number in re.findall(rb"HTTP/1.1 (\d+)", answers)] == expected


@pytest.mark.usefixtures("quick_sweeps")
@pytest.mark.parametrize(
    "beginning", [b"GET / HTTP/1.1\r\nX: ", b"POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n"], ids=["head", "body"]
)
def test_a_byte_now_and_then_buys_no_time(beginning: bytes) -> None:
    with serving(replace(ROOMY, head_s=1.5, body_s=1.5)) as server, closing(server.connect()) as peer:
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
        wait_until(lambda: server.bytes_taken > 0)
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
        return [record.args for record in caplog.records if record.name == hall.__name__]

    with caplog.at_level(logging.WARNING, logger=hall.__name__), serving(ROOMY) as server:
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
