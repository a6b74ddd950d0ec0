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
from dataclasses import replace
from typing import NoReturn

import pytest

from conformance.peers.balancer import Balancer
from conformance.peers.builds import MissingToolError
from conformance.peers.cluster import Cluster
from conformance.peers.patience import be_patient
from conformance.peers.processes import Processes, Program, Running, etcd, facade, servicecenter
from conformance.peers.redis import Alone

be_patient()

# Helpers whose asserts explain themselves.
pytest.register_assert_rewrite(
    "conformance.servicecenter.asking", "conformance.backing.setups", "conformance.backing.clients"
)

# Waiting cases wait for the sweep and for nothing else; lapsed leases go although few instances renew here.
FAST_SETTINGS: dict[str, object] = {"eviction_interval_s": 1, "self_preservation": False}

SEED = 849323
"""Of random traces, unless another is asked for. The same each time: a run should fail by what was changed, and not by
what was drawn. `make conformance-full` draws, and prints what it drew. This one meets the caches of case 97."""

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
    group.addoption(
        "--nodes",
        type=int,
        default=1,
        help="servers of ours over one Redis, behind a load balancer, in place of the shared one (default: 1, without)",
    )
    group.addoption(
        "--minutes",
        type=float,
        help="how long to compare random traces (default: 10 000 operations), to let a mixed fleet live (default: 1)",
    )
    group.addoption("--changes", type=int, default=200, help="of which 200 watchers are told (default: 200)")
    group.addoption(
        "--faults",
        choices=("short", "full"),
        default="short",
        help="how often and how long the parts of a cluster fail (default: short)",
    )
    group.addoption(
        "--seed",
        type=int,
        help=f"which random traces to compare (default: {SEED}, with --minutes one drawn seed after the other)",
    )
    group.addoption(
        "--ports-from", type=int, metavar="PORT", help="give servers started here ports from PORT on (default: any)"
    )


def skip_without(missing: MissingToolError) -> NoReturn:
    """A machine without that tool may go on, but not CI, which installs what can be installed."""
    if os.environ.get("CI"):
        pytest.fail(str(missing), pytrace=False)
    pytest.skip(str(missing))


def seeds(config: pytest.Config) -> Iterator[int]:
    """Which random traces to compare, one seed after the other: a single one, or drawn ones for as long as is asked."""
    given: int | None = config.getoption("--seed")
    if given is not None or not config.getoption("--minutes"):
        yield SEED if given is None else given
        return
    while True:
        yield random.randrange(1_000_000)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which servers were asked: a run without the originals is green, too, and tells less."""
    terminalreporter.section("what ran against which server")
    for suite, server in config.stash.get(_RAN, {}):
        terminalreporter.line(f"{suite}: {server}")
    is_given = config.getoption("--servicecenter-kind") == "real" and config.getoption("--servicecenter")
    if not os.environ.get("SERVICECENTER_BIN") and not is_given:
        terminalreporter.line(
            "no real ServiceCenter, kept traces only: no registry has one, and SERVICECENTER_BIN names none"
        )


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
    # between this look and the start of a program. Never two neighbours: some programs take the port after theirs, too.
    candidates = iter(range(first, first + 2000, 2) if first else random.sample(range(20_000, 32_000, 2), 6000))

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
def shared_ours(request: pytest.FixtureRequest, start_ours: StartOurs) -> Callable[[], str]:
    """The URL of our server for all suites of this session, started when first asked for; with --nodes a cluster."""
    urls: list[str] = []

    def shared() -> str:
        if not urls:
            is_cluster = request.config.getoption("--nodes") > 1
            urls.append(request.getfixturevalue("balancer").url if is_cluster else start_ours().url)
        return urls[0]

    return shared


@pytest.fixture(scope="session")
def balancer(
    request: pytest.FixtureRequest, processes: Processes, free_port: Callable[[], int], ran_against: RanAgainst
) -> Iterator[Balancer]:
    """Stands before the nodes of a cluster: each connection is for the next of them."""
    many: int = request.config.getoption("--nodes")
    cluster = Cluster(processes, free_port, redis=Alone(processes, free_port), settings=_as_text(FAST_SETTINGS))
    cluster.redis.start()
    nodes = [cluster.add_node().url for _ in range(many)]
    with Balancer(free_port(), nodes) as balancer:
        yield balancer
        ran_against(f"{many} nodes, connections", ", ".join(map(str, balancer.connections.values())))


@pytest.fixture(scope="session")
def servicecenter_kind(request: pytest.FixtureRequest) -> str:
    """Whose behaviour is expected of the ServiceCenter: "ours" or "real"."""
    return str(request.config.getoption("--servicecenter-kind"))


@pytest.fixture(scope="session")
def servicecenter_url(
    request: pytest.FixtureRequest,
    servicecenter_kind: str,
    shared_ours: Callable[[], str],
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
        return shared_ours()
    store = processes.start(etcd(free_port()))
    return processes.start(servicecenter(free_port(), store.url)).url


@pytest.fixture(scope="session")
def root_password() -> str:
    """Of the account `root` of each server with access control that is started here."""
    return "Conf0rming-root"


@pytest.fixture(scope="session")
def ours_with_accounts(
    processes: Processes, free_port: Callable[[], int], ours_program: Callable[..., Program], root_password: str
) -> Running:
    """A server of ours that lets in who has an account only."""
    program = ours_program(free_port(), auth=True)
    stated = {**program.environment, "SC_INIT_ROOT_PASSWORD": root_password}
    return processes.start(replace(program, environment=stated))


@pytest.fixture(scope="session")
def servicecenter_with_accounts_url(
    request: pytest.FixtureRequest,
    servicecenter_kind: str,
    processes: Processes,
    free_port: Callable[[], int],
    root_password: str,
    ran_against: RanAgainst,
) -> str:
    """A ServiceCenter with RBAC, of the kind under test. It is always started here: root's password has to be known."""
    ran_against("servicecenter with accounts", servicecenter_kind)
    if servicecenter_kind == "ours":
        ours: Running = request.getfixturevalue("ours_with_accounts")
        return ours.url
    store = processes.start(etcd(free_port()))
    return processes.start(servicecenter(free_port(), store.url, root_password)).url


@pytest.fixture(scope="session")
def eureka_kind(request: pytest.FixtureRequest) -> str:
    """Whose behaviour is expected of the Eureka server: "ours" or "real"."""
    return str(request.config.getoption("--eureka-kind"))


def _as_text(settings: dict[str, object]) -> dict[str, str]:
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in settings.items()}
