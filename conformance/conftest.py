"""Which servers the suites ask: the ones given by URL, or a server of ours started for the session.

Where a case says that we mean to differ from the real server, it asserts ours or theirs by the kind
(`--eureka-kind`, `--servicecenter-kind`): the same cases check our server and check themselves against the real one.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

START_WITHIN_S = 60.0
# Waiting cases wait for the sweep and for nothing else; lapsed leases go although few instances renew here.
FAST_SETTINGS: dict[str, object] = {"eviction_interval_s": 1, "self_preservation": False}

_PROJECT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    for protocol in ("eureka", "servicecenter"):
        group.addoption(f"--{protocol}", metavar="URL", help=f"the {protocol} server to ask (default: start one)")
        group.addoption(
            f"--{protocol}-kind", choices=("ours", "real"), default="ours", help="whose behaviour to expect of it"
        )
    group.addoption(
        "--ports-from", type=int, metavar="PORT", help="give servers started here ports from PORT on (default: any)"
    )


@dataclass(frozen=True)
class Server:
    """A server process that a fixture started; it stops it, too."""

    url: str
    pid: int

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


StartOurs = Callable[..., Server]


@pytest.fixture(scope="session")
def free_port(request: pytest.FixtureRequest) -> Callable[[], int]:
    """Gives a port of 127.0.0.1 that nobody listens on, a new one with each call."""
    first: int | None = request.config.getoption("--ports-from")
    candidates = iter(range(first, first + 1000)) if first else iter(lambda: 0, 1)

    def next_free_port() -> int:
        for port in candidates:
            with socket.socket() as probe, suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
        raise RuntimeError("no free port is left")

    return next_free_port


@pytest.fixture(scope="session")
def start_ours(free_port: Callable[[], int]) -> Iterator[StartOurs]:
    """`start_ours(setting=value, …)` starts a server of ours with an empty registry; all end with the session.

    A setting becomes the environment variable REGISTRY_FACADE_<SETTING>.
    """
    started: list[subprocess.Popen[bytes]] = []

    def start(**settings: object) -> Server:
        port = free_port()
        log = tempfile.TemporaryFile()  # noqa: SIM115 - stays open as long as the server writes to it
        process = subprocess.Popen(
            [sys.executable, "-m", "facade", "serve", "--store", "memory://", "--listen", f"127.0.0.1:{port}"],
            cwd=_PROJECT,
            env=os.environ | _as_environment(FAST_SETTINGS | settings),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        started.append(process)
        url = f"http://127.0.0.1:{port}"
        if not _answers(f"{url}/healthz", process):
            log.seek(0)
            pytest.fail(f"our server did not start:\n{log.read().decode(errors='replace')[-4000:]}", pytrace=False)
        return Server(url, process.pid)

    yield start
    for process in started:
        process.terminate()
    for process in started:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def shared_ours(start_ours: StartOurs) -> Callable[[], Server]:
    """Our server for all suites of this session, started when first asked for."""
    servers: list[Server] = []

    def shared() -> Server:
        if not servers:
            servers.append(start_ours())
        return servers[0]

    return shared


@pytest.fixture(scope="session")
def servicecenter_kind(request: pytest.FixtureRequest) -> str:
    """Whose behaviour is expected of the ServiceCenter: "ours" or "real"."""
    return str(request.config.getoption("--servicecenter-kind"))


@pytest.fixture(scope="session")
def servicecenter_url(request: pytest.FixtureRequest, shared_ours: Callable[[], Server]) -> str:
    """Where the ServiceCenter under test answers, without a path."""
    given: str | None = request.config.getoption("--servicecenter")
    return given.rstrip("/") if given else shared_ours().url


@pytest.fixture(scope="session")
def eureka_kind(request: pytest.FixtureRequest) -> str:
    """Whose behaviour is expected of the Eureka server: "ours" or "real"."""
    return str(request.config.getoption("--eureka-kind"))


def _as_environment(settings: dict[str, object]) -> dict[str, str]:
    return {
        f"REGISTRY_FACADE_{name.upper()}": str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in settings.items()
    }


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether the process answers 200 there in time; False as soon as it has ended."""
    give_up_at = time.monotonic() + START_WITHIN_S
    while process.poll() is None and time.monotonic() < give_up_at:
        with suppress(httpx.TransportError):
            if httpx.get(url, timeout=2).status_code == 200:
                return True
        time.sleep(0.1)
    return False
