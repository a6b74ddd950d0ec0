"""The command line: what it prints, how it ends, and that it ends in a sentence rather than a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from conformance.peers.patience import PATIENCE_S
from facade import __version__
from facade.config import KNOBS, flag

COMMAND = [sys.executable, "-m", "facade"]
# In place of the server: tells what it was given, then serves nobody until it is told to stop.
STAND_IN = """
import asyncio, sys, types

async def serve(settings):
    try:
        print(*settings.store, *settings.listen, flush=True)
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(0)
        print("closed in order", flush=True)

sys.modules["facade.server"] = types.SimpleNamespace(serve=serve)
from facade.cli import main
main()
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """That of a user without any settings."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_FACADE_")}
    return ours | {"XDG_STATE_HOME": str(tmp_path), "COLUMNS": "80"}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def server() -> Iterator[tuple[str, int]]:
    """Where a server listens that answers 200 to /healthz and 503 to all else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" else 503)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield "127.0.0.1", server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def test_version_prints_the_version(environment: dict[str, str]) -> None:
    assert run(environment, "version").stdout == f"registry-facade {__version__}\n"


def test_config_show_prints_value_unit_and_origin_of_each_setting_on_a_line(environment: dict[str, str]) -> None:
    environment["REGISTRY_FACADE_PROTECTION_LIMIT_S"] = "30"

    lines = run(environment, "config", "show", "--listen", "[::1]:1", "--listen", "h:2,h:3").stdout.splitlines()

    rows = {line.split()[0]: line.split() for line in lines[1:]}
    assert list(rows) == list(KNOBS)
    assert rows["protection_limit_s"][1:] == ["30.0", "seconds", "variable", "REGISTRY_FACADE_PROTECTION_LIMIT_S"]
    assert rows["listen"][1:] == ["[::1]:1,h:2,h:3", "HOST:PORT", "flag", "--listen"]
    assert rows["exact_leases"][1:3] == ["false", "yes/no"]


def test_config_show_never_shows_a_password(environment: dict[str, str]) -> None:
    urls = ("--store", "redis://jack:secret@host", "--store", "eureka+http://jack:secret@host/eureka,other")
    assert "secret" not in run(environment, "config", "show", *urls).stdout


def test_config_check_says_that_good_settings_are_good(environment: dict[str, str]) -> None:
    done = run(environment, "config", "check", "--no-self-preservation", "--store", "memory://")

    assert (done.returncode, done.stdout) == (
        0,
        f"The settings are good: 2 stated, {len(KNOBS) - 2} left at their defaults.\n",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["serve", "--listen", "8761"], id="bad-address"),
        pytest.param(["serve", "--config", "/nowhere/registry.toml"], id="no-such-file"),
        pytest.param(["config", "check", "--store", "paper://"], id="bad-store"),
        pytest.param(["config", "show", "--connections", "many"], id="bad-number"),
    ],
)
def test_what_cannot_be_done_ends_in_one_line_and_exit_code_2(
    environment: dict[str, str], arguments: list[str]
) -> None:
    done = run(environment, *arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("registry-facade: ")
    assert done.stderr.count("\n") == 1


def test_an_unknown_flag_is_refused_with_the_one_that_was_meant(environment: dict[str, str]) -> None:
    done = run(environment, "serve", "--lisen", "127.0.0.1:1")

    assert done.returncode == 2
    assert "--listen" in done.stderr.splitlines()[-1]


def test_help_spells_out_every_flag(environment: dict[str, str]) -> None:
    """However narrow the terminal is."""
    text = run(environment, "serve", "--help").stdout

    assert [name for name in KNOBS if f"{flag(name)} " not in text] == []


def test_the_list_of_commands_says_whole_sentences(environment: dict[str, str]) -> None:
    assert "..." not in run(environment, "--help").stdout.partition("Commands:")[2]


@pytest.mark.parametrize("told_to_stop", [signal.SIGTERM, signal.SIGINT])
def test_a_server_told_to_stop_closes_in_order_and_ends_with_0(
    environment: dict[str, str], told_to_stop: signal.Signals
) -> None:
    arguments = ["serve", "--store", "memory://", "--listen", "127.0.0.1:1"]
    with subprocess.Popen(
        [sys.executable, "-c", STAND_IN, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout
        assert server.stdout.readline() == "memory:// 127.0.0.1:1\n"
        server.send_signal(told_to_stop)
        output, errors = server.communicate(timeout=PATIENCE_S)

    assert (server.returncode, output, errors) == (0, "closed in order\n", "")


def test_health_is_0_when_the_server_is_alive(environment: dict[str, str], server: tuple[str, int]) -> None:
    host, port = server
    environment |= {"REGISTRY_FACADE_LISTEN": f"0.0.0.0:{port}", "http_proxy": "http://127.0.0.1:9"}

    done = run(environment, "health")

    assert (done.returncode, done.stdout) == (0, f"http://{host}:{port}/healthz: 200\n")


def test_health_is_1_and_one_line_when_the_server_is_not_well(
    environment: dict[str, str], server: tuple[str, int]
) -> None:
    host, port = server

    done = run(environment, "health", "--url", f"http://{host}:{port}/beside")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"registry-facade: http://{host}:{port}/beside/healthz: Service Unavailable\n"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense"])
def test_health_is_1_and_one_line_when_nobody_answers(environment: dict[str, str], url: str) -> None:
    done = run(environment, "health", "--url", url)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"registry-facade: {url}/healthz: ")
    assert done.stderr.count("\n") == 1
