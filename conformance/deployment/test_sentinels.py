"""deploy/compose/sentinel.sh, run as compose.cluster.yaml runs it, but for the container."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from conformance.peers.processes import Processes, Running
from conformance.peers.redis import ask, redis, replica, sentinel, server_binary, until

from .files import DEPLOY

FreePort = Callable[[], int]
PASSWORD = "s3cret"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path) as processes:
        yield processes


@pytest.fixture
def start_sentinel(processes: Processes, free_port: FreePort) -> Callable[[int], Running]:
    def start(primary_port: int) -> Running:
        port = free_port()
        stated = {
            "PRIMARY": f"127.0.0.1 {primary_port}",
            "VALKEY_PASSWORD": PASSWORD,
            "PORT": f"{port}",
            "DATA": ".",
            "SERVER": server_binary(),
        }
        like_ours = sentinel(port, primary_port)
        command = ["/bin/sh", DEPLOY / "compose" / "sentinel.sh"]
        return processes.start(replace(like_ours, command=command, environment=stated, files={}))

    return start


def test_the_script_s_sentinels_can_promote_and_keep_what_they_learnt(
    processes: Processes, free_port: FreePort, start_sentinel: Callable[[int], Running]
) -> None:
    primary_port = free_port()
    processes.start(redis(primary_port, PASSWORD))
    following = processes.start(replica(free_port(), primary_port, PASSWORD))
    sentinels = [start_sentinel(primary_port) for _ in range(3)]
    until(lambda: ask(sentinels[0].url, "SENTINEL CKQUORUM", "registry"), "the sentinels know each other")
    until(lambda: ask(sentinels[0].url, "SENTINEL FAILOVER", "registry"), "they know the replica")
    until(lambda: _named_by(sentinels[0]) == following.url.rpartition(":")[2], "the replica is promoted")

    again = processes.restart(sentinels[0])

    assert _named_by(again) == following.url.rpartition(":")[2]


def _named_by(sentinel: Running) -> str:
    """The primary's port."""
    return str(ask(sentinel.url, "SENTINEL GET-MASTER-ADDR-BY-NAME", "registry")[1].decode())
