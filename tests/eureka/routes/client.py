"""A client of the front: requests, and what stands in the answers."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec

from facade.eureka.routes import EurekaFront, EurekaOptions
from facade.registry.registry import Registry
from tests.eureka.registrations import body

AS_JSON = {"Accept": "application/json"}
JSON_BODY = {"Content-Type": "application/json"}


class Client:
    """Sends what it is told to send, and no headers of its own."""

    def __init__(self, registry: Registry, options: EurekaOptions | None = None) -> None:
        application = EurekaFront(registry, options)
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://eureka")

    async def __call__(
        self, method: str, path: str, headers: dict[str, str] | None = None, content: bytes = b""
    ) -> httpx.Response:
        request = self._http.build_request(method, path, headers=headers, content=content)
        for name in {"accept", "accept-encoding"} - {name.lower() for name in headers or {}}:
            del request.headers[name]
        return await self._http.send(request)

    async def register(self, app: str = "A", instance_id: str = "i1", **changes: Any) -> httpx.Response:
        headers = JSON_BODY | changes.pop("headers", {})
        return await self("POST", f"/eureka/apps/{app}", headers, body(app, instance_id, **changes))

    async def json(self, path: str) -> Any:
        answer = await self("GET", path, AS_JSON)
        assert answer.status_code == 200, answer.text
        (root,) = msgspec.json.decode(answer.content).values()
        return root

    async def close(self) -> None:
        await self._http.aclose()


async def status_of(client: Client) -> tuple[str, str, str]:
    found = await client.json("/eureka/apps/A/i1")
    return found["status"], found["overriddenStatus"], found["actionType"]
