"""S13: the whole server with TLS, asked over real sockets."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from conformance.peers.patience import PATIENCE_S
from tests.authority import Authority, Pair
from tests.flows.product import BASE, Process, clean_environment, eureka_document, running, wait_until
from tests.flows.test_start import refused
from tests.ports import free_port

MEMORY = ("--store", "memory://")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.pair()


@pytest.fixture(scope="module")
def server(authority: Authority, pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    data_dir = tmp_path_factory.mktemp("server") / "data"
    with running(data_dir, *MEMORY, *pair.flags, trust=authority.trusting()) as server:
        yield server


@pytest.fixture
def http(server: Process) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, verify=server.trust) as http:
        yield http


def test_both_protocols_and_the_dashboard_answer(http: httpx.Client, server: Process) -> None:
    body = {"instance": eureka_document("ORDERS", "o1")}
    assert http.post("/eureka/apps/ORDERS", json=body).status_code == 204
    assert [http.put("/eureka/apps/ORDERS/o1").status_code for _ in range(3)] == [200] * 3  # the lane among them

    found = http.get(f"{BASE}/instances", params={"appId": "eureka", "serviceName": "orders", "version": "0+"})
    assert len(found.json()["instances"]) == 1
    assert f"defaultZone: {server.url}/eureka/" in http.get("/").text


def test_addresses_tell_of_tls(http: httpx.Client, server: Process) -> None:
    """As the original's: a client that finds ServiceCenter's nodes in itself has to know."""
    [itself] = http.get(f"{BASE}/health").json()["instances"]

    assert itself["endpoints"] == [f"rest://127.0.0.1:{server.port}/?sslEnabled=true"]
    assert f"ServiceCenter  {server.url}\n" in server.log.read_text()


def test_a_watch_goes_over_tls(http: httpx.Client, server: Process) -> None:
    service = {"service": {"appId": "a", "serviceName": "watcher", "version": "1.0.0"}}
    service_id = http.post(f"{BASE}/microservices", json=service).json()["serviceId"]
    url = f"wss://127.0.0.1:{server.port}{BASE}/microservices/{service_id}/watcher"

    with connect(url, ssl=server.trust if isinstance(server.trust, ssl.SSLContext) else None) as watch:
        assert watch.ping().wait(PATIENCE_S)


def test_who_sends_too_much_is_still_told_so(server: Process) -> None:
    """And the connection ends in good order, though a part of it was never read."""
    head = b"POST /eureka/apps/ORDERS HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n"
    assert isinstance(server.trust, ssl.SSLContext)
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as plain,
        server.trust.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        secure.sendall(head + b"x" * 200_000)
        told = b"".join(iter(lambda: secure.recv(1000), b""))

    assert told.startswith(b"HTTP/1.1 413 ")
    assert told.endswith(b"body too large")


def test_a_plain_request_on_a_port_with_tls_ends_and_harms_nobody(http: httpx.Client, server: Process) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not plain.recv(100).startswith(b"HTTP/1.1 200")

    assert http.get("/healthz").status_code == 200
    assert "Traceback" not in server.log.read_text()


def test_handshakes_without_an_end_count_as_connections(tmp_path: Path, authority: Authority, pair: Pair) -> None:
    """An event loop's own server let one address have 12,000 of them, and 600 MB."""
    flags = ("--connections-per-address", "4", *MEMORY, *pair.flags)
    with running(tmp_path / "data", *flags, trust=authority.trusting()) as server, ExitStack() as held:
        silent = [held.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(150)]
        wait_until(lambda: sum(map(_is_closed, silent)) >= 150 - 4 - 64)
        assert sum(map(_is_closed, silent)) <= 150 - 60

        for peer in silent:
            peer.close()
        wait_until(lambda: _is_alive(server))


def _is_alive(server: Process) -> bool:
    try:
        return httpx.get(f"{server.url}/healthz", verify=server.trust).status_code == 200
    except httpx.TransportError:  # no place for us yet
        return False


def _is_closed(peer: socket.socket) -> bool:
    peer.setblocking(False)
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_a_stranger_who_trusts_us_not_leaves_no_trace(http: httpx.Client, server: Process) -> None:
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{server.url}/healthz")

    assert http.get("/healthz").status_code == 200
    assert "Traceback" not in server.log.read_text()


def test_a_hello_of_tls_on_a_plain_port_is_refused_at_once(tmp_path: Path, authority: Authority) -> None:
    with running(tmp_path / "data", *MEMORY) as server:
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as plain,
            pytest.raises(ssl.SSLError, match="WRONG_VERSION"),  # an answer in HTTP, not an end without one
        ):
            authority.trusting().wrap_socket(plain, server_hostname="127.0.0.1")

        assert "Traceback" not in server.log.read_text()


def test_one_address_may_stay_plain_while_clients_move(tmp_path: Path, authority: Authority, pair: Pair) -> None:
    port = free_port()
    plain = ("--listen", f"http://127.0.0.1:{port}")
    with running(tmp_path / "data", *MEMORY, *pair.flags, *plain, trust=authority.trusting()) as server:
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        endpoints = httpx.get(f"http://127.0.0.1:{port}{BASE}/health").json()["instances"][0]["endpoints"]

    assert endpoints == [f"rest://127.0.0.1:{server.port}/?sslEnabled=true", f"rest://127.0.0.1:{port}/"]


