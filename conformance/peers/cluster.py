"""Nodes of ours over one Redis, and a load balancer in front of them: what is run where one server is not enough.

    cluster = Cluster(processes, free_port).start()
    httpx.get(f"{cluster.url}/eureka/apps")
    cluster.nodes[0].kill()
    cluster.redis.primary.freeze()
    cluster.restart(cluster.nodes[0])

The load balancer is nginx: round robin, watches as websockets, passive health checks. A node that it does not reach, or
that answers 502, 503 or too late, is left out for a second, and what may be repeated is asked of the next one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from conformance.peers.builds import tool
from conformance.peers.processes import PROJECT, Processes, Program, Running, facade
from conformance.peers.redis import Alone, FreePort, Sentinels
from conformance.peers.redis_shards import Shards

# One lets go of lapsed leases soon; all connections come from the load balancer's one address.
SETTINGS: Mapping[str, str] = {"eviction_interval_s": "1", "connections_per_address": "10000"}

_NGINX = PROJECT / "deploy" / "compose" / "nginx.conf"
_LISTEN = re.compile(r"\n *listen [^;]*;")
_NODES = re.compile(r"(?:\n *server \d[^;]*;)+")


def load_balancer(ports: Sequence[int], nodes: Sequence[str]) -> Program:
    """nginx on these ports, in front of servers given by URL, as compose.cluster.yaml has it."""
    listen = "".join(f"\nlisten 127.0.0.1:{port};" for port in ports)
    servers = "".join(f"\nserver {urlsplit(node).netloc} max_fails=1 fail_timeout=1s;" for node in nodes)
    stated = _NODES.sub(servers, _LISTEN.sub(listen, _NGINX.read_text())).replace(" /tmp/", " ")
    # Its workers have to reach its directory, which is its user's alone.
    user = "user root;" if os.geteuid() == 0 else ""
    return Program(
        name="nginx",
        command=[tool("nginx"), "-p", ".", "-c", "nginx.conf", "-e", "stderr", "-g", f"daemon off; {user}"],
        url=f"http://127.0.0.1:{ports[0]}",
        ready="/healthz",
        files={"nginx.conf": stated},
    )


class Cluster:
    """Nodes of ours in front of `redis`, which is started with them: if none is given, `Sentinels`."""

    def __init__(
        self,
        processes: Processes,
        free_port: FreePort,
        nodes: int = 3,
        redis: Alone | Sentinels | Shards | None = None,
        settings: Mapping[str, str] | None = None,
        ports: Sequence[int] = (),
    ) -> None:
        """`settings` are of all nodes, `ports` the load balancer's; what is started has ports from `free_port`."""
        self.redis = redis or Sentinels(processes, free_port)
        self.nodes: list[Running] = []
        self.balancer: Running | None = None
        self._processes = processes
        self._free_port = free_port
        self._count = nodes
        self._settings = SETTINGS | dict(settings or {})
        self._ports = ports or [free_port()]

    @property
    def url(self) -> str:
        """The load balancer's."""
        return f"http://127.0.0.1:{self._ports[0]}"

    def start(self) -> Cluster:
        self.redis.start()
        for _ in range(self._count):
            self.add_node()
        self.balancer = self._processes.start(load_balancer(self._ports, [node.url for node in self.nodes]))
        return self

    def add_node(self, settings: Mapping[str, str] | None = None) -> Running:
        """One more node; the load balancer knows of those only that were there at its start."""
        program = facade([self._free_port()], self._settings | dict(settings or {}), [self.redis.store])
        self.nodes.append(self._processes.start(program))
        return self.nodes[-1]

    def restart(self, node: Running) -> Running:
        """Start it again on its port and data, in its place among the nodes."""
        again = self._processes.restart(node)
        self.nodes[self.nodes.index(node)] = again
        return again
