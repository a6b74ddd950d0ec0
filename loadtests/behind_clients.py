"""The clients of a registry with another behind it: who is registered where, who renews, who reads, and what they saw.

Half of the instances are of each kind. Those of the protocol that the registry behind speaks registered there, before
we came; the others come through us.
"""

from __future__ import annotations

import http.client
import itertools
import json
import multiprocessing
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from loadtests.behind_servers import EUREKA
from loadtests.registrations import DIRTY_MS, LONG_S, Post, each, eureka_instance, servicecenter_instance

RENEWS_EVERY_S = 30
RENEWERS = 32
FINDS_A_SECOND = 20
LISTS_EVERY_S = 2.0
ANSWER_WITHIN_S = 30.0
BASE = "/v4/default/registry"
NOBODY = ("SERVICECENTER", "registry-facade")
"""Services of registries' own."""


@dataclass(frozen=True)
class Population:
    """Instances by number: the first half are Eureka's, the others ServiceCenter's."""

    count: int
    per_service: int = 50
    is_long: bool = True
    """Leases that last a day, so that nobody's lapses while others are asked. Else the clients' own: 90 and 120 s."""
    service_ids: dict[str, str] = field(default_factory=dict)
    """Of ServiceCenter's services, by name; known once they are registered."""

    @property
    def eureka_numbers(self) -> range:
        return range(self.count // 2)

    @property
    def servicecenter_numbers(self) -> range:
        return range(self.count // 2, self.count)

    @property
    def services(self) -> int:
        return len({self.name(number) for number in range(self.count)})

    def name(self, number: int) -> str:
        kind = "app" if number < self.count // 2 else "svc"
        return f"{kind}-{number // self.per_service:05d}"

    def eureka(self, number: int) -> dict[str, Any]:
        info, name = eureka_instance(number), self.name(number)
        lease = {"renewalIntervalInSecs": RENEWS_EVERY_S, "durationInSecs": LONG_S if self.is_long else 90}
        return info | {"app": name.upper(), "vipAddress": name, "secureVipAddress": name, "leaseInfo": lease}

    def servicecenter(self, number: int) -> dict[str, Any]:
        times = LONG_S // RENEWS_EVERY_S if self.is_long else 3
        check = {"mode": "push", "interval": RENEWS_EVERY_S, "times": times}
        return servicecenter_instance(number) | {"healthCheck": check}

    def fill(self, kind: str, url: str) -> None:
        """Register those of one protocol at a server."""
        (self._fill_eureka if kind == EUREKA else self._fill_servicecenter)(url)

    def _fill_eureka(self, url: str) -> None:
        def register(post: Post, number: int) -> None:
            info = self.eureka(number)
            post(f"/eureka/apps/{info['app']}", {"instance": info})

        each(url, register, self.eureka_numbers)

    def make_services(self, url: str) -> None:
        """Those of ServiceCenter's instances; an application of Eureka's comes with its first instance."""

        def create(post: Post, number: int) -> None:
            service = {"appId": "default", "serviceName": self.name(number), "version": "1.0.0"}
            answer = json.loads(post(f"{BASE}/microservices", {"service": service}))
            self.service_ids[self.name(number)] = answer["serviceId"]

        each(url, create, {self.name(number): number for number in self.servicecenter_numbers}.values())

    def _fill_servicecenter(self, url: str) -> None:
        def register(post: Post, number: int) -> None:
            service_id = self.service_ids[self.name(number)]
            post(f"{BASE}/microservices/{service_id}/instances", {"instance": self.servicecenter(number)})

        each(url, register, self.servicecenter_numbers)

    def eureka_renewals(self) -> list[str]:
        infos = map(self.eureka, self.eureka_numbers)
        return [
            f"/eureka/apps/{info['app']}/{info['instanceId']}?status=UP&lastDirtyTimestamp={DIRTY_MS}" for info in infos
        ]

    def servicecenter_renewals(self) -> list[str]:
        return [
            f"{BASE}/microservices/{self.service_ids[self.name(number)]}/instances/{number:032x}/heartbeat"
            for number in self.servicecenter_numbers
        ]

    def renewals(self) -> list[str]:
        """PUT each, those of both protocols mixed."""
        return [
            path for pair in zip(self.eureka_renewals(), self.servicecenter_renewals(), strict=True) for path in pair
        ]

    def finds(self) -> dict[str, int]:
        """How many instances ServiceCenter's readers find under each path."""
        names = Counter(self.name(number) for number in range(self.count))
        return {f"{BASE}/instances?appId=default&serviceName={name}&version=0%2B": size for name, size in names.items()}


class Http:
    """One connection, opened again when it breaks. By http.client: httpx takes five times as long."""

    def __init__(self, url: str, timeout_s: float = ANSWER_WITHIN_S) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout_s)

    def ask(
        self, method: str, path: str, document: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body; 0 and nothing when there is no answer."""
        body = json.dumps(document).encode() if document is not None else None
        said = {"Accept": "application/json", "Content-Type": "application/json"} | (headers or {})
        try:
            self._connection.request(method, path, body, said)
            answer = self._connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return 0, b""

    def must(self, method: str, path: str, document: object = None) -> Any:
        """The document of a 2xx; anything else ends the run."""
        status, body = self.ask(method, path, document)
        if status // 100 != 2:
            raise SystemExit(f"{method} {path} answers {status}: {body[:200]!r}")
        return json.loads(body) if body.startswith(b"{") else None


class Renewed(NamedTuple):
    status: int
    """0: no answer."""
    sent_s: float
    """By the monotonic clock, which all processes share."""
    took_s: float
    late_s: float
    """By which it was sent after it was due: the clients wanted for CPU, or waited for the answer before."""


class Renewing:
    """Clients that renew every 30 s each, evenly spread, while the context lasts; in a process of their own."""

    def __init__(self, url: str, paths: Sequence[str]) -> None:
        self.seen: list[Renewed] = []
        """Known when the context has ended."""
        self._results, results = _PROCESSES.Pipe(duplex=False)
        self._stopping = _PROCESSES.Event()
        self._process = _PROCESSES.Process(target=_renew_all, args=(url, paths, self._stopping, results), daemon=True)

    def __enter__(self) -> Renewing:
        self._process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self.seen = self._results.recv()
        self._process.join()

    def since(self, at_s: float, until_s: float = float("inf")) -> list[Renewed]:
        return [one for one in self.seen if at_s <= one.sent_s < until_s]


_PROCESSES = multiprocessing.get_context("spawn")


def _renew_all(url: str, paths: Sequence[str], stopping: Event, results: Connection) -> None:
    seen: list[Renewed] = []
    began_s, gap_s = time.monotonic() + 0.1, RENEWS_EVERY_S / len(paths)

    def renew(first: int) -> None:
        http, mine = Http(url), itertools.cycle(paths[first::RENEWERS])
        due_s = began_s + first * gap_s
        while not stopping.is_set():
            time.sleep(max(0.0, due_s - time.monotonic()))
            sent_s = time.monotonic()
            status, _ = http.ask("PUT", next(mine))
            seen.append(Renewed(status, sent_s, time.monotonic() - sent_s, sent_s - due_s))
            due_s += gap_s * RENEWERS

    with ThreadPoolExecutor(RENEWERS) as pool:
        list(pool.map(renew, range(RENEWERS)))
    results.send(seen)


class Reading:
    """Readers of both protocols; they note the emptiest answers that they saw."""

    def __init__(self, url: str, population: Population) -> None:
        self.least_listed = population.count
        """Instances in Eureka's full list."""
        self.least_found = 1.0
        """Of the instances of a service, what ServiceCenter's find had."""
        self.failures: Counter[int] = Counter()
        """Answers other than 200, by status."""
        self.reads = 0
        self._finds = population.finds()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._list, args=(Http(url, 30),)),
            threading.Thread(target=self._find, args=(Http(url),)),
        ]

    def __enter__(self) -> Reading:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _list(self, http: Http) -> None:
        while not self._stopping.wait(LISTS_EVERY_S):
            listed = self._count(http, "/eureka/apps/")
            self.least_listed = min(self.least_listed, listed)

    def _find(self, http: Http) -> None:
        while True:
            for path, size in self._finds.items():
                if self._stopping.wait(1 / FINDS_A_SECOND):
                    return
                self.least_found = min(self.least_found, self._count(http, path) / size)

    def _count(self, http: Http, path: str) -> int:
        status, body = http.ask("GET", path)
        self.reads += 1
        if status != 200:
            self.failures[status] += 1
        return body.count(b'"instanceId"')


def listed_by(kind: str, url: str) -> int:
    """How many instances a registry lists, asked directly."""
    http = Http(url, 60)
    if kind == EUREKA:
        return http.ask("GET", "/eureka/apps/")[1].count(b'"instanceId"')
    return sum(body.count(b'"instanceId"') for body in _found(http))


def _found(http: Http) -> Iterator[bytes]:
    services = http.must("GET", f"{BASE}/microservices").get("services", [])
    keys = {(one["appId"], one["serviceName"]) for one in services if one["serviceName"] not in NOBODY}
    asked = [{"service": {"appId": app, "serviceName": name, "version": "0.0.0.0+"}} for app, name in sorted(keys)]
    for start in range(0, len(asked), 500):
        status, body = http.ask("POST", f"{BASE}/instances/action?type=query", {"services": asked[start : start + 500]})
        yield body if status == 200 else b""
