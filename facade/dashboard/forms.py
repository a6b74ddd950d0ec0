"""Forms that only our own pages can send: a page of another site must not make a reader's browser change anything.

A browser says who made it ask (Origin, Sec-Fetch-Site). Beside that each form carries a token that fits the cookie of
the browser that got the page: who can neither read our pages nor set our cookies cannot make one. There are no
sessions; the key is drawn at the start, so a page from before a restart has to be loaded again.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import Response

LONGEST_FORM = 4_096
MOST_FIELDS = 16
COOKIE = "registry-facade-form"
FORM_TYPE = "application/x-www-form-urlencoded"


class FormRefused(Exception):
    """Not sent by a page of ours, or by one that is too old."""


class Forms:
    def __init__(self) -> None:
        self._key = os.urandom(32)

    def visitor(self, request: Request) -> str:
        """What this browser was given, or is to be given."""
        known = request.cookies.get(COOKIE, "")
        return known if len(known) == 32 and known.isalnum() else os.urandom(16).hex()

    def token(self, visitor: str) -> str:
        return hmac.digest(self._key, visitor.encode(), hashlib.sha256).hex()

    def remember(self, request: Request, response: Response, visitor: str) -> None:
        """For this server's pages only, never sent along when another site asks, and over TLS if it came by it."""
        is_secure = request.scope["scheme"] == "https"
        response.set_cookie(COOKIE, visitor, secure=is_secure, httponly=True, samesite="strict", path="/services")

    async def read(self, request: Request) -> Mapping[str, str]:
        """The fields of a form of ours. Raises FormRefused."""
        headers = request.headers
        if headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise FormRefused("asked by another site")
        if not (origin := _host_of(headers.get("origin", ""))) or origin != headers.get("host"):
            raise FormRefused("asked by another site")
        if headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
            raise FormRefused("not a form")
        fields = await _fields(request)
        expected = self.token(request.cookies.get(COOKIE, ""))
        if not hmac.compare_digest(fields.get("token", "").encode(), expected.encode()):
            raise FormRefused("an old page")
        return fields


def _host_of(origin: str) -> str:
    """Empty where there is none: "null" is what a browser says that must not tell."""
    try:
        return urlsplit(origin).netloc
    except ValueError:  # http://[ for one
        return ""


async def _fields(request: Request) -> dict[str, str]:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST_FORM:
            raise FormRefused("too long")
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        raise FormRefused("not a form") from None
