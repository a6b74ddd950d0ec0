"""Several hosts in this process, for tools that ask them."""

from __future__ import annotations

import httpx
from starlette.responses import Response


class Hosts(httpx.AsyncBaseTransport):
    """Answers for several hosts, each by a whole server or by a function."""

    def __init__(self) -> None:
        self.answers: dict[str, httpx.AsyncBaseTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host not in self.answers:
            raise httpx.ConnectError("nobody is there")
        return await self.answers[request.url.host].handle_async_request(request)

    def lie(self, host: str, answer: Response) -> None:
        """The same answer to whatever is asked."""
        self.answers[host] = httpx.ASGITransport(answer)
