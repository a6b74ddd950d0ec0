"""The Redis that the suites run: what they break in it breaks as meant, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis.exceptions import AuthenticationError, MovedError, OutOfMemoryError

from conformance.peers.processes import MissingToolError, Processes
from conformance.peers.redis import Sentinels, ask, redis, server_binary
from conformance.peers.redis_shards import Shards

FreePort = Callable[[], int]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as processes:
        yield processes


def test_a_durable_server_has_its_data_after_a_kill(processes: Processes, free_port: FreePort) -> None:
    server = processes.start(redis(free_port()))
    ask(server.url, "SET", "key", "kept")
    server.kill()

    again = processes.restart(server)

    assert ask(again.url, "GET", "key") == b"kept"


def test_one_that_keeps_nothing_comes_back_empty(processes: Processes, free_port: FreePort) -> None:
    server = processes.start(redis(free_port(), is_durable=False))
    ask(server.url, "SET", "key", "lost")

    again = processes.restart(server)

    assert ask(again.url, "GET", "key") is None


def test_a_password_is_demanded_and_the_url_has_it(processes: Processes, free_port: FreePort) -> None:
    server = processes.start(redis(port := free_port(), password='p@ss "word"'))

    assert ask(server.url, "PING") is True
    with pytest.raises(AuthenticationError):
        ask(f"redis://127.0.0.1:{port}", "PING")


def test_a_server_with_little_memory_refuses_writes(processes: Processes, free_port: FreePort) -> None:
    server = processes.start(redis(free_port(), maxmemory="3mb"))

    with pytest.raises(OutOfMemoryError):
        for number in range(100):
            ask(server.url, "SET", f"key-{number}", "x" * 100_000)


def test_sentinels_promote_the_replica_of_a_primary_that_is_gone(processes: Processes, free_port: FreePort) -> None:
    group = Sentinels(processes, free_port, password="s3cret").start()
    before, replica = group.servers
    ask(before.url, "SET", "key", "kept")
    ask(before.url, "WAIT", 1, 5000)
    before.kill()

    now = group.wait_for_another_primary(before)

    assert now is replica
    assert ask(now.url, "GET", "key") == b"kept"
    assert group.store.startswith("redis+sentinel://:s3cret@127.0.0.1:")


def test_a_key_has_one_holder_among_the_shards(processes: Processes, free_port: FreePort) -> None:
    shards = Shards(processes, free_port).start()
    holder = shards.holder("{registry}:records")
    stranger = next(server for server in shards.servers if server is not holder)

    assert ask(holder.url, "SET", "{registry}:records", "1")
    with pytest.raises(MovedError):
        ask(stranger.url, "SET", "{registry}:records", "1")


def test_a_binary_named_wrongly_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one would be tested in its place."""
    monkeypatch.setenv("REDIS_SERVER_BIN", "/nowhere/redis-server")

    with pytest.raises(MissingToolError, match="REDIS_SERVER_BIN names no executable"):
        server_binary()
