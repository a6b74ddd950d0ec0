"""What an operator hears when a node cannot use the Redis that it was given: one line, and the node does not start."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from conformance.peers.processes import MissingToolError, PeerError, Processes, Running
from conformance.peers.redis import ask, redis

from .stage import start_nodes, unreached
from .test_faults_redis import key


@pytest.fixture
def server(
    processes: Processes, free_port: Callable[[], int], tools: Callable[[MissingToolError], None]
) -> Iterator[Running]:
    try:
        running = processes.start(redis(free_port(), "right"))
    except MissingToolError as missing:
        tools(missing)
        raise
    yield running
    running.stop()


def refusal(processes: Processes, free_port: Callable[[], int], store: str) -> str:
    with pytest.raises(PeerError) as refused:
        start_nodes(processes, free_port, [store])
    return str(refused.value)


def test_a_wrong_password(processes: Processes, free_port: Callable[[], int], server: Running) -> None:
    told = refusal(processes, free_port, server.url.replace("right", "wrong"))

    assert "does not let us in" in told
    assert "wrong" not in told, "the password itself"


def test_no_password(processes: Processes, free_port: Callable[[], int], server: Running) -> None:
    assert "does not let us in" in refusal(processes, free_port, server.url.replace(":right@", ""))


@pytest.mark.parametrize("name", ["meta", "records", "leases", "log", "heard", "done", "nodes"])
def test_a_key_of_another_type(processes: Processes, free_port: Callable[[], int], server: Running, name: str) -> None:
    """Somebody else uses our names: what stands there is neither read nor written."""
    ask(server.url, "SET", key(name), "another's")

    told = refusal(processes, free_port, server.url)

    assert key(name) in told and "none of ours" in told
    assert ask(server.url, "GET", key(name)) == b"another's"


def test_data_of_a_later_release(processes: Processes, free_port: Callable[[], int], server: Running) -> None:
    node = start_nodes(processes, free_port, [server.url])[0]
    node.stop()
    ask(server.url, "HSET", key("meta"), "schema", "99")

    assert "in version 99 of their form" in refusal(processes, free_port, server.url)


def test_a_redis_that_is_not_there_yet_is_waited_for(
    processes: Processes, free_port: Callable[[], int], server: Running
) -> None:
    """It starts, and says that it knows nothing: reads are refused rather than answered with an empty list."""
    program = server.program
    server.stop()

    node = start_nodes(processes, free_port, [server.url])[0]

    assert httpx.get(f"{node.url}/eureka/apps").status_code == 403
    assert not httpx.get(f"{node.url}/readyz").json()["store"]["writable"]
    again = processes.start(program)
    unreached(node)
    assert httpx.get(f"{node.url}/eureka/apps").status_code == 200
    again.stop()
    node.stop()
