"""What the registries are filled with: varied instances, as real clients write them.

Fifty to an application, as a fleet has them, but for one of a hundred (the first numbers) and one of a thousand (those
from 1 000 on): what an instance costs may grow with those beside it.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

PER_APPLICATION = 50
LARGE = range(100)
HUGE = range(1_000, 2_000)
AT_ONCE = 8
LONG_S = 86_400
"""Leases last a day, so that nobody's lapse while others are being asked."""

DIRTY_MS = 1_750_000_000_000
ZONES = ("rack-1", "rack-2", "rack-3", "eu-west-1a")
MY_OWN = {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"}


def eureka_instance(number: int) -> dict[str, Any]:
    """As Spring writes it, about 1.1 KB. Seeded, so that every server gets the same."""
    chance = random.Random(number)
    application, host = f"app-{_group(number):05d}", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    port = chance.randrange(8000, 9000)
    url = f"http://{host}:{port}"
    return {
        "instanceId": f"{host}:{application}:{port}",
        "hostName": host,
        "app": application.upper(),
        "ipAddr": host,
        "status": "UP",
        "overriddenStatus": "UNKNOWN",
        "port": {"$": port, "@enabled": "true"},
        "securePort": {"$": 443, "@enabled": "false"},
        "countryId": 1,
        "dataCenterInfo": MY_OWN,
        "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": LONG_S},
        "metadata": {
            "management.port": str(port + 1),
            "zone": chance.choice(ZONES),
            "build": f"{chance.getrandbits(64):016x}",
            "version": f"{chance.randrange(4)}.{chance.randrange(30)}.{chance.randrange(30)}",
        },
        "homePageUrl": f"{url}/",
        "statusPageUrl": f"{url}/actuator/info",
        "healthCheckUrl": f"{url}/actuator/health",
        "vipAddress": application,
        "secureVipAddress": application,
        "isCoordinatingDiscoveryServer": "false",
        "lastUpdatedTimestamp": str(DIRTY_MS),
        "lastDirtyTimestamp": str(DIRTY_MS),
    }


def servicecenter_instance(number: int) -> dict[str, Any]:
    """As go-chassis writes it, with an id of its own so that a second run finds the same."""
    chance = random.Random(number)
    host = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    return {
        "instanceId": f"{number:032x}",
        "hostName": f"host-{number}",
        "endpoints": [f"rest://{host}:{chance.randrange(8000, 9000)}"],
        "properties": {"nodeIP": host, "zone": chance.choice(ZONES), "build": f"{chance.getrandbits(64):016x}"},
        "healthCheck": {"mode": "push", "interval": 30, "times": LONG_S // 30},
    }


def service_name(number: int) -> str:
    return f"svc-{_group(number):05d}"


def _group(number: int) -> int:
    for several in (LARGE, HUGE):
        if number in several:
            return several.start // PER_APPLICATION
    return number // PER_APPLICATION


def fill_eureka(url: str, count: int) -> None:
    def register(post: Post, number: int) -> None:
        info = eureka_instance(number)
        post(f"/eureka/apps/{info['app']}", {"instance": info})

    each(url, register, range(count))


def change_eureka(url: str, count: int) -> None:
    """Registers the first ones anew with other metadata, so that a delta holds them."""

    def change(post: Post, number: int) -> None:
        info = eureka_instance(number)
        info |= {"metadata": info["metadata"] | {"build": "changed"}, "lastDirtyTimestamp": str(DIRTY_MS + 1)}
        post(f"/eureka/apps/{info['app']}", {"instance": info})

    each(url, change, range(count))


def fill_servicecenter(url: str, count: int) -> list[str]:
    """Returns the serviceIds, one for each fifty instances: that of a larger service several times."""
    base = "/v4/default/registry/microservices"
    service_ids: dict[str, str] = {}

    def create(post: Post, number: int) -> None:
        name = service_name(number)
        service = {"appId": "default", "serviceName": name, "version": "1.0.0"}
        service_ids[name] = json.loads(post(base, {"service": service}))["serviceId"]

    def register(post: Post, number: int) -> None:
        instance = {"instance": servicecenter_instance(number)}
        post(f"{base}/{service_ids[service_name(number)]}/instances", instance)

    firsts = range(0, count, PER_APPLICATION)
    each(url, create, {service_name(number): number for number in firsts}.values())
    each(url, register, range(count))
    return [service_ids[service_name(number)] for number in firsts]


Post = Callable[[str, object], bytes]
"""Sends a document to a path and returns the answer; anything but a 2xx ends the run."""


def each(url: str, work: Callable[[Post, int], None], numbers: Iterable[int]) -> None:
    """Some at once, so that a store may commit them together. By http.client: httpx takes five times as long."""
    mine = threading.local()

    def post(path: str, document: object) -> bytes:
        if not hasattr(mine, "connection"):
            mine.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        connection: http.client.HTTPConnection = mine.connection
        connection.request("POST", path, json.dumps(document), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status // 100 != 2:
            raise SystemExit(f"{url}{path} answers {answer.status}: {body[:200]!r}")
        return body

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(lambda number: work(post, number), numbers):
            pass
