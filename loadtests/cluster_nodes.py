"""Nodes of ours over one real Redis, started for a measurement, filled over HTTP, watched for CPU, memory and commands.

The nodes share one core; Redis shares the other with the generator, as whatever stands behind a server does in here.
"""

from __future__ import annotations

import http.client
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from conformance.peers.processes import Processes, Running
from conformance.peers.redis import Alone, Sentinels, ask
from loadtests.limits_registries import EUREKA, hurry, registration
from loadtests.registrations import eureka_instance
from loadtests.servers import GENERATOR_CORE, Server, ours

NODES = 3
NAME = "registry-facade"
"""What the nodes call their cluster: all keys begin with it."""
SENT = ("eval", "fcall", "xread", "xrange", "hscan", "ping")
SHOWN_WITHIN_S = 60.0
FILLED_AGAIN_WITHIN_S = 120.0
FILLED_BY = 96
"""Connections: writes share commits only with others that wait."""


@dataclass
class Run:
    """What all measurements have in common."""

    home: Path
    ports: Iterator[int]
    large: int
    is_quick: bool
    _folders: int = 0

    @property
    def middle(self) -> int:
        return self.large // 10

    def port(self) -> int:
        return next(self.ports)

    def folder(self) -> Path:
        self._folders += 1
        folder = self.home / f"{self._folders:03d}"
        folder.mkdir()
        return folder


@dataclass
class Nodes:
    run: Run
    redis: Alone | Sentinels
    options: Sequence[str] = ()
    servers: list[Server] = field(default_factory=list)

    @property
    def store(self) -> Server:
        """The Redis that takes the writes now."""
        primary = self.redis.primary
        return Server("Redis", primary.url, primary.pid)

    @contextmanager
    def another(self, path: str = "/readyz") -> Iterator[Server]:
        """One more node, waited for until `path` answers 200."""
        name, options = f"node {len(self.servers) + 1}", ("--store", self.redis.store, *self.options)
        with ours(name, self.run.port(), self.run.folder(), *options, path=path) as node:
            node.store = self.store
            yield node

    def fill(self, count: int) -> None:
        """Through one of them, until all show it."""
        wanted = (registration(EUREKA, number) for number in range(count))
        hurry(self.servers[0], wanted, connections=FILLED_BY)
        for server in self.servers:
            with Reader(server) as reader:
                reader.wait_for(instance_path(count - 1))

    # Of Redis

    def commands(self) -> Commands:
        """What Redis has been asked so far, by INFO commandstats, the only count that misses nothing."""
        told = ask(self.redis.primary.url, "INFO", "commandstats")
        calls = Counter({name.removeprefix("cmdstat_"): int(figures["calls"]) for name, figures in told.items()})
        return Commands(Counter({name: calls[name] for name in calls if _is_sent(name)}), calls.total())

    def lose_all(self, count: int) -> float:
        """Seconds until Redis holds so many records again."""
        url, records = self.redis.primary.url, f"{{{NAME}}}:records"
        ask(url, "CONFIG SET", "slowlog-log-slower-than", 1_000)
        ask(url, "FLUSHALL")
        ask(url, "SLOWLOG RESET")
        began_s = time.perf_counter()
        while ask(url, "HLEN", records) < count:
            if time.perf_counter() - began_s > FILLED_AGAIN_WITHIN_S:
                raise SystemExit(f"Redis is not filled again within {FILLED_AGAIN_WITHIN_S:.0f} s")
            time.sleep(0.02)
        return time.perf_counter() - began_s

    def longest_script_ms(self) -> float:
        """Since all was lost, of those over 1 ms."""
        slow = ask(self.redis.primary.url, "SLOWLOG GET", 128)
        return max((took_us / 1000 for _, _, took_us, *_ in slow), default=0.0)

    def redis_bytes(self) -> int:
        return int(ask(self.redis.primary.url, "INFO", "memory")["used_memory"])

    def stream_bytes(self) -> tuple[int, int]:
        """Of the stream of changes, and how many entries it has."""
        key = f"{{{NAME}}}:log"
        size = ask(self.redis.primary.url, "MEMORY USAGE", key, "SAMPLES", 0)
        return int(size or 0), int(ask(self.redis.primary.url, "XLEN", key))


@contextmanager
def cluster(run: Run, *options: str, nodes: int = NODES, with_sentinels: bool = False) -> Iterator[Nodes]:
    """`options` are of every node."""
    with Processes(run.folder()) as processes, ExitStack() as stack:
        redis = Sentinels(processes, run.port) if with_sentinels else Alone(processes, run.port)
        redis.start()
        for one in [*redis.servers, *getattr(redis, "sentinels", ())]:
            _pin(one)
        started = Nodes(run, redis, options)
        for _ in range(nodes):
            started.servers.append(stack.enter_context(started.another()))
        yield started


@contextmanager
def embedded(run: Run, name: str) -> Iterator[Server]:
    """One that keeps its registrations in a file of its own."""
    with ours(name, run.port(), run.folder()) as server:
        server.sleeps = True
        yield server


class Commands(NamedTuple):
    sent: Counter[str]
    """By name. What a node sends: all else is called inside a function, within the same command."""
    with_those_inside: int


def _is_sent(command: str) -> bool:
    return command.startswith(SENT)


class Reader:
    """Asks one node over a connection that it keeps."""

    def __init__(self, server: Server) -> None:
        self._connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=SHOWN_WITHIN_S)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def shows(self, path: str) -> bool:
        return self.ask("GET", path)[0] == 200

    def wait_for(self, path: str) -> float:
        """The moment at which it was shown, on time.perf_counter()."""
        give_up_s = time.perf_counter() + SHOWN_WITHIN_S
        while not self.shows(path):
            if time.perf_counter() > give_up_s:
                raise SystemExit(f"{path} is not shown within {SHOWN_WITHIN_S:.0f} s")
        return time.perf_counter()


def instance_path(number: int) -> str:
    info = eureka_instance(number)
    return f"/eureka/apps/{info['app']}/{info['instanceId']}"


def _pin(one: Running) -> None:
    for task in Path(f"/proc/{one.pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {int(GENERATOR_CORE)})
