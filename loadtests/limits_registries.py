"""Our server over the registries that are measured: each filled once over HTTP, then started anew over a copy.

So every measurement begins with a server that has done nothing yet, and with a quiet delta.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import uvloop

from loadtests.open_loop import ask_all, request
from loadtests.registrations import DIRTY_MS, PER_APPLICATION, eureka_instance, service_name, servicecenter_instance
from loadtests.servers import Server, ours

EUREKA, SERVICECENTER = "Eureka", "ServiceCenter"
BASE = "/v4/default/registry"
AS_JSON, AS_XML, GZIPPED = "Accept: application/json", "Accept: application/xml", "Accept-Encoding: gzip"
FULL, DELTA = "/eureka/apps/", "/eureka/apps/delta"
CROWD = 10_000
"""Connections that the server takes, from one address too, are twice as many."""


class Filled(NamedTuple):
    home: Path
    """Where it lies on disk."""
    registered: float
    """Bytes of memory an instance when all had registered."""
    asked: float
    """When lists had been asked for too, and each had renewed."""


@dataclass
class Registries:
    home: Path
    ports: Iterator[int]
    large: int
    is_quick: bool
    _filled: dict[tuple[str, int], Filled] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def middle(self) -> int:
        return self.large // 10

    @property
    def sizes(self) -> tuple[int, int, int]:
        return self.large // 100, self.middle, self.large

    @contextmanager
    def over(self, home: Path) -> Iterator[Server]:
        limits = ("--connections", str(2 * CROWD), "--connections-per-address", str(2 * CROWD))
        with ours("ours", next(self.ports), home, *limits) as server:
            yield server

    @contextmanager
    def started(self, kind: str, count: int) -> Iterator[Server]:
        with self.over(self.copy(kind, count)) as server:
            yield server

    def new_home(self) -> Path:
        return self.home / f"home-{next(self._numbers)}"

    def copy(self, kind: str, count: int) -> Path:
        return shutil.copytree(self.filled(kind, count).home, self.new_home())

    def filled(self, kind: str, count: int) -> Filled:
        if (kind, count) not in self._filled:
            self._filled[kind, count] = self._fill(kind, count)
        return self._filled[kind, count]

    def _fill(self, kind: str, count: int) -> Filled:
        home = self.new_home()
        with self.over(home) as server:
            before = server.rss_bytes()
            if kind == SERVICECENTER:
                hurry(server, (service(service_name(number)) for number in range(0, count, PER_APPLICATION)))
            hurry(server, (registration(kind, number) for number in range(count)))
            registered = server.rss_bytes()
            hurry(server, lists(kind, count), connections=1)
            hurry(server, (renewal(kind, number) for number in range(count)))
            return Filled(home, (registered - before) / count, (server.rss_bytes() - before) / count)


def hurry(server: Server, requests: Iterable[bytes], connections: int = 32) -> float:
    """Ask all of them as fast as answers come; CPU microseconds of the server for each."""
    used_s = server.cpu_s()
    asked = uvloop.run(ask_all(server.url, requests, connections))
    return (server.cpu_s() - used_s) / asked * 1e6


# Requests


def renewal(kind: str, number: int, group: str = "") -> bytes:
    """`group` is another application or service than the instance has by its number."""
    if kind == SERVICECENTER:
        service_id = group or service_name(number)
        return request("PUT", f"{BASE}/microservices/{service_id}/instances/{number:032x}/heartbeat", AS_JSON)
    info = eureka_instance(number)
    query = f"status=UP&lastDirtyTimestamp={DIRTY_MS}"
    return request("PUT", f"/eureka/apps/{group or info['app']}/{info['instanceId']}?{query}", AS_JSON)


def registration(kind: str, number: int, group: str = "", version: int = 0) -> bytes:
    """Another version is another value in the metadata."""
    if kind == SERVICECENTER:
        instance = servicecenter_instance(number)
        instance["properties"] |= {"version": str(version)}
        path = f"{BASE}/microservices/{group or service_name(number)}/instances"
        return request("POST", path, body=json.dumps({"instance": instance}).encode())
    info = eureka_instance(number)
    if group:
        info |= {"app": group, "vipAddress": group.lower(), "secureVipAddress": group.lower()}
    if version:
        info |= {"metadata": info["metadata"] | {"build": f"{version:016x}"}, "lastDirtyTimestamp": DIRTY_MS + version}
    return request("POST", f"/eureka/apps/{info['app']}", body=json.dumps({"instance": info}).encode())


def service(name: str) -> bytes:
    """Its id is its name."""
    record = {"serviceId": name, "appId": "default", "serviceName": name, "version": "1.0.0"}
    return request("POST", f"{BASE}/microservices", body=json.dumps({"service": record}).encode())


def find(name: str, *fields: str) -> bytes:
    return request("GET", f"{BASE}/instances?appId=default&serviceName={name}&version=0%2B", *fields)


def lists(kind: str, count: int) -> list[bytes]:
    """What the readers of a protocol ask for, all of it."""
    if kind == SERVICECENTER:
        return [find(service_name(number)) for number in range(0, count, PER_APPLICATION)]
    return [request("GET", path, AS_JSON, GZIPPED) for path in (FULL, DELTA)]
