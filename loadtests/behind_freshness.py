"""How soon a change made in the registry behind shows in the other protocol, and where a change made through us is."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from loadtests.behind_clients import BASE, Http
from loadtests.behind_servers import EUREKA, SERVICECENTER, Upstream
from loadtests.registrations import DIRTY_MS, MY_OWN

GIVE_UP_S = 120.0
LOOK_EVERY_S = 0.005


class Delays(NamedTuple):
    what: str
    took_s: list[float]
    """From sending the write to holding the answer that shows it; without those that never did."""
    tries: int


class Misses(NamedTuple):
    what: str
    tries: int
    elsewhere: int
    """Not in the registry behind when the write was acknowledged."""
    same_view: int
    other_view: int
    """Not in the very next answer of ours."""


class Eureka:
    """Registers and reads as Eureka's clients do."""

    kind = EUREKA

    def __init__(self, url: str) -> None:
        self._http = Http(url)

    def prepare(self, name: str) -> None:
        """An application needs nothing before its first instance."""

    def register(self, name: str, host: str) -> None:
        instance = {
            "instanceId": host,
            "hostName": host,
            "app": name.upper(),
            "ipAddr": "10.9.9.9",
            "status": "UP",
            "port": {"$": 8080, "@enabled": "true"},
            "vipAddress": name,
            "dataCenterInfo": MY_OWN,
            "lastDirtyTimestamp": str(DIRTY_MS),
            "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": 3600},
        }
        self._http.must("POST", f"/eureka/apps/{name.upper()}", {"instance": instance})

    def cancel(self, name: str, host: str) -> None:
        self._http.must("DELETE", f"/eureka/apps/{name.upper()}/{host}")

    def shows(self, name: str, host: str) -> bool:
        return host.encode() in self._http.ask("GET", f"/eureka/apps/{name.upper()}")[1]

    def holds(self, name: str, host: str) -> bool:
        """With the caches that a `fresh` server has: each write empties them."""
        return self.shows(name, host)


class ServiceCenter:
    """Registers and reads as ServiceCenter's clients do."""

    kind = SERVICECENTER

    def __init__(self, url: str) -> None:
        self._http = Http(url)
        self._service_ids: dict[str, str] = {}

    def prepare(self, name: str) -> None:
        """A service is made before its first instance comes."""
        if name not in self._service_ids:
            service = {"appId": "default", "serviceName": name, "version": "1.0.0"}
            answer = self._http.must("POST", f"{BASE}/microservices", {"service": service})
            self._service_ids[name] = answer["serviceId"]

    def register(self, name: str, host: str) -> None:
        self.prepare(name)
        instance = {
            "instanceId": host,
            "hostName": host,
            "endpoints": [f"rest://{host}:8080"],
            "healthCheck": {"mode": "push", "interval": 30, "times": 120},
        }
        self._http.must("POST", self._instances(name), {"instance": instance})

    def cancel(self, name: str, host: str) -> None:
        self.prepare(name)
        self._http.must("DELETE", f"{self._instances(name)}/{host}")

    def shows(self, name: str, host: str) -> bool:
        path = f"{BASE}/instances?appId=default&serviceName={name}&version=0%2B"
        return host.encode() in self._http.ask("GET", path)[1]

    def holds(self, name: str, host: str) -> bool:
        """Asked past all caches, in whichever app the service is."""
        if name not in self._service_ids:
            services = self._http.must("GET", f"{BASE}/microservices")["services"]
            found = [one["serviceId"] for one in services if one["serviceName"] == name]
            if not found:
                return False
            self._service_ids[name] = found[0]
        return host.encode() in self._http.ask("GET", f"{self._instances(name)}?noCache=1")[1]

    def _instances(self, name: str) -> str:
        return f"{BASE}/microservices/{self._service_ids[name]}/instances"


Client = Eureka | ServiceCenter
Clients = type[Eureka] | type[ServiceCenter]
BOTH: tuple[Clients, Clients] = Eureka, ServiceCenter


