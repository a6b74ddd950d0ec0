"""The servers behind us: fronts of our own in process. What is written to them, and what they show of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from email.utils import formatdate
from typing import Any

import httpx
from msgspec.structs import replace

from facade.clock import ManualClock
from facade.eureka.client import EurekaClient
from facade.eureka.records import BatchItem, BatchResult, InstanceInfo
from facade.eureka.routes import EurekaFront, EurekaOptions
from facade.eureka.wire_json import decode_batch_results, encode_batch
from facade.outbound import Outbound
from facade.registry.model import Instance, InstanceKey, Origin, Record, Space, Status, Tenant
from facade.registry.registry import Registry
from facade.registry.rules import Policy, is_same_but_for_time
from facade.servicecenter import mapping
from facade.servicecenter.records import HealthCheck, MicroService, MicroServiceInstance
from facade.stores.memory import MemoryStore
from facade.stores.upstream_eureka import EurekaBackend
from tests.eureka import registrations

ONE, TWO = "http://10.0.0.1:8761/eureka", "http://10.0.0.2:8761/eureka"
NAMES = {"10.0.0.1": "one", "10.0.0.2": "two"}
POLICY = Policy(self_preservation=False)


class Servers(httpx.AsyncBaseTransport):
    """Eureka servers by name. They do not know each other, so a test sees what each of them is told."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.registries: dict[str, Registry] = {}
        self.calls: list[str] = []
        self.silent: set[str] = set()
        self.replicas: dict[str, str] = {}
        self._fronts: dict[str, httpx.ASGITransport] = {}

    async def start(self, host: str, options: EurekaOptions | None = None) -> Registry:
        """An empty server; whatever was there before is gone."""
        registry = Registry(MemoryStore(self._clock), self._clock, Policy(self_preservation=False, keep_marks=True))
        await registry.open()
        self.registries[host] = registry
        self._fronts[host] = httpx.ASGITransport(EurekaFront(registry, options))
        return registry

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host, path = NAMES[request.url.host], request.url.path
        self.calls.append(f"{request.method} {host} {path.removeprefix('/eureka')}")
        if host in self.silent:
            raise httpx.ConnectError("connection refused")
        if path == "/eureka/status" and host in self.replicas:
            body = f"<x><registered-replicas>{self.replicas[host]}</registered-replicas></x>"
            return httpx.Response(200, stream=httpx.ByteStream(body.encode()))
        response = await self._fronts[host].handle_async_request(request)
        response.headers["date"] = formatdate(self._clock.now_ms() / 1000, usegmt=True)
        return response

    def asked(self, word: str) -> list[str]:
        return [call for call in self.calls if word in call]


def backend_of(servers: Servers, clock: ManualClock, *bases: str, **options: Any) -> EurekaBackend:
    outbound = Outbound(bases, clock=clock, transport=servers)
    return EurekaBackend(EurekaClient(outbound), POLICY, clock, find_facades=those_called_us, **options)


async def those_called_us(urls: Sequence[str]) -> Collection[str]:
    return [url for url in urls if url.startswith("http://us:")]


SERVICE = mapping.to_service(
    MicroService(app_id="shop", service_name="orders", version="1.0.0", description="d"),
    Tenant(),
    {"t": "1"},
    0,
    POLICY,
)


def eureka(**changes: Any) -> Instance:
    return replace(registrations.instance(**changes), updated_ms=registrations.NOW_MS)


def servicecenter(**changes: Any) -> Instance:
    """Its lease is 40 s: four intervals of ten."""
    document = MicroServiceInstance(
        endpoints=("rest://10.0.0.9:9090", "highway://10.0.0.9:7070"),
        host_name="h",
        properties={"p": "1"},
        health_check=HealthCheck(mode="push", interval=10, times=3),
    )
    instance = mapping.to_instance(document, SERVICE, "i9", POLICY)
    return replace(instance, updated_ms=registrations.NOW_MS, registered_ms=registrations.NOW_MS, **changes)


def shown(servers: Servers, application: str, instance_id: str, host: str = "one") -> Instance | None:
    """What a server holds under a name that Eureka's readers know."""
    key = InstanceKey(Origin.EUREKA, Space(), application, instance_id)
    return servers.registries[host].catalogue.instance(key)


def assert_same(record: Record | None, expected: Record) -> None:
    assert isinstance(record, Instance) and isinstance(expected, Instance)
    assert is_same_but_for_time(record, expected), (record, expected)


HELD = registrations.PLAIN


def hear(backend: EurekaBackend, item: BatchItem, address: str = "10.0.0.1") -> BatchResult:
    result = backend.hear(address, item)
    assert result is not None
    return result


def told(action: str, info: InstanceInfo | None = None, **fields: Any) -> BatchItem:
    fields = {"app_name": "A", "instance_id": "i1", "last_dirty_ms": 1000, "status": Status.UP} | fields
    return BatchItem(action=action, instance_info=info, **fields)


async def send_batch(
    registry: Registry, backend: EurekaBackend, address: str, *items: BatchItem
) -> tuple[int, list[BatchResult]]:
    """To our own front, with that backend behind it."""
    transport = httpx.ASGITransport(EurekaFront(registry, hear_of=lambda: backend.hear), client=(address, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://us") as http:
        headers = {"content-type": "application/json"}
        answer = await http.post("/eureka/peerreplication/batch", content=encode_batch(items), headers=headers)
    return answer.status_code, decode_batch_results(answer.content)
