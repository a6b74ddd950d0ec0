"""The Eureka server under test, and servers with special settings where a case asks for them."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import httpx
import pytest

from conformance.conftest import RanAgainst, StartOurs
from conformance.eureka.client import Eureka
from conformance.eureka.differences import BY_CASE
from conformance.peers.patience import PATIENCE_S
from conformance.peers.processes import Processes, Running
from conformance.peers.processes import eureka as real_eureka

# Our settings, and the profile of the real server that means the same (peers/eureka/src/main/resources).
_PROFILES: dict[tuple[str, object], str] = {
    ("eureka_read_gate_s", 600): "gated",
    ("eureka_disable_delta", True): "no-delta",
    ("eureka_sync_when_timestamp_differs", False): "timestamps-ignored",
    ("eureka_delta_window_s", 2): "short-delta",
    ("self_preservation", True): "self-preserving",
    ("eviction_interval_s", 3600): "unswept",
}

# What the fixtures below are, for the signatures of tests.
Expected = Callable[..., Any]
Refused = Callable[[httpx.Response, int], None]
ServerWith = Callable[..., Running]
ClientOf = Callable[[Running | str], Eureka]

T = TypeVar("T")


@pytest.fixture(scope="session")
def expected(eureka_kind: str) -> Expected:
    """`expected(case, ours=…, real=…)`: what the server under test should do where we mean to differ from the original.

    Every case asked for here has its line in `differences.py`.
    """

    def choose(case: int, *, ours: T, real: T) -> T:
        assert case in BY_CASE, f"case {case} has no line in differences.py"
        return ours if eureka_kind == "ours" else real

    return choose


@pytest.fixture(scope="session")
def refused(eureka_kind: str) -> Refused:
    """`refused(answer, status)`: an error without anything to say. Ours is empty (case 25)."""

    def check(answer: httpx.Response, status: int) -> None:
        assert answer.status_code == status, answer.text
        if eureka_kind == "ours":
            assert (answer.content, answer.headers.get("content-length")) == (b"", "0")
        elif answer.headers.get("content-type") == "application/json":
            assert json.loads(answer.content)["status"] == status

    return check


@pytest.fixture(scope="session")
def start_real(processes: Processes, free_port: Callable[[], int]) -> Callable[[str], Running]:
    """`start_real(profiles)` starts the original, built when first needed."""

    def start(profiles: str) -> Running:
        program = real_eureka(free_port(), profiles)
        # Its page for people answers in every profile; the list of applications may be gated.
        return processes.start(replace(program, ready="/"))

    return start


@pytest.fixture(scope="session")
def start_eureka(eureka_kind: str, start_ours: StartOurs, start_real: Callable[[str], Running]) -> ServerWith:
    """`start_eureka(setting=value, …)` starts an empty server of the kind under test."""

    def start(**settings: object) -> Running:
        if eureka_kind == "ours":
            return start_ours(**settings)
        return start_real(",".join(["conformance", *(_PROFILES[setting] for setting in settings.items())]))

    return start


@pytest.fixture(scope="session")
def server_with(start_eureka: ServerWith) -> ServerWith:
    """As `start_eureka`, but the same server is given to all who ask for the same settings: they leave it empty."""
    servers: dict[frozenset[tuple[str, object]], Running] = {}

    def find_or_start(**settings: object) -> Running:
        key = frozenset(settings.items())
        if key not in servers:
            servers[key] = start_eureka(**settings)
        return servers[key]

    return find_or_start


@pytest.fixture(scope="session")
def eureka_url(
    request: pytest.FixtureRequest, eureka_kind: str, shared_ours: Callable[[], str], ran_against: RanAgainst
) -> str:
    """Where the Eureka server under test answers, without a path."""
    given: str | None = request.config.getoption("--eureka")
    ran_against("eureka", f"{given} ({eureka_kind})" if given else eureka_kind)
    if given:
        return given.rstrip("/")
    if eureka_kind == "ours":
        return shared_ours()
    server_with: ServerWith = request.getfixturevalue("server_with")
    return server_with().url


@pytest.fixture(params=["/eureka", "/eureka/v2"], ids=["eureka", "v2"])
def base(request: pytest.FixtureRequest) -> str:
    """The API's base: every case holds under both."""
    return str(request.param)


@pytest.fixture
def eureka(eureka_url: str, base: str) -> Iterator[Eureka]:
    """The server under test; what a test registers through it is gone afterwards."""
    client = Eureka(eureka_url, base)
    yield client
    client.close()


@pytest.fixture
def one_node(request: pytest.FixtureRequest, eureka: Eureka, client_of: ClientOf) -> Eureka:
    """The server under test; of a cluster one node, for what no other knows: when somebody renewed last, say."""
    if request.config.getoption("--nodes") == 1:
        return eureka
    node = next(iter(request.getfixturevalue("balancer").connections))
    client = client_of(node)
    client.base = eureka.base
    return client


@pytest.fixture
def client_of() -> Iterator[ClientOf]:
    """A client for a server with special settings; cleans up like `eureka`."""
    clients: list[Eureka] = []

    def connect(server: Running | str) -> Eureka:
        clients.append(Eureka(server if isinstance(server, str) else server.url))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def empty_eureka(eureka: Eureka, server_with: ServerWith, client_of: ClientOf) -> Eureka:
    """A server where nobody is registered: the one under test if that is so, else one started for it."""
    if not eureka.registry()["application"]:
        return eureka
    client = client_of(server_with())
    client.base = eureka.base
    return client


@pytest.fixture
def app() -> str:
    """The name of an application that nobody else uses; the cases call it A."""
    return f"CASE-{uuid.uuid4().hex[:8].upper()}"


def wait_until(is_so: Callable[[], bool], *, within_s: float = PATIENCE_S) -> None:
    """Wait for something that the server does by itself; fails when it does not happen in time."""
    give_up_at = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < give_up_at, f"did not happen within {within_s} s"
        time.sleep(0.1)
