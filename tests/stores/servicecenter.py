"""A server of ours in the part of the ServiceCenter behind: as the original it keeps marks and does not replace who is
alive by a registration, and it can be told to refuse, as the original does for some accounts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import httpx

from facade.clock import ManualClock
from facade.outbound import Outbound
from facade.registry.registry import Registry
from facade.registry.rules import Policy
from facade.servicecenter.client import ServiceCenterClient
from facade.servicecenter.routes import ServiceCenterFront, ServiceCenterOptions
from facade.stores.memory import MemoryStore


class Server(httpx.AsyncBaseTransport):
    def __init__(self, front: ServiceCenterFront) -> None:
        self.refused: dict[str, str] = {}
        """The error code for calls whose path, or domain, ends so."""
        self.calls: list[str] = []
        """As METHOD DOMAIN PATH."""
        self._front = httpx.ASGITransport(front)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path, domain = request.url.path, request.headers.get("X-Domain-Name", "")
        self.calls.append(f"{request.method} {domain} {path}")
        for ending, code in self.refused.items():
            if path.endswith(quote(ending)) or domain == ending:
                body = b'{"errorCode":"%b","errorMessage":"refused"}' % code.encode()
                return httpx.Response(int(code[:3]), stream=httpx.ByteStream(body))
        if request.method == "POST" and path.endswith("/instances"):
            instance_id = json.loads(request.content)["instance"].get("instanceId", "")
            there = httpx.Request("GET", f"{request.url}/{instance_id}", headers=request.headers)
            if instance_id and (await self._front.handle_async_request(there)).status_code == 200:
                return httpx.Response(200, stream=httpx.ByteStream(b'{"instanceId":"%b"}' % instance_id.encode()))
        return await self._front.handle_async_request(request)


@asynccontextmanager
async def opened_server(clock: ManualClock) -> AsyncIterator[Server]:
    registry = Registry(MemoryStore(clock), clock, Policy(self_preservation=False, keep_marks=True))
    await registry.open()
    yield Server(ServiceCenterFront(registry, ServiceCenterOptions(version="2.2.0")))
    await registry.close()


def client_of(server: Server) -> ServiceCenterClient:
    return ServiceCenterClient(Outbound(["http://behind.test"], transport=server))
