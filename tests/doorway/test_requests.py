"""What ordinary clients send, and what they get; websockets too."""

import re
from contextlib import closing
from dataclasses import replace

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from facade.doorway import hall
from facade.doorway.connection import doorway
from facade.doorway.hall import Limits
from facade.doorway.spelling import spelt
from facade.errors import StartRefused
from tests.doorway.serving import (
    ROOMY,
    Server,
    body,
    field_of,
    is_refusal,
    read_head,
    read_to_end,
    say,
    serving,
    status,
    upgrade,
    wait_until,
)


def test_a_uvicorn_with_other_internals_is_not_served_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(HttpToolsProtocol, "_start_asgi_task")

    with pytest.raises(StartRefused, match=r"^uvicorn \S+ lacks HttpToolsProtocol\._start_asgi_task: .*$"):
        doorway(Limits())


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


@pytest.mark.parametrize("good", [1, 2, 3])
@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"POST /bad HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n", id="unknown transfer encoding"),
        pytest.param(b"POST /bad HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n", id="broken chunk"),
        pytest.param(b"no request\r\n\r\n", id="no request"),
    ],
)
def test_requests_before_a_bad_one_are_answered(server: Server, good: int, bad: bytes) -> None:
    """In one segment with it; the last answer ends the connection."""
    requests = [b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(good)]

    answers = server.ask(b"".join(requests) + bad)

    assert re.findall(rb"X-Asked: (.*)\r\n", answers) == [b"GET /%d" % number for number in range(good)]
    assert answers.count(b"HTTP/1.1 ") == good


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
    with serving(replace(ROOMY, head_s=1.5, body_s=1.5, idle_s=1.5)) as server:
        with closing(server.connect()) as watcher:
            upgrade(watcher)
            with closing(server.connect()) as bystander:
                assert read_to_end(bystander) == b""
            assert say(watcher, b"still here") == b"still here"
            assert server.inside() == 1
        wait_until(lambda: server.inside() == 0)


def test_the_place_of_a_websocket_is_free_as_soon_as_it_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the next sweep: go-chassis dials a refused watch again at once, and would fill its host's places."""
    monkeypatch.setattr(hall, "SWEEP_S", 3_600)
    with serving(replace(ROOMY, connections_per_address=1)) as server:
        with closing(server.connect()) as watcher:
            upgrade(watcher)
        wait_until(lambda: server.inside() == 0)


def test_an_upgrade_with_a_body_is_refused(server: Server) -> None:
    answer = server.ask(
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nok"
    )

    assert is_refusal(answer, 400)
