"""Before pages and calls of our own: lets those in whose account may do what they need, for every service."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from facade.access.control import AccessControl, Visitor, refuse_foreign_page, require_all
from facade.access.refusals import AccessRefused, NotIdentified, TooManyLogins
from facade.access.rules import Needs
from facade.errors import StoreUnavailable

CHALLENGE = {"WWW-Authenticate": 'Basic realm="registry-facade", charset="UTF-8"', "Cache-Control": "no-store"}

Refuse = Callable[[int, str, Mapping[str, str]], ASGIApp]
"""The answer with this status, text and headers."""


class Guard:
    def __init__(
        self,
        app: ASGIApp,
        access: AccessControl,
        needs: Needs,
        refuse: Refuse,
        known: Callable[[Visitor], Mapping[str, object]] = lambda _: {},
    ) -> None:
        """`known` is what the scope tells of the visitor from here on."""
        self._app = app
        self._access = access
        self._needs = needs
        self._refuse = refuse
        self._known = known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            visitor = await self._admitted(scope)
        except NotIdentified:
            refusal = self._refuse(401, "an account is needed", CHALLENGE)
        except StoreUnavailable as error:
            refusal = self._refuse(503, str(error), {})
        except TooManyLogins as error:
            refusal = self._refuse(429, str(error), {})
        except AccessRefused:
            refusal = self._refuse(403, "your account may not do this", {})
        else:
            await self._app({**scope, **self._known(visitor)}, receive, send)
            return
        await refusal(scope, receive, send)

    async def _admitted(self, scope: Scope) -> Visitor:
        headers = Headers(scope=scope)
        address = str(scope["client"][0]) if scope.get("client") else ""
        visitor = await self._access.identify(headers.get("authorization", ""), address)
        refuse_foreign_page(visitor, scope["method"], headers.get("sec-fetch-site", ""))
        require_all(self._access.grant(visitor, self._needs, scope["method"]))
        return visitor
