"""Servers over a Redis that is away when they start: what an operator meets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from conformance.peers.processes import Processes
from conformance.peers.redis import ask, redis
from facade.access.keys import PASSWORD_FILE
from tests.flows.product import Process, running, wait_until
from tests.ports import free_port

ROOT_ROLES_AND_KEY = 4
OLD, NEW = "Old-password-1", "New-password-2"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as processes:
        yield processes


def with_root(data_dir: Path, password: str) -> Path:
    data_dir.mkdir(mode=0o700)
    (data_dir / PASSWORD_FILE).touch(0o600)
    (data_dir / PASSWORD_FILE).write_text(password)
    return data_dir


def status(server: Process, password: str) -> int:
    return httpx.get(f"{server.url}/services", auth=("root", password)).status_code


@pytest.mark.parametrize("policy", ["available", "strict"])
def test_a_root_made_while_the_store_is_away_does_not_take_the_place_of_the_one_there(
    tmp_path: Path, processes: Processes, policy: str
) -> None:
    """Who could start a node, while Redis is away, with a password of his own would own the whole cluster."""
    store = processes.start(redis(free_port()))
    flags = ("--store", store.url, "--auth", "--when-upstream-fails", policy)
    with running(with_root(tmp_path / "one", OLD), *flags) as one:
        assert status(one, OLD) == 200
    store.kill()

    with running(with_root(tmp_path / "two", NEW), *flags) as two:
        assert httpx.get(f"{two.url}/readyz").status_code == 503
        assert status(two, NEW) == 503
        processes.restart(store)
        wait_until(lambda: httpx.get(f"{two.url}/readyz").status_code == 200)

        assert (status(two, OLD), status(two, NEW)) == (200, 401)


def test_the_first_node_makes_root_when_the_store_comes_up_empty(tmp_path: Path, processes: Processes) -> None:
    port = free_port()
    with running(with_root(tmp_path / "one", NEW), "--store", f"redis://127.0.0.1:{port}", "--auth") as one:
        processes.start(redis(port, is_durable=False))

        # Not by its answers: a few bad passwords lock whoever sends them.
        wait_until(lambda: ask(f"redis://127.0.0.1:{port}", "HLEN", "{registry-facade}:records") == ROOT_ROLES_AND_KEY)
        assert status(one, NEW) == 200


def test_its_password_is_told_nowhere(tmp_path: Path) -> None:
    with running(tmp_path / "data", "--store", f"redis://jack:s3cr3t@127.0.0.1:{free_port()}") as server:
        pages = ("/", "/metrics", "/readyz", "/eureka/status", "/v4/default/admin/dump", "/v4/default/registry/health")
        told = [httpx.get(f"{server.url}{page}").text for page in pages]
        log = server.log.read_text()

    assert "does not answer" in told[0] and "does not answer" in told[2] and "does not answer" in log
    assert "Traceback" not in log
    assert not any("s3cr3t" in text for text in [*told, log])
