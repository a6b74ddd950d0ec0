"""How soon a write in one protocol shows in the other: in the very next answer, and on an open watch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import NamedTuple

import httpx
from websockets.sync.client import connect

from loadtests.registrations import MY_OWN

TRIES = 300


class Freshness(NamedTuple):
    what: str
    tries: int
    misses: int
    """Answers, asked for as soon as the write was acknowledged, that did not show it."""
    p50_ms: float
    """From sending the write to holding the answer or the event that shows it."""
    p99_ms: float


def freshness(url: str) -> list[Freshness]:
    with httpx.Client(base_url=url, timeout=10) as http:
        consumer = _service(http, "freshness-consumer")
        provider = _service(http, "freshness-provider")
        _register_eureka(http, "FRESHNESS-WATCHED", 0)
        for name in ("freshness-watched", "freshness-provider"):  # from now on the consumer hears of these
            _find(http, name, consumer)
        return [
            _eureka_in_servicecenter(http),
            _servicecenter_in_eureka(http, provider),
            _on_the_watch(http, url, consumer, "Eureka registration → ServiceCenter watch", _watched_eureka),
            _on_the_watch(
                http,
                url,
                consumer,
                "ServiceCenter registration → ServiceCenter watch",
                lambda http, number: _register_servicecenter(http, provider, f"watched-{number}"),
            ),
        ]


def _eureka_in_servicecenter(http: httpx.Client) -> Freshness:
    took, misses = [], 0
    for number in range(TRIES):
        began = time.perf_counter()
        _register_eureka(http, "FRESHNESS", number)
        found = _find(http, "freshness").get("instances", [])
        took.append(time.perf_counter() - began)
        misses += len(found) != number + 1
    return _figures("Eureka registration → ServiceCenter find", took, misses)


def _servicecenter_in_eureka(http: httpx.Client, service_id: str) -> Freshness:
    took, misses = [], 0
    for number in range(TRIES):
        began = time.perf_counter()
        _register_servicecenter(http, service_id, f"fresh-{number}")
        answer = http.get("/eureka/apps/FRESHNESS-PROVIDER", headers={"Accept": "application/json"})
        took.append(time.perf_counter() - began)
        listed = answer.json()["application"]["instance"] if answer.status_code == 200 else []
        misses += len(listed) != number + 1
    return _figures("ServiceCenter registration → Eureka application", took, misses)


def _on_the_watch(
    http: httpx.Client, url: str, consumer: str, what: str, write: Callable[[httpx.Client, int], str]
) -> Freshness:
    """`write` returns the endpoint that the event must name."""
    took, misses = [], 0
    address = f"{url.replace('http', 'ws', 1)}/v4/default/registry/microservices/{consumer}/watcher"
    with connect(address, compression=None) as watch:
        for number in range(TRIES):
            began = time.perf_counter()
            endpoint = write(http, number)
            try:
                event = json.loads(watch.recv(timeout=5))
            except TimeoutError:
                misses += 1
                continue
            took.append(time.perf_counter() - began)
            misses += event["action"] != "CREATE" or event["instance"]["endpoints"] != [endpoint]
    return _figures(what, took, misses)


def _figures(what: str, took_s: list[float], misses: int) -> Freshness:
    ordered = sorted(took_s)
    p50, p99 = (ordered[int(len(ordered) * share)] * 1000 for share in (0.5, 0.99))
    return Freshness(what, TRIES, misses, p50, p99)


def _service(http: httpx.Client, name: str) -> str:
    service = {"appId": "default", "serviceName": name, "version": "1.0.0"}
    answer = http.post("/v4/default/registry/microservices", json={"service": service})
    return str(answer.json()["serviceId"])


def _find(http: httpx.Client, name: str, consumer: str = "") -> dict[str, list[object]]:
    query = {"appId": "default", "serviceName": name, "version": "0+"}
    headers = {"X-ConsumerId": consumer} if consumer else {}
    found: dict[str, list[object]] = http.get("/v4/default/registry/instances", params=query, headers=headers).json()
    return found


def _watched_eureka(http: httpx.Client, number: int) -> str:
    return _register_eureka(http, "FRESHNESS-WATCHED", number + 1)


def _register_eureka(http: httpx.Client, application: str, number: int) -> str:
    """Returns the endpoint that ServiceCenter's readers see."""
    instance = {
        "instanceId": f"{application}-{number}",
        "hostName": "10.0.0.1",
        "app": application,
        "ipAddr": "10.0.0.1",
        "port": {"$": 1024 + number, "@enabled": "true"},
        "vipAddress": application.lower(),
        "dataCenterInfo": MY_OWN,
    }
    http.post(f"/eureka/apps/{application}", json={"instance": instance}).raise_for_status()
    return f"rest://10.0.0.1:{1024 + number}"


def _register_servicecenter(http: httpx.Client, service_id: str, name: str) -> str:
    endpoint = f"rest://{name}:8080"
    instance = {"instanceId": name, "hostName": name, "endpoints": [endpoint]}
    path = f"/v4/default/registry/microservices/{service_id}/instances"
    http.post(path, json={"instance": instance}).raise_for_status()
    return endpoint