def delays(behind: Upstream, url: str, tries: int, *, at_once: int) -> Iterator[Delays]:
    """`at_once`: trials that may overlap, where one may take half a minute; with 1 each begins at a random moment."""
    native, foreign = BOTH if behind.kind == EUREKA else reversed(BOTH)
    known = [("behind-known", f"known-{number:04d}-x") for number in range(tries)]
    native(behind.url).register("behind-known", "first-x")
    _until(lambda: foreign(url).shows("behind-known", "first-x"))
    own = [("behind-known", f"self-{number:04d}-x") for number in range(tries)]
    own_readers = _appear(native, native, behind.url, behind.url, own, at_once)
    yield Delays("registered there, known service → its own readers", own_readers, tries)
    appeared = _appear(native, foreign, behind.url, url, known, at_once)
    yield Delays("registered there, known service → the other protocol, through us", appeared, tries)
    new = [(f"behind-new-{number:04d}", f"new-{number:04d}-x") for number in range(tries)]
    appeared = _appear(native, foreign, behind.url, url, new, at_once)
    yield Delays("registered there, brand-new service → the other protocol, through us", appeared, tries)
    vanished = _vanish(native, native, behind.url, behind.url, own, max(at_once, 8))
    yield Delays("removed there → its own readers", vanished, tries)
    vanished = _vanish(native, foreign, behind.url, url, known, max(at_once, 8))
    yield Delays("removed there → the other protocol, through us", vanished, tries)


def _appear(
    native: Clients, foreign: Clients, there: str, here: str, names: list[tuple[str, str]], at_once: int
) -> list[float]:
    def trial(place: tuple[str, str]) -> float | None:
        writer, reader = native(there), foreign(here)
        time.sleep(random.random() * at_once)
        writer.prepare(place[0])
        began = time.perf_counter()
        writer.register(*place)
        return _shown_after(began, lambda: reader.shows(*place), at_once)

    return _all(trial, names, at_once)


def _vanish(
    native: Clients, foreign: Clients, there: str, here: str, names: list[tuple[str, str]], at_once: int
) -> list[float]:
    def trial(place: tuple[str, str]) -> float | None:
        writer, reader = native(there), foreign(here)
        time.sleep(random.random() * at_once)
        writer.prepare(place[0])
        began = time.perf_counter()
        writer.cancel(*place)
        return _shown_after(began, lambda: not reader.shows(*place), at_once)

    return _all(trial, names, at_once)


def _all(trial: Callable[[tuple[str, str]], float | None], names: list[tuple[str, str]], at_once: int) -> list[float]:
    with ThreadPoolExecutor(at_once) as pool:
        return [took for took in pool.map(trial, names) if took is not None]


def _shown_after(began: float, is_shown: Callable[[], bool], at_once: int) -> float | None:
    while not is_shown():
        if time.perf_counter() - began > GIVE_UP_S:
            return None
        time.sleep(LOOK_EVERY_S * at_once)
    return time.perf_counter() - began


def _until(is_so: Callable[[], bool]) -> None:
    if _shown_after(time.perf_counter(), is_so, 10) is None:
        raise SystemExit("an instance registered in the registry behind does not show in ours")


def misses(behind: Upstream, url: str, tries: int) -> Iterator[Misses]:
    for clients in BOTH:
        client, there = clients(url), (Eureka if behind.kind == EUREKA else ServiceCenter)(behind.url)
        other = (ServiceCenter if clients is Eureka else Eureka)(url)
        name, elsewhere, same, different = f"through-{client.kind}", 0, 0, 0
        for number in range(tries):
            host = f"through-{number:04d}-x"
            client.register(name, host)
            elsewhere += not there.holds(name, host)
            same += not client.shows(name, host)
            different += not other.shows(name, host)
        yield Misses(f"{client.kind} client", tries, elsewhere, same, different)
