"""`make cluster`, as a person uses it: three nodes over a real Redis with sentinels, behind nginx."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from conformance.conftest import skip_without
from conformance.peers.builds import MissingToolError, tool
from conformance.peers.processes import PROJECT

ORDERS = {
    "instance": {
        "instanceId": "orders-1",
        "hostName": "127.0.0.1",
        "app": "ORDERS",
        "ipAddr": "127.0.0.1",
        "vipAddress": "orders",
        "port": {"$": 8090, "@enabled": "true"},
        "leaseInfo": {"renewalIntervalInSecs": 300, "durationInSecs": 3600},
        "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
    }
}


class Played:
    def __init__(self, port: int, home: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.home = home
        self._process = subprocess.Popen(
            [sys.executable, "-m", "conformance.peers.playground", "--port", str(port)],
            cwd=PROJECT,
            env=os.environ | {"TMPDIR": str(home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def type(self, line: str) -> None:
        assert self._process.stdin
        print(line, file=self._process.stdin, flush=True)

    def wait_for(self, words: str) -> str:
        """All that it says up to the line with these words."""
        assert self._process.stdout
        said = ""
        for line in self._process.stdout:
            said += line
            if words in line:
                return said
        raise AssertionError(f"it never said {words!r}, but: {said}")

    def stop(self) -> int:
        self._process.send_signal(signal.SIGINT)
        self._process.communicate(timeout=60)
        return self._process.returncode

    def kill(self) -> None:
        """For a test that failed: what it started is stopped by it."""
        if self._process.poll() is None:
            self.stop()


@pytest.fixture
def played(free_port: Callable[[], int], tmp_path: Path) -> Iterator[Played]:
    try:
        tool("nginx")
    except MissingToolError as missing:
        skip_without(missing)
    played = Played(free_port(), tmp_path)
    yield played
    played.kill()


def test_a_cluster_is_broken_and_mended_by_typing_and_leaves_nothing(played: Played) -> None:
    told = played.wait_for("Ctrl-C stops everything")
    nodes = [line.split()[1] for line in told.splitlines() if line.startswith("node")]
    httpx.post(f"{played.url}/eureka/apps/ORDERS", json=ORDERS).raise_for_status()

    played.type("kill node1")
    played.wait_for("done")
    played.type("kill primary")
    played.wait_for("done")
    _until(lambda: [_lists_orders(node) for node in [*nodes[1:], played.url, played.url]] == [True] * 4)
    played.type("start node1")
    played.wait_for("done")
    _until(lambda: _lists_orders(nodes[0]))
    played.type("show")
    played.wait_for(", primary")

    assert played.stop() == 0
    assert list(played.home.iterdir()) == []


def _lists_orders(url: str) -> bool:
    try:
        found = httpx.get(f"{url}/v4/default/registry/instances", params={"appId": "eureka", "serviceName": "orders"})
    except httpx.TransportError:
        return False
    return found.status_code == 200 and "orders-1" in found.text


def _until(holds: Callable[[], bool]) -> None:
    while not holds():  # the test's own time-out ends it
        time.sleep(0.1)
