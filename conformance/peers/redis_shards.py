"""A real Redis or Valkey in cluster mode, on loopback.

shards = Shards(processes, free_port).start()
shards.add_replica(shards.holder("{registry}:records"))
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from redis.exceptions import RedisError

from conformance.peers.processes import PeerError, Processes, Program, Running
from conformance.peers.redis import LOOPBACK, FreePort, Options, Tls, account, address, ask, redis, scheme, until

SLOTS = 16384


def shard(
    port: int, bus_port: int, password: str = "", *, options: Options | None = None, tls: Tls | None = None
) -> Program:
    """A member of a cluster; `Shards` makes them one."""
    cluster = {"cluster-enabled": "yes", "cluster-port": str(bus_port), "cluster-node-timeout": "2000"}
    return redis(port, password, options=cluster | dict(options or {}), tls=tls)


class Shards:
    """Three primaries of a cluster, each with a third of the slots; `add_replica` gives one a server that takes its
    place."""

    def __init__(
        self, processes: Processes, free_port: FreePort, password: str = "", *, tls: Tls | None = None
    ) -> None:
        self.password = password
        self.servers: list[Running] = []
        self._processes = processes
        self._free_port = free_port
        self._tls = tls

    @property
    def store(self) -> str:
        """What `--store` of a server over it says."""
        asked = ",".join(address(server.url) for server in self.servers)
        return f"{scheme(self._tls)}+cluster://{account(self.password)}{asked}"

    def start(self) -> Shards:
        """Return when each of them takes the cluster for whole."""
        buses = [self._add() for _ in range(3)]
        bounds = [SLOTS * part // 3 for part in range(4)]
        for server, first, after in zip(self.servers, bounds, bounds[1:], strict=False):
            ask(server.url, "CLUSTER ADDSLOTSRANGE", first, after - 1)
        for server, bus in zip(self.servers[1:], buses[1:], strict=True):
            self._meet(server, bus)
        self.wait_until_settled()
        return self

    def add_replica(self, of: Running) -> Running:
        """Return when it is in step, and all know it."""
        bus = self._add()
        added = self.servers[-1]
        self._meet(added, bus)
        # Refused until it has heard of the one that it is to follow.
        until(
            partial(ask, added.url, "CLUSTER REPLICATE", ask(of.url, "CLUSTER MYID").decode()), "a shard has a replica"
        )
        self.wait_until_settled()
        return added

    def holder(self, key: str, other_than: Running | None = None) -> Running:
        """The one that has the slot of this key, and is no replica. Raises PeerError while none does."""
        for server in self.servers:
            if server.is_running and server is not other_than:
                with suppress(RedisError, OSError):
                    ask(server.url, "EXISTS", key)  # all but that one name it, or say that it is down
                    return server
        raise PeerError(f"no shard has {key} now")

    def wait_for_another_holder(self, key: str, than: Running) -> Running:
        """Return the replica that was promoted in place of the one given."""
        return until(partial(self.holder, key, than), "the cluster promotes a replica")

    def restart(self, running: Running) -> Running:
        """Start it again on its port and data, in its place among these."""
        again = self._processes.restart(running)
        self.servers[self.servers.index(running)] = again
        return again

    def wait_until_settled(self) -> None:
        until(self._is_settled, "the shards are one cluster")

    def _is_settled(self) -> bool:
        running = [server for server in self.servers if server.is_running]
        told = [_pairs_of_lines(ask(server.url, "CLUSTER INFO")) for server in running]
        in_step = all(_is_in_step(ask(server.url, "ROLE")) for server in running)
        many = str(len(self.servers))
        return in_step and all(one["cluster_state"] == "ok" and one["cluster_known_nodes"] == many for one in told)

    def _add(self) -> int:
        """Start one more; return the port of its bus."""
        bus = self._free_port()
        self.servers.append(self._processes.start(shard(self._free_port(), bus, self.password, tls=self._tls)))
        return bus

    def _meet(self, server: Running, bus: int) -> None:
        ask(self.servers[0].url, "CLUSTER MEET", LOOPBACK, urlsplit(server.url).port or 0, bus)


def _is_in_step(role: Sequence[Any]) -> bool:
    return role[0] != b"slave" or role[3] == b"connected"


def _pairs_of_lines(text: bytes) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)
