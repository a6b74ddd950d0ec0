"""Access control of a server that runs: what it remembers, what it keeps, what it tells, and whom it calls."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import uuid
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from conformance.peers.patience import PATIENCE_S
from tests.ports import free_port

from .product import BASE, Process, eureka_document, running, wait_until

ROOT_PASSWORD = "Pl4nted-root-secret"
PASSWORD = "Pl4nted-user-secret"
ROOT = ("root", ROOT_PASSWORD)
RENEWALS = 100


@pytest.fixture(scope="module", autouse=True)
def root_password() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SC_INIT_ROOT_PASSWORD", ROOT_PASSWORD)
        yield


@pytest.fixture(scope="module", params=[(), ("--no-lane",)], ids=["lane", "no-lane"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with running(tmp_path_factory.mktemp("access") / "data", "--auth", *request.param) as process:
        yield process


@pytest.fixture
def name() -> str:
    """Of an account that no other test has."""
    return f"anna-{uuid.uuid4().hex[:8]}"


def account(server: Process, name: str, role: str = "developer") -> None:
    body = {"name": name, "password": PASSWORD, "roles": [role]}
    httpx.post(f"{server.url}/v4/accounts", json=body, auth=ROOT).raise_for_status()


def register(server: Process, application: str = "ORDERS", instance_id: str = "orders-1") -> None:
    document = eureka_document(application, instance_id)
    path = f"{server.url}/eureka/apps/{application}"
    httpx.post(path, json={"instance": document}, auth=ROOT).raise_for_status()


def register_servicecenter(server: Process) -> str:
    service = {"serviceName": "stock", "appId": "shop", "version": "1.0.0"}
    answer = httpx.post(f"{server.url}{BASE}/microservices", json={"service": service}, auth=ROOT)
    service_id = str(answer.json()["serviceId"])
    instance = {"hostName": "h", "endpoints": ["rest://10.0.0.9:80"], "instanceId": "stock-1"}
    path = f"{server.url}{BASE}/microservices/{service_id}/instances"
    httpx.post(path, json={"instance": instance}, auth=ROOT).raise_for_status()
    return service_id


def token(server: Process, name: str) -> str:
    answer = httpx.post(f"{server.url}/v4/token", json={"name": name, "password": PASSWORD})
    return str(answer.json()["token"])


class Raw:
    """One connection that sends the same bytes again and again, as a client does that renews."""

    def __init__(self, server: Process, request_line: str, authorization: str) -> None:
        self._head = f"{request_line} HTTP/1.1\r\nHost: h\r\nAuthorization: {authorization}\r\n\r\n".encode()
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def status(self) -> int:
        self._socket.sendall(self._head)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._socket.recv(65_536)
        head, _, body = answer.partition(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        missing = int(lengths[0].split(b":")[1]) - len(body) if lengths else 0
        while missing > 0:
            missing -= len(self._socket.recv(65_536))
        return int(answer.split(b" ")[1])


def basic(name: str) -> str:
    return f"Basic {b64encode(f'{name}:{PASSWORD}'.encode()).decode()}"


def end_account(server: Process, name: str) -> None:
    httpx.delete(f"{server.url}/v4/accounts/{name}", auth=ROOT).raise_for_status()


def take_role(server: Process, name: str) -> None:
    role = {"name": "accountant", "perms": [{"resources": [{"type": "account"}], "verbs": ["get"]}]}
    httpx.post(f"{server.url}/v4/roles", json=role, auth=ROOT)
    changed = httpx.put(f"{server.url}/v4/accounts/{name}", json={"roles": ["accountant"]}, auth=ROOT)
    changed.raise_for_status()


def set_password(server: Process, name: str) -> None:
    path = f"{server.url}/v4/accounts/{name}/password"
    httpx.post(path, json={"password": "An0ther-password"}, auth=ROOT).raise_for_status()


@pytest.mark.parametrize(
    ("change", "with_password", "with_token"),
    [(end_account, 401, 401), (take_role, 403, 403), (set_password, 401, 200)],
)
def test_what_is_remembered_of_a_client_is_void_when_its_account_changes(
    server: Process, name: str, change: Any, with_password: int, with_token: int
) -> None:
    """The lane answers a head that it knows without parsing it; so it has to be looked at each time."""
    account(server, name)
    register(server)
    service_id = register_servicecenter(server)
    beat = f"PUT {BASE}/microservices/{service_id}/instances/stock-1/heartbeat"
    find = f"GET {BASE}/instances?appId=shop&serviceName=stock&version=0%2B"
    lines = ("PUT /eureka/apps/ORDERS/orders-1", "GET /eureka/apps", beat, find)
    bearer = f"Bearer {token(server, name)}"
    asked = [(line, who) for line in lines for who in (basic(name), bearer)]
    clients = [Raw(server, line, who) for line, who in asked]
    try:
        for _ in range(5):
            assert [client.status() for client in clients] == [200] * len(clients)

        change(server, name)

        for _ in range(3):
            for client, (line, who) in zip(clients, asked, strict=True):
                if who.startswith("Basic"):
                    assert client.status() in (with_password, 403), line  # the fourth of them is locked out
                else:
                    assert client.status() == with_token, line
    finally:
        for client in clients:
            client.__exit__()


def test_a_client_comes_back_once_it_may_again(server: Process, name: str) -> None:
    account(server, name)
    register(server)
    with Raw(server, "PUT /eureka/apps/ORDERS/orders-1", basic(name)) as client:
        assert client.status() == 200
        take_role(server, name)
        assert client.status() == 403
        httpx.put(f"{server.url}/v4/accounts/{name}", json={"roles": ["developer"]}, auth=ROOT).raise_for_status()
        assert [client.status() for _ in range(3)] == [200] * 3


def test_accounts_and_tokens_outlive_a_restart(tmp_path: Path) -> None:
    with running(tmp_path / "data", "--auth") as server:
        account(server, "anna")
        bearer = token(server, "anna")
        server.kill()
    with running(tmp_path / "data", "--auth") as server:
        answer = httpx.get(f"{server.url}{BASE}/microservices", headers={"Authorization": f"Bearer {bearer}"})
        assert answer.status_code == 200
        assert httpx.get(f"{server.url}/eureka/apps", auth=("anna", PASSWORD)).status_code == 200


def test_the_first_password_is_where_the_log_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SC_INIT_ROOT_PASSWORD")
    with running(tmp_path / "data", "--auth") as server:
        place = tmp_path / "data" / "root-password"
        assert str(place) in server.log.read_text()
        password = place.read_text().strip()
        assert password not in server.log.read_text()
        assert httpx.get(f"{server.url}/v4/accounts", auth=("root", password)).status_code == 200


def test_a_readable_key_stops_the_start_with_one_line(tmp_path: Path) -> None:
    with running(tmp_path / "data", "--auth"):
        pass
    (tmp_path / "data" / "signing-key.pem").chmod(0o644)
    refused = Process(tmp_path / "data", "--auth")

    assert refused.popen.wait(PATIENCE_S) == 2
    said = refused.log.read_text()
    assert "chmod 600" in said and "Traceback" not in said


def test_with_auth_the_open_network_is_no_reason_to_warn(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path / "data", "--auth", "--listen", f"0.0.0.0:{port}") as server:
        assert "WITHOUT AUTHENTICATION" not in server.log.read_text()


def test_a_handshake_without_a_token_is_401(server: Process) -> None:
    """B35: the original answers 200, with nothing in it."""
    service_id = register_servicecenter(server)
    url = f"ws://127.0.0.1:{server.port}{BASE}/microservices/{service_id}"
    for path in ("watcher", "instances/stock-1/heartbeat"):
        with pytest.raises(InvalidStatus) as refused:
            connect(f"{url}/{path}", proxy=None)
        assert refused.value.response.status_code == 401
        assert json.loads(refused.value.response.body or b"{}")["errorCode"] == "401204"


def test_a_watcher_is_told_of_what_it_may_see_and_of_nothing_when_it_may_nothing(server: Process, name: str) -> None:
    """Quality S9: events pass the same filter as reads."""
    url = f"{server.url}{BASE}"

    def create(name: str) -> str:
        service = {"serviceName": name, "appId": "shop", "version": "1.0.0"}
        return str(httpx.post(f"{url}/microservices", json={"service": service}, auth=ROOT).json()["serviceId"])

    def enter(service_id: str, instance_id: str) -> None:
        instance = {"hostName": "h", "endpoints": ["rest://10.0.0.9:80"], "instanceId": instance_id}
        path = f"{url}/microservices/{service_id}/instances"
        httpx.post(path, json={"instance": instance}, auth=ROOT).raise_for_status()

    web, stock, vault = create("web"), create("stock"), create("vault")
    for provider in ("stock", "vault"):
        query = {"appId": "shop", "serviceName": provider, "version": "0+"}
        httpx.get(f"{url}/instances", params=query, headers={"X-ConsumerId": web}, auth=ROOT).raise_for_status()
    labels = [{"type": "service", "labels": {"serviceName": name}} for name in ("web", "stock")]
    role = {"name": "web", "perms": [{"resources": labels, "verbs": ["get"]}]}
    httpx.post(f"{server.url}/v4/roles", json=role, auth=ROOT).raise_for_status()
    account(server, name, "web")
    watcher = f"ws://127.0.0.1:{server.port}{BASE}/microservices/{web}/watcher"
    bearer = {"Authorization": f"Bearer {token(server, name)}"}
    with connect(watcher, additional_headers=bearer, proxy=None) as watching:
        enter(vault, "vault-9")
        enter(stock, "stock-9")
        told = json.loads(watching.recv(PATIENCE_S))
        assert told["key"]["serviceName"] == "stock"

        end_account(server, name)
        enter(stock, "stock-10")
        with pytest.raises(Exception, match="close"):
            watching.recv(PATIENCE_S)


def test_no_secret_is_told_anywhere(tmp_path: Path) -> None:
    """Quality S14."""
    peer = "http://jack:Pl4nted-peer@127.0.0.1:1/eureka"  # where nobody listens
    with running(tmp_path / "data", "--auth", "--log-level", "debug", "--eureka-peer", peer) as server:
        account(server, "anna")
        register(server)
        for path in ("/metrics", "/readyz"):
            assert "http://127.0.0.1:1/eureka" in httpx.get(f"{server.url}{path}").text
        bearer = token(server, "anna")
        told = [
            httpx.get(f"{server.url}{path}", auth=ROOT).text
            for path in ("/", "/lastn", "/metrics", "/readyz", "/v4/accounts", "/v4/accounts/anna", "/v4/roles")
        ]
        told.append(httpx.get(f"{server.url}/v4/default/admin/dump?options=all", auth=ROOT).raise_for_status().text)
        place = f"servicecenter+http://root:{quote(ROOT_PASSWORD)}@127.0.0.1:{server.port}"
        dump = [sys.executable, "-m", "facade", "dump", place]
        dumped = subprocess.run(dump, capture_output=True, text=True, timeout=PATIENCE_S)
        assert dumped.returncode == 0, dumped.stderr
        told.append(dumped.stdout + dumped.stderr)
        for wrong in ("Wr0ng-planted-secret", "short"):
            told.append(httpx.post(f"{server.url}/v4/token", json={"name": "anna", "password": wrong}).text)
            told.append(httpx.get(f"{server.url}/eureka/apps", auth=("otto", wrong)).text)
            told.append(httpx.get(f"{server.url}{BASE}/microservices", auth=("otto", wrong)).text)
        headers = {"Authorization": f"Bearer {bearer}x"}
        told.append(httpx.get(f"{server.url}{BASE}/microservices", headers=headers).text)
        body = {"currentPassword": "Wr0ng-planted-secret", "password": "N3w-planted-secret"}
        told.append(httpx.post(f"{server.url}/v4/accounts/root/password", json=body, auth=ROOT).text)
        told.append(server.log.read_text())

    everything = "\n".join(told)
    key = (tmp_path / "data" / "signing-key.pem").read_text().splitlines()
    for secret in ("Pl4nted", "Wr0ng", "N3w-planted", bearer[-40:], "argon2", "PRIVATE KEY", key[1], key[-2]):
        assert secret not in everything, secret
    assert b"Pl4nted" not in b"".join(file.read_bytes() for file in (tmp_path / "data").iterdir())


def test_while_somebody_guesses_renewals_are_answered(tmp_path: Path) -> None:
    """Quality S21, small: the names differ, so each guess is hashed."""
    with running(tmp_path / "data", "--auth") as server:
        account(server, "anna")
        register(server)
        over = threading.Event()
        guessed = count()

        def guess() -> None:
            with httpx.Client() as http:
                for number in range(10_000):
                    if over.is_set():
                        return
                    http.get(f"{server.url}/eureka/apps", auth=(f"n{number}-{threading.get_ident()}", "guess"))
                    next(guessed)

        guessers = [threading.Thread(target=guess) for _ in range(4)]
        for guesser in guessers:
            guesser.start()
        with Raw(server, "PUT /eureka/apps/ORDERS/orders-1", basic("anna")) as client:
            assert client.status() == 200
            before = next(guessed)
            assert [client.status() for _ in range(RENEWALS)] == [200] * RENEWALS
            meanwhile = next(guessed) - before
        over.set()
        for guesser in guessers:
            guesser.join()

    # One that waited for its turn among the hashes would see some of them answered before it.
    assert meanwhile < RENEWALS


@pytest.mark.parametrize("scheme", ["eureka", "servicecenter"])
def test_a_server_of_ours_stands_behind_another_one_with_an_account(tmp_path: Path, scheme: str) -> None:
    """The store URLs with credentials; nothing of them is told by the one in front."""
    with running(tmp_path / "behind", "--auth", "--no-self-preservation") as behind:
        path = "/eureka" if scheme == "eureka" else ""
        quoted = PASSWORD.replace("-", "%2D")
        store = f"{scheme}+http://anna:{quoted}@127.0.0.1:{behind.port}{path}"
        account(behind, "anna")
        register(behind)
        with running(tmp_path / "front", "--store", store, "--log-level", "debug") as front:
            wait_until(lambda: "orders-1" in httpx.get(f"{front.url}/eureka/apps").text)
            document = eureka_document("WEB", "web-1")
            httpx.post(f"{front.url}/eureka/apps/WEB", json={"instance": document}).raise_for_status()
            told = front.log.read_text() + "".join(
                httpx.get(f"{front.url}{page}").text for page in ("/", "/metrics", "/readyz", "/eureka/status")
            )
        assert "web-1" in httpx.get(f"{behind.url}/eureka/apps", auth=ROOT).text
    assert "Pl4nted" not in told and quoted not in told


def test_peers_replicate_with_an_account(tmp_path: Path) -> None:
    with running(tmp_path / "one", "--auth") as one:
        account(one, "anna")
        peer = f"http://anna:{PASSWORD}@127.0.0.1:{one.port}/eureka"
        with running(tmp_path / "two", "--auth", "--eureka-peer", peer) as two:
            register(two, "WEB", "web-1")
            wait_until(lambda: "web-1" in httpx.get(f"{one.url}/eureka/apps", auth=ROOT).text)
            told = two.log.read_text() + "".join(
                httpx.get(f"{two.url}{page}", auth=ROOT).text for page in ("/", "/metrics", "/readyz", "/eureka/status")
            )
    assert "Pl4nted" not in told


def test_the_health_command_needs_no_account(tmp_path: Path) -> None:
    import subprocess
    import sys

    with running(tmp_path / "data", "--auth") as server:
        command = [sys.executable, "-m", "facade", "health", "--url", server.url]
        assert subprocess.run(command, env=os.environ, capture_output=True, check=False).returncode == 0


def test_closing_waits_for_nothing(tmp_path: Path) -> None:
    """The threads that hash hold nobody up."""
    with running(tmp_path / "data", "--auth") as server, closing(httpx.Client()) as http:
        http.get(f"{server.url}/eureka/apps", auth=("nobody", "x"))
        server.popen.terminate()
        assert server.popen.wait(PATIENCE_S) == 0
