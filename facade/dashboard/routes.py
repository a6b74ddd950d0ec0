"""Pages for people, probes and metrics for machines. Server-rendered; the script only asks for the page's body again.

The page works without internet and without a script, and nothing in it is ours to trust: names, ids and metadata come
from clients, so every value is escaped and no URL of theirs becomes a link.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from jinja2 import Environment, FileSystemLoader
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from facade.dashboard.metrics import CONTENT_TYPE, Figures
from facade.dashboard.overview import general, health, latest, overview
from facade.registry.registry import Registry
from facade.registry.store import PeerHealth

HERE = Path(__file__).parent
TURN_S = 0.002
TOLD_EVERY_S = 1.0
"""Changes within this time are told to the page as one."""
STILL_THERE_EVERY_S = 15.0
"""A comment on the stream: proxies and browsers see that it lives."""

CONTENT_SECURITY = (
    "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)

PAGE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Dashboard:
    def __init__(
        self,
        registry: Registry,
        stopping: asyncio.Event | None = None,
        peers: Callable[[], Sequence[PeerHealth]] | None = None,
    ) -> None:
        self._registry = registry
        self._peers = peers or (lambda: ())
        self._stopping = stopping or asyncio.Event()
        """Ends open pages: the server waits for whoever is being answered."""
        self._figures = Figures(registry, self._peers)
        self._templates = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True)
        self._templates.filters["clock"] = _clock

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/", self.page),
            Route("/lastn", self.lastn),
            Route("/dashboard/body", self.body),
            Route("/dashboard/changes", self.changes),
            Mount("/dashboard/static", StaticFiles(directory=HERE / "static")),
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/metrics", self.metrics),
        ]

    async def page(self, request: Request) -> Response:
        return await self._render("page.html", request)

    async def body(self, request: Request) -> Response:
        """The part of the page that changes."""
        return await self._render("body.html", request)

    async def lastn(self, _request: Request) -> Response:
        """Under the address that Eureka's users know: what registered and what ended of late."""
        pieces = self._templates.get_template("lastn.html").generate(latest=latest(self._registry))
        return Response(await _in_turns(pieces), media_type="text/html", headers=PAGE_HEADERS)

    async def changes(self, _request: Request) -> Response:
        """Server-sent events: the revision, whenever it has moved."""
        return StreamingResponse(self.told(), media_type="text/event-stream", headers=PAGE_HEADERS)

    async def healthz(self, _request: Request) -> Response:
        """Alive: the event loop answers."""
        return PlainTextResponse("ok\n")

    async def readyz(self, _request: Request) -> Response:
        """Can serve. A store that takes no writes makes it degraded, not down: reads and renewals go on."""
        state = health(self._registry)
        body = {
            "status": "ok" if state.store_is_writable else "degraded",
            "store": {"writable": state.store_is_writable, "text": state.store, "dataAgeSeconds": state.data_age_s},
            "selfPreservation": {origin: {"on": is_on, "text": text} for origin, is_on, text in state.protections},
            "peers": {peer.url: {"available": peer.is_available, "waiting": peer.waiting} for peer in self._peers()},
            "auth": "none",
            "revision": self._registry.revision,
        }
        return Response(msgspec.json.encode(body), media_type="application/json")

    async def metrics(self, _request: Request) -> Response:
        return Response(self._figures.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _render(self, template: str, request: Request) -> Response:
        wanted = request.query_params.get("filter", "")[:100]
        pieces = self._templates.get_template(template).generate(
            overview=overview(self._registry, wanted),
            general=general(self._registry),
            peers=self._peers(),
            wanted=wanted,
            base=_base(request),
        )
        return Response(await _in_turns(pieces), media_type="text/html", headers=PAGE_HEADERS)

    async def told(self) -> AsyncGenerator[str, None]:
        """The events of one open page."""
        moved = asyncio.Event()
        stop = self._registry.feed.follow(lambda _change: moved.set())
        waker = asyncio.create_task(self._stopping.wait())
        waker.add_done_callback(lambda _: moved.set())
        try:
            while not self._stopping.is_set():
                yield f"data: {self._registry.revision}\n\n"
                await asyncio.sleep(TOLD_EVERY_S)
                while not moved.is_set():
                    try:
                        await asyncio.wait_for(moved.wait(), STILL_THERE_EVERY_S)
                    except TimeoutError:
                        yield ": still here\n\n"
                moved.clear()
        finally:
            waker.cancel()
            stop()


async def _in_turns(pieces: Iterable[str]) -> str:
    """The whole page, made while others have their turn: all of 10 000 instances takes half a second."""
    made, until_s = [], time.monotonic() + TURN_S
    for piece in pieces:
        made.append(piece)
        if time.monotonic() >= until_s:
            await asyncio.sleep(0)
            until_s = time.monotonic() + TURN_S
    return "".join(made)


def _base(request: Request) -> str:
    """The address that the reader used: every port serves everything, so it is right for clients too."""
    host = request.headers.get("host", "127.0.0.1:8761")
    return f"http://{host}"


def _clock(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%H:%M:%S")
