"""What is malformed, or meant to be read in two ways: one refusal, and the end of the connection."""

import logging
import re
from contextlib import closing

import pytest

from facade.doorway import connection
from tests.doorway.serving import ROOMY, Server, field_of, is_refusal, read_to_end, serving, status, wait_until

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


@pytest.mark.usefixtures("quick_sweeps")
@pytest.mark.parametrize("refused", ["no HTTP", "a chunk size that is none"])
def test_who_is_refused_and_stays_is_left(refused: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LINGER_S", 0.05)
    with serving(ROOMY) as server, closing(server.connect()) as peer:
        peer.sendall(MALFORMED[refused])
        assert is_refusal(read_to_end(peer), 400)
        wait_until(lambda: server.inside() == 0)
