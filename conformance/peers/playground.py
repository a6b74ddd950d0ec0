"""Runs a cluster of ours for a person until Ctrl-C: `python -m conformance.peers.playground`, or `make cluster`.

Three nodes over a real Redis or Valkey (a primary, a replica, three sentinels) behind nginx. Lines typed here break
things and mend them; `help` lists them.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType

from conformance.peers.builds import PeerError
from conformance.peers.cluster import Cluster
from conformance.peers.processes import Processes, Running
from conformance.peers.redis import Sentinels

HELP = """\
  kill NAME          end it at once, as a power cut would
  start NAME         start it again on its port and data
  pause NAME         stop it, as a machine that hangs; its connections stay open
  resume NAME        let it go on
  promote            have the sentinels make the replica the primary, while all is well
  show               what runs, and which Redis is the primary
  help               these lines
NAME is node1 to node3, redis1, redis2, sentinel1 to sentinel3, nginx, or primary."""

TRY = """\
Try
  curl -X POST {url}/eureka/apps/ORDERS -H 'Content-Type: application/json' -d '{{"instance":{{
    "instanceId":"orders-1","hostName":"127.0.0.1","app":"ORDERS","ipAddr":"127.0.0.1","vipAddress":"orders",
    "port":{{"$":8090,"@enabled":"true"}},"leaseInfo":{{"renewalIntervalInSecs":300,"durationInSecs":3600}},
    "dataCenterInfo":{{"@class":"com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo","name":"MyOwn"}}}}}}'
  curl '{node}/v4/default/registry/instances?appId=eureka&serviceName=orders'
  {python} -m facade top {node}
  kill node1         the same questions again: another node answers
  kill primary       within seconds the replica takes writes, and nothing was lost
Type `help` for all that can be done here. Ctrl-C stops everything; nothing is kept."""


class Playground:
    """A cluster and the names by which a person breaks it."""

    def __init__(self, cluster: Cluster, redis: Sentinels) -> None:
        self._cluster = cluster
        self._redis = redis

    def tell(self) -> None:
        """Where all that runs is."""
        url = self._cluster.url
        print(f"Eureka         {url}/eureka/\nServiceCenter  {url}\nDashboard      {url}/")
        self.show()
        print(TRY.format(url=url, node=self._cluster.nodes[-1].url, python=sys.executable), flush=True)

    def obey(self, line: str) -> None:
        """Do what the line says, or say why not."""
        match line.split():
            case []:
                return
            case ["help"]:
                print(HELP)
            case ["show"]:
                self.show()
            case ["promote"] if not all(server.is_running for server in self._redis.servers):
                print("there is no replica to promote: start it first")
            case ["promote"]:
                print(f"the primary is {self._name(self._redis.promote())} now")
            case ["kill" | "pause" | "resume" | "start" as verb, name] if name in self._named():
                self._do(verb, name)
            case ["kill" | "pause" | "resume" | "start", name]:
                print(f"there is no {name}: {', '.join(self._named())}")
            case _:
                print(HELP)

    def show(self) -> None:
        named = self._named()
        primary = named.get("primary")
        for name, running in named.items():
            if name != "primary":
                state = "runs" if running.is_running else "is gone"
                role = ", primary" if running is primary else ""
                print(f"{name:14} {running.url:30} pid {running.pid}, {state}{role}")

    def _do(self, verb: str, name: str) -> None:
        running = self._named()[name]
        if verb != "start" and not running.is_running:
            print(f"{name} is gone already")
            return
        match verb:
            case "kill":
                running.kill()
            case "pause":
                running.freeze()
            case "resume":
                running.thaw()
            case _:
                self._start(running)
        print("done")

    def _start(self, running: Running) -> None:
        group: Callable[[Running], Running] = self._cluster.restart
        if running in [*self._redis.servers, *self._redis.sentinels]:
            group = self._redis.restart
        group(running)

    def _named(self) -> Mapping[str, Running]:
        named = dict(self._numbered())
        try:
            named["primary"] = self._redis.primary
        except PeerError:
            return named  # while sentinels are gone there is none
        return named

    def _numbered(self) -> Iterator[tuple[str, Running]]:
        groups = {"node": self._cluster.nodes, "redis": self._redis.servers, "sentinel": self._redis.sentinels}
        for kind, group in groups.items():
            yield from ((f"{kind}{number}", running) for number, running in enumerate(group, 1))
        if self._cluster.balancer:
            yield "nginx", self._cluster.balancer

    def _name(self, running: Running) -> str:
        return next(name for name, one in self._numbered() if one is running)


def main() -> int:
    arguments = _arguments()
    logging.basicConfig(format="%(message)s")
    for told_to_stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(told_to_stop, _end)
    home = Path(tempfile.mkdtemp(prefix="registry-facade-cluster-"))
    try:
        with Processes(home) as processes:
            _play(processes, arguments)
    except PeerError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped")
    shutil.rmtree(home)
    return 0


def _play(processes: Processes, arguments: argparse.Namespace) -> None:
    redis = Sentinels(processes, itertools.count(arguments.port + 11).__next__)
    cluster = Cluster(processes, itertools.count(arguments.port + 1).__next__, redis=redis, ports=[arguments.port])
    playground = Playground(cluster.start(), redis)
    playground.tell()
    for line in sys.stdin:
        try:
            playground.obey(line)
        except PeerError as error:
            print(error)
        sys.stdout.flush()
    signal.pause()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m conformance.peers.playground",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--port", type=int, default=8760, help="of the load balancer; the nodes have the next ones (8760)"
    )
    return parser.parse_args()


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
