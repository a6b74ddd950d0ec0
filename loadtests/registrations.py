"""What the registries are filled with: varied instances, fifty to an application, as real clients write them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx

PER_APPLICATION = 50
AT_ONCE = 32
LONG_S = 86_400
"""Leases last a day, so that nobody's lapse while others are being asked."""

DIRTY_MS = 1_750_000_000_000
ZONES = ("rack-1", "rack-2", "rack-3", "eu-west-1a")
MY_OWN = {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"}


def eureka_instance(number: int) -> dict[str, Any]:
    """As Spring writes it, about 1.1 KB. Seeded, so that every server gets the same."""
    chance = random.Random(number)
    application, host = f"app-{number // PER_APPLICATION:05d}", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
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
    return f"svc-{number // PER_APPLICATION:05d}"


def fill_eureka(url: str, count: int) -> None:
    async def register(http: httpx.AsyncClient, number: int) -> None:
        info = eureka_instance(number)
        answer = await http.post(f"{url}/eureka/apps/{info['app']}", json={"instance": info})
        assert answer.status_code == 204, answer.text

    asyncio.run(_all(register, range(count)))


def fill_servicecenter(url: str, count: int) -> list[str]:
    """Returns the serviceIds, in order."""
    base = f"{url}/v4/default/registry/microservices"
    service_ids: dict[str, str] = {}

    async def create(http: httpx.AsyncClient, number: int) -> None:
        name = service_name(number)
        service = {"appId": "default", "serviceName": name, "version": "1.0.0"}
        service_ids[name] = (await http.post(base, json={"service": service})).json()["serviceId"]

    async def register(http: httpx.AsyncClient, number: int) -> None:
        service_id = service_ids[service_name(number)]
        instance = {"instance": servicecenter_instance(number)}
        answer = await http.post(f"{base}/{service_id}/instances", json=instance)
        assert answer.status_code == 200, answer.text

    asyncio.run(_all(create, range(0, count, PER_APPLICATION)))
    asyncio.run(_all(register, range(count)))
    return [service_ids[name] for name in sorted(service_ids)]


async def _all(work: Callable[[httpx.AsyncClient, int], Awaitable[None]], numbers: Sequence[int]) -> None:
    waiting = iter(numbers)
    limits = httpx.Limits(max_connections=AT_ONCE)

    async with httpx.AsyncClient(limits=limits, timeout=30) as http:

        async def worker() -> None:
            for number in waiting:
                await work(http, number)

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
