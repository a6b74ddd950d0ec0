"""Pages for people, probes and metrics for machines. Server-rendered; the script only asks for the page again.

The pages work without internet and without a script, and nothing in them is ours to trust: names, ids and metadata come
from clients, so every value is escaped and no URL of theirs becomes a link.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from facade.access.control import AccessControl, Visitor, require_all
from facade.access.guard import Guard
from facade.access.refusals import AccessRefused
from facade.access.rules import OPEN, SERVICE, Needs
from facade.dashboard.metrics import CONTENT_TYPE, Figures
from facade.dashboard.nodes import nodes_of
from facade.dashboard.overview import general, latest, overview
from facade.dashboard.pages import PAGE_HEADERS, Asked, Pages
from facade.dashboard.readiness import readiness
from facade.dashboard.service_pages import CHANGE, READER, DocumentOf, Entry, Reader, ServicePages
from facade.registry.registry import Registry
from facade.registry.store import PeerHealth

TOLD_EVERY_S = 1.0
"""Changes within this time are told to the page as one."""
STILL_THERE_EVERY_S = 15.0
"""A comment on the stream: proxies and browsers see that it lives."""


class Dashboard:
    def __init__(
        self,
        registry: Registry,
        stopping: asyncio.Event | None = None,
        peers: Callable[[], Sequence[PeerHealth]] | None = None,
        document_of: DocumentOf | None = None,
        access: AccessControl | None = None,
    ) -> None:
        """Without `access` everybody may look."""
        self._access = access
        self._registry = registry
        self._peers = peers or (lambda: ())
        self._stopping = stopping or asyncio.Event()
        """Ends open pages: the server waits for whoever is being answered."""
        self._figures = Figures(registry, self._peers)
        self._pages = Pages()
        self._services = ServicePages(registry, self._pages, document_of or (lambda _: None))

    def table(self) -> list[Entry]:
        return [
            ("GET", "/", self.page, SERVICE),
            ("GET", "/lastn", self.lastn, SERVICE),
            *self._services.table(),
            ("GET", "/dashboard/changes", self.changes, SERVICE),
            ("GET", "/healthz", self.healthz, OPEN),
            ("GET", "/readyz", self.readyz, OPEN),
            ("GET", "/metrics", self.metrics, OPEN),
        ]

    def routes(self) -> list[BaseRoute]:
        static = StaticFiles(directory=Path(__file__).parent / "static")
        return [
            *(
                Route(path, page, methods=[way], middleware=self._guards(needs))
                for way, path, page, needs in self.table()
            ),
            Mount("/dashboard/static", static, middleware=self._guards(SERVICE)),
        ]

    def _guards(self, needs: Needs) -> list[Middleware]:
        if self._access is None or needs == OPEN:
            return []
        reader = partial(_reader, self._access)
        return [Middleware(Guard, access=self._access, needs=needs, refuse=_refusal, known=reader)]

    async def page(self, request: Request) -> Response:
        asked = Asked.of(request)
        return await self._pages.write(
            "overview.html",
            asked,
            overview=overview(self._registry, asked.wanted),
            general=general(self._registry),
            peers=self._peers(),
            nodes=nodes_of(self._registry),
        )

    async def lastn(self, request: Request) -> Response:
        """Under the address that Eureka's users know: what registered and what ended of late."""
        return await self._pages.write("lastn.html", Asked.of(request), latest=latest(self._registry))

    async def changes(self, _request: Request) -> Response:
        """Server-sent events: the revision, whenever the page is to be asked for again."""
        return StreamingResponse(self.told(), media_type="text/event-stream", headers=PAGE_HEADERS)

    async def healthz(self, _request: Request) -> Response:
        """Alive: the event loop answers."""
        return PlainTextResponse("ok\n")

    async def readyz(self, _request: Request) -> Response:
        """Can serve, and how it fares."""
        status, body = readiness(self._registry, self._peers(), has_accounts=self._access is not None)
        return Response(msgspec.json.encode(body), status, media_type="application/json")

    async def metrics(self, _request: Request) -> Response:
        return Response(self._figures.text(), headers={"Content-Type": CONTENT_TYPE})

    async def told(self) -> AsyncGenerator[str, None]:
        """The events of one open page."""
        moved = asyncio.Event()
        stop = self._registry.feed.follow(lambda _change: moved.set())
        waker = asyncio.create_task(self._stopping.wait())
        waker.add_done_callback(lambda _: moved.set())
        try:
            while not self._stopping.is_set():
                shown = self._fares()
                yield f"data: {self._registry.revision}\n\n"
                await asyncio.sleep(TOLD_EVERY_S)
                while not moved.is_set():
                    try:
                        await asyncio.wait_for(moved.wait(), STILL_THERE_EVERY_S)
                    except TimeoutError:
                        if shown != self._fares():
                            break
                        yield ": still here\n\n"
                moved.clear()
        finally:
            waker.cancel()
            stop()

    def _fares(self) -> object:
        """What a page shows that changes without a change in the registry."""
        return self._registry.store_health(), self._registry.nodes()


def _refusal(status: int, text: str, headers: Mapping[str, str]) -> Response:
    return PlainTextResponse(f"{text}\n", status, headers)


def _reader(access: AccessControl, visitor: Visitor) -> Mapping[str, object]:
    """Tells a page who looks at it."""
    try:
        require_all(access.grant(visitor, CHANGE, "POST"))
    except AccessRefused:
        return {READER: Reader(visitor.account, False)}
    return {READER: Reader(visitor.account, True)}
