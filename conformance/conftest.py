"""Which servers the suites ask: the ones given by URL, or a server of ours started for the session.

Where a case says that we mean to differ from the real server, it asserts ours or theirs by the kind
(`--eureka-kind`, `--servicecenter-kind`): the same cases check our server and check themselves against the real one.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from conformance.peers.processes import Processes, Program, Running, etcd, facade, servicecenter

# Helpers whose asserts explain themselves.
pytest.register_assert_rewrite(
    "conformance.servicecenter.asking", "conformance.backing.setups", "conformance.backing.clients"
)

# Waiting cases wait for the sweep and for nothing else; lapsed leases go although few instances renew here.
FAST_SETTINGS: dict[str, object] = {"eviction_interval_s": 1, "self_preservation": False}

StartOurs = Callable[..., Running]
RanAgainst = Callable[[str, str], None]

_RAN = pytest.StashKey[dict[tuple[str, str], None]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    for protocol in ("eureka", "servicecenter"):
        group.addoption(f"--{protocol}", metavar="URL", help=f"the {protocol} server to ask (default: start one)")
        group.addoption(
            f"--{protocol}-kind", choices=("ours", "real"), default="ours", help="whose behaviour to expect of it"
        )
    group.addoption(
        "--store", metavar="URL", default="memory://", help="where servers of ours keep registrations (default: memory)"
    )
    group.addoption("--minutes", type=float, help="how long to compare random traces (default: 10 000 operations)")
    group.addoption("--seed", type=int, help="which random traces to compare (default: others each time)")
    group.addoption(
        "--ports-from", type=int, metavar="PORT", help="give servers started here ports from PORT on (default: any)"
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which servers were asked: a run without the originals is green, too, and tells less."""
    terminalreporter.section("what ran against which server")
    for suite, server in config.stash.get(_RAN, {}):
        terminalreporter.line(f"{suite}: {server}")
    if not os.environ.get("SERVICECENTER_BIN"):
        terminalreporter.line("no real ServiceCenter: no registry has one, and SERVICECENTER_BIN names none")


@pytest.fixture(scope="session")
def ran_against(request: pytest.FixtureRequest) -> RanAgainst:
    """`ran_against(suite, server)` has it told at the end of the run."""
    ran = request.config.stash.setdefault(_RAN, {})

    def note(suite: str, server: str) -> None:
        ran[suite, server] = None

    return note


@pytest.fixture(scope="session")
def free_port(request: pytest.FixtureRequest) -> Callable[[], int]:
    """Gives a port of 127.0.0.1 that nobody listens on, a new one with each call."""
    first: int | None = request.config.getoption("--ports-from")
    # Below the range from which systems take ports for outgoing connections (Linux: from 32768): nobody takes one
    # between this look and the start of a program. Tens only: some programs take ports right after the one given.
    candidates = iter(range(first, first + 1000) if first else random.sample(range(20_000, 32_000, 10), 1200))

    def next_free_port() -> int:
        for port in candidates:
            with socket.socket() as probe, suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
        raise RuntimeError("no free port is left")

    return next_free_port


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Runs the servers that this session starts, and stops them at its end."""
    with Processes(tmp_path_factory.mktemp("servers")) as processes:
        yield processes


@pytest.fixture(scope="session")
def ours_program(request: pytest.FixtureRequest) -> Callable[..., Program]:
    """`ours_program(port, setting=value, …)` is a server of ours with an empty registry, to be started."""

    def program(port: int, **settings: object) -> Program:
        return facade([port], _as_text(FAST_SETTINGS | settings), [request.config.getoption("--store")])

    return program


@pytest.fixture(scope="session")
def start_ours(processes: Processes, free_port: Callable[[], int], ours_program: Callable[..., Program]) -> StartOurs:
    """`start_ours(setting=value, …)` starts a server of ours with an empty registry."""
    return lambda **settings: processes.start(ours_program(free_port(), **settings))


@pytest.fixture(scope="session")
def shared_ours(start_ours: StartOurs) -> Callable[[], Running]:
    """Our server for all suites of this session, started when first asked for."""
    servers: list[Running] = []

    def shared() -> Running:
        if not servers:
            servers.append(start_ours())
        return servers[0]

    return shared


@pytest.fixture(scope="session")
def servicecenter_kind(request: pytest.FixtureRequest) -> str:
    """Whose behaviour is expected of the ServiceCenter: "ours" or "real"."""
    return str(request.config.getoption("--servicecenter-kind"))


@pytest.fixture(scope="session")
def servicecenter_url(
    request: pytest.FixtureRequest,
    servicecenter_kind: str,
    shared_ours: Callable[[], Running],
    processes: Processes,
    free_port: Callable[[], int],
    ran_against: RanAgainst,
) -> str:
    """Where the ServiceCenter under test answers, without a path. A real one is started where SERVICECENTER_BIN is."""
    given: str | None = request.config.getoption("--servicecenter")
    ran_against("servicecenter", f"{given} ({servicecenter_kind})" if given else servicecenter_kind)
    if given:
        return given.rstrip("/")
    if servicecenter_kind == "ours":
        return shared_ours().url
    store = processes.start(etcd(free_port()))
    return processes.start(servicecenter(free_port(), store.url)).url


@pytest.fixture(scope="session")
def eureka_kind(request: pytest.FixtureRequest) -> str:
    """Whose behaviour is expected of the Eureka server: "ours" or "real"."""
    return str(request.config.getoption("--eureka-kind"))


def _as_text(settings: dict[str, object]) -> dict[str, str]:
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in settings.items()}
