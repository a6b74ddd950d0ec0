"""A server whose store is switched again and again while a fleet of clients of both protocols lives on it.

No client may notice: no renewal is refused, no list gets shorter, no revision goes back, a watch goes on. Afterwards
the process is killed, and the new store has it all.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from conformance.peers.patience import PATIENCE_S

from .product import BASE, Process, eureka_document, running, wait_until

EACH = 12
"""Clients of either protocol that stay."""
LEASE = {"leaseInfo": {"renewalIntervalInSecs": 1, "durationInSecs": 5}}
PATH = "/admin/switch"


class Fleet:
    """Threads that renew, read, and come and go, until told to stop; what went wrong is in `faults`."""

    def __init__(self, url: str, each: int = EACH) -> None:
        self.faults: list[str] = []
        self.done: Counter[str] = Counter()
        self.left: set[str] = set()
        """Clients that came and went, the last of which may be there yet."""
        self._url = url
        self._each = each
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        with httpx.Client(base_url=url) as http:
            service = {"appId": "eureka", "serviceName": "carts", "version": "0.0.1", "schemas": ["api"]}
            self.carts = http.post(f"{BASE}/microservices", json={"service": service}).json()["serviceId"]
            consumer = {"appId": "eureka", "serviceName": "shop", "version": "0.0.1"}
            self.consumer = http.post(f"{BASE}/microservices", json={"service": consumer}).json()["serviceId"]
            for number in range(each):
                document = eureka_document("ORDERS", f"orders-{number}", **LEASE)
                assert http.post("/eureka/apps/ORDERS", json={"instance": document}).status_code == 204
                instance = {
                    "instanceId": f"cart-{number}",
                    "hostName": "h",
                    "endpoints": [f"rest://10.0.0.{number}:80"],
                }
                path = f"{BASE}/microservices/{self.carts}/instances"
                assert http.post(path, json={"instance": instance}).status_code == 200
        self.staying = {f"{name}-{number}" for name in ("orders", "cart") for number in range(each)}

    @contextmanager
    def living(self) -> Iterator[None]:
        acts: list[Callable[[httpx.Client, int], None]] = [self._renew, self._read, self._find, self._come_and_go]
        self._threads = [threading.Thread(target=self._live, args=(act,)) for act in acts]
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(60)

    def _live(self, act: Callable[[httpx.Client, int], None]) -> None:
        with httpx.Client(base_url=self._url) as http:
            for turn in count():
                if self._stop.is_set():
                    return
                try:
                    act(http, turn)
                except Exception as error:
                    self.faults.append(repr(error))
                self.done[act.__name__] += 1

    def _expect(self, answer: httpx.Response, status: int) -> httpx.Response:
        if answer.status_code != status:
            self.faults.append(f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:99]}")
        return answer

    def _renew(self, http: httpx.Client, turn: int) -> None:
        number = turn % self._each
        self._expect(http.put(f"/eureka/apps/ORDERS/orders-{number}"), 200)
        self._expect(http.put(f"{BASE}/microservices/{self.carts}/instances/cart-{number}/heartbeat"), 200)

    def _read(self, http: httpx.Client, turn: int) -> None:
        answer = self._expect(http.get("/eureka/apps", headers={"Accept": "application/json"}), 200)
        listed = {one["instanceId"] for app in answer.json()["applications"]["application"] for one in app["instance"]}
        if not self.staying <= listed:
            self.faults.append(f"not listed: {self.staying - listed}")
        revision = http.get("/readyz").json()["revision"]
        if revision < self.done["revision"]:
            self.faults.append(f"revision {self.done['revision']} and then {revision}")
        self.done["revision"] = revision

    def _find(self, http: httpx.Client, turn: int) -> None:
        query = {"appId": "eureka", "serviceName": "carts", "version": "0+"}
        answer = self._expect(http.get(f"{BASE}/instances", params=query), 200)
        found = {one["instanceId"] for one in answer.json()["instances"]}
        if missing := {name for name in self.staying if name.startswith("cart")} - found:
            self.faults.append(f"not found: {missing}")

    def _come_and_go(self, http: httpx.Client, turn: int) -> None:
        """Read its own writes, too."""
        name = f"guest-{turn % 5}"
        document = {"instance": eureka_document("GUESTS", name, lastDirtyTimestamp=str(1000 + turn))}
        self._expect(http.post("/eureka/apps/GUESTS", json=document), 204)
        self._expect(http.get(f"/eureka/apps/GUESTS/{name}"), 200)
        schema = {"schema": f"swagger: '2.0' # {turn}", "summary": str(turn)}
        self._expect(http.put(f"{BASE}/microservices/{self.carts}/schemas/api", json=schema), 200)
        if turn % 2:
            self._expect(http.delete(f"/eureka/apps/GUESTS/{name}"), 200)
            self._expect(http.get(f"/eureka/apps/GUESTS/{name}"), 404)


def switch(url: str, store: str, **more: Any) -> dict[str, Any]:
    """Have the store switched; how that ended."""
    wanted = {"store": store, "apply": True, **more}
    begun = httpx.post(f"{url}{PATH}", json=wanted)
    assert begun.status_code == 202, begun.text
    give_up = time.monotonic() + 90
    while time.monotonic() < give_up:
        found = httpx.get(f"{url}{PATH}").json()["switch"]
        if found["phase"] in ("switched", "failed", "called off"):
            return dict(found)
        time.sleep(0.05)
    raise AssertionError(found)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def records(url: str) -> dict[str, Any]:
    """What both protocols tell of the fleet, less what moves by itself."""
    headers = {"Accept": "application/json"}
    found: dict[str, Any] = {}
    for application in httpx.get(f"{url}/eureka/apps", headers=headers).json()["applications"]["application"]:
        for one in application["instance"]:
            ignored = ("leaseInfo", "lastUpdatedTimestamp", "actionType")
            found[one["instanceId"]] = {name: value for name, value in one.items() if name not in ignored}
    for one in httpx.get(f"{url}{BASE}/microservices").json()["services"]:
        found[one["serviceId"]] = one
        schemas = httpx.get(f"{url}{BASE}/microservices/{one['serviceId']}/schemas?withSchema=1").json()
        found[f"schemas of {one['serviceId']}"] = schemas
    return found


def stops_and_starts(process: Process, data_dir: Path, store: str, stack: ExitStack) -> str:
    """Killed at once; the URL of another one over the store given."""
    process.kill()
    return stack.enter_context(running(data_dir, "--store", store, "--cluster", data_dir.parent.name)).url


WAYS: dict[str, Callable[[Path, str, str], list[str]]] = {
    "sqlite-memory-sqlite": lambda home, *_: ["memory://", f"sqlite://{home}/second.db"],
    "sqlite-eureka-sqlite": lambda home, behind, _: [f"eureka+{behind}/eureka", f"sqlite://{home}/second.db"],
    "sqlite-servicecenter-sqlite": lambda home, behind, _: [f"servicecenter+{behind}", f"sqlite://{home}/second.db"],
    "sqlite-redis": lambda _home, _behind, redis: [redis],
    "sqlite-redis-sqlite": lambda home, _behind, redis: [redis, f"sqlite://{home}/second.db"],
}


@pytest.mark.parametrize("url", ["eureka+{}/eureka", "servicecenter+{}"], ids=["eureka", "servicecenter"])
def test_a_server_is_not_put_behind_itself(url: str, tmp_path: Path, stack: ExitStack) -> None:
    """It would take its own answers for those of others, and copy the copies."""
    server = stack.enter_context(running(tmp_path / "data")).url
    Fleet(server)
    before = records(server)
    by_another_name = server.replace("127.0.0.1", "localhost")

    ended = switch(server, url.format(by_another_name), onlyThere="keep")

    assert ended["phase"] == "failed"
    assert "this server itself" in ended["trouble"]
    assert records(server) == before


@pytest.mark.parametrize("way", WAYS)
def test_no_client_notices_and_a_crash_afterwards_loses_nothing(
    way: str, tmp_path: Path, stack: ExitStack, redis_url: Callable[[], str]
) -> None:
    data_dir = tmp_path / "data"
    process = stack.enter_context(running(data_dir, "--cluster", tmp_path.name))
    behind = stack.enter_context(running(tmp_path / "behind", "--keep-marks")).url
    fleet = Fleet(process.url)
    stores = WAYS[way](tmp_path, behind, redis_url() if "redis" in way else "")
    ends: list[dict[str, Any]] = []
    httpx.get(
        f"{process.url}{BASE}/instances",
        params={"appId": "eureka", "serviceName": "carts", "version": "0+"},
        headers={"X-ConsumerId": fleet.consumer},
    )
    watch_url = f"{process.url.replace('http', 'ws')}{BASE}/microservices/{fleet.consumer}/watcher"
    with connect(watch_url) as watch, fleet.living(), ThreadPoolExecutor() as beside:
        for store in stores:
            ends.append(beside.submit(switch, process.url, store, rate=200).result())
            wait_until(lambda: fleet.done["_renew"] > 50 * len(ends))
        instance = {"instanceId": "late", "hostName": "h", "endpoints": ["rest://10.0.1.1:80"]}
        path = f"{process.url}{BASE}/microservices/{fleet.carts}/instances"
        assert httpx.post(path, json={"instance": instance}).status_code == 200
        event = json.loads(watch.recv(timeout=PATIENCE_S))

    assert not fleet.faults
    assert [end["phase"] for end in ends] == ["switched"] * len(stores)
    assert event["instance"]["instanceId"] == "late"
    before = records(process.url)
    assert fleet.staying <= set(before)
    after = records(stops_and_starts(process, data_dir, stores[-1], stack))
    assert after == before


def test_who_was_renewed_is_not_ended_by_the_registry_that_is_left(tmp_path: Path, stack: ExitStack) -> None:
    """Out of a registry behind us, whose copies lapse there: here each lease goes on, and ends when nobody renews."""
    behind = stack.enter_context(running(tmp_path / "behind", "--keep-marks", "--no-self-preservation"))
    flags = ("--store", f"eureka+{behind.url}/eureka", "--no-self-preservation")
    process = stack.enter_context(running(tmp_path / "data", *flags))
    fleet = Fleet(process.url, each=3)  # each renews often enough, however slow the machine is
    with fleet.living():
        assert switch(process.url, "memory://")["phase"] == "switched"
        wait_until(lambda: "orders-0" not in records(behind.url))  # its lease has ended there

    assert not fleet.faults
    wait_until(lambda: "orders-0" not in records(process.url))


def test_a_crash_before_the_flip_leaves_the_old_store_the_truth(tmp_path: Path, stack: ExitStack) -> None:
    data_dir = tmp_path / "data"
    process = stack.enter_context(running(data_dir))
    fleet = Fleet(process.url)
    wanted = {"store": f"sqlite://{tmp_path}/second.db", "apply": True, "rate": 0.5}  # it would take a minute
    with fleet.living():
        assert httpx.post(f"{process.url}{PATH}", json=wanted).status_code == 202
        wait_until(lambda: httpx.get(f"{process.url}{PATH}").json()["switch"]["copied"] > 1)
    before = records(process.url)

    assert not fleet.faults
    assert records(stops_and_starts(process, data_dir, "sqlite:///", stack)) == before
