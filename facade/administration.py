"""What an operator tells a running server to do, over HTTP: change its store.

In:   POST /admin/switch, a `Wanted` as JSON; GET tells how far it is; DELETE calls it off.
Out:  `State` as JSON; a refusal is `{"error": "..."}`.
Who:  with access control, whoever may do everything with accounts. Without it, whoever is on this machine: then nobody
      else may be believed to be an operator. A browser there may show a page of somebody else, so what it sends is
      refused; and what came through a proxy comes from anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

import msgspec
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from facade.access.control import AccessControl
from facade.access.guard import Guard
from facade.access.rules import ADMINISTER, Needs
from facade.errors import StartRefused
from facade.stores.switch import OnlyThere
from facade.stores.switchboard import Switchboard, SwitchRefused

PATH = "/admin/switch"
MOST_BYTES = 64 * 1024

_OF_PROXIES = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The store to go to, or to look at when nothing is to be applied."""

    store: str
    apply: bool = False
    rate: float = 0.0
    """Records a second at most; 0: as many as go."""
    only_there: OnlyThere = OnlyThere.REFUSE


class Administration:
    def __init__(self, switchboard: Switchboard, access: AccessControl | None) -> None:
        self._switchboard = switchboard
        self._access = access

    def table(self) -> list[tuple[str, Needs]]:
        """What each method asks of its callers."""
        return [("GET", ADMINISTER), ("POST", ADMINISTER), ("DELETE", ADMINISTER)]

    def routes(self) -> list[BaseRoute]:
        answers = {"GET": self.tell, "POST": self.begin, "DELETE": self.call_off}
        return [
            Route(PATH, answers[method], methods=[method], middleware=[self._guard(needs)])
            for method, needs in self.table()
        ]

    def _guard(self, needs: Needs) -> Middleware:
        if self._access is None:
            return Middleware(_OnThisMachine)
        return Middleware(Guard, access=self._access, needs=needs, refuse=_refusal)

    async def tell(self, _request: Request) -> Response:
        return self._state(200)

    async def begin(self, request: Request) -> Response:
        try:
            wanted = msgspec.json.decode(await _body(request), type=Wanted)
            if not wanted.rate >= 0:
                raise ValueError("rate: a number of records a second, or 0")
            self._switchboard.begin(
                wanted.store, rate=wanted.rate, only_there=wanted.only_there, is_dry=not wanted.apply
            )
        except (ValueError, StartRefused) as error:  # msgspec's are of these
            return _refusal(400, str(error))
        except SwitchRefused as error:
            return _refusal(409, str(error))
        return self._state(202)

    async def call_off(self, _request: Request) -> Response:
        try:
            await self._switchboard.call_off()
        except SwitchRefused as error:
            return _refusal(409, str(error))
        return self._state(200)

    def _state(self, status: int) -> Response:
        return _json(status, msgspec.json.encode(self._switchboard.state()))


async def _body(request: Request) -> bytes:
    """Raises ValueError."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ValueError("the body has to be application/json")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise ValueError("the body is too large")
    return bytes(body)


def _refusal(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    return _json(status, msgspec.json.encode({"error": text}), headers)


def _json(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")


class _OnThisMachine:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        why = ""
        if not _is_loopback(_peer(scope)) or any(name in headers for name in _OF_PROXIES):
            why = "without --auth only a client on this machine may do this, and not through a proxy"
        elif "origin" in headers or headers.get("sec-fetch-site", "none") != "none" or not _names_us(headers):
            why = "no page in a browser may do this"
        if why:
            await _refusal(403, why)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _names_us(headers: Headers) -> bool:
    """Whether the address asked for is of this machine: a page may have given its own name to our address."""
    host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    return host == "localhost" or _is_loopback(host)


def _is_loopback(address: str) -> bool:
    with suppress(ValueError):
        found = ip_address(address)
        mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
        return (mapped or found).is_loopback
    return False


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""