def test_a_renewed_certificate_is_taken_without_a_restart(tmp_path: Path, authority: Authority) -> None:
    pair, renewed = authority.pair(file="in-use"), authority.pair(file="renewed")
    with running(tmp_path / "data", *MEMORY, *pair.flags, trust=authority.trusting()) as server:
        before = shown(server)
        for file, newer in zip(pair, renewed, strict=True):
            shutil.copy(newer, file)

        wait_until(lambda: shown(server) != before)
        assert "changed certificates are taken" in server.log.read_text()


def shown(server: Process) -> str:
    return ssl.get_server_certificate(("127.0.0.1", server.port))


def test_who_has_no_certificate_of_the_clients_authority_is_refused_before_http(
    tmp_path: Path, authority: Authority, pair: Pair
) -> None:
    theirs = authority.trusting(authority.pair("client"))
    stranger = authority.trusting(Authority(tmp_path / "other").pair("stranger"))
    mutual = ("--tls-client-ca", str(authority.file))
    with running(tmp_path / "data", *MEMORY, *pair.flags, *mutual, trust=theirs) as server:
        for context in (authority.trusting(), stranger):
            with pytest.raises(httpx.TransportError):
                httpx.get(f"{server.url}/healthz", verify=context)

        assert httpx.get(f"{server.url}/healthz", verify=theirs).status_code == 200
        assert "Traceback" not in server.log.read_text()


def test_peers_replicate_over_mutual_tls(tmp_path: Path, authority: Authority, pair: Pair) -> None:
    """Each shows the other its own certificate."""
    trust = authority.trusting(pair)
    flags = (*MEMORY, *pair.flags, "--tls-client-ca", str(authority.file), "--trusted-ca", str(authority.file))
    with running(tmp_path / "one", *flags, trust=trust) as one:
        peer = ("--eureka-peer", f"{one.url}/eureka")
        with running(tmp_path / "two", *flags, *peer, trust=trust) as two, httpx.Client(verify=trust) as http:
            body = {"instance": eureka_document("ORDERS", "o1")}
            assert http.post(f"{two.url}/eureka/apps/ORDERS", json=body).status_code == 204
            wait_until(lambda: http.get(f"{one.url}/eureka/apps/ORDERS/o1").status_code == 200)


def test_a_peer_that_nobody_vouches_for_is_told_of_as_such(tmp_path: Path, authority: Authority, pair: Pair) -> None:
    with running(tmp_path / "one", *MEMORY, *pair.flags, trust=authority.trusting()) as one:
        peer = ("--eureka-peer", f"{one.url}/eureka")
        with running(tmp_path / "two", *MEMORY, *peer) as two:
            wait_until(lambda: "certificate verify failed" in two.log.read_text())
            assert "Traceback" not in two.log.read_text()


def test_the_tools_trust_whom_they_are_told_to(tmp_path: Path, server: Process, authority: Authority) -> None:
    trusting = {"REGISTRY_FACADE_TRUSTED_CA": str(authority.file)}

    assert run("dump", f"{server.url}/eureka").returncode == 2
    dumped = run("dump", f"{server.url}/eureka", **trusting)
    assert dumped.returncode == 0, dumped.stderr
    assert json.loads(dumped.stdout.splitlines()[0])


def test_health_knows_its_own_certificate_by_any_address(tmp_path: Path, authority: Authority) -> None:
    """A container asks itself on loopback, and the certificate names the host for clients."""
    pair = authority.pair("registry.example")
    blind = ssl.create_default_context(cafile=authority.file)
    blind.check_hostname = False
    mutual = ("--tls-client-ca", str(authority.file))
    with running(tmp_path / "data", *MEMORY, *pair.flags, *mutual, trust=_showing(blind, pair)) as server:
        own = {
            "REGISTRY_FACADE_LISTEN": f"127.0.0.1:{server.port}",
            "REGISTRY_FACADE_TLS_CERTIFICATE": str(pair.certificate),
            "REGISTRY_FACADE_TLS_KEY": str(pair.key),
        }
        assert run("health", **own).returncode == 0
        stranger = authority.pair("elsewhere")
        assert run("health", **own | {
            "REGISTRY_FACADE_TLS_CERTIFICATE": str(stranger.certificate),
            "REGISTRY_FACADE_TLS_KEY": str(stranger.key),
        }).returncode == 1  # fmt: skip


def _showing(context: ssl.SSLContext, pair: Pair) -> ssl.SSLContext:
    context.load_cert_chain(*pair)
    return context


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "facade", *command],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=clean_environment() | variables,
    )


# Refused at the start


def test_what_is_wrong_with_the_files_is_one_line(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    expired, stranger = authority.pair(days=-1), authority.pair("localhost")
    nowhere = tmp_path / "nowhere.pem"

    assert "certificate has expired" in refused(*MEMORY, *expired.flags)
    assert f"cannot read {nowhere}" in refused(*MEMORY, "--tls-certificate", str(nowhere))
    assert "is not that of" in refused(*MEMORY, *Pair(pair.certificate, stranger.key).flags)
    assert f"trusted_ca: cannot read {nowhere}" in refused(*MEMORY, "--trusted-ca", str(nowhere))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_key_that_may_not_be_read_is_named(authority: Authority) -> None:
    closed = authority.pair(file="closed")
    closed.key.chmod(0)

    assert f"cannot read {closed.key}: Permission denied" in refused(*MEMORY, *closed.flags)


def test_tls_that_was_asked_for_and_has_no_certificate_is_refused(pair: Pair) -> None:
    """Nobody is to be served in the clear who asked for more."""
    for flags in (("--tls-key", str(pair.key)), ("--tls-client-ca", "x"), ("--listen", "https://127.0.0.1:0")):
        assert "name one with --tls-certificate" in refused(*MEMORY, *flags)
