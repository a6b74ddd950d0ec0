"""A ServiceCenter front over an empty registry, and what its tests ask it with."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.types import Message

from facade.registry.registry import Registry
from facade.servicecenter.routes import ServiceCenterFront, ServiceCenterOptions

REGISTRY = "/v4/default/registry/"


class Client:
    """Asks the front as clients do; paths are below the registry unless they begin with a slash."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        content: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body} if body else {}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self._http.request(method, path if path[0] == "/" else REGISTRY + path, headers=named, **content)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.ask("GET", path, **headers)

    async def post(self, path: str, body: object, **headers: str) -> httpx.Response:
        return await self.ask("POST", path, body, **headers)

    async def put(self, path: str, body: object = None, **headers: str) -> httpx.Response:
        return await self.ask("PUT", path, body, **headers)

    async def delete(self, path: str, body: object = None) -> httpx.Response:
        return await self.ask("DELETE", path, body)

    async def create(self, name: str, app: str = "shop", version: str = "1.0.0", **members: object) -> str:
        """Create a service, in `development` unless another environment is named; returns its id."""
        key = {"appId": app, "serviceName": name, "version": version, "environment": "development"}
        answer = await self.post("microservices", {"service": {**key, **members}})
        assert answer.status_code == 200, answer.text
        service_id: str = answer.json()["serviceId"]
        return service_id

    async def register(self, service_id: str, **members: object) -> str:
        instance = {"hostName": "h", "endpoints": ["rest://10.0.0.1:80"], **members}
        answer = await self.post(f"microservices/{service_id}/instances", {"instance": instance})
        assert answer.status_code == 200, answer.text
        instance_id: str = answer.json()["instanceId"]
        return instance_id

    async def find(self, name: str, app: str = "shop", env: str = "development", consumer: str = "") -> httpx.Response:
        headers = {"X-ConsumerId": consumer} if consumer else {}
        return await self.get(f"instances?appId={app}&serviceName={name}&env={env}", **headers)

    async def found(self, name: str, app: str = "shop", env: str = "development", consumer: str = "") -> list[Any]:
        answer = await self.find(name, app, env, consumer)
        assert answer.status_code == 200, answer.text
        instances: list[Any] = answer.json().get("instances", [])
        return instances


class Socket:
    """The client's end of a WebSocket to the front, without a network."""

    def __init__(self, front: ServiceCenterFront, path: str) -> None:
        self._front = front
        self._scope = {"type": "websocket", "path": path, "headers": [], "extensions": {"websocket.http.response": {}}}
        self._to_server = asyncio.Queue[Message]()
        self._from_server = asyncio.Queue[Message]()

    async def __aenter__(self) -> Socket:
        self._to_server.put_nowait({"type": "websocket.connect"})
        self._serving = asyncio.create_task(self._front(self._scope, self._to_server.get, self._from_server.put))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._to_server.put_nowait({"type": "websocket.disconnect", "code": 1005})
        await self._serving

    async def receive(self) -> Message:
        return await self._from_server.get()

    def unread(self) -> list[Message]:
        return [self._from_server.get_nowait() for _ in range(self._from_server.qsize())]

    def send_text(self, text: str) -> None:
        self._to_server.put_nowait({"type": "websocket.receive", "text": text})

    async def until_ended(self) -> None:
        """Until the server lets the connection fall, by itself."""
        await self._serving


@pytest.fixture
def front(registry: Registry) -> ServiceCenterFront:
    options = ServiceCenterOptions(version="2.2.0", endpoints=("rest://10.0.0.5:30100/",), host="facade")
    return ServiceCenterFront(registry, options)


@asynccontextmanager
async def client_of(front: ServiceCenterFront) -> AsyncIterator[Client]:
    transport = httpx.ASGITransport(front)
    async with httpx.AsyncClient(transport=transport, base_url="http://facade") as http:
        yield Client(http)


@pytest.fixture
async def client(front: ServiceCenterFront) -> AsyncIterator[Client]:
    async with client_of(front) as client:
        yield client


def longest_pause(ended: asyncio.Event) -> asyncio.Task[float]:
    """How long, in seconds of this thread's own, others had to wait at most until `ended`."""

    async def measure() -> float:
        longest, last = 0.0, time.thread_time()
        while not ended.is_set():
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, last = max(longest, now - last), now
        return longest

    return asyncio.create_task(measure())


@pytest.fixture
def no_collector() -> Iterator[None]:
    """The server keeps Python's collector at bay (server.COLLECTED_AT); here it would look at all 10,000."""
    gc.disable()
    yield
    gc.enable()
