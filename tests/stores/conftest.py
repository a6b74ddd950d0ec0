"""A real Redis for the stores' tests: one that they share, and of a test's own to be killed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conformance.peers.processes import Processes, Running
from conformance.peers.redis import redis
from tests.ports import free_port


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Gives the URL of one server for all; tests keep apart by the names of their clusters."""
    with Processes(tmp_path_factory.mktemp("redis")) as processes:
        servers: list[Running] = []

        def url() -> str:
            if not servers:
                servers.append(processes.start(redis(free_port(), is_durable=False)))
            return servers[0].url

        yield url


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as processes:
        yield processes


@pytest.fixture
def server(processes: Processes) -> Running:
    return processes.start(redis(free_port(), is_durable=False))
